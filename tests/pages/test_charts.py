"""The page of a chart in a real browser: who is in it, what is chosen, and what is said of how sure it is."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest
import requests

from serving.reading import charts
from stitch.buckets import EPOCH
from stitch.merge import Total
from tests.browser import eventually, page, rows
from tests.pages.conftest import Serve
from tests.pages.music import HEBREW, Music, ranking

ROWS = ".ranked tbody tr"
NAMES = {"t1": "Night Drive", "t2": "Morning (Radio Edit)", HEBREW: HEBREW}


def asked(site: str, query: str) -> Any:
    return requests.get(f"{site}/v1/chart?counter=plays&{query}", timeout=10).json()


def test_a_chart_ranks_the_things_of_a_week_with_their_changes_and_leads_to_their_pages(
    site: str, chromium: Any
) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/charts/plays")
        found.wait_for_selector(ROWS)
        answer = asked(site, "period=7d&compare=previous_period")
        changes = [f"{one['change'] * 100:+.1f}".removesuffix(".0") + "%" for one in answer["comparison"]["data"]]
        assert rows(found, ROWS) == [
            [NAMES[one["key"]], f"{one['count']:,}", change]
            for one, change in zip(answer["keys"], changes, strict=True)
        ]
        assert found.text_content("h1") == "Plays by track" and found.text_content("#range") == "Last 7 days"
        assert "UTC, compared with" in found.text_content("#bounds")
        assert found.text_content("#known").startswith("Who is listed was decided by what was counted up to ")
        eventually(found, "#freshness", "^Live")
        shares = found.locator(ROWS).evaluate_all("all => all.map(one => one.style.getPropertyValue('--share'))")
        assert shares[0] == "1" and 0 < float(shares[2]) < float(shares[1]) < 1
        found.click(f"{ROWS} a")
        eventually(found, "#name", "^Night Drive$")


def test_what_is_chosen_is_in_the_address_and_back_goes_back(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/charts/plays?period=nonsense")
        found.wait_for_selector(ROWS)
        found.select_option("[name=order]", "rising")
        eventually(found, "#change", "^More$")
        found.select_option("[name=period]", "30d")
        eventually(found, "#range", "^Last 30 days$")
        assert found.evaluate("location.search") == "?period=30d&order=rising"
        answer = asked(site, "period=30d&order=rising")
        more = [one["current"] - one["previous"] for one in answer["comparison"]["data"]]
        assert [cells[2] for cells in rows(found, ROWS)] == [f"+{by:,}" for by in more]
        eventually(found, "#announce", "^Last 30 days: 3 listed$")
        found.go_back()
        eventually(found, "#range", "^Last 7 days$")
        assert found.input_value("[name=order]") == "rising"
        found.select_option("[name=period]", "all")
        eventually(found, "#range", "^All time$")
        assert found.is_disabled("[name=order]") and found.is_hidden("#change")
        assert [len(cells) for cells in rows(found, ROWS)] == [2, 2, 2]


def test_more_are_shown_on_demand_and_a_chart_that_lists_do_not_decide_says_so(
    serve: Serve, music: Music, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = copy(music)
    counts = {f"m{n:02}": 200 - n for n in range(45)}
    many.slices = {("plays", key, "all"): {EPOCH: Total(count, music.cutoff)} for key, count in counts.items()}
    many.lists = {("all", EPOCH): ranking([(-count, key) for key, count in counts.items()], music.cutoff)}
    site = serve(many)
    with page(chromium, site) as found:
        found.goto(f"{site}/charts/plays?period=all")
        found.wait_for_selector(f"{ROWS}:nth-child(10)")
        assert found.is_hidden("#unsure")
        found.click("#more")
        found.wait_for_selector(f"{ROWS}:nth-child(30)")
        found.click("#more")
        found.wait_for_selector(f"{ROWS}:nth-child(45)")
        eventually(found, f"{ROWS}:nth-child(45)", "^m44156$")
        assert found.is_hidden("#more")
        monkeypatch.setattr(charts, "RANKED_KEYS", 45)  # then there may be others behind
        found.wait_for_selector("#unsure", state="visible")
        with found.expect_download() as download:
            found.click("#csv")
        assert download.value.path().read_text("utf-8-sig").startswith("key,count\nm00,200\n")
        assert download.value.suggested_filename == "plays-all.csv"


def test_a_chart_without_anybody_says_so_and_one_that_cannot_be_had_is_tried_again(
    serve: Serve, music: Music, chromium: Any
) -> None:
    empty = copy(music)
    empty.lists, empty.charted_with_it = {}, False
    site = serve(empty)
    with page(chromium, site, expected_errors=9) as found:
        found.goto(f"{site}/charts/plays")
        eventually(found, "#freshness", "not available right now. Trying again")
        assert found.is_hidden("#content")
        empty.charted_with_it = True
        found.wait_for_selector("#nobody", state="visible")
        assert found.text_content("#nobody") == "Nothing was counted in this range."


def test_the_finder_leads_to_the_charts_of_what_it_lists(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id")
        found.click("#charts a:has-text('Plays by track')")
        found.wait_for_selector(ROWS)
        found.click(".crumb a")
        found.wait_for_selector("#charts a")
        found.select_option("[name=field]", "creator_id")
        found.wait_for_selector("#charts", state="hidden")


def test_a_counter_without_a_chart_has_no_page_of_one(site: str) -> None:
    found = {name: requests.get(f"{site}/charts/{name}", timeout=10).status_code for name in ("plays", "likes", "no")}
    assert found == {"plays": 200, "likes": 404, "no": 404}
