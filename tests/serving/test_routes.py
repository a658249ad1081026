"""The HTTP contract over layers in memory: literal rows in, literal answers out."""

from __future__ import annotations

import base64
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from serving.layers.interface import Ran
from stitch.buckets import EPOCH
from stitch.merge import Increment, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, load_settings
from tests.answers import get
from tests.fakes import FakeLayers

DAY = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = DAY + timedelta(hours=12, minutes=30)
CUTOFF = DAY + 10 * HOUR


@pytest.fixture(scope="session")
def settings() -> Settings:
    found = load_settings("conf/stitch.toml")
    return found.model_copy(update={"serving": ServingSettings(max_keys=3, max_points=800, cache=timedelta(0))})


@pytest.fixture
def layers() -> FakeLayers:
    """Track t1 of creator c1: 100 plays before the cutoff (90 last month, 10 today at eight), 7 since at eleven."""
    fake = FakeLayers()
    fake.published = dict.fromkeys(("plays", "likes", "creator_plays"), CUTOFF)
    fake.through = NOW - timedelta(seconds=3)
    eight = DAY + 8 * HOUR
    for counter, key in (("plays", "t1"), ("creator_plays", "c1")):
        fake.total_rows |= {
            (counter, key, "all", EPOCH): Total(100, CUTOFF),
            (counter, key, "month", datetime(2024, 2, 1, tzinfo=UTC)): Total(90, CUTOFF - 24 * HOUR),
            (counter, key, "month", DAY): Total(10, CUTOFF),
            (counter, key, "day", DAY): Total(10, CUTOFF),
            (counter, key, "hour", eight): Total(10, CUTOFF),
        }
        fake.increment_rows += [
            (counter, key, Increment(eight, eight, 10)),
            (counter, key, Increment(eight, DAY + 11 * HOUR, 2)),
            (counter, key, Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 5)),
        ]
    fake.increment_rows.append(("likes", "t1", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, -2)))
    fake.member_total_rows = {
        ("creator_plays", "c1", "all", EPOCH, "t1"): Total(60, CUTOFF),
        ("creator_plays", "c1", "all", EPOCH, "t2"): Total(35, CUTOFF),
    }
    fake.member_increment_rows = [
        ("creator_plays", "c1", Increment(eight, eight, 10, "t1")),
        ("creator_plays", "c1", Increment(eight, DAY + 11 * HOUR, 1, "t2")),
        ("creator_plays", "c1", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 5, "t3")),
    ]
    return fake


@pytest.fixture
def client(settings: Settings, layers: FakeLayers) -> FlaskClient:
    return create_app(settings, layers, now=lambda: NOW).test_client()


def test_totals_of_several_counters_and_keys_come_in_the_order_asked(client: FlaskClient) -> None:
    assert get(client, "/v1/totals?counters=plays,likes&keys=t1,never") == {
        "query": {
            "counters": ["plays", "likes"], "keys": ["t1", "never"], "start": None, "end": None, "tz": "UTC",
            "layer": "merged",
        },
        "meta": {
            "realtime_through": "2024-03-01T12:29:57Z",
            "counters": {
                "plays": {"cutoff": "2024-03-01T10:00:00Z", "as_of": "2024-03-01T12:29:57Z"},
                "likes": {"cutoff": "2024-03-01T10:00:00Z", "as_of": "2024-03-01T12:29:57Z"},
            },
        },
        "data": [
            {"key": "t1", "counts": {"plays": 107, "likes": -2}},
            {"key": "never", "counts": {"plays": 0, "likes": 0}},
        ],
    }  # fmt: skip


RANGES = {
    "start=2024-02-01T00:00:00Z&end=2024-03-01T00:00:00Z": 90,
    "start=2024-02-01T00:00:00Z&end=2024-03-01T09:00:00Z": 102,
    "start=2024-03-01T09:00:00Z&end=2024-03-01T12:00:00Z": 5,
    "start=2024-03-01T10:00:00%2B01:00&end=2024-03-01T11:00:00%2B01:00": 0,
    "start=2024-03-01T09:00:00%2B01:00&end=2024-03-01T10:00:00%2B01:00": 12,
    "start=2024-03-01T08:00&end=2024-03-01T09:00": 12,
    "start=2024-03-01&end=2024-03-02": 17,
    "layer=batch": 100,
    "layer=realtime": 17,
}


@pytest.mark.parametrize(("query", "plays"), RANGES.items())
def test_a_range_counts_what_occurred_in_it(client: FlaskClient, query: str, plays: int) -> None:
    data = get(client, f"/v1/totals?counters=plays&keys=t1&{query}")["data"]
    assert data == [{"key": "t1", "counts": {"plays": plays}}]


