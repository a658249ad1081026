"""The pages in a real Chromium, over a reader process and real layers: what a creator sees, types and hears read
out."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import quote

import pytest
import requests
from pydantic import SecretStr

from stitch.grants import link_of
from tests.browser import eventually, number, page, rows, shot, violations
from tests.conftest import free_ports
from tests.e2e.served import Served
from tests.queries import counted

TOTAL = ".tile-total"  # of the first counter
HOSTILE = "<script>alert(1)</script>/ü 🎵"


@pytest.fixture(scope="session")
def site(serve: Callable[..., str]) -> str:
    return serve(STITCH_SERVING__WORKERS="2", STITCH_SERVING__CACHE="1s")


def truth(served: Served, counter: str, key: str) -> int:
    return counted(served.feed.happened, counter, key, None, None)


def test_a_creator_sees_the_count_and_it_moves_while_he_looks(served: Served, site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1")
        assert number(eventually(found, TOTAL, r"\d")) == truth(served, "creator_plays", "c1")
        assert re.match(r"(Live, \d+|Delayed: ).* · final up to ", eventually(found, "#freshness", "Live|Delayed"))
        found.wait_for_selector("#top tbody tr")
        members = {cells[0]: number(cells[1]) for cells in rows(found, "#top tbody tr")}
        assert sum(members.values()) == number(eventually(found, "#range-total", r"\d"))
        found.screenshot(path=shot("desktop"), full_page=True)
        before = truth(served, "creator_plays", "c1")
        served.stream(served.feed.some(60))
        after = truth(served, "creator_plays", "c1")
        assert after != before
        eventually(found, TOTAL, f"^{after:,}$")


def test_the_pickers_are_in_the_address_and_work_by_keyboard(served: Served, site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/a")
        eventually(found, "#range-total", r"\d")
        found.click("#table summary")
        found.wait_for_selector("#points tbody tr:nth-child(30)")
        assert len(rows(found, "#points tbody tr")) == 30
        found.focus("select[name=period]")
        found.keyboard.press("ArrowUp")
        found.keyboard.press("ArrowUp")
        found.wait_for_url(re.compile("period=7d"))
        eventually(found, "#bounds", "Europe/Berlin")
        found.wait_for_function("() => document.querySelectorAll('#points tbody tr').length === 7")
        found.select_option("select[name=granularity]", "hour")
        found.wait_for_function("() => document.querySelectorAll('#points tbody tr').length >= 167")
        found.select_option("select[name=compare]", "previous_period")
        eventually(found, "#against", "against")
        assert found.is_visible("#weekdays")
        expected = requests.get(
            f"{site}/v1/totals?counters=plays&key=a&period=7d&tz=Europe/Berlin&compare=previous_period", timeout=5
        ).json()["comparison"]["data"][0]["changes"]["plays"]
        assert str(found.text_content("#against")).startswith(f"{expected['current']:,} (")
        assert f"against {expected['previous']:,} (" in str(found.text_content("#against"))
        found.go_back()
        found.wait_for_function("() => document.querySelector('select[name=compare]').value === ''")
        found.select_option("select[name=granularity]", "month")
        found.select_option("select[name=period]", "custom")
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        found.fill("input[name=start]", "2025-01-01")
        found.fill("input[name=end]", today)
        found.wait_for_url(re.compile(f"start=2025-01-01&end={today}"))
        eventually(found, "#bounds", "1 Jan 2025")
        assert "period=" not in found.url


def test_a_chart_says_what_is_under_the_pointer_and_stands_as_a_table_too(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/a?period=12mo&compare=year_over_year")
        eventually(found, "#range-total", r"\d")
        box = found.locator("#chart .u-over").bounding_box()
        found.mouse.move(box["x"] + box["width"] - 12, box["y"] + 40)
        assert re.match(r"\w+ \d{4}: -?[\d,]+ · before: ", eventually(found, "#readout", "before"))
        found.click("#table summary")
        found.wait_for_selector("#points tbody tr:nth-child(12)")
        points = rows(found, "#points tbody tr")
        assert len(points) == 12 and sum(number(cells[1]) for cells in points) == number(
            found.text_content("#range-total")
        )
        assert points[-1][-1] == "In progress"


@pytest.mark.parametrize(
    ("name", "path", "context"),
    [
        ("dark", "/stats/creator_id/c1?period=12mo", {"color_scheme": "dark"}),
        ("phone", "/stats/creator_id/c1?period=7d", {"viewport": {"width": 360, "height": 780}, "has_touch": True}),
        ("finder", "/stats", {}),
        ("embed", "/embed/plays/a?label=listens", {"viewport": {"width": 220, "height": 50}}),
        ("missing", "/stats/nothing/a", {}),
    ],
)
def test_every_page_is_fit_for_screen_readers_and_never_wider_than_its_screen(
    site: str, chromium: Any, name: str, path: str, context: dict[str, Any]
) -> None:
    with page(chromium, site, expected_errors=name == "missing", **context) as found:
        found.goto(site + path)
        found.wait_for_timeout(1200)
        found.screenshot(path=shot(name), full_page=True)
        assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(found) == []


def test_a_hostile_key_is_text_and_its_count_is_shown(served: Served, site: str, chromium: Any) -> None:
    now = f"{datetime.now(UTC):%FT%TZ}"
    served.stream([json.dumps({"event_id": "h1", "type": "play", "occurred_at": now, "track_id": HOSTILE}).encode()])
    with page(chromium, site) as found:
        found.on("dialog", lambda _: pytest.fail("the key was run"))
        for path in (f"/stats/track_id/{quote(HOSTILE)}", f"/stats/plays?key={quote(HOSTILE)}"):
            found.goto(site + path)
            eventually(found, TOTAL, "^1$")
            assert found.text_content("h1") == HOSTILE


def test_keys_are_found_as_they_are_typed(served: Served, site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats")
        eventually(found, "#found", "found")
        found.fill("input[name=key]", "b/")
        eventually(found, "#found", "^1 found")
        found.click("#keys a")
        eventually(found, TOTAL, r"\d")
        assert number(found.text_content(TOTAL)) == truth(served, "plays", "b/c")
        found.goto(f"{site}/stats/creator_id")
        eventually(found, "#found", "found")
        found.fill("input[name=key]", "never heard of")
        found.keyboard.press("Enter")
        eventually(found, TOTAL, "^0$")


def test_a_zone_that_the_counter_cannot_be_cut_by_is_shown_in_utc_and_said_so(
    serve: Callable[..., str], chromium: Any
) -> None:
    hourly = json.dumps([{"name": "plays", "key": "track_id", "weights": {"play": 1}}])
    site = serve(STITCH_COUNTERS=hourly)
    with page(chromium, site, expected_errors=1, timezone_id="Asia/Kolkata") as found:
        found.goto(f"{site}/stats/track_id/a")
        eventually(found, "#note", r"^Shown in UTC: Plays is kept by whole hours")
        eventually(found, "#bounds", "UTC")


def test_a_page_asks_for_the_token_that_is_needed(served: Served, serve: Callable[..., str], chromium: Any) -> None:
    tokens = json.dumps({"me": {"sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}})
    site = serve(STITCH_SERVING__TOKENS=tokens)
    with page(chromium, site, expected_errors=9) as found:
        found.goto(f"{site}/stats/track_id/a")
        found.wait_for_selector("dialog[open]")
        found.fill("dialog input", "secret")
        found.click("dialog button.primary")
        assert number(eventually(found, TOTAL, r"\d")) == truth(served, "plays", "a")


def test_a_link_opens_one_key_in_a_page_and_in_a_frame_and_no_other(
    served: Served, serve: Callable[..., str], chromium: Any
) -> None:
    secret = "s" * 32
    site = serve(STITCH_SERVING__TOKEN_SECRETS=secret)
    signs = served.stack.settings.serving.model_copy(update={"token_secrets": SecretStr(secret)})
    settings = served.stack.settings.model_copy(update={"serving": signs})
    link = link_of(settings, "plays", "a", timedelta(days=1), site)
    with page(chromium, site, expected_errors=9) as found:
        found.goto(link.page)
        assert number(eventually(found, TOTAL, r"\d")) == truth(served, "plays", "a")
        found.select_option("select[name=period]", "24h")  # which makes another address of it
        found.reload()
        assert number(eventually(found, TOTAL, r"\d")) == truth(served, "plays", "a")
        found.goto(f"{site}/stats/plays/b%2Fc")
        eventually(found, "#freshness", "Your token does not give access")
    with page(chromium, site, expected_errors=1) as found:
        found.goto(link.frame)
        assert number(eventually(found, "#count", r"\d")) == truth(served, "plays", "a")
    with page(chromium, site, expected_errors=1) as found:
        found.goto(f"{site}/embed/plays/a")
        eventually(found, "#note", "–")
    with page(chromium, site, expected_errors=1) as found:
        found.goto(f"{site}/stats/plays/a")
        found.wait_for_selector("dialog[open]")
        assert "track_id" not in found.content()  # nothing of a counter that is not public


def test_when_the_reader_goes_away_what_is_shown_stays_and_it_comes_back(site: str, chromium: Any) -> None:
    with page(chromium, site, expected_errors=99) as found:
        found.goto(f"{site}/stats/track_id/a")
        shown = eventually(found, TOTAL, r"\d")
        found.route("**/v1/**", lambda route: route.abort())
        assert "Shown as of" in eventually(found, "#freshness", "cannot be reached")
        assert found.text_content(TOTAL) == shown
        counters = {"plays": {"cutoff": None, "as_of": None}}
        partial = {"realtime_through": None, "counters": counters, "partial": True, "missing": ["batch"]}
        found.unroute("**/v1/**")
        found.route(
            "**/v1/totals*",
            lambda route: route.fulfill(
                json={"query": {}, "meta": partial, "data": [{"key": "a", "counts": {"plays": 3}}]}
            ),
        )
        assert "Shown as of" in eventually(found, "#freshness", "^Older events are missing right now")
        found.unroute("**/v1/totals*")
        eventually(found, "#freshness", "Live|Delayed")


def test_a_count_can_be_embedded_in_a_page_of_any_origin_but_other_pages_cannot(
    served: Served, site: str, chromium: Any
) -> None:
    (port,) = free_ports(1)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            frames = "".join(
                f'<iframe src="{site}{path}"></iframe>' for path in ("/embed/plays/a", "/stats/track_id/a")
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html>{frames}".encode())

        def log_message(self, *_: Any) -> None:
            return None

    server = HTTPServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = chromium.new_page()
        found.goto(f"http://127.0.0.1:{port}/")
        embedded, refused = (found.frames[1], found.frames[2])
        embedded.wait_for_function("() => /\\d/.test(document.getElementById('count').textContent)")
        assert number(embedded.text_content("#count")) == truth(served, "plays", "a")
        assert refused.query_selector("#stats") is None
        found.close()
    finally:
        server.shutdown()
        server.server_close()


def test_the_api_is_documented_on_a_page_of_its_own(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/docs")
        found.wait_for_selector(".opblock-summary-path")
        paths = {text.replace("\u200b", "") for text in found.locator(".opblock-summary-path").all_text_contents()}
        assert {"/v1/totals", "/v1/series", "/v1/top", "/v1/keys", "/v1/corrections"} <= paths
        found.screenshot(path=shot("docs"))


def test_two_workers_count_their_requests_together(site: str) -> None:
    for _ in range(20):
        requests.get(f"{site}/v1/totals?counters=plays&key=a", timeout=5)
    seen = {
        int(found[1])
        for found in (
            re.search(r'stitch_http_requests_total\{endpoint="totals",method="GET",status="200"\} (\d+)', text)
            for text in (requests.get(f"{site}/metrics", timeout=5).text for _ in range(6))
        )
        if found
    }
    assert len(seen) == 1 and seen.pop() >= 20
