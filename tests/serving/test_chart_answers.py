"""How a chart is asked for and answered over HTTP: literal rows in, literal answers out. Layers in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from serving.reading import charts
from stitch.buckets import EPOCH
from stitch.merge import Increment, Ranking, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, load_settings
from tests.answers import get
from tests.fakes import FakeLayers

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = datetime(2024, 3, 14, tzinfo=UTC)
NOW, CUTOFF = TODAY + 12.5 * HOUR, TODAY + 10 * HOUR
YESTERDAY = "/v1/chart?counter=plays&start=2024-03-13&end=2024-03-14"
PER_DAY = [{"t1": 9, "t2": 8, "=t3": 1}, {"t1": 8, "t2": 2}]  # yesterday, and the day before


@pytest.fixture(scope="module")
def settings() -> Settings:
    found = load_settings("conf/stitch.toml")
    return found.model_copy(update={"serving": ServingSettings(cache=timedelta(0))})


@pytest.fixture
def layers() -> FakeLayers:
    """Yesterday t2 gained three plays since the cutoff."""
    fake = FakeLayers()
    fake.published, fake.through = {"plays": CUTOFF}, NOW
    for ago, counts in enumerate(PER_DAY, 1):
        start = TODAY - ago * DAY
        fake.chart_rows["plays", "day", start] = Ranking([*counts], [*counts.values()], CUTOFF)
        for key, count in counts.items():
            fake.total_rows["plays", key, "day", start] = Total(count, CUTOFF)
    counted = {key: sum(day.get(key, 0) for day in PER_DAY) for key in PER_DAY[0]}
    fake.total_rows |= {("plays", key, "all", EPOCH): Total(count, CUTOFF) for key, count in counted.items()}
    fake.chart_rows["plays", "all", EPOCH] = Ranking([*counted], [*counted.values()], CUTOFF)
    fake.increment_rows.append(("plays", "t2", Increment(TODAY - 5 * HOUR, CUTOFF, 3)))
    return fake


@pytest.fixture
def client(settings: Settings, layers: FakeLayers) -> FlaskClient:
    return create_app(settings, layers, now=lambda: NOW).test_client()


def test_a_chart_is_answered_with_what_was_understood_and_what_it_rests_on(client: FlaskClient) -> None:
    assert get(client, f"{YESTERDAY}&limit=2") == {
        "query": {
            "counter": "plays", "start": "2024-03-13T00:00:00Z", "end": "2024-03-14T00:00:00Z", "tz": "UTC",
            "order": "count", "limit": 2,
        },
        "meta": {
            "realtime_through": "2024-03-14T12:30:00Z",
            "counters": {"plays": {"cutoff": "2024-03-14T10:00:00Z", "as_of": "2024-03-14T12:30:00Z"}},
        },
        "keys": [{"key": "t2", "count": 11}, {"key": "t1", "count": 9}],
        "as_of": "2024-03-14T10:00:00Z",
        "exact": True,
    }  # fmt: skip


def test_rising_keys_come_with_how_they_changed(client: FlaskClient) -> None:
    answer = get(client, f"{YESTERDAY}&order=rising")
    assert [row["key"] for row in answer["keys"]] == ["t2", "=t3", "t1"]
    assert answer["query"]["order"] == "rising"
    assert answer["comparison"] == {
        "compare": "previous_period", "match_weekday": False,
        "current": {"start": "2024-03-13T00:00:00Z", "end": "2024-03-14T00:00:00Z"},
        "previous": {"start": "2024-03-12T00:00:00Z", "end": "2024-03-13T00:00:00Z"},
        "data": [
            {"key": "t2", "current": 11, "previous": 2, "change": 4.5},
            {"key": "=t3", "current": 1, "previous": 0, "change": None},
            {"key": "t1", "current": 9, "previous": 8, "change": 0.125},
        ],
    }  # fmt: skip


def test_a_chart_by_count_may_be_compared_too(client: FlaskClient) -> None:
    answer = get(client, f"{YESTERDAY}&compare=year_over_year&match_weekday=true&limit=1")
    assert answer["comparison"]["previous"]["start"] == "2023-03-15T00:00:00Z"
    assert answer["comparison"]["data"] == [{"key": "t2", "current": 11, "previous": 0, "change": None}]


ASKED = {
    # the range → when it is, in days of March, and the first key
    "": (None, None, "t1"),
    "period=all": (None, None, "t1"),
    "period=yesterday": (13, 14, "t2"),
    "period=7d": (8, 15, "t1"),
    "period=week": (11, 18, "t1"),
    "start=2024-03-12T00:00:00Z&end=2024-03-13": (12, 13, "t1"),
    "start=2024-03-13&end=2024-03-14&tz=UTC": (13, 14, "t2"),
}


@pytest.mark.parametrize(("query", "expected"), ASKED.items())
def test_a_chart_is_of_whole_days(
    client: FlaskClient, query: str, expected: tuple[int | None, int | None, str]
) -> None:
    answer = get(client, f"/v1/chart?counter=plays&{query}")
    said = [f"2024-03-{day}T00:00:00Z" if day else None for day in expected[:2]]
    said = [text and text.replace("-8T", "-08T") for text in said]
    assert ([answer["query"]["start"], answer["query"]["end"]], answer["keys"][0]["key"]) == (said, expected[2])


MISTAKES = {
    "counter=likes": [("counter", "'likes' has no chart; counters that have: plays")],
    "": [("counter", "missing; known counters are")],
    "counter=plays&period=24h": [("period", "'24h' is no whole days")],
    "counter=plays&tz=Europe/Berlin": [("tz", "charts are of days and months of UTC")],
    "counter=plays&tz=Nowhere": [("tz", "Nowhere")],
    "counter=plays&start=2024-03-13T01:00:00Z&end=2024-03-14": [("start", "is not on the edge of a bucket (day)")],
    "counter=plays&order=rising": [("order", "needs a range")],
    "counter=plays&order=falling": [("order", "one of count, rising")],
    "counter=plays&layer=batch": [("layer", "unknown parameter")],
    "counter=plays&key=t1&limit=0": [("key", "unknown parameter"), ("limit", "is not a whole number")],
    "counter=plays&period=7d&compare=previous_period&format=csv": [("compare", "CSV has no comparison")],
}


@pytest.mark.parametrize(("query", "expected"), MISTAKES.items())
def test_what_is_wrong_is_told_at_once(client: FlaskClient, query: str, expected: list[tuple[str, str]]) -> None:
    errors = get(client, f"/v1/chart?{query}", 400)["errors"]
    assert [error["parameter"] for error in errors] == [parameter for parameter, _ in expected]
    assert all(text in error["detail"] for error, (_, text) in zip(errors, expected, strict=True))


def test_a_chart_as_csv_has_in_headers_what_json_has_beside_the_rows(client: FlaskClient) -> None:
    plain = client.get(f"{YESTERDAY}&format=csv")
    assert plain.text == "key,count\r\nt2,11\r\nt1,9\r\n'=t3,1\r\n"
    assert (plain.headers["Stitch-As-Of"], plain.headers["Stitch-Exact"]) == ("2024-03-14T10%3A00%3A00Z", "true")
    rising = client.get(f"{YESTERDAY}&order=rising&limit=1", headers={"Accept": "text/csv"})
    assert rising.text == "key,count,current,previous\r\nt2,11,11,2\r\n"


def test_a_chart_that_lists_do_not_decide_says_so(
    client: FlaskClient, layers: FakeLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "RANKED_KEYS", 1)
    for ago, key in ((1, "t1"), (2, "t2")):
        layers.chart_rows["plays", "day", TODAY - ago * DAY] = Ranking([key], [9], CUTOFF)
    answer = get(client, "/v1/chart?counter=plays&start=2024-03-12&end=2024-03-14&limit=1")
    assert not answer["exact"] and "partial" not in answer["meta"]
    assert client.get("/v1/chart?counter=plays&period=7d&limit=1&format=csv").headers["Stitch-Exact"] == "false"


@pytest.mark.parametrize("why", ["not published", "without charts", "erased", "batch"])
def test_a_chart_that_cannot_be_had_is_503_with_why(client: FlaskClient, layers: FakeLayers, why: str) -> None:
    if why == "not published":
        layers.published = {"likes": CUTOFF}
    elif why == "without charts":
        layers.charted_with_it = False
    elif why == "erased":
        layers.chart_rows["plays", "day", TODAY - DAY] = None
    else:
        layers.down = {"batch"}
    said = {"erased": "a key was erased", "batch": "the batch layer"}.get(why, "until the next run of batch_totals")
    assert said in get(client, YESTERDAY, 503)["detail"]


def test_without_the_realtime_layer_a_chart_ends_with_the_cutoff_and_is_kept_by_nobody(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.down = {"realtime"}
    answer = client.get(YESTERDAY)
    body = answer.get_json()
    assert (body["keys"][0], body["meta"]["partial"], body["exact"]) == ({"key": "t1", "count": 9}, True, True)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_chart_of_days_that_are_over_is_kept_for_long_and_one_of_today_is_not(
    settings: Settings, layers: FakeLayers
) -> None:
    kept = settings.model_copy(update={"serving": ServingSettings()})
    client = create_app(kept, layers, now=lambda: NOW).test_client()
    over, today = client.get(YESTERDAY), client.get("/v1/chart?counter=plays&period=7d")
    assert "max-age=3" in over.headers["Cache-Control"] and over.headers["ETag"].startswith("W/")
    assert "max-age=1," in today.headers["Cache-Control"] or "max-age=2," in today.headers["Cache-Control"]
    again = client.get(YESTERDAY, headers={"If-None-Match": over.headers["ETag"]})
    assert again.status_code == 304


def test_counters_say_whether_they_have_a_chart(client: FlaskClient) -> None:
    found = {row["name"]: row["chart"] for row in get(client, "/v1/counters")["data"]}
    assert found.pop("plays") and not any(found.values())