def test_a_post_takes_keys_with_commas_and_get_takes_them_as_key(client: FlaskClient) -> None:
    posted = client.post("/v1/totals", json={"counters": ["plays"], "keys": ["a,b", "ü"]}).get_json()
    assert [row["key"] for row in posted["data"]] == ["a,b", "ü"]
    assert [row["key"] for row in get(client, "/v1/totals?counters=plays&key=a,b&keys=c,d")["data"]] == [
        "c",
        "d",
        "a,b",
    ]


def test_spaces_beside_commas_are_not_of_the_keys_but_those_of_a_key_taken_whole_are(client: FlaskClient) -> None:
    spaced = get(client, "/v1/totals?counters=plays,%20likes&keys=t1,%20t2&key=%20t3%20")
    assert [row["key"] for row in spaced["data"]] == ["t1", "t2", " t3 "]
    assert spaced["data"][0]["counts"] == {"plays": 107, "likes": -2}
    posted = client.post("/v1/totals", json={"counters": ["plays"], "keys": [" a", "b, c"]}).get_json()
    assert [row["key"] for row in posted["data"]] == [" a", "b, c"]
    assert get(client, "/v1/totals?counters=plays&keys=t1,%20", 400)["errors"][0]["parameter"] == "keys"


def test_a_series_fills_gaps_with_zero_and_says_where_each_count_is_from(client: FlaskClient) -> None:
    answer = get(
        client,
        "/v1/series?counters=plays&key=t1&granularity=hour&start=2024-03-01T08:00:00Z&end=2024-03-01T13:00:00Z",
    )
    points = [
        (p["start"][11:13], *(p[of]["plays"] for of in ("counts", "source", "complete", "final")))
        for p in answer["points"]
    ]
    assert points == [
        ("08", 12, "mixed", True, True),
        ("09", 0, "batch", True, True),
        ("10", 0, "batch", True, False),
        ("11", 5, "realtime", True, False),
        ("12", 0, "batch", False, False),
    ]
    assert answer["totals"] == {"plays": 17}
    assert answer["points"][0]["end"] == answer["points"][1]["start"] == "2024-03-01T09:00:00Z"


@pytest.mark.parametrize(
    ("granularity", "points", "start", "end"),
    [
        ("hour", 24, "2024-02-29T13:00:00Z", "2024-03-01T13:00:00Z"),
        ("day", 30, "2024-02-01T00:00:00Z", "2024-03-02T00:00:00Z"),
        ("month", 12, "2023-04-01T00:00:00Z", "2024-04-01T00:00:00Z"),
    ],
)
def test_a_series_without_a_range_ends_with_the_present_bucket(
    client: FlaskClient, granularity: str, points: int, start: str, end: str
) -> None:
    answer = get(client, f"/v1/series?counters=plays&key=t1&granularity={granularity}")
    assert (len(answer["points"]), answer["query"]["start"], answer["query"]["end"]) == (points, start, end)
    assert answer["totals"]["plays"] == {"hour": 17, "day": 107, "month": 107}[granularity] - (
        90 if granularity == "day" else 0  # the fixture keeps February by month only
    )


def test_the_top_members_and_the_others_add_up_to_the_key(client: FlaskClient) -> None:
    answer = get(client, "/v1/top?counter=creator_plays&key=c1&limit=2")
    assert answer["members"] == [{"member": "t1", "count": 60}, {"member": "t2", "count": 36}]
    assert (answer["others"], answer["total"]) == (11, 107)


def test_members_that_counted_alike_come_in_their_own_order(client: FlaskClient, layers: FakeLayers) -> None:
    layers.member_total_rows = {("creator_plays", "c1", "all", EPOCH, m): Total(5, CUTOFF) for m in "zab"}
    members = [row["member"] for row in get(client, "/v1/top?counter=creator_plays&key=c1")["members"]]
    assert members == ["a", "b", "t3", "z", "t2"]


def test_a_load_half_done_changes_no_answer(client: FlaskClient, layers: FakeLayers) -> None:
    layers.total_rows["plays", "t1", "all", EPOCH] = Total(107, DAY + 12 * HOUR)  # the other rows are yet to come
    assert get(client, "/v1/totals?counters=plays&keys=t1")["data"][0]["counts"] == {"plays": 107}
    day = "start=2024-03-01T00:00:00Z&end=2024-03-02T00:00:00Z"
    assert get(client, f"/v1/totals?counters=plays&keys=t1&{day}")["data"][0]["counts"] == {"plays": 17}


