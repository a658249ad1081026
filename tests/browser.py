"""Debian's chromium, headless, through Playwright: what tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

from tests.conftest import needs

SHOTS = Path(__file__).parents[1] / ".cache/screenshots"  # to be looked at


@contextmanager
def launched() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page(chromium: Any, site: str, expected_errors: int = 0, **context: Any) -> Iterator[Any]:
    """A page that asks no other host for anything and says nothing on its console, beside failed requests foreseen."""
    options = {"viewport": {"width": 1100, "height": 900}, "timezone_id": "Europe/Berlin", "locale": "en-GB", **context}
    opened = chromium.new_context(**options)
    found = opened.new_page()
    hosts: set[str] = set()
    complaints: list[str] = []
    found.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    found.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    found.on("pageerror", lambda error: complaints.append(str(error)))
    yield found
    opened.close()
    assert hosts - {""} == {urlsplit(site).netloc}
    assert len(complaints) <= expected_errors, complaints


def eventually(found: Any, selector: str, pattern: str) -> str:
    """Wait until the text of an element matches; returns it."""
    from playwright.sync_api import TimeoutError

    try:
        found.wait_for_function(
            "([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector)?.textContent ?? '')",
            arg=[selector, pattern],
            timeout=15_000,
        )
    except TimeoutError:
        shown = found.locator(selector).all_text_contents()
        raise AssertionError(f"{selector} shows {shown}, and not /{pattern}/") from None
    return str(found.text_content(selector))


def number(text: str | None) -> int:
    return int((text or "").replace(",", "").replace("−", "-"))


def rows(found: Any, selector: str) -> list[list[str]]:
    cells = "found => found.map(row => [...row.children].map(cell => cell.textContent))"
    return list(found.locator(selector).evaluate_all(cells))


def violations(found: Any) -> list[tuple[str, Any]]:
    """What axe finds wrong for people who do not see, or not well."""
    response = Axe().run(found).response["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in response]


def shot(name: str) -> str:
    SHOTS.mkdir(parents=True, exist_ok=True)
    return str(SHOTS / f"{name}.png")
