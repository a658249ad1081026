"""What can be asked for: zones, periods, comparisons, fills, pages, CSV. Layers in memory, literal answers.

Track t1 was played once in every hour from 1 January 2023 to now; the batch has counted until ten.
"""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from serving.layers.interface import Corrected
from serving.reading.told import Told, after, from_cursor
from stitch.buckets import EPOCH, bucket_of
from stitch.merge import Increment, Total
from stitch.sections import EventSettings, ServingSettings
from stitch.settings import Settings, load_settings
from tests.answers import get
from tests.fakes import FakeLayers

HOUR = timedelta(hours=1)
FIRST = datetime(2023, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 3, 14, 12, 30, tzinfo=UTC)  # a Thursday
CUTOFF = datetime(2024, 3, 14, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings("conf/stitch.toml").model_copy(update={"serving": ServingSettings(cache=timedelta(0))})


@pytest.fixture(scope="module")
def hourly() -> FakeLayers:
    fake = FakeLayers()
    fake.published, fake.through = {"plays": CUTOFF, "creator_plays": CUTOFF}, NOW - timedelta(seconds=2)
    counts: dict[Any, int] = {}
    at = FIRST
    while at < CUTOFF:
        for granularity in ("hour", "day", "month", "all"):
            row = ("plays", "t1", granularity, bucket_of(at, granularity).start)
            counts[row] = counts.get(row, 0) + 1
        at += HOUR
    counts["creator_plays", "c1", "all", EPOCH] = 14
    fake.total_rows = {row: Total(count, CUTOFF) for row, count in counts.items()}
    fake.increment_rows = [("plays", "t1", Increment(CUTOFF + n * HOUR, CUTOFF + n * HOUR, 1)) for n in range(3)]
    fake.member_total_rows = {
        ("creator_plays", "c1", "all", EPOCH, f"t{n}"): Total(n // 2, CUTOFF) for n in range(2, 8)
    }
    fake.correction_rows = [("plays", Corrected(date(2024, 3, 13), CUTOFF, 30, 24))]
    return fake


@pytest.fixture(scope="module")  # nothing is cached, and no test changes what the layers hold
def client(settings: Settings, hourly: FakeLayers) -> FlaskClient:
    return create_app(settings, hourly, now=lambda: NOW).test_client()


def series(client: FlaskClient, query: str) -> list[tuple[str, int | None]]:
    points = get(client, f"/v1/series?counters=plays&key=t1&{query}")["points"]
    return [(point["start"], point["counts"]["plays"]) for point in points]


POINTS = {
    # Berlin's last days of March are 24, 24 and, once the clock is set, 23 hours long; in 2023 all of them were played
    # in
    "tz=Europe/Berlin&granularity=day&start=2023-03-25&end=2023-03-28": [
        ("2023-03-25T00:00:00+01:00", 24), ("2023-03-26T00:00:00+01:00", 23), ("2023-03-27T00:00:00+02:00", 24),
    ],
    "tz=Europe/Berlin&granularity=day&start=2023-10-29&end=2023-10-30": [("2023-10-29T00:00:00+02:00", 25)],
    "tz=Europe/Berlin&granularity=week&start=2023-03-20&end=2023-04-03": [
        ("2023-03-20T00:00:00+01:00", 167), ("2023-03-27T00:00:00+02:00", 168),
    ],
    "granularity=month&start=2023-02-01&end=2023-04-01": [("2023-02-01T00:00:00Z", 672), ("2023-03-01T00:00:00Z", 744)],
    "tz=America/New_York&granularity=month&start=2023-03-01&end=2023-04-01": [("2023-03-01T00:00:00-05:00", 743)],
    "granularity=hour&start=2024-03-14T11:00:00Z&end=2024-03-14T14:00:00Z": [
        ("2024-03-14T11:00:00Z", 1), ("2024-03-14T12:00:00Z", 1), ("2024-03-14T13:00:00Z", 0),
    ],
    "granularity=hour&start=2024-03-14T11:00:00Z&end=2024-03-14T14:00:00Z&fill=null": [
        ("2024-03-14T11:00:00Z", 1), ("2024-03-14T12:00:00Z", 1), ("2024-03-14T13:00:00Z", None),
    ],
    "granularity=hour&start=2024-03-14T11:00:00Z&end=2024-03-14T14:00:00Z&fill=none": [
        ("2024-03-14T11:00:00Z", 1), ("2024-03-14T12:00:00Z", 1),
    ],
    "granularity=day&start=2023-03-25&end=2023-03-28&cumulative=true": [
        ("2023-03-25T00:00:00Z", 24), ("2023-03-26T00:00:00Z", 48), ("2023-03-27T00:00:00Z", 72),
    ],
    "granularity=week&period=month": [  # weeks begin on Mondays; the first and the last are cut at the month's edges
        ("2024-03-01T00:00:00Z", 72), ("2024-03-04T00:00:00Z", 168), ("2024-03-11T00:00:00Z", 85),
        ("2024-03-18T00:00:00Z", 0), ("2024-03-25T00:00:00Z", 0),
    ],
    "granularity=month&period=year": [
        ("2024-01-01T00:00:00Z", 744), ("2024-02-01T00:00:00Z", 696), ("2024-03-01T00:00:00Z", 325),
        *((f"2024-{month:02}-01T00:00:00Z", 0) for month in range(4, 13)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("query", "points"), POINTS.items(), ids=list(POINTS))
def test_a_series_counts_the_buckets_of_the_zone(
    client: FlaskClient, query: str, points: list[tuple[str, int | None]]
) -> None:
    assert series(client, query) == points


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_the_same_dates_have_the_same_sum_by_day_week_and_month(client: FlaskClient, zone: str) -> None:
    query = f"/v1/series?counters=plays&key=t1&tz={zone}&start=2023-02-15&end=2023-07-02&granularity="
    found = {by: get(client, query + by) for by in ("day", "week", "month")}
    assert {by: answer["totals"]["plays"] for by, answer in found.items()} == dict.fromkeys(
        found,
        137 * 24 - (zone != "UTC"),  # the clock is set in March
    )
    cut = [(len(a["points"]), a["points"][0]["start"][:10], a["points"][-1]["end"][:10]) for a in found.values()]
    assert cut == [(137, "2023-02-15", "2023-07-02"), (20, "2023-02-15", "2023-07-02"), (6, "2023-02-15", "2023-07-02")]


def test_a_top_list_says_how_each_member_changed(client: FlaskClient, hourly: FakeLayers) -> None:
    days = {13: {"t1": 5, "t2": 1}, 12: {"t1": 2}, 11: {"t2": 4}}
    for day, members in days.items():
        bucket = datetime(2024, 3, day, tzinfo=UTC)
        hourly.total_rows["creator_plays", "c9", "day", bucket] = Total(sum(members.values()), CUTOFF)
        for member, count in members.items():
            hourly.member_total_rows["creator_plays", "c9", "day", bucket, member] = Total(count, CUTOFF)
    path = "/v1/top?counter=creator_plays&key=c9&start=2024-03-12&end=2024-03-14&compare=previous_period"
    answer = get(client, path)
    assert answer["members"] == [{"member": "t1", "count": 7}, {"member": "t2", "count": 1}]
    assert answer["comparison"]["previous"] == {"start": "2024-03-10T00:00:00Z", "end": "2024-03-12T00:00:00Z"}
    assert answer["comparison"]["data"] == [
        {"member": "t1", "current": 7, "previous": 0, "change": None},
        {"member": "t2", "current": 1, "previous": 4, "change": -0.75},
    ]
    assert [row["member"] for row in get(client, f"{path}&limit=1")["comparison"]["data"]] == ["t1"]
    assert get(client, f"{path}&format=csv", 400)["errors"][0]["parameter"] == "compare"
    today = get(client, "/v1/top?counter=creator_plays&key=c9&period=7d&compare=previous_period")
    assert today["comparison"]["current"]["end"] == "2024-03-14T12:00:00Z"  # like for like


def test_weeks_may_begin_on_sundays_by_setting(settings: Settings, hourly: FakeLayers) -> None:
    sunday = settings.model_copy(update={"serving": ServingSettings(cache=timedelta(0), week_start="sunday")})
    client = create_app(sunday, hourly, now=lambda: NOW).test_client()
    for zone in ("UTC", "Europe/Berlin"):
        points = series(client, f"tz={zone}&period=last_week&granularity=week")
        assert [(start[:10], count) for start, count in points] == [("2024-03-03", 168)]  # 3 March is a Sunday
    assert len(series(client, "granularity=week&period=week")) == 1


TWO_DAYS = "counters=plays,likes&granularity=day&start=2024-03-12&end=2024-03-14"


def test_a_series_of_several_keys_has_the_points_of_each(client: FlaskClient) -> None:
    answer = get(client, f"/v1/series?{TWO_DAYS}&keys=t1,never&key=a,b")
    assert answer["query"]["keys"] == ["t1", "never", "a,b"]
    assert [(one["key"], one["totals"]) for one in answer["data"]] == [
        ("t1", {"plays": 48, "likes": 0}), ("never", {"plays": 0, "likes": 0}), ("a,b", {"plays": 0, "likes": 0}),
    ]  # fmt: skip
    alone = get(client, f"/v1/series?{TWO_DAYS}&key=t1")
    assert {"key": "t1", "totals": alone["totals"], "points": alone["points"]} == answer["data"][0]
    assert get(client, f"/v1/series?{TWO_DAYS}&keys=t1")["data"] == answer["data"][:1]  # a list, though of one


def test_a_series_of_many_keys_may_be_posted_and_compared(client: FlaskClient) -> None:
    body = {
        "counters": ["plays"], "keys": ["t1", "a,b"], "granularity": "day", "start": "2024-03-12", "end": "2024-03-14",
        "compare": "previous_period", "cumulative": True,
    }  # fmt: skip
    answer = client.post("/v1/series", json=body)
    assert answer.status_code == 200, answer.text
    data = {one["key"]: one for one in answer.get_json()["data"]}
    assert [point["counts"]["plays"] for point in data["t1"]["points"]] == [24, 48]
    assert data["t1"]["comparison"]["changes"] == {"plays": {"current": 48, "previous": 48, "change": 0}}
    assert data["a,b"]["comparison"]["changes"]["plays"]["change"] is None
    refused = client.post("/v1/series", json={**body, "keys": [], "strat": "x", "cumulative": "yes"}).get_json()
    assert [one["parameter"] for one in refused["errors"]] == ["strat", "keys", "cumulative"]


def test_the_limit_of_a_series_is_over_all_of_its_counters_and_keys(client: FlaskClient) -> None:
    long = "counters=plays,likes&granularity=hour&start=2024-01-01&end=2024-03-01"
    assert len(get(client, f"/v1/series?{long}&keys=t1,t2")["data"]) == 2
    refused = get(client, f"/v1/series?{long}&keys=t1,t2,t3,t4", 400)["errors"]
    assert refused == [
        {"parameter": "start", "detail": "about 11520 counts in one answer; at most 10000: ask for less at a time"}
    ]
    ever = get(client, f"/v1/series?counters=plays,likes&period=all&granularity=day&keys={','.join('abcdefghijk')},t1")
    *_, t1 = ever["data"]  # the last points that may be told of all, and what came before them
    assert 2 * sum(len(one["points"]) for one in ever["data"]) <= 10000
    assert (t1["points"][0]["start"], t1["before"]["counts"]["plays"]) == ("2023-01-24T00:00:00Z", 552)


def test_what_a_series_of_many_keys_would_cost_is_known_before_it_is_read(
    settings: Settings, hourly: FakeLayers
) -> None:
    small = settings.model_copy(update={"serving": settings.serving.model_copy(update={"max_reads": 20})})
    client = create_app(small, hourly, now=lambda: NOW).test_client()
    hourly.reads = 0
    refused = get(client, f"/v1/series?{TWO_DAYS}&keys=t1,t2,t3,t4,t5,t6,t7,t8", 400)["errors"]
    assert [one["parameter"] for one in refused] == ["keys"] and "serving.max_reads" in refused[0]["detail"]
    assert hourly.reads == 0
    assert len(get(client, f"/v1/series?{TWO_DAYS}&keys=t1,t2")["data"]) == 2


def test_what_all_time_of_many_keys_would_cost_is_known_before_it_is_read(
    settings: Settings, hourly: FakeLayers
) -> None:
    """`likes` is not published: the increments of each retained day are a read."""
    small = settings.model_copy(update={"serving": settings.serving.model_copy(update={"max_reads": 50})})
    client = create_app(small, hourly, now=lambda: NOW).test_client()
    for counter, few, many in (("plays", 10, 11), ("likes", 2, 3)):
        path = f"/v1/series?counters={counter}&period=all&granularity=month&keys="
        assert len(get(client, path + ",".join(f"t{n}" for n in range(few)))["data"]) == few
        hourly.reads = 0
        refused = get(client, path + ",".join(f"t{n}" for n in range(many)), 400)["errors"]
        assert [one["parameter"] for one in refused] == ["keys"] and f"at most {few} keys" in refused[0]["detail"]
        assert hourly.reads == 0


def test_the_months_that_all_time_is_looked_for_in_are_in_its_price(settings: Settings, hourly: FakeLayers) -> None:
    """951 months from 1945 on, 31 days, 24 hours of a day, and 49 ahead of now; so many for each key."""
    few = settings.model_copy(update={"serving": settings.serving.model_copy(update={"max_rows": 3 * 1055 + 1054})})
    client = create_app(few, hourly, now=lambda: NOW).test_client()
    path = "/v1/series?counters=plays&period=all&keys="
    assert len(get(client, f"{path}t1,t2,t3")["data"]) == 3
    hourly.reads = 0
    (refused,) = get(client, f"{path}t1,t2,t3,t4", 400)["errors"]
    assert refused["detail"].startswith("the answer would take up to 4,220 buckets") and hourly.reads == 0


def test_a_series_of_several_keys_as_csv_names_the_key_in_each_row(client: FlaskClient) -> None:
    text = client.get(f"/v1/series?{TWO_DAYS.replace(',likes', '')}&keys=t1,never&format=csv").text
    assert text.splitlines()[:2] == [
        "key,start,end,plays,plays.source,plays.status,plays.complete,plays.final",
        "t1,2024-03-12T00:00:00Z,2024-03-13T00:00:00Z,24,batch,known,true,true",
    ]


def test_all_time_begins_with_the_first_month_that_counted(client: FlaskClient) -> None:
    months = series(client, "period=all")
    assert (months[0], months[-1]) == (("2023-01-01T00:00:00Z", 744), ("2024-03-01T00:00:00Z", 325))
    assert len(months) == 15
    never = get(client, "/v1/series?counters=plays&key=never&period=all")
    assert [point["counts"]["plays"] for point in never["points"]] == [0]


ALL_TIME = {
    # An event of 9 February, another of today: where all time begins
    "granularity=day": ["2024-02-09T00:00:00Z", "2024-03-14T00:00:00Z"],
    "granularity=week": ["2024-02-05T00:00:00Z", "2024-03-11T00:00:00Z"],
    "granularity=hour": ["2024-02-09T07:00:00Z", "2024-03-14T12:00:00Z"],
    "granularity=month": ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"],
    "granularity=month&tz=America/New_York": ["2024-02-01T00:00:00-05:00", "2024-03-01T00:00:00-05:00"],
}


@pytest.mark.parametrize(("query", "counted"), ALL_TIME.items())
def test_all_time_begins_with_the_first_count_and_not_with_a_month_of_zeros(
    settings: Settings, query: str, counted: list[str]
) -> None:
    client = create_app(settings, layers_of([datetime(2024, 2, 9, 7, tzinfo=UTC), NOW]), now=lambda: NOW).test_client()
    points = series(client, f"{query}&period=all")
    assert points[0] == (counted[0], 1) and [start for start, count in points if count] == counted


@pytest.mark.parametrize("cutoff", [CUTOFF, NOW + HOUR])  # counted by the real-time layer, and by the batch
@pytest.mark.parametrize("granularity", ["hour", "day", "week", "month"])
def test_all_time_goes_on_to_the_last_count_where_events_are_ahead_of_now(
    settings: Settings, granularity: str, cutoff: datetime
) -> None:
    ahead = datetime(2024, 3, 15, 20, tzinfo=UTC)
    layers = layers_of([datetime(2024, 2, 9, 7, tzinfo=UTC), NOW])
    layers.increment_rows.append(("plays", "t1", Increment(ahead, NOW - HOUR, 5)))
    if cutoff > NOW:
        layers.published = {"plays": NOW}
        for kept in ("all", "month", "day", "hour"):
            row = ("plays", "t1", kept, bucket_of(ahead, kept).start)
            layers.total_rows[row] = Total(layers.total_rows.get(row, Total(0, NOW)).count + 5, NOW)
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    total = get(client, "/v1/totals?counters=plays&key=t1")["data"][0]["counts"]["plays"]
    path = f"/v1/series?counters=plays&key=t1&period=all&granularity={granularity}"
    answer = get(client, path)
    last = answer["points"][-1]
    assert answer["totals"] == {"plays": total} and "before" not in answer
    assert sum(point["counts"]["plays"] or 0 for point in answer["points"]) == total
    assert datetime.fromisoformat(last["start"]) <= ahead < datetime.fromisoformat(last["end"])
    assert get(client, f"{path}&cumulative=true")["points"][-1]["counts"] == {"plays": total}
    assert {point["counts"]["plays"] for point in get(client, path.replace("key=t1", "key=no"))["points"]} == {0}


@pytest.mark.parametrize(("granularity", "counts"), [("month", [0, 5, 0]), ("day", [5, -5, 5]), ("hour", [5, -5, 5])])
def test_all_time_begins_with_the_first_count_even_where_the_counts_of_its_month_cancel_out(
    settings: Settings, granularity: str, counts: list[int]
) -> None:
    layers = layers_of([])
    for day, count in ((9, 5), (20, -5), (40, 5)):  # 9 and 20 January, 9 February
        at = datetime(2023, 12, 31, tzinfo=UTC) + timedelta(days=day)
        for kept in ("hour", "day", "month", "all"):
            row = ("plays", "t1", kept, bucket_of(at, kept).start)
            layers.total_rows[row] = Total(layers.total_rows.get(row, Total(0, CUTOFF)).count + count, CUTOFF)
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    answer = get(client, f"/v1/series?counters=plays&key=t1&period=all&granularity={granularity}")
    found = [point["counts"]["plays"] for point in answer["points"]]
    assert answer["points"][0]["start"] == (
        "2024-01-01T00:00:00Z" if granularity == "month" else "2024-01-09T00:00:00Z"
    )
    assert (found if granularity == "month" else [n for n in found if n]) == counts
    assert "before" not in answer and answer["totals"] == {"plays": 5}


def test_all_time_of_a_key_that_counted_ahead_of_now_alone_is_its_points(settings: Settings) -> None:
    layers = layers_of([])
    layers.increment_rows = [("plays", "t1", Increment(NOW.replace(minute=0) + n * HOUR, NOW, 1)) for n in (20, 30)]
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    assert series(client, "period=all&granularity=day") == [("2024-03-15T00:00:00Z", 2)]


@pytest.mark.parametrize("old", [datetime(1970, 1, 1, tzinfo=UTC), datetime(1900, 6, 1, 5, tzinfo=UTC)])
@pytest.mark.parametrize("granularity", ["hour", "day", "week", "month"])
def test_one_odd_old_event_takes_all_time_from_no_key(settings: Settings, granularity: str, old: datetime) -> None:
    """More points than may be answered: the last ones, from the first count among them; the rest is one number."""
    settings = settings.model_copy(update={"events": EventSettings(max_past=timedelta(days=36525))})
    few = settings.model_copy(update={"serving": ServingSettings(max_points=500, cache=timedelta(0))})
    layers = layers_of([old, datetime(2024, 3, 9, 7, tzinfo=UTC), NOW])
    path = f"/v1/series?counters=plays&key=t1&period=all&granularity={granularity}"
    client = create_app(few, layers, now=lambda: NOW).test_client()
    answer = get(client, path)
    counts = [point["counts"]["plays"] for point in answer["points"]]
    assert (sum(counts), counts[0], answer["totals"]["plays"]) == (2, 2 if granularity == "month" else 1, 3)
    assert answer["before"]["counts"] == {"plays": 1} and answer["before"]["status"] == {"plays": "known"}
    assert datetime.fromisoformat(answer["before"]["end"]) <= datetime.fromisoformat(answer["points"][0]["start"])
    running = get(client, f"{path}&cumulative=true")
    assert [running["before"]["counts"]["plays"], running["points"][-1]["counts"]["plays"]] == [1, 3]
    rows = list(csv.reader(io.StringIO(client.get(f"{path}&format=csv").text)))
    assert sum(int(row[2]) for row in rows[1:]) == 3
    enough = get(create_app(settings, layers, now=lambda: NOW).test_client(), path.replace(granularity, "month"))
    assert "before" not in enough and enough["points"][0]["counts"] == {"plays": 1}


def test_a_few_odd_old_events_do_not_leave_all_time_empty_but_old_times_do_that_counted(settings: Settings) -> None:
    recent = [datetime(2024, 1, 9, hour, tzinfo=UTC) for hour in range(24)] * 5
    few = layers_of([datetime(1970, 1, 1, tzinfo=UTC), *recent])
    many = layers_of([*[datetime(1970, 1, 1, tzinfo=UTC)] * 2, *recent])
    path = "/v1/series?counters=plays&key=t1&period=all"
    answer = get(create_app(settings, few, now=lambda: NOW).test_client(), path)
    assert [(point["start"][:7], point["counts"]["plays"]) for point in answer["points"]] == [
        ("2024-01", 120), ("2024-02", 0), ("2024-03", 0),
    ]  # fmt: skip
    assert (answer["before"]["start"], answer["before"]["counts"]) == ("1970-01-01T00:00:00Z", {"plays": 1})
    answer = get(create_app(settings, many, now=lambda: NOW).test_client(), path)
    assert answer["points"][0]["counts"] == {"plays": 2} and "before" not in answer


def test_an_odd_event_from_before_a_zone_kept_whole_hours_is_counted_before_the_first_point(settings: Settings) -> None:
    settings = settings.model_copy(update={"events": EventSettings(max_past=timedelta(days=36525))})
    layers = layers_of([datetime(1900, 6, 1, 5, tzinfo=UTC), datetime(2024, 3, 9, 7, tzinfo=UTC)])
    path = "/v1/series?counters=plays&key=t1&period=all&tz=Europe/Paris"
    answer = get(create_app(settings, layers, now=lambda: NOW).test_client(), path)
    assert (answer["before"]["counts"]["plays"], answer["totals"]["plays"]) == (1, 2)
    assert [point["start"] for point in answer["points"]] == ["2024-03-01T00:00:00+01:00"]


OFF_THE_HOUR = {  # as other ranges are refused; a counter by the quarter of an hour is answered
    "Asia/Kolkata": "Asia/Kolkata is at UTC+05:30 at 2024-02-01T00:00",
    "America/St_Johns": "America/St_Johns is at UTC-03:30 at 2024-02-01T00:00",
    "Asia/Kathmandu": "Asia/Kathmandu is at UTC+05:45 at 2024-02-01T00:00",
}


@pytest.mark.parametrize(("zone", "detail"), OFF_THE_HOUR.items())
def test_all_time_is_refused_in_zones_off_the_hour_as_other_ranges_are(
    settings: Settings, zone: str, detail: str
) -> None:
    layers = layers_of([datetime(2024, 2, 9, 7, tzinfo=UTC), NOW])
    path = f"/v1/series?counters=plays&key=t1&period=all&tz={zone}"
    errors = get(create_app(settings, layers, now=lambda: NOW).test_client(), path, 400)["errors"]
    assert [error["parameter"] for error in errors] == ["tz"] and detail in errors[0]["detail"]
    finer = [c.model_copy(update={"resolution": "15m"}) if c.name == "plays" else c for c in settings.counters]
    client = create_app(settings.model_copy(update={"counters": finer}), layers, now=lambda: NOW).test_client()
    assert [point["counts"]["plays"] for point in get(client, path)["points"]] == [1, 1]


def layers_of(events: list[datetime]) -> FakeLayers:
    """Plays of t1, all counted by the batch but those since the cutoff."""
    fake = FakeLayers()
    fake.published, fake.through = {"plays": CUTOFF}, NOW
    counts: dict[Any, int] = {}
    for at in events:
        if at >= CUTOFF:
            fake.increment_rows.append(("plays", "t1", Increment(at.replace(minute=0), CUTOFF, 1)))
            continue
        for granularity in ("quarter_hour", "hour", "day", "month", "all"):
            row = ("plays", "t1", granularity, bucket_of(at, granularity).start)
            counts[row] = counts.get(row, 0) + 1
    fake.total_rows = {row: Total(count, CUTOFF) for row, count in counts.items()}
    return fake


STATUSES = {
    # layer: what is known of an hour long ago, before the cutoff, after it, and of the next hour
    "merged": ["known", "known", "known", "future"],
    "batch": ["known", "known", "unknown", "future"],
    "realtime": ["unknown", "known", "known", "future"],
}


@pytest.mark.parametrize(("layer", "expected"), STATUSES.items())
def test_a_known_zero_what_no_layer_covers_and_the_future_are_told_apart(
    client: FlaskClient, layer: str, expected: list[str]
) -> None:
    found = []
    for start in (FIRST - 999 * HOUR, CUTOFF - HOUR, CUTOFF + HOUR, CUTOFF + 3 * HOUR):
        query = f"granularity=hour&start={start:%FT%TZ}&end={start + HOUR:%FT%TZ}&layer={layer}"
        found.append(get(client, f"/v1/series?counters=plays&key=t1&{query}")["points"][0]["status"]["plays"])
    assert found == expected


def test_an_unfinished_period_is_compared_with_as_much_of_the_one_before(client: FlaskClient) -> None:
    answer = get(client, "/v1/totals?counters=plays&keys=t1&period=7d&compare=previous_period")
    assert answer["data"][0]["counts"] == {"plays": 6 * 24 + 13}
    comparison = answer["comparison"]
    assert comparison["current"] == {"start": "2024-03-08T00:00:00Z", "end": "2024-03-14T12:00:00Z"}
    assert comparison["previous"] == {"start": "2024-03-01T00:00:00Z", "end": "2024-03-07T12:00:00Z"}
    assert comparison["data"] == [{"key": "t1", "changes": {"plays": {"current": 156, "previous": 156, "change": 0.0}}}]


COMPARED = {
    # asked range: its count, that of the earlier one, and of what each of its days faces
    "start=2024-02-28&end=2024-02-29": (24, 24, [24]),
    "start=2024-02-28&end=2024-03-01": (48, 48, [24, None]),
    "start=2024-02-22&end=2024-02-29": (168, 168, [24] * 7),
    "start=2024-02-29&end=2024-03-01": (24, 24, [24]),
    "start=2024-02-01&end=2024-03-01": (29 * 24, 28 * 24, [24] * 28 + [None]),
    "start=2024-03-01&end=2024-03-03&tz=Europe/Berlin": (48, 48, [24, 24]),
    "period=month": (324, 324, [24] * 31),
}


@pytest.mark.parametrize(("query", "expected"), COMPARED.items(), ids=list(COMPARED))
def test_totals_and_series_are_compared_with_as_many_days_and_points_with_the_same_days(
    client: FlaskClient, query: str, expected: tuple[int, int, list[int | None]]
) -> None:
    asked = f"{query}&compare=year_over_year"
    series = get(client, f"/v1/series?counters=plays&key=t1&granularity=day&{asked}")
    totals = get(client, f"/v1/totals?counters=plays&keys=t1&{asked}")["comparison"]
    change = series["comparison"]["changes"]["plays"]
    assert change == totals["data"][0]["changes"]["plays"]
    assert [series["comparison"][name] for name in ("current", "previous")] == [totals["current"], totals["previous"]]
    facing = [point["previous"] and point["previous"]["counts"]["plays"] for point in series["points"]]
    assert (change["current"], change["previous"], facing) == expected


def test_weeks_that_face_the_same_day_twice_are_counted_whole(settings: Settings) -> None:
    """In 2024 as in 2023 a week has seven days, and that of 29 February faces the first of those of the next."""
    early, late = datetime(2023, 3, 4, 10, tzinfo=UTC), datetime(2023, 3, 9, tzinfo=UTC)
    layers = layers_of([early, early, late])
    layers.increment_rows.append(("plays", "t1", Increment(early, CUTOFF, 5)))
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    query = "granularity=week&start=2024-02-26&end=2024-03-11&compare=year_over_year"
    points = get(client, f"/v1/series?counters=plays&key=t1&{query}")["points"]
    assert [point["previous"]["counts"]["plays"] for point in points] == [7, 8]
    assert [point["previous"]["start"] for point in points] == ["2023-02-26T00:00:00Z", "2023-03-04T00:00:00Z"]


def test_a_series_is_compared_point_by_point_and_the_change_on_nothing_is_null(client: FlaskClient) -> None:
    year = get(client, "/v1/series?counters=plays&key=t1&granularity=month&period=month&compare=year_over_year")
    assert year["comparison"]["changes"]["plays"] == {"current": 324, "previous": 324, "change": 0.0}
    assert [point["previous"] for point in year["points"]] == [
        {"start": "2023-03-01T00:00:00Z", "end": "2023-04-01T00:00:00Z", "counts": {"plays": 744},
         "source": {"plays": "batch"}, "status": {"plays": "known"}, "complete": {"plays": True},
         "final": {"plays": True}}
    ]  # fmt: skip
    plain = get(client, "/v1/series?counters=plays&key=t1&granularity=month&period=month")
    assert "previous" not in plain["points"][0]
    nothing = get(client, "/v1/totals?counters=plays&keys=never&start=2023-02-01&end=2023-03-01&compare=year_over_year")
    assert nothing["comparison"]["data"][0]["changes"]["plays"] == {"current": 0, "previous": 0, "change": None}


def test_members_come_page_by_page_in_a_stable_order_and_the_rest_is_one_number(client: FlaskClient) -> None:
    pages, after = [], ""
    while after is not None:
        page = get(client, f"/v1/top?counter=creator_plays&key=c1&limit=2{after and '&after=' + after}")
        pages.append(([row["member"] for row in page["members"]], page["others"]))
        after = page["next"]
    assert pages == [(["t6", "t7"], 8), (["t4", "t5"], 4), (["t2", "t3"], 2)]  # two events named no member


def test_nobody_is_skipped_or_told_twice_while_counts_move_between_pages(settings: Settings) -> None:
    fake = FakeLayers()
    fake.published, fake.through = {"creator_plays": CUTOFF}, NOW

    def counts(**of: int) -> None:
        for member, count in of.items():
            fake.member_total_rows["creator_plays", "c1", "all", EPOCH, member] = Total(count, CUTOFF)

    def page(after: str) -> Any:
        asked = f"/v1/top?counter=creator_plays&key=c1&limit=2{after and '&after=' + after}"
        return get(create_app(settings, fake, now=lambda: NOW).test_client(), asked)  # any process may answer

    counts(a=60, b=50, c=40, d=30, e=20)
    fake.total_rows["creator_plays", "c1", "all", EPOCH] = Total(205, CUTOFF)
    first = page("")
    counts(a=5, e=99)  # one who was told falls behind the others, one who was not rises before all
    second = page(first["next"])
    counts(c=-3, f=1)
    third = page(second["next"])
    told = [[(row["member"], row["count"]) for row in one["members"]] for one in (first, second, third)]
    assert told == [[("a", 60), ("b", 50)], [("e", 99), ("c", 40)], [("d", 30), ("f", 1)]]
    assert [one["next"] is None for one in (first, second, third)] == [False, False, True]
    assert [one["others"] for one in (first, second)] == [95, 205 - 5 - 50 - 99 - 40]


def test_a_top_of_more_members_than_an_address_can_name_goes_on_by_their_counts(settings: Settings) -> None:
    fake = FakeLayers()
    fake.published, fake.through = {"creator_plays": CUTOFF}, NOW
    for n in range(3000):
        fake.member_total_rows["creator_plays", "c1", "all", EPOCH, f"t{n}"] = Total(n // 7 + 1, CUTOFF)
    fake.total_rows["creator_plays", "c1", "all", EPOCH] = Total(10**6, CUTOFF)
    client = create_app(settings, fake, now=lambda: NOW).test_client()
    told: list[str] = []
    after, longest = "", 0
    for _ in range(8):
        page = get(client, f"/v1/top?counter=creator_plays&key=c1&limit=400{after and '&after=' + after}")
        told += [row["member"] for row in page["members"]]
        after = page["next"]
        longest = max(longest, len(after or ""))
    assert after is None and len(told) == len(set(told)) == 3000 and 5000 < longest <= 7000


LONG_KEYS = {
    # a key → how many members its pages name
    "c1": 1049,
    "k" * 800: 929,  # each of its bytes is one of the address
    "ü" * 400: 689,  # and here three
}


@pytest.mark.parametrize(("key", "named"), LONG_KEYS.items(), ids=["short", "800 letters", "400 umlauts"])
def test_a_long_key_takes_no_more_room_from_those_who_were_told_than_it_needs(key: str, named: int) -> None:
    rows = [(n - 2000, f"t{n:04}") for n in range(2000)]
    told, page = Told(), 50
    for at in range(0, len(rows), page):
        told = from_cursor(after(told, rows[:at], rows[at : at + page], key).cursor())
        assert len(quote(key, safe="") + told.cursor()) <= 7000
        assert [row for row in rows if told.has(row)] == rows[: at + page]
        assert len(told.marks) >= min(at + page, named - 5)  # the last of them by their place, too
        assert (told.edge is None) == (at + page <= named)


def test_behind_a_thousand_members_nobody_is_skipped_or_told_twice_either_while_counts_move(settings: Settings) -> None:
    """Ranks move by hundreds between the pages, in both directions."""
    rng, fake = random.Random(1), FakeLayers()
    fake.published, fake.through = {"creator_plays": CUTOFF}, NOW
    fake.total_rows["creator_plays", "c1", "all", EPOCH] = Total(10**9, CUTOFF)
    client = create_app(settings, fake, now=lambda: NOW).test_client()
    told: list[str] = []
    after = ""
    for _ in range(10):
        for n in range(3000):
            count = 10 * n + rng.randint(1, 3000)
            fake.member_total_rows["creator_plays", "c1", "all", EPOCH, f"t{n}"] = Total(count, CUTOFF)
        page = get(client, f"/v1/top?counter=creator_plays&key=c1&limit=300{after and '&after=' + after}")
        told += [row["member"] for row in page["members"]]
        after = page["next"]
    assert len(told) == len(set(told)) == 3000 and not after


def test_a_cursor_of_a_member_that_fills_an_address_is_one(settings: Settings) -> None:
    row = (-5, "\x01" * 1024)
    told = after(Told(), [], [row, *((n, f"t{n}") for n in range(1100))], "c1")
    assert from_cursor(told.cursor()) == told and told.edge


def test_keys_are_found_by_prefix_page_by_page(settings: Settings) -> None:
    fake = FakeLayers()
    fake.total_rows = {("plays", key, "all", FIRST): Total(1, CUTOFF) for key in ("b", "ab", "aa", "ac", "ü")}
    client = create_app(settings, fake, now=lambda: NOW).test_client()
    page = get(client, "/v1/keys?counter=plays&prefix=a&limit=2")
    assert ([row["key"] for row in page["data"]], page["next"]) == (["aa", "ab"], "ab")
    page = get(client, "/v1/keys?counter=plays&prefix=a&limit=2&after=ab")
    assert ([row["key"] for row in page["data"]], page["next"]) == (["ac"], None)


def test_corrections_say_what_the_batch_changed_of_a_day(client: FlaskClient) -> None:
    assert get(client, "/v1/corrections?counter=plays")["data"] == [
        {"day": "2024-03-13", "cutoff": "2024-03-14T10:00:00Z", "before": 30, "after": 24, "difference": -6}
    ]
    assert get(client, "/v1/corrections?counter=plays&start=2024-03-14&end=2024-03-15")["data"] == []


CSVS = {
    "/v1/totals?counters=plays&key=a,b&keys=t1": [["key", "plays"], ["t1", "10525"], ["a,b", "0"]],
    "/v1/series?counters=plays&key=t1&granularity=month&start=2023-02-01&end=2023-03-01": [
        ["start", "end", "plays", "plays.source", "plays.status", "plays.complete", "plays.final"],
        ["2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z", "672", "batch", "known", "true", "true"],
    ],
    "/v1/top?counter=creator_plays&key=c1&limit=1": [["member", "count"], ["t6", "3"]],
    "/v1/keys?counter=plays": [["key"], ["t1"]],
    "/v1/corrections?counter=plays": [
        ["day", "cutoff", "before", "after", "difference"], ["2024-03-13", "2024-03-14T10:00:00Z", "30", "24", "-6"],
    ],
}  # fmt: skip


@pytest.mark.parametrize(("path", "rows"), CSVS.items())
def test_every_list_is_had_as_csv_by_parameter_and_by_header(
    client: FlaskClient, path: str, rows: list[list[str]]
) -> None:
    for answer in (client.get(f"{path}&format=csv"), client.get(path, headers={"Accept": "text/csv"})):
        assert answer.content_type.startswith("text/csv")
        assert list(csv.reader(io.StringIO(answer.text))) == rows


FORMATS = {
    # Accept, format: what is answered
    ("text/csv", ""): "text/csv",
    ("text/csv", "json"): "application/json",
    ("application/json", "csv"): "text/csv",
    ("text/csv;q=0.5, application/json", ""): "application/json",
    ("*/*", ""): "application/json",
    ("text/html, text/csv;q=0.9", ""): "text/csv",
}


@pytest.mark.parametrize(("asked", "content_type"), FORMATS.items(), ids=[" ".join(asked) for asked in FORMATS])
def test_the_parameter_decides_the_format_and_else_the_header_of_a_get_as_of_a_post(
    client: FlaskClient, asked: tuple[str, str], content_type: str
) -> None:
    accept, form = asked
    got = client.get(f"/v1/totals?counters=plays&keys=t1{form and '&format=' + form}", headers={"Accept": accept})
    body = {"counters": ["plays"], "keys": ["t1"]} | ({"format": form} if form else {})
    posted = client.post("/v1/totals", json=body, headers={"Accept": accept})
    assert [answer.content_type.split(";")[0] for answer in (got, posted)] == [content_type] * 2


CSV_OF = ["totals?counters=plays&keys=t1", "series?counters=plays&key=t1", "top?counter=creator_plays&key=c1"]


@pytest.mark.parametrize("path", CSV_OF)
def test_a_comparison_as_csv_is_refused_however_csv_is_asked_for(client: FlaskClient, path: str) -> None:
    compared = f"/v1/{path}&period=7d&compare=previous_period"
    for answer in (client.get(f"{compared}&format=csv"), client.get(compared, headers={"Accept": "text/csv"})):
        assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
        assert [error["parameter"] for error in answer.get_json()["errors"]] == ["compare"]
    json = client.get(f"{compared}&format=json", headers={"Accept": "text/csv"})
    assert json.get_json()["comparison"]["compare"] == "previous_period"


def test_counts_that_javascript_would_round_are_decimal_strings(settings: Settings) -> None:
    fake = FakeLayers()
    fake.total_rows = {
        ("plays", key, "all", EPOCH): Total(count, CUTOFF)
        for key, count in {"safe": 2**53 - 1, "big": 2**53, "low": -(2**60)}.items()
    }
    client = create_app(settings, fake, now=lambda: NOW).test_client()
    data = get(client, "/v1/totals?counters=plays&keys=safe,big,low")["data"]
    assert [row["counts"]["plays"] for row in data] == [9007199254740991, "9007199254740992", "-1152921504606846976"]


S, T = "/v1/series?counters=plays&key=t1", "/v1/totals?counters=plays&keys=t1"
MISTAKES = {
    f"{S}&granularity=day&tz=Asia/Kolkata&period=7d": (
        "tz", 'resolution = "15m" in the settings of plays makes it exact'
    ),
    f"{S}&granularity=day&tz=Mars/Olympus": ("tz", "is no IANA time zone such as Europe/Berlin"),
    f"{S}&granularity=year": ("granularity", "'year' cannot be used; one of hour, day, week, month"),
    f"{S}&granularity=week&start=2024-03-05T06:00&end=2024-03-11": (
        "start", "nearest are 2024-03-05T00:00:00Z or 2024-03-06"
    ),
    f"{S}&granularity=day&tz=Europe/Berlin&start=2024-03-01T00:00Z&end=2024-03-05": (
        "start", "nearest are 2024-03-01T00:00:00+01:00 or 2024-03-02T00:00:00+01:00"
    ),
    f"{S}&granularity=hour&start=2020-01-01&end=2024-01-01": (
        "start", "about 35064 counts in one answer; at most 10000"
    ),
    f"{S.replace('plays', 'plays,likes')}&granularity=hour&period=year": ("period", "about 17568 counts in one answer"),
    f"{T}&period=7d&start=2024-01-01&end=2024-01-02": ("period", "given beside `start` or `end`"),
    f"{T}&period=fortnight": ("period", "'fortnight' cannot be used; one of 24h, 48h"),
    f"{T}&compare=previous_period": ("compare", "needs a range"),
    f"{T}&period=all&compare=previous_period": ("compare", "needs a range"),
    f"{T}&start=2024-03-26T02:00&end=2024-03-26T03:00&tz=Europe/Berlin&compare=year_over_year": (
        "compare", "there is no such earlier range: the clocks of Europe/Berlin skipped what began at 2023-03-26T02:00"
    ),
    f"{S}&granularity=day&start=2012-12-30&end=2012-12-31&tz=Pacific/Apia&compare=year_over_year": (
        "compare", "there is no such earlier range: the clocks of Pacific/Apia skipped what began at 2011-12-30T00:00"
    ),
    f"{T}&match_weekday=true": ("match_weekday", "belongs to `compare`"),
    f"{T}&period=7d&compare=previous_period&format=csv": ("compare", "CSV has no comparison"),
    f"{T}&format=xml": ("format", "'xml' cannot be used; one of json, csv"),
    f"{S}&granularity=day&fill=maybe": ("fill", "one of zero, null, none"),
    f"{S}&granularity=day&cumulative=yes": ("cumulative", "'yes' cannot be used; one of true, false"),
    "/v1/top?counter=creator_plays&key=c1&after=x": ("after", "is not the `next` of another page"),
    "/v1/top?counter=creator_plays&key=c1&after=AQE": ("after", "is not the `next` of another page"),
    f"/v1/top?counter=creator_plays&key=c1&after={'W1tb' * 9000}": ("after", "is not the `next` of another page"),
    "/v1/keys?counter=plays,likes": ("counter", "one counter at a time"),
    "/v1/totals?counters=plays&key=%ff": ("keys", "is not valid Unicode text"),
    "/v1/totals?counters=plays&keys=t1,%c3%28": ("keys", "is not valid Unicode text"),
    f"{S}%ff&granularity=day": ("key", "is not valid Unicode text"),
    "/v1/keys?counter=plays&prefix=%ff": ("prefix", "is not valid Unicode text"),
    "/v1/keys?counter=plays&after=%ff": ("after", "is not valid Unicode text"),
    "/v1/top?counter=creator_plays&key=c1&after=%ff": ("after", "is not the `next` of another page"),
    f"{T}&%ff=1": ("\udcff", "unknown parameter"),
    f"{T}&tz=%ff": ("tz", "is no IANA time zone"),
    f"{T}&start=%ff&end=2024-01-02": ("start", "is not an ISO-8601 instant"),
    "/v1/totals?counters=pl%ffays&key=t1": ("counters", "unknown counter"),
    "/v1/corrections?counter=plays&start=2024-03-01T05:00&end=2024-03-02": ("start", "is not on the edge of a bucket"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "mistake"), MISTAKES.items(), ids=list(MISTAKES))
def test_what_cannot_be_answered_is_said_clearly(client: FlaskClient, path: str, mistake: tuple[str, str]) -> None:
    errors = get(client, path, 400)["errors"]
    assert [error["parameter"] for error in errors] == [mistake[0]], errors
    assert mistake[1] in errors[0]["detail"]


S15 = "/v1/series?counters=plays&key=t1&granularity=day&tz=Asia/Kolkata"
BEYOND = {
    f"{S15}&start=2001-01-01&end=2024-01-01": (
        "start", "would take up to 806,400 buckets, and one may take 100,000 (serving.max_rows): ask for at most 1041 "
        "days at a time, or by a coarser granularity",
    ),
    f"{S15}&start=2020-01-01&end=2040-01-01": (  # of which nothing is read behind 16 March 2024
        "start", "would take up to 147,528 buckets, and one may take 100,000 (serving.max_rows): ask for at most 1041 "
        "days at a time, or by a coarser granularity",
    ),
}  # fmt: skip


@pytest.fixture
def by_quarter(settings: Settings) -> tuple[FlaskClient, FakeLayers]:
    """A reader whose counter `plays` keeps quarters of an hour, and what it reads."""
    counters = [c.model_copy(update={"resolution": "15m"}) if c.name == "plays" else c for c in settings.counters]
    fake = FakeLayers()
    fake.published, fake.through = {"plays": CUTOFF, "creator_plays": CUTOFF}, NOW
    chosen = settings.model_copy(update={"counters": counters, "serving": ServingSettings(cache=timedelta(0))})
    return create_app(chosen, fake, now=lambda: NOW).test_client(), fake


@pytest.mark.parametrize(("path", "mistake"), BEYOND.items(), ids=list(BEYOND))
def test_what_would_cost_too_much_is_refused_before_a_row_is_read_with_what_to_ask_instead(
    by_quarter: tuple[FlaskClient, FakeLayers], path: str, mistake: tuple[str, str]
) -> None:
    client, fake = by_quarter
    errors = get(client, path, 400)["errors"]
    assert [error["parameter"] for error in errors] == [mistake[0]] and mistake[1] in errors[0]["detail"]
    assert fake.reads == 0
    start = date.fromisoformat(path.partition("&start=")[2][:10])
    for days, status in ((1041, 200), (1043, 400)):  # the advice is right
        get(client, f"{S15}&start={start}&end={start + timedelta(days=days)}", status)


def test_a_post_of_too_many_reads_is_told_how_many_keys_are_not(by_quarter: tuple[FlaskClient, FakeLayers]) -> None:
    client, fake = by_quarter
    asked = {"counters": ["plays", "likes", "comments", "reposts"], "keys": [f"t{n}" for n in range(1000)]}
    answer = client.post("/v1/totals", json=asked)
    assert answer.status_code == 400 and fake.reads == 0
    assert answer.get_json()["errors"] == [
        {
            "parameter": "keys",
            "detail": "the answer would take up to 12,000 reads of the layers, and one may take 10,000 "
            "(serving.max_reads): ask for at most 833 keys at a time, or for fewer counters",
        }
    ]
    assert client.post("/v1/totals", json=asked | {"keys": asked["keys"][:833]}).status_code == 200


READS = {  # of totals and increments; the cutoff is of today
    f"{S15}&start=2022-04-01&end=2024-03-01": 2,  # two years of days that no UTC day is part of
    # hours, days, hours, days, hours: less work than all of their hours
    "/v1/series?counters=creator_plays&key=t1&granularity=month&tz=America/New_York&start=2024-01-01&end=2024-03-01": 6,
    "/v1/top?counter=creator_plays&key=c1&start=1900-01-01&end=2999-12-31": 3,  # its totals first: there are none
    "/v1/totals?counters=plays&keys=t1&start=2500-01-01&end=2600-01-01": 1,  # nothing occurred there yet
}


@pytest.mark.parametrize(("path", "reads"), READS.items(), ids=list(READS))
def test_a_range_is_few_reads_however_its_points_lie(
    by_quarter: tuple[FlaskClient, FakeLayers], path: str, reads: int
) -> None:
    client, fake = by_quarter
    get(client, path)
    assert fake.reads == reads
