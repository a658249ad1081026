"""The page of one thing in a real browser: all its numbers, the chart, and what is chosen."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.browser import eventually, number, page, rows, shot, violations
from tests.pages.conftest import Serve
from tests.pages.music import HEBREW, Music, settings

NUMBERS = """() => {
  const totals = [...document.querySelectorAll('.tile-total')];
  return totals.length > 0 && totals.every(one => /\\d/.test(one.textContent));
}"""


def get(site: str, path: str) -> Any:
    return requests.get(site + path, timeout=10).json()


def ready(found: Any) -> None:
    """Once there is a number in every tile and a chart."""
    found.wait_for_function(NUMBERS, timeout=15_000)
    eventually(found, "#range-total", r"\d")
    found.wait_for_selector("#chart canvas")


def test_a_page_shows_every_counter_of_a_thing_and_asks_for_all_at_once(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        asked: list[str] = []
        found.on("request", lambda request: asked.append(request.url))
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        counters = "plays,likes,listened_seconds,plays_by_country"
        counts = get(site, f"/v1/totals?counters={counters}&key=t1")["data"][0]["counts"]
        shown = dict(
            zip(*(found.locator(f".tile-{part}").all_text_contents() for part in ("title", "total")), strict=True)
        )
        assert shown == {
            "Plays": f"{counts['plays']:,}", "Likes": f"{counts['likes']:,}",
            "Listening time": f"{counts['listened_seconds']:,}", "Plays by country": f"{counts['plays_by_country']:,}",
        }  # fmt: skip
        found.wait_for_selector(".spark path[d^='M']", state="attached")
        hours = [url for url in asked if "period=48h" in url]
        assert len(hours) == 1 and quote(counters) in hours[0]  # one request for all the lines
        recent = get(site, "/v1/series?counters=plays&key=t1&granularity=hour&period=48h")
        assert found.locator(".tile-now").first.text_content() == (
            f"{recent['points'][-1]['counts']['plays']:,} this hour · {recent['totals']['plays']:,} in 48 hours"
        )


def test_a_tile_is_chosen_for_the_chart_and_back_goes_back(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        assert found.text_content(".tile[aria-current] .tile-title") == "Plays"
        found.click(".tile:has-text('Likes')")
        found.wait_for_url(re.compile(r"counter=likes"))
        eventually(found, "#chart-title", "^Likes$")
        likes = get(site, "/v1/series?counters=likes&key=t1&period=30d&tz=Europe/Berlin")["totals"]["likes"]
        eventually(found, "#range-total", f"^{likes:,}$")
        eventually(found, "#announce", f"^Likes, Last 30 days: {likes:,}$")
        found.click(".tile:has-text('Listening time')")
        eventually(found, "#range-total", r"\d seconds$")
        found.go_back()
        eventually(found, "#chart-title", "^Likes$")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/stats/likes/t1?period=7d&tz=UTC", "/stats/track_id/t1?period=7d&tz=UTC&counter=likes"),
        ("/stats/plays?key=a%2Fb%26", "/stats/track_id?counter=plays&key=a%2Fb%26"),
        ("/stats/creator_plays", "/stats/creator_id?counter=creator_plays"),
        ("/stats/plays/a?_external=1&name=x&_scheme=gopher",
         "/stats/track_id/a?_external=1&name=x&_scheme=gopher&counter=plays"),
    ],
)  # fmt: skip
def test_an_old_address_leads_to_the_page_of_the_thing(site: str, old: str, new: str) -> None:
    answer = requests.get(site + old, timeout=10, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, new)


def test_members_lead_on_to_their_pages_with_share_and_change(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1?period=last_month&compare=previous_period&tz=UTC")
        ready(found)
        found.wait_for_selector("#top td.change")
        path = "/v1/top?counter=creator_plays&key=c1&period=last_month&compare=previous_period"
        top = get(site, path)
        change = top["comparison"]["data"][0]["change"]
        first = rows(found, "#top tbody tr")[0]
        assert first[:3] == ["Night Drive", f"{top['members'][0]['count']:,}", "50%"]
        assert float(first[3].rstrip("%").replace("−", "-")) == pytest.approx(100 * change, abs=0.06)
        found.click("#top tbody a:has-text('Night Drive')")
        found.wait_for_url(f"{site}/stats/track_id/t1")
        ready(found)
        assert found.text_content("h1") == "Night Drive"


def test_all_pages_work_below_a_path_of_a_proxy(serve: Serve, music: Music, chromium: Any) -> None:
    chosen = settings(trusted_proxies=1)
    site = serve(music, chosen, below="/counts")
    with page(chromium, site) as found:  # which is given no answer but those below /counts
        found.goto(f"{site}/stats")
        found.wait_for_selector("a[href^='/counts/stats/']")
        found.goto(f"{site}/stats/creator_id/c1?period=last_month&tz=UTC")
        ready(found)
        found.click("#top tbody a:has-text('Night Drive')")
        found.wait_for_url(f"{site}/stats/track_id/t1")
        ready(found)
        found.click(".tile:has-text('Likes')")
        found.wait_for_url(re.compile(r"/counts/stats/track_id/t1\?.*counter=likes"))
        with found.expect_download() as download:
            found.click("#csv")
        assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbfstart,end,likes,")
        for path, selector in (("/embed/plays/t1", "#count"), ("/status", "#cutoffs"), ("/docs", "#docs")):
            found.goto(site + path)
            eventually(found, selector, r"\d")


def test_more_members_are_shown_on_demand(serve: Serve, music: Music, chromium: Any) -> None:
    many = music.live()
    for n in range(45):
        many.add("creator_plays", "c2", music.now.replace(minute=0, second=0, microsecond=0), 100 - n, f"m{n:02}")
    site = serve(many)
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c2?period=24h")
        ready(found)
        found.wait_for_selector("#top tbody tr:nth-child(11)")
        assert rows(found, "#top tbody tr")[-1][0] == "Others"
        found.click("#top button")
        found.wait_for_selector("#top tbody tr:nth-child(31)")
        found.click("#top button")
        found.wait_for_selector("#top tbody tr:nth-child(45)")
        assert found.locator("#top tbody tr").count() == 45 and not found.is_visible("#top button")


def test_ranges_are_stepped_through_and_zoomed_into(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1?start=2026-02-01&end=2026-02-28&granularity=day")
        ready(found)
        eventually(found, "#bounds", r"^1\s?–\s?28 Feb 2026, Europe/Berlin")
        found.click("[name=earlier]")
        eventually(found, "#bounds", r"^1\s?–\s?31 Jan 2026")  # a month, not 28 days
        found.click("[name=earlier]")
        eventually(found, "#bounds", r"^1\s?–\s?31 Dec 2025")
        found.click("[name=later]")
        eventually(found, "#bounds", r"^1\s?–\s?31 Jan 2026")
        assert "start=2026-01-01&end=2026-01-31" in found.url
        box = found.locator("#chart .u-over").bounding_box()
        day = box["width"] / 31
        found.mouse.move(box["x"] + 9.5 * day, box["y"] + 50)
        found.mouse.down()
        found.mouse.move(box["x"] + 12.5 * day, box["y"] + 60, steps=4)
        found.mouse.up()
        eventually(found, "#bounds", r"^10\s?–\s?13 Jan 2026")  # by the hour, since these are four days
        assert found.input_value("[name=granularity]") == "hour"
        found.go_back()
        eventually(found, "#bounds", r"^1\s?–\s?31 Jan 2026")


def test_the_last_hour_is_shown_by_the_minute_where_minutes_are_kept(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1?period=1h")
        ready(found)
        assert found.input_value("[name=granularity]") == "minute" and found.is_disabled("[name=granularity]")
        found.click("summary:has-text('Table')")
        found.wait_for_selector("#points tbody tr:nth-child(60)")
        found.click(".tile:has-text('Likes')")  # kept by the hour
        eventually(found, "#chart-title", "Likes")
        assert found.input_value("[name=period]") == "24h"


@pytest.mark.parametrize("by", ["day", "week", "month"])
def test_the_same_dates_have_the_same_sum_whatever_the_steps(site: str, chromium: Any, by: str) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1?start=2026-01-15&end=2026-10-20&granularity={by}")
        ready(found)
        whole = get(
            site, "/v1/totals?counters=plays&key=t1&start=2026-01-15T00:00&end=2026-10-21T00:00&tz=Europe/Berlin"
        )
        eventually(found, "#bounds", "^15 Jan – 20 Oct 2026")
        assert number(found.text_content("#range-total")) == whole["data"][0]["counts"]["plays"]


def test_a_comparison_has_a_legend_and_the_best_day_is_named(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1?period=last_month&compare=year_over_year&tz=UTC")
        ready(found)
        found.wait_for_selector("#legend:not([hidden])")
        assert found.locator("#legend li").all_text_contents() == ["Plays", "Previous year"]
        points = get(site, "/v1/series?counters=plays&key=t1&period=last_month")["points"]
        best = max(points, key=lambda point: point["counts"]["plays"])
        assert re.fullmatch(rf"Best day: .*\({best['counts']['plays']:,}\)", eventually(found, "#best", "Best"))
        found.select_option("[name=compare]", "")
        found.wait_for_selector("#legend", state="hidden")


def test_a_table_is_changed_where_it_differs_so_that_a_selection_stays(
    serve: Serve, music: Music, chromium: Any
) -> None:
    moving = music.live()
    site = serve(moving)
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/creator_id/c1?period=7d")
        ready(found)
        found.click("summary:has-text('Table')")
        found.wait_for_selector("#points tbody tr:nth-child(7)")
        found.evaluate("getSelection().selectAllChildren(document.querySelector('#points tbody tr:nth-child(2)'))")
        chosen = found.evaluate("String(getSelection())")
        last = "#points tbody tr:nth-child(7) td"
        before = number(found.text_content(last))
        moving.add("creator_plays", "c1", music.now.replace(minute=0, second=0, microsecond=0), 1000, "t1")
        eventually(found, last, f"^{before + 1000:,}$")
        assert chosen and found.evaluate("String(getSelection())") == chosen
        focused = found.locator("#top tbody a").first
        focused.focus()
        found.wait_for_timeout(4500)  # two more turns
        assert found.evaluate("document.activeElement.closest('#top') !== null")


def test_corrections_are_told_in_a_sentence(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1")
        ready(found)
        found.wait_for_selector("#corrections li")
        lines = found.locator("#corrections li").all_text_contents()
        assert re.fullmatch(r"3 plays of \d+ \w+ \d{4} were added: events that arrived late\.", lines[0])
        assert re.match(r"12 plays of \d+ \w+ \d{4} were removed: duplicates", lines[1])
        found.click(".tile:has-text('Likes')")
        found.wait_for_selector("#corrections", state="hidden")


def test_csv_is_downloaded_while_comparing(site: str, chromium: Any) -> None:
    with page(chromium, site) as found:
        found.goto(f"{site}/stats/track_id/t1?period=7d&compare=previous_period")
        ready(found)
        with found.expect_download() as download:
            found.click("#csv")
        text = download.value.path().read_text("utf-8-sig")
        assert text.startswith("start,end,plays,") and len(text.splitlines()) == 8


SIZES = [(320, "dark"), (320, "light"), (768, "light"), (768, "dark"), (1440, "dark"), (1440, "light")]
PAGES = {
    "creator": "/stats/creator_id/c1?period=30d&compare=previous_period",
    "track": f"/stats/track_id/{quote(HEBREW)}?start=2026-01-05&end=2026-11-20&granularity=week",
    "chart": "/charts/plays", "rising": "/charts/plays?period=30d&order=rising",
    "finder": "/stats", "status": "/status", "missing": "/stats/nothing/a",
}  # fmt: skip


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_every_page_fits_its_screen_and_people_who_do_not_see(
    site: str, chromium: Any, width: int, scheme: str
) -> None:
    size = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme, "has_touch": width == 320}
    with page(chromium, site, expected_errors=1, **size) as found:
        for name, path in PAGES.items():
            found.goto(site + path)
            if path.startswith("/stats/c") or path.startswith("/stats/t"):
                ready(found)
                found.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            if path.startswith("/charts"):
                found.wait_for_selector(".ranked tbody tr")
            found.wait_for_load_state("networkidle")
            found.screenshot(path=shot(f"{name}-{width}-{scheme}"), full_page=True)
            assert found.evaluate("document.documentElement.scrollWidth") <= width, name
            wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
            assert found.locator(".tile-total").evaluate_all(wide) == [], name
            assert violations(found) == [], name


def test_labels_of_keys_come_from_the_table_the_browser_or_an_address(
    serve: Serve, music: Music, chromium: Any
) -> None:
    names = {
        **settings().serving.names,
        "creator_id": settings().serving.names["creator_id"].model_copy(update={"table": {}, "url": "/labels/{key}"}),
    }
    site = serve(music, settings(names=names))
    with page(chromium, site, locale="de-DE") as found:
        found.route("**/labels/*", lambda route: route.fulfill(json={"name": "Ada (live)"}))
        found.goto(f"{site}/stats/creator_id/c1")
        eventually(found, "h1", r"^Ada \(live\)$")
        assert found.title() == "\u2068Ada (live)\u2069 · Stitch" and found.text_content("#code") == "c1"
        found.goto(f"{site}/stats/track_id/t1?counter=plays_by_country")
        ready(found)
        found.wait_for_selector("#top tbody tr")
        assert [cells[0] for cells in rows(found, "#top tbody tr")] == ["Deutschland", "Brasilien", "??"]


def test_names_of_another_host_are_asked_for_by_the_page_alone(serve: Serve, music: Music) -> None:
    name = settings().serving.names["country"].model_copy(update={"url": "https://names.example.com/{key}"})
    site = serve(music, settings(names={"track_id": name}))
    policy = requests.get(f"{site}/stats/track_id/t1", timeout=10).headers["Content-Security-Policy"]
    assert "connect-src 'self' https://names.example.com;" in policy
    assert (
        "names.example.com" not in requests.get(f"{site}/embed/plays/t1", timeout=10).headers["Content-Security-Policy"]
    )
