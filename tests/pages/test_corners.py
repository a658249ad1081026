"""What pages got wrong once, or could: odd keys, missing tokens, nothing counted, other languages, a silent reader."""

from __future__ import annotations

import hashlib
import re
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from stitch.buckets import EPOCH, bucket_of
from stitch.merge import Total
from tests.browser import eventually, page, rows, shot, violations
from tests.pages.conftest import Serve
from tests.pages.music import Music, settings
from tests.pages.test_stats import ready

TOKEN = "s3cret"
TOKENS = {"me": {"sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "list_keys": True}}


@pytest.fixture(scope="module")
def private(serve: Serve, music: Music) -> str:
    return serve(music, settings(tokens=TOKENS))


def test_a_private_page_asks_for_a_token_once_and_by_a_button_after_that(private: str, chromium: Any) -> None:
    shown = {"/stats": "#keys a", "/charts/plays": ".ranked tbody tr"}
    for path in ("/stats/track_id/t1", "/stats", "/stats/likes/t1", "/charts/plays"):
        with page(chromium, private, expected_errors=9) as found:
            found.goto(private + path)
            found.wait_for_selector("dialog[open]")
            found.click("dialog button:has-text('Cancel')")
            found.wait_for_timeout(2500)
            assert not found.is_visible("dialog")
            assert violations(found) == []
            found.click("text=Enter a token")
            found.fill("dialog input", "wrong")
            found.keyboard.press("Enter")
            eventually(found, "#token-reason", "does not give access")
            found.wait_for_selector("dialog[open]")
            found.fill("dialog input", TOKEN)
            found.click("dialog button.primary")
            found.wait_for_selector(shown.get(path, ".tile:has-text('Likes')"))


def test_a_token_that_ends_meanwhile_is_asked_for_once_and_by_a_button_after_that(private: str, chromium: Any) -> None:
    with page(chromium, private, expected_errors=99) as found:
        found.goto(f"{private}/stats/track_id/t1#token={TOKEN}")
        ready(found)
        found.route("**/v1/**", lambda route: route.fulfill(status=401, json={"detail": "expired"}))
        found.wait_for_selector("dialog[open]")
        found.keyboard.press("Escape")
        eventually(found, "#freshness", "private")
        found.wait_for_timeout(5000)  # two more turns
        assert not found.is_visible("dialog")
        found.unroute("**/v1/**")
        found.click("#retoken")
        found.fill("dialog input", TOKEN)
        found.keyboard.press("Enter")
        eventually(found, "#freshness", "^(Live|Delayed)")
        assert not found.is_visible("#retoken")
        with found.expect_download() as download:  # a link alone would be refused
            found.click("#csv")
        assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbfstart,end,plays,")
        assert download.value.suggested_filename == "plays-t1.csv"


def test_a_page_shows_the_counters_that_a_token_reads_of_this_key(serve: Serve, music: Music, chromium: Any) -> None:
    link = {"sha256": TOKENS["me"]["sha256"], "counters": ["likes"], "keys": ["t1"]}
    site = serve(music, settings(tokens={"link": link}, public=["plays"]))
    with page(chromium, site, expected_errors=9) as found:
        for key, titles in (("t1", ["Plays", "Likes"]), ("t2", ["Plays"])):
            found.goto(f"{site}/stats/track_id/{key}#token={TOKEN}")
            ready(found)
            assert found.locator(".tile-title").all_text_contents() == titles


def test_where_names_are_not_listed_a_page_is_opened_by_a_full_name(serve: Serve, music: Music, chromium: Any) -> None:
    site = serve(music, settings(tokens=TOKENS, public=["plays"]))
    with page(chromium, site, expected_errors=9) as found:
        found.goto(f"{site}/stats")
        eventually(found, "#reason", "^Names cannot be listed here")
        assert not found.is_visible("dialog") and found.is_visible("#retoken")
        found.fill("[name=key]", "t1")
        found.keyboard.press("Enter")
        eventually(found, ".tile-total", r"\d")


CONTROL = ["\x00nul", "cr\rlf\n", "tab\t", "a b", " ", "..", "/a", "a/b?c#d%2F", "\"<b>&'", "{{ key }}", "ü 🎵"]


@pytest.mark.parametrize("key", CONTROL, ids=[ascii(key) for key in CONTROL])
def test_a_key_of_any_characters_is_asked_for_as_it_is(serve: Serve, music: Music, chromium: Any, key: str) -> None:
    own = copy(music)
    own.slices = {("plays", key, "all"): {EPOCH: Total(4321, music.cutoff)}}
    site = serve(own)
    with page(chromium, site) as found:
        found.on("dialog", lambda _: pytest.fail("the key was run"))
        found.goto(f"{site}/stats/track_id?key={quote(key, safe='')}")
        eventually(found, ".tile-total", "^4,321$")
        assert found.evaluate("document.title").startswith("\u2068")
        picture = key.replace("\x00", "␀").replace("\r", "␍").replace("\n", "␊").replace("\t", "␉")
        assert found.text_content("#name") == picture
        path = found.evaluate("key => import('/static/api.js').then(({ link }) => link('track_id', key))", key)
        found.goto(site + path)
        eventually(found, ".tile-total", "^4,321$")


def test_nothing_against_nothing_is_no_change_and_not_good(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/never?compare=previous_period")
        eventually(found, "#change", "^no change$")
        quiet, shown = found.evaluate(
            "['--quiet', '#change'].map(one => one[0] === '#' ? getComputedStyle(document.querySelector(one)).color"
            " : getComputedStyle(document.documentElement).getPropertyValue(one))"
        )
        assert shown == "rgb(103, 98, 91)" and quiet == "#67625b"


@pytest.mark.parametrize("width", [320, 1440])
def test_a_chart_of_one_point_and_of_huge_counts_is_whole(
    serve: Serve, music: Music, chromium: Any, width: int
) -> None:
    """One month in all of time, and labels of thirteen digits."""
    own = copy(music)
    month = bucket_of(music.cutoff, "month").start
    huge = Total(9_876_543_210_123, music.cutoff)
    own.slices = {
        ("plays", "huge", granularity): {bucket_of(month, granularity).start: huge}
        for granularity in ("hour", "day", "month", "all")
    }
    own.increment_rows = own.member_increment_rows = []
    site = serve(own)
    with page(chromium, site, viewport={"width": width, "height": 800}) as found:
        found.add_init_script(
            "window.drawn = [];"
            "const fill = CanvasRenderingContext2D.prototype.fillText;"
            "CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {"
            "  const wide = this.measureText(text).width;"
            "  const left = { right: x - wide, end: x - wide, center: x - wide / 2 }[this.textAlign] ?? x;"
            "  window.drawn.push({ text, left, right: left + wide, width: this.canvas.width });"
            "  return fill.apply(this, arguments); };"
        )
        found.goto(f"{site}/stats/track_id/huge?period=all&tz=UTC")
        ready(found)
        found.wait_for_timeout(300)
        found.screenshot(path=shot(f"huge-{width}"), full_page=True)
        drawn = found.evaluate("window.drawn")
        assert len(drawn) > 5 and [one for one in drawn if one["left"] < 0 or one["right"] > one["width"]] == []
        assert not {one["text"] for one in drawn} & {
            str(music.now.year - 1),
            str(music.now.year + 1),
        }  # one month alone
        tile = found.locator(".tile-total").first
        assert tile.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_a_screen_reader_is_told_of_changes_and_not_of_seconds(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        found.evaluate(
            "window.told = []; for (const one of document.querySelectorAll('[role=status],[role=alert],[aria-live]'))"
            "  new MutationObserver(() => window.told.push(one.textContent))"
            "    .observe(one, { childList: true, characterData: true, subtree: true })"
        )
        found.wait_for_timeout(5000)
        assert found.evaluate("window.told") == []
        found.select_option("[name=period]", "7d")
        eventually(found, "#announce", "^Plays, Last 7 days: ")
        assert len(found.evaluate("window.told")) == 1


@pytest.mark.parametrize("language", ["ar-EG", "fa-IR", "hi-IN-u-nu-deva", "th-TH", "de-DE", "he-IL"])
def test_digits_are_latin_and_years_gregorian_in_every_language(site: str, chromium: Any, language: str) -> None:
    with page(chromium, site, locale=language) as found:
        found.goto(f"{site}/stats/track_id/t1?start=2026-01-01&end=2026-01-31&granularity=day")
        ready(found)
        found.click("#table summary")
        found.wait_for_selector("#points tbody tr:nth-child(31)")
        text = found.evaluate("document.querySelector('main').innerText")
        assert not re.search(r"[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u0e50-\u0e59]", text)
        assert "2026" in str(found.text_content("#bounds"))
        assert re.match(r"\D*1\D", str(found.text_content("#bounds")))  # a day, without the hour of its midnight
        assert "00:00" not in str(found.text_content("#bounds"))


def test_names_from_right_to_left_leave_the_words_around_them_in_place(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1")
        ready(found)
        found.wait_for_selector("#top tbody tr")
        names = found.locator("#top tbody th").evaluate_all(
            "all => all.map(one => one.querySelector('bdi').textContent)"
        )
        assert names == [cells[0] for cells in rows(found, "#top tbody tr")]
        assert "\u05e9\u05dc\u05d5\u05dd (\u05e8\u05d3\u05d9\u05d5)" in names


def test_without_javascript_a_page_says_what_it_needs(site: str, chromium: Any) -> None:
    for path in ("/stats/track_id/t1", "/stats", "/status", "/docs", "/embed/plays/t1", "/charts/plays"):
        with page(chromium, site, java_script_enabled=False) as found:
            found.goto(site + path)
            assert "needs JavaScript" in found.inner_text("body"), path


WRONG = {
    "start=2026-03-01&end=2026-01-01": "The range must end after it begins. Choose other dates.",
    "start=1990-01-01&end=2026-01-01&granularity=hour": "too much for one chart",
    "start=2026-03-01&end=2026-03-02&granularity=fortnight": None,  # steps that are not offered are not asked for
    "period=fortnight&compare=nothing": None,
}


@pytest.mark.parametrize(("query", "said"), WRONG.items())
def test_what_cannot_be_shown_is_said_in_plain_words(site: str, chromium: Any, query: str, said: str | None) -> None:
    with page(chromium, site, expected_errors=20) as found:
        found.goto(f"{site}/stats/track_id/t1?{query}")
        if not said:
            ready(found)
            assert found.is_hidden("#note")
            return
        text = eventually(found, "#note", said)
        assert not re.search(r"[`_=\[]|max_|start:|end:", text)
        eventually(found, ".tile-total", r"\d")  # all else is shown


def test_a_zone_between_the_hours_is_shown_in_utc_and_said_so(site: str, chromium: Any) -> None:
    with page(chromium, site, expected_errors=9, timezone_id="Asia/Kolkata") as found:
        found.goto(f"{site}/stats/track_id/t1")
        assert "_" not in eventually(found, "#note", r"^Shown in UTC: Plays is kept by whole hours")
        eventually(found, "#bounds", "UTC$")
        found.goto(f"{site}/stats/creator_id/c1")  # kept by the minute
        eventually(found, "#bounds", "Asia/(Kolkata|Calcutta)$")
        assert found.is_hidden("#note")


def test_a_whole_count_stays_while_a_newer_one_lacks_something(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        shown = found.text_content(".tile-total")
        until = {name: {"cutoff": None, "as_of": None} for name in ("plays", "likes")}
        meta = {"realtime_through": None, "counters": until, "partial": True, "missing": ["batch"]}
        answer = {"query": {}, "meta": meta, "data": [{"key": "t1", "counts": {"plays": 3, "likes": None}}]}
        found.route("**/v1/totals*", lambda route: route.fulfill(json=answer))
        eventually(found, "#freshness", "^Older events are missing right now · Shown as of ")
        assert found.text_content(".tile-total") == shown
        found.goto(f"{site}/stats/track_id/t1")  # nothing whole to show
        eventually(found, "#freshness", "^Older events are missing right now$")
        eventually(found, ".tile-total", "^3$")


def test_an_embedded_count_says_as_of_when_it_is_where_that_is_not_now(
    serve: Serve, music: Music, chromium: Any
) -> None:
    for minutes, said in ((0, "^$"), (9, r"^as of .*\d\d:\d\d$")):
        moved = copy(music)
        moved.through = datetime.now(UTC) - timedelta(minutes=minutes)
        site = serve(moved)
        with page(chromium, site, viewport={"width": 240, "height": 60}) as found:
            found.goto(f"{site}/embed/plays/t1")
            eventually(found, "#count", r"\d")
            eventually(found, "#as-of", said)
            assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert violations(found) == []


def test_a_link_with_a_token_shows_what_is_private_and_goes_on_to_other_counters(private: str, chromium: Any) -> None:
    with page(chromium, private, expected_errors=2) as found:  # the page is asked for again with the token
        found.goto(f"{private}/stats/track_id/t1#token={TOKEN}")
        ready(found)
        found.click(".tile:has-text('Likes')")
        eventually(found, "#chart-title", "^Likes$")
        found.reload()
        ready(found)


def test_counts_that_lag_are_called_delayed(serve: Serve, music: Music, chromium: Any) -> None:
    late = copy(music)
    late.through = music.now - timedelta(minutes=9)
    site = serve(late)
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1")
        eventually(found, "#freshness", "^Delayed: counted up to ")
        assert found.get_attribute("#freshness", "data-state") == "late"
        eventually(found, "#announce", "delayed")


def test_a_reader_that_goes_away_leaves_what_is_shown_and_is_heard_of_once(site: str, chromium: Any) -> None:
    with page(chromium, site, expected_errors=99) as found:
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        shown = found.text_content(".tile-total")
        found.route("**/v1/**", lambda route: route.abort())
        eventually(found, "#freshness", "cannot be reached. Trying again.* Shown as of")
        eventually(found, "#announce", "cannot be reached")
        assert found.text_content(".tile-total") == shown
        found.unroute("**/v1/**")
        eventually(found, "#freshness", "^(Live|Delayed)")


def test_the_status_page_tells_operators_the_layers_the_runs_and_the_corrections(
    serve: Serve, music: Music, chromium: Any
) -> None:
    failing = copy(music)
    site = serve(failing)
    with page(chromium, site) as found:
        found.goto(f"{site}/status")
        found.wait_for_selector("#runs tbody tr")
        first, second = rows(found, "#runs tbody tr")
        assert first[1:3] == ["incremental", "Published"] and first[4:] == ["120,450", "12", "0", "381", "0"]
        assert second[1:3] == ["full", "Refused by the publish guard"] and second[8] == "1"
        assert [cells[1] for cells in rows(found, "#cutoffs tbody tr")][:2] == ["plays", "likes"]
        found.wait_for_selector("#corrections li")
        assert len(found.locator("#corrections li").all()) == 2
        failing.down = {"realtime"}
        eventually(found, "#layers", "Not answering")


def test_the_status_page_does_not_take_a_cutoff_that_is_not_known_for_none(
    serve: Serve, music: Music, chromium: Any
) -> None:
    away = copy(music)
    away.down = {"batch"}
    site = serve(away)
    with page(chromium, site, expected_errors=99) as found:
        found.goto(f"{site}/status")
        eventually(found, "#cutoffs", "Not known until the batch layer answers")
        away.down = set()
        assert "Not known" not in eventually(found, "#cutoffs", r"\d\d:\d\d")