def test_a_cutoff_published_while_a_request_is_read_loses_nothing(client: FlaskClient, layers: FakeLayers) -> None:
    def publish() -> None:
        layers.total_rows["plays", "t1", "all", EPOCH] = Total(107, DAY + 12 * HOUR)
        layers.published["plays"] = DAY + 12 * HOUR

    layers.after_cutoffs = publish
    assert get(client, "/v1/totals?counters=plays&keys=t1")["data"][0]["counts"] == {"plays": 107}


@pytest.mark.parametrize(("down", "plays", "cutoff"), [("realtime", 100, "2024-03-01T10:00:00Z"), ("batch", 17, None)])
def test_with_one_layer_down_the_other_answers_where_that_is_allowed_and_says_so(
    client: FlaskClient, layers: FakeLayers, down: Any, plays: int, cutoff: str | None
) -> None:
    layers.down = {down}
    answer = get(client, "/v1/totals?counters=plays&keys=t1&partial=allow")
    assert answer["data"][0]["counts"] == {"plays": plays}
    assert (answer["meta"]["partial"], answer["meta"]["missing"]) == (True, [down])
    assert answer["meta"]["counters"]["plays"]["cutoff"] == cutoff
    assert get(client, "/v1/top?counter=creator_plays&key=c1&partial=allow")["total"] == plays
    other = "batch" if down == "realtime" else "realtime"
    assert "partial" not in get(client, f"/v1/totals?counters=plays&keys=t1&layer={other}")["meta"]
    assert get(client, f"/v1/totals?counters=plays&keys=t1&layer={down}", 503)["status"] == 503


def test_a_batch_that_fails_after_its_cutoff_was_read_leaves_every_increment_to_count(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.totals_fail = True
    counts = get(client, "/v1/totals?counters=plays&keys=t1&partial=allow")["data"][0]["counts"]
    assert counts == {"plays": 17}


def test_with_both_layers_down_an_answer_is_503_but_the_process_is_healthy(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.down = {"batch", "realtime"}
    answer = client.get("/v1/totals?counters=plays&keys=t1")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "1"
    assert get(client, "/healthz") == {"status": "ok"}
    status = get(client, "/v1/status")
    assert status["layers"]["batch"] == {"up": False, "reason": "does not answer; the reader's log says more"}
    assert status["meta"]["missing"] == ["batch", "realtime"]


def test_status_says_how_far_each_counter_is_published(client: FlaskClient) -> None:
    status = get(client, "/v1/status")
    assert status["cutoffs"]["plays"] == "2024-03-01T10:00:00Z" and status["cutoffs"]["comments"] is None
    assert status["layers"]["realtime"] == {"up": True, "reason": None}


def test_status_says_how_the_last_runs_ended_and_not_why_for_that_names_counters(
    client: FlaskClient, layers: FakeLayers
) -> None:
    at = datetime(2024, 3, 1, 10, tzinfo=UTC)
    layers.run_rows = [Ran(at + timedelta(days=n), "incremental", "published", at) for n in range(9, 0, -1)]
    figures = {"records": 9, "rejected": 1, "duplicates": 2, "rows_written": 5, "compared:plays": 3}
    layers.run_rows[0] = Ran(at + timedelta(days=9), "full", "published", at, left=2, figures=figures)
    runs = get(client, "/v1/status")["runs"]
    assert len(runs) == 5 and runs[0] == {
        "cutoff": "2024-03-10T10:00:00Z", "kind": "full", "state": "published", "since": "2024-03-01T10:00:00Z",
        "left": 2, "figures": {"records": 9, "rejected": 1, "duplicates": 2},
    }  # fmt: skip
    layers.down = {"batch"}
    assert get(client, "/v1/status")["runs"] == []


def test_counters_lists_what_can_be_asked_for(client: FlaskClient) -> None:
    data = {row["name"]: row for row in get(client, "/v1/counters")["data"]}
    assert data["creator_plays"]["member"] == "track_id"
    assert data["likes"]["weights"] == {"like": 1, "unlike": -1}
    assert data["plays"]["granularities"] == ["hour", "day", "month", "all"]
    words = ("title", "unit", "key_label", "member_label")
    assert [data["creator_plays"][word] for word in words] == ["Plays", None, "Creator", "Track"]


T, S, P = "/v1/totals?counters=plays&keys=t1", "/v1/series?counters=plays&key=t1&granularity=hour", "/v1/top?key=c1"
MISTAKES = {
    "/v1/totals": [("counters", "missing; known counters are plays, likes"), ("keys", "missing: at least one key")],
    "/v1/totals?counters=nope&keys=": [
        ("counters", "unknown counter 'nope'; known are plays"),
        ("keys", "an empty key"),
    ],
    f"{T}&strat=2024-01-01": [
        (
            "strat",
            "unknown parameter; known are "
            "compare, counters, download, end, format, key, keys, layer, match_weekday, partial, period, start, tz",
        )
    ],
    f"{T}&start=2024-01-01": [("end", "missing: `start` is given")],
    f"{T}&start=x&end=y": [("start", "'x' is not an ISO-8601"), ("end", "'y' is not an ISO-8601")],
    f"{T}&start=2024-01-02&end=2024-01-01": [("end", "2024-01-01T00:00:00Z is not after start")],
    f"{T}&start=2024-01-01T00:20:00Z&end=2024-01-02": [
        ("start", "nearest are 2024-01-01T00:00:00Z or 2024-01-01T01:00:00Z")
    ],
    f"{T}&start=0001-01-01T00:00:00%2B10:00&end=2024-01-02": [("start", "is not an ISO-8601 instant")],
    f"{T}&layer=speed": [("layer", "'speed' cannot be used; one of merged, batch, realtime")],
    f"{T}&keys=a,b,c": [("keys", "4 keys; at most 3")],
    f"/v1/totals?counters=plays&key={'x' * 1025}": [
        ("keys", "1025 bytes; no event is counted under more than 1024 (events.max_text)")
    ],
    f"/v1/series?counters=plays&granularity=day&key={'ü' * 513}": [
        ("key", "1026 bytes; no event is counted under more than 1024 (events.max_text)")
    ],
    f"/v1/keys?counter=plays&prefix={'x' * 1025}": [
        ("prefix", "1025 bytes; no event is counted under more than 1024 (events.max_text)")
    ],
    f"/v1/top?counter=creator_plays&key=c1&after={'x' * 60001}": [("after", "is not the `next` of another page")],
    "/v1/series?counters=plays": [("key", "missing"), ("granularity", "missing; one of hour, day, week, month")],
    "/v1/series?counters=plays&key=t1&granularity=minute": [("granularity", "'minute' cannot be used; one of hour")],
    f"{S}&key=t2": [("key", "given more than once")],
    f"{S}&start=2000-01-01&end=2024-01-01": [("start", "at most 800")],
    "/v1/series?counters=plays&key=t&granularity=day&start=2024-01-01T05:00&end=2024-01-09": [
        ("start", "nearest are 2024-01-01T00:00:00Z or 2024-01-02T00:00:00Z")
    ],
    f"{P}&counter=plays": [("counter", "'plays' has no members; counters that have: creator_plays")],
    f"{P}&counter=creator_plays&limit=0": [("limit", "'0' is not a whole number from 1 to 1000")],
    f"{P}&counter=creator_plays&limit=²": [("limit", "'²' is not a whole number")],
    f"{P}&counter=creator_plays,plays_by_country": [("counter", "one counter at a time")],
    "/v1/status?x=1": [("x", "unknown parameter; none are known here")],
}


@pytest.mark.parametrize(("path", "expected"), MISTAKES.items(), ids=[path[:60] for path in MISTAKES])
def test_every_mistake_of_a_request_is_in_one_answer(
    client: FlaskClient, path: str, expected: list[tuple[str, str]]
) -> None:
    answer = client.get(path)
    problem = answer.get_json()
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert [mistake["parameter"] for mistake in problem["errors"]] == [parameter for parameter, _ in expected]
    for mistake, (_, detail) in zip(problem["errors"], expected, strict=True):
        assert detail in mistake["detail"]


BODIES = {
    "not json": "body",
    "[]": "body",
    "null": "body",
    '{"counters": "plays", "keys": [1]}': "keys",
    '{"counters": ["plays"], "keys": ["\\ud800"]}': "keys",
    '{"counters": ["plays"], "keys": ["a"], "key": "b"}': "key",
    '{"counters": ["plays"], "keys": ["a"], "keys": ["b"]}': "keys",
    '{"counters": ["plays"], "keys": ["a"], "layer": "batch", "layer": "merged"}': "layer",
    '{"counters": ["plays"], "keys": ["a"], "layer": 1}': "layer",
    '{"counters": ["plays"], "keys": {"a": 1}}': "keys",
    "[" * 100_000: "body",
    '{"a":' * 50_000 + "1" + "}" * 50_000: "body",
    '{"counters": ["plays"], "keys": ' + "[" * 900 + "]" * 900 + "}": "keys",
    '{"counters": ["plays"], "keys": [' + "9" * 5000 + "]}": "body",
    '{"counters": ["plays"], "keys": ["a"], "start": 1e999}': "start",
    '{"counters": ["plays"], "keys": [NaN]}': "keys",
}


@pytest.mark.parametrize(("body", "parameter"), BODIES.items(), ids=[body[:50] for body in BODIES])
def test_a_body_that_is_not_understood_is_refused(client: FlaskClient, body: str, parameter: str) -> None:
    answer = client.post("/v1/totals", data=body)
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize("text", ["[" * 40_000, "[" * 20_000 + "]" * 20_000, f'[{"9" * 5000},"m"]', "[true,1]", "{}"])
def test_a_cursor_that_nobody_was_given_is_refused(client: FlaskClient, text: str) -> None:
    after = base64.urlsafe_b64encode(text.encode()).decode()
    answer = client.get("/v1/top", query_string={"counter": "creator_plays", "key": "c1", "after": after})
    assert answer.status_code == 400
    assert answer.get_json()["errors"] == [{"parameter": "after", "detail": "is not the `next` of another page"}]


def test_of_many_mistakes_the_first_twenty_are_told_and_how_many_more_there_are(client: FlaskClient) -> None:
    problem = client.post("/v1/totals", json={f"n{n}": "x" for n in range(2_000)}).get_json()
    assert [mistake["parameter"] for mistake in problem["errors"]] == [f"n{n}" for n in range(20)]
    assert problem["detail"].endswith("; and 1982 more")  # counters and keys are missing, too


MANY: dict[str, Any] = {
    "names": {f"n{n}": "x" for n in range(20_000)},
    "names of no texts": {f"n{n}": 1 for n in range(20_000)},
    "counters": {"counters": [f"n{n}" for n in range(20_000)], "keys": ["t1"]},
}


@pytest.mark.parametrize("body", MANY.values(), ids=MANY)
def test_mistakes_that_are_not_told_are_not_put_into_words_either(client: FlaskClient, body: dict[str, Any]) -> None:
    sent = json.dumps(body)
    tracemalloc.start()
    answer = client.post("/v1/totals", data=sent)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 400 and len(answer.get_json()["errors"]) == 20
    assert most < 25 * len(sent)  # as lists and dicts; in words it would be twice as much


def test_a_body_larger_than_a_thousand_keys_need_is_not_read(client: FlaskClient) -> None:
    assert client.post("/v1/totals", data=b" " * (4 * 1024 * 1024 + 1)).status_code == 413


def test_keys_that_are_counted_may_be_longer_than_those_that_can_be_asked_for(
    settings: Settings, layers: FakeLayers
) -> None:
    events = settings.events.model_copy(update={"max_text": 4096})
    longer = create_app(settings.model_copy(update={"events": events}), layers, now=lambda: NOW).test_client()
    assert longer.get(f"/v1/totals?counters=plays&key={'x' * 1024}").status_code == 200
    (mistake,) = longer.get(f"/v1/totals?counters=plays&key={'x' * 1025}").get_json()["errors"]
    assert mistake["detail"] == "1025 bytes; at most 1024 can be asked for (serving.max_key)"


def test_pages_of_keys_go_on_after_a_key_that_is_longer_than_can_be_asked_for(
    settings: Settings, layers: FakeLayers
) -> None:
    keys = [name + "x" * 1500 for name in "abc"]
    layers.total_rows = {("plays", key, "all", EPOCH): Total(1, CUTOFF) for key in keys}
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    found, after = [], ""
    for _ in keys:
        page = client.get(f"/v1/keys?counter=plays&limit=1&after={after}").get_json()
        found, after = found + [one["key"] for one in page["data"]], page["next"]
    assert found == keys and after is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/nothing", 404), ("DELETE", "/v1/totals", 405), ("POST", "/v1/top", 405)],
)
def test_every_http_error_is_a_problem(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert set(answer.get_json()) == {"type", "title", "status", "detail"}
    assert ("Allow" in answer.headers) == (status == 405)


def test_an_unexpected_error_is_a_problem_without_its_inside(client: FlaskClient, layers: FakeLayers) -> None:
    layers.published = None  # type: ignore[assignment]
    problem = get(client, T, 500)
    assert problem["status"] == 500 and "NoneType" not in problem["detail"]
