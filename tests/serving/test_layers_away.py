"""What is answered while a layer is away, lags, or lost something: a whole count, one as of an instant, or none.
Layers in memory; the reader remembers rows as it does by default."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from serving.reading import view
from serving.reading.view import LastPublished
from stitch.buckets import EPOCH
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import Publication
from stitch.merge import Increment, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, load_settings
from tests.answers import get
from tests.fakes import FakeLayers

DAY = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CUTOFF = DAY + 10 * HOUR
NOW = DAY + timedelta(hours=12, minutes=30)
PLAYS = "/v1/totals?counters=plays&keys=t1"
HOURS = "/v1/series?counters=plays&key=t1&granularity=hour"
DAYS = "/v1/series?counters=plays&key=t1&granularity=day"
TOP = "/v1/top?counter=creator_plays&key=c1"


class Clock:
    """The reader's; and `pass_by`: what it keeps for a second is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.since = NOW, 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.since)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float = 5) -> None:
        self.now += timedelta(seconds=seconds)
        self.since += seconds


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings("conf/stitch.toml").model_copy(update={"serving": ServingSettings()})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def layers() -> FakeLayers:
    """Track t1 was played 1,000,000 times, all at eight; 7 times since the cutoff, at eleven."""
    fake = FakeLayers()
    fake.published = dict.fromkeys(("plays", "creator_plays"), CUTOFF)
    fake.through = NOW - timedelta(seconds=2)
    for counter, key in (("plays", "t1"), ("creator_plays", "c1")):
        for granularity, start in (("all", EPOCH), ("month", DAY), ("day", DAY), ("hour", DAY + 8 * HOUR)):
            fake.total_rows[counter, key, granularity, start] = Total(1_000_000, CUTOFF)
        fake.increment_rows.append((counter, key, Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 7)))
    fake.member_total_rows["creator_plays", "c1", "all", EPOCH, "t1"] = Total(1_000_000, CUTOFF)
    fake.member_increment_rows = [("creator_plays", "c1", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 7, "t1"))]
    return fake


@pytest.fixture
def client(settings: Settings, layers: FakeLayers, clock: Clock) -> FlaskClient:
    return create_app(settings, layers, now=clock).test_client()


def plays(client: FlaskClient, more: str = "") -> Any:
    return get(client, f"{PLAYS}{more}")["data"][0]["counts"]["plays"]


def column(answer: Any, of: str, counter: str = "plays") -> list[Any]:
    return [point[of][counter] for point in answer["points"]]


# Without the batch layer


def test_without_the_batch_layer_remembered_totals_and_live_increments_are_the_whole_count(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    assert (plays(client), get(client, TOP)["members"]) == (1_000_007, [{"member": "t1", "count": 1_000_007}])
    layers.down = {"batch"}
    for hours in (0.01, 2, 50):  # longer than any row is answered for
        clock.pass_by(hours * 3600)
        layers.through = clock.now
        layers.increment_rows.append(("plays", "t1", Increment(DAY + 11 * HOUR, clock.now, 1)))
    answer = get(client, PLAYS)
    assert answer["data"][0]["counts"]["plays"] == 1_000_010
    assert answer["meta"]["missing"] == ["batch"] and "partial" not in answer["meta"]
    assert answer["meta"]["counters"]["plays"]["cutoff"] == "2024-03-01T10:00:00Z"
    assert get(client, TOP)["members"] == [{"member": "t1", "count": 1_000_007}]


def test_right_after_a_run_has_published_the_totals_of_the_one_before_it_still_serve(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    assert (plays(client), get(client, TOP)["total"]) == (1_000_007, 1_000_007)
    assert get(client, f"{DAYS}&period=all")["totals"] == {"plays": 1_000_007}
    clock.pass_by()
    layers.published = dict.fromkeys(layers.published, DAY + 12 * HOUR)
    get(client, "/v1/status")
    layers.down = {"batch"}
    clock.pass_by()
    answer = get(client, PLAYS)
    assert answer["data"][0]["counts"]["plays"] == 1_000_007 and "partial" not in answer["meta"]
    assert get(client, TOP)["total"] == 1_000_007
    assert get(client, f"{DAYS}&period=all")["totals"] == {"plays": 1_000_007}
    layers.down = set()
    clock.pass_by()
    assert plays(client) == 1_000_000  # of the last run: what the fixture has since is older than its cutoff
    clock.pass_by(14 * 86_400)
    layers.published, layers.through = dict.fromkeys(layers.published, clock.now - HOUR), clock.now
    get(client, "/v1/status")
    layers.down = {"batch"}
    clock.pass_by()
    assert get(client, PLAYS, 503)["status"] == 503  # increments since the run before have expired


def test_the_run_before_is_one_of_the_same_definition() -> None:
    def said(stored: str, hour: int) -> dict[str, Publication]:
        return {stored: Publication(Published(DAY + hour * HOUR, 0))}

    first = LastPublished({}).followed_by(said("plays@1", 1))
    second = first.followed_by(said("plays@1", 2)).followed_by(said("plays@1", 2))
    assert (first.before, second.before) == ({}, {"plays": Published(DAY + HOUR, 0)})
    assert second.followed_by(said("plays@2", 3)).before == {}


def test_a_whole_answer_without_the_batch_layer_may_be_kept_by_caches_and_a_partial_one_may_not(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    over = "&start=2024-03-01T08:00&end=2024-03-01T10:00"
    plays(client), plays(client, over)
    layers.down = {"batch"}
    clock.pass_by()
    for path in (PLAYS, PLAYS + over):  # what is over may have been corrected by a run that nobody heard of
        whole = client.get(path).headers["Cache-Control"]
        assert re.fullmatch(r"public, max-age=[12], stale-while-revalidate=[12], stale-if-error=86400", whole)
    assert client.get(f"{PLAYS},cold").headers["Cache-Control"] == "no-store"


def test_without_the_batch_layer_what_is_not_remembered_has_no_number(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    plays(client)
    hours = "&start=2024-03-01T08:00&end=2024-03-01T12:00"
    get(client, HOURS + hours)
    layers.down = {"batch"}
    clock.pass_by()
    layers.increment_rows.append(("plays", "cold", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 3)))
    both = get(client, f"{PLAYS},cold")
    assert [row["counts"]["plays"] for row in both["data"]] == [1_000_007, None]
    assert both["meta"]["partial"] and "the batch layer does not answer" in both["meta"]["reason"]
    series = get(client, f"/v1/series?counters=plays&granularity=hour&keys=t1,cold{hours}")
    assert [one["totals"]["plays"] for one in series["data"]] == [1_000_007, None] and series["meta"]["partial"]
    for path in ("/v1/totals?counters=plays&keys=cold", "/v1/top?counter=creator_plays&key=cold",
                 "/v1/series?counters=plays&key=cold&granularity=hour",
                 "/v1/series?counters=plays&key=cold&period=all"):  # fmt: skip
        refused = client.get(path)
        assert refused.status_code == 503 and "`partial=allow` gives what is left" in refused.get_json()["detail"]
        assert get(client, f"{path}&partial=allow")["meta"]["partial"]
    answer = get(client, f"{PLAYS},cold&partial=allow")
    assert [row["counts"]["plays"] for row in answer["data"]] == [1_000_007, 3]
    text = client.get(f"{PLAYS},cold&format=csv")
    assert list(csv.reader(io.StringIO(text.text))) == [["key", "plays"], ["t1", "1000007"], ["cold", ""]]
    assert (text.headers["Stitch-Partial"], text.headers["Stitch-Missing"]) == ("true", "batch")


def test_without_the_batch_layer_a_counter_of_which_nothing_is_published_is_in_the_increments(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    layers.increment_rows.append(("likes", "t1", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 2)))
    plays(client)
    layers.down = {"batch"}
    clock.pass_by()
    answer = get(client, "/v1/totals?counters=plays,likes&keys=t1")
    assert answer["data"][0]["counts"] == {"plays": 1_000_007, "likes": 2} and "partial" not in answer["meta"]


def test_a_reader_that_starts_without_the_batch_layer_knows_no_count(client: FlaskClient, layers: FakeLayers) -> None:
    layers.down = {"batch"}
    assert "the batch layer does not answer" in get(client, PLAYS, 503)["detail"]
    assert get(client, HOURS, 503)["status"] == 503
    assert plays(client, "&partial=allow") == 7


class Shared(dict[str, bytes]):
    """A memcached of all processes."""

    def get_many(self, names: list[str]) -> dict[str, bytes]:
        return {name: self[name] for name in names if name in self}

    def set_many(self, rows: dict[str, bytes], expire: int) -> None:
        self.update(rows)


@pytest.mark.parametrize("gone", ["away", "recreated"])
def test_a_reader_that_starts_without_the_batch_layer_knows_by_memcached_what_was_published(
    settings: Settings, layers: FakeLayers, clock: Clock, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    shared = Shared()
    monkeypatch.setattr("serving.layers.memcached.HashClient", lambda *_, **__: shared)
    serving = ServingSettings(memcached=["127.0.0.1:11211"])
    own = next(counter for counter in settings.counters if counter.name == "plays")
    layers.definitions = {"plays": own}
    for there in (True, False):
        client = create_app(settings.model_copy(update={"serving": serving}), layers, now=clock).test_client()
        answer = get(client, PLAYS)
        assert answer["data"][0]["counts"] == {"plays": 1_000_007} and "partial" not in answer["meta"]
        assert answer["meta"].get("missing", []) == ([] if there else ["batch"])
        assert answer["meta"]["counters"]["plays"]["cutoff"] == "2024-03-01T10:00:00Z"
        if gone == "away":
            layers.down = {"batch"}
        else:
            layers.published, layers.total_rows = {}, {}
    assert get(client, PLAYS.replace("t1", "t2"), 503)["status"] == 503


def test_without_the_batch_layer_a_range_that_moves_on_is_put_together_from_what_was_read_before(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    get(client, f"{HOURS}&period=24h")
    layers.down = {"batch"}
    for hours, plays_of_a_day in ((3, 1_000_007), (19, 7), (20, 0)):
        clock.pass_by(hours * 3600)
        layers.through = clock.now
        answer = get(client, f"{HOURS}&period=24h")
        assert answer["totals"] == {"plays": plays_of_a_day} and None not in column(answer, "counts")
        assert set(column(answer, "status")) == {"known"}
    assert plays(client, "&start=2024-03-01T08:00&end=2024-03-01T12:00") == 1_000_007


def test_points_of_which_totals_are_not_remembered_are_unknown_and_null_whatever_the_fill(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    get(client, f"{HOURS}&start=2024-03-01T08:00&end=2024-03-01T10:00")
    layers.down = {"batch"}
    clock.pass_by()
    asked = f"{HOURS}&start=2024-03-01T07:00&end=2024-03-01T12:00"
    for fill in ("zero", "null", "none"):
        answer = get(client, f"{asked}&fill={fill}")
        counts = [1_000_000, None, None] if fill == "none" else [1_000_000, 0, None, None]
        assert column(answer, "counts") == [None, *counts], fill
        assert answer["totals"] == {"plays": None}
    assert column(answer, "status") == ["unknown", "known", "unknown", "unknown"]
    running = get(client, f"{asked}&cumulative=true")
    assert column(running, "counts") == [None] * 5
    assert column(get(client, f"{asked}&partial=allow"), "counts") == [0, 1_000_000, 0, 0, 7]


def test_without_the_batch_layer_finer_buckets_than_those_published_are_refused_and_not_zero(
    settings: Settings, layers: FakeLayers, clock: Clock
) -> None:
    own = Counter(name="plays", key="track_id", weights={"play": 1}, resolution="15m")
    layers.definitions = {"plays": own.model_copy(update={"resolution": "1h"})}
    client = create_app(settings.model_copy(update={"counters": [own]}), layers, now=clock).test_client()
    quarters = "/v1/series?counters=plays&key=t1&granularity=quarter_hour&start=2024-03-01T11:00&end=2024-03-01T12:00"
    plays(client)
    layers.down = {"batch"}
    clock.pass_by()
    for more in ("", "&partial=allow"):
        assert "by the hour, and no finer" in get(client, quarters + more, 503)["detail"]


def test_a_batch_layer_that_was_recreated_has_no_zeros_but_does_not_answer_until_it_is_loaded(
    client: FlaskClient, layers: FakeLayers, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    view._warn.cache_clear()
    assert plays(client) == 1_000_007
    published, totals = layers.published, layers.total_rows
    layers.published, layers.total_rows = {}, {}
    for _ in range(3):
        clock.pass_by()
        answer = get(client, PLAYS)
        assert (answer["data"][0]["counts"], answer["meta"]["missing"]) == ({"plays": 1_000_007}, ["batch"])
    assert get(client, PLAYS.replace("t1", "t2"), 503)["status"] == 503  # which is not remembered
    assert get(client, "/v1/keys?counter=plays", 503)["status"] == 503
    assert get(client, "/v1/status")["layers"]["batch"]["up"] is False
    assert get(client, "/readyz")["status"] == "degraded"
    (said,) = {record.getMessage() for record in caplog.records if record.name == "stitch.layers"}
    assert "`batch_totals --reload`" in said
    layers.published, layers.total_rows = published, totals
    clock.pass_by()
    assert "missing" not in get(client, PLAYS)["meta"] and get(client, "/readyz")["status"] == "ready"


# Without the real-time layer


def test_a_real_time_layer_that_was_recreated_does_not_answer_until_it_counts(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    assert plays(client) == 1_000_007
    increments, through = layers.increment_rows, layers.through
    layers.increment_rows, layers.through = [], None
    clock.pass_by()
    answer = get(client, PLAYS)
    assert (answer["data"][0]["counts"], answer["meta"]["missing"]) == ({"plays": 1_000_000}, ["realtime"])
    assert answer["meta"]["partial"] is True
    layers.increment_rows, layers.through = increments, through
    clock.pass_by()
    assert plays(client) == 1_000_007 and "missing" not in get(client, PLAYS)["meta"]


def test_without_the_real_time_layer_a_count_is_as_of_the_cutoff_and_says_so(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.down = {"realtime"}
    answer = get(client, PLAYS)
    assert answer["data"][0]["counts"]["plays"] == 1_000_000
    meta = answer["meta"]
    assert meta["counters"]["plays"] == {"cutoff": "2024-03-01T10:00:00Z", "as_of": "2024-03-01T10:00:00Z"}
    assert (meta["partial"], meta["missing"]) == (True, ["realtime"]) and "end with the cutoff" in meta["reason"]
    hours = get(client, f"{HOURS}&start=2024-03-01T08:00&end=2024-03-01T12:00")
    assert column(hours, "counts") == [1_000_000, 0, None, None]
    assert column(hours, "status") == ["known", "known", "unknown", "unknown"]
    assert column(hours, "complete") == [True, True, False, False]
    few = get(client, f"{HOURS}&start=2024-03-01T08:00&end=2024-03-01T14:00&fill=none")  # one o'clock is in the future
    assert column(few, "counts") == [1_000_000, None, None, None]


def test_a_counter_that_is_not_published_leaves_its_neighbours_what_they_are(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    both = "/v1/series?counters=plays,likes&key=t1&granularity=hour&start=2024-03-01T08:00&end=2024-03-01T12:00"
    layers.increment_rows.append(("likes", "t1", Increment(DAY + 11 * HOUR, DAY + 11 * HOUR, 2)))
    answer = get(client, both)
    assert answer["meta"]["counters"]["plays"]["cutoff"] == "2024-03-01T10:00:00Z"
    assert answer["meta"]["counters"]["likes"] == {"cutoff": None, "as_of": "2024-03-01T12:29:58Z"}
    assert column(answer, "final") == [True, True, False, False]
    assert column(answer, "final", "likes") == [False] * 4
    assert column(answer, "source") == ["batch", "batch", "batch", "realtime"]
    assert column(answer, "source", "likes") == ["realtime"] * 4
    rows = list(csv.reader(io.StringIO(client.get(f"{both}&format=csv").text)))
    assert rows[0][2:] == ["plays", "likes", *(f"{counter}.{column}" for counter in ("plays", "likes")
                                               for column in ("source", "status", "complete", "final"))]  # fmt: skip
    assert rows[4][2:] == ["7", "2", *["realtime", "known", "true", "false"] * 2]
    layers.down = {"realtime"}
    clock.pass_by()
    day = "start=2024-03-01&end=2024-03-02"
    counts = get(client, f"/v1/totals?counters=plays,likes&keys=t1&{day}")["data"][0]["counts"]
    assert counts == {"plays": 1_000_000, "likes": None}
    assert get(client, "/v1/totals?counters=likes&keys=t1", 503)["status"] == 503


# A real-time layer that lags


def test_what_is_not_counted_yet_is_not_complete_and_a_comparison_ends_where_counting_does(
    client: FlaskClient, layers: FakeLayers, clock: Clock
) -> None:
    layers.through = DAY + timedelta(hours=11, minutes=20)  # the streaming job has stood still for 70 minutes
    yesterday = DAY - 24 * HOUR
    for n in range(24):
        layers.total_rows["plays", "t1", "hour", yesterday + n * HOUR] = Total(1, CUTOFF)
    hours = get(client, f"{HOURS}&start=2024-03-01T10:00&end=2024-03-01T13:00")
    assert column(hours, "complete") == [True, False, False]
    assert column(hours, "status") == ["known", "known", "unknown"]
    assert column(hours, "counts") == [0, 7, None] and hours["totals"] == {"plays": 7}
    compared = "&start=2024-03-01&end=2024-03-02&compare=previous_period"
    comparison = get(client, f"{PLAYS}{compared}")["comparison"]
    assert comparison["current"]["end"] == "2024-03-01T11:00:00Z"
    assert comparison["previous"] == {"start": "2024-02-29T00:00:00Z", "end": "2024-02-29T11:00:00Z"}
    assert comparison["data"][0]["changes"]["plays"]["previous"] == 11
    series = get(client, f"{DAYS}{compared}")["comparison"]
    top = get(client, f"{TOP}{compared}")["comparison"]
    for other in (series, top):
        assert (other["current"], other["previous"]) == (comparison["current"], comparison["previous"])
    layers.down = {"realtime"}
    clock.pass_by()
    comparison = get(client, f"{PLAYS}{compared}")["comparison"]
    assert comparison["current"]["end"] == "2024-03-01T10:00:00Z"
    nothing = get(client, f"{PLAYS}&start=2024-03-01T11:00&end=2024-03-01T12:00&compare=previous_period")["comparison"]
    assert nothing["data"][0]["changes"]["plays"] == {"current": None, "previous": None, "change": None}


def test_at_midnight_increments_are_read_that_the_real_time_layer_has_whatever_the_clock_of_the_reader_says(
    settings: Settings, layers: FakeLayers
) -> None:
    midnight = DAY + 24 * HOUR
    client = create_app(settings, layers, now=lambda: midnight - timedelta(seconds=3)).test_client()
    layers.through = midnight + timedelta(seconds=1)
    layers.increment_rows.append(("plays", "t1", Increment(midnight, midnight, 5)))
    assert plays(client) == 1_000_012
    days = get(client, f"{DAYS}&start=2024-03-01&end=2024-03-03")
    assert list(zip(column(days, "counts"), column(days, "status"), strict=True)) == [
        (1_000_007, "known"), (5, "known")
    ]  # fmt: skip


# Increments that expired


def test_increments_that_expired_before_the_batch_counted_them_leave_unknown_counts(
    settings: Settings, layers: FakeLayers
) -> None:
    now = CUTOFF + timedelta(days=15, hours=4)  # increments are held for 14 days
    client = create_app(settings, layers, now=lambda: now).test_client()
    layers.through = now
    refused = get(client, PLAYS, 503)["detail"]
    assert "events of plays that were appended from 2024-03-01T10:00:00Z on were not counted by the batch" in refused
    days = get(client, f"{DAYS}&start=2024-02-29&end=2024-03-05")
    assert column(days, "counts") == [0, None, None, 0, 0]
    assert column(days, "status") == ["known", "unknown", "unknown", "known", "known"]
    assert days["totals"] == {"plays": None} and days["meta"]["partial"]
    assert plays(client, "&start=2024-03-01T08:00&end=2024-03-01T10:00") == 1_000_000
    assert get(client, TOP, 503)["status"] == 503
    allowed = get(client, f"{PLAYS}&partial=allow")
    assert (allowed["data"][0]["counts"]["plays"], allowed["meta"]["partial"]) == (1_000_000, True)


def test_without_a_real_time_layer_nothing_expires_uncounted(settings: Settings, layers: FakeLayers) -> None:
    layers.through, layers.increment_rows = None, []
    client = create_app(settings, layers, now=lambda: CUTOFF + timedelta(days=60)).test_client()
    assert plays(client) == 1_000_000


# Nothing published


def test_of_a_counter_of_which_nothing_is_published_only_what_is_held_is_told(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.published, layers.total_rows = {}, {}
    layers.increment_rows.append(("plays", "t1", Increment(datetime(2013, 5, 5, tzinfo=UTC), DAY + 11 * HOUR, 3)))
    january, of_2013 = "&start=2024-01-01&end=2024-02-01", "&start=2013-05-01&end=2013-06-01"
    assert (plays(client), plays(client, of_2013), plays(client, "&start=2024-02-01&end=2024-03-02")) == (10, 3, 7)
    for path in (PLAYS, DAYS, f"{TOP}"):
        refused = get(client, f"{path}{january}", 503)["detail"]
        assert "is published by the batch yet, and what was appended before 2024-02-16T12:30:00Z is not held" in refused
        assert get(client, f"{path}{january}&partial=allow")["meta"]["partial"]
    weeks = "&start=2024-02-15&end=2024-03-02"
    days = get(client, DAYS + weeks)
    assert column(days, "counts") == [None, None, *[0] * 13, 7] and days["totals"] == {"plays": 7}
    assert column(days, "complete")[:3] == [False, False, True] and days["meta"]["partial"]
    assert set(column(get(client, f"{DAYS}{weeks}&cumulative=true"), "counts")) == {None}
    assert get(client, f"{DAYS}&start=2024-02-15&end=2024-02-20")["totals"] == {"plays": None}
    assert get(client, f"{DAYS.replace('day', 'month')}&period=all")["totals"] == {"plays": 10}
    compared = get(client, f"{PLAYS}&start=2024-03-01&end=2024-03-02&compare=year_over_year")["comparison"]
    assert compared["data"][0]["changes"]["plays"] == {"current": 7, "previous": None, "change": None}
    assert plays(client, f"{january}&layer=realtime") == 0
    both = get(client, f"{PLAYS},cold")  # all time is all that is held
    assert [row["counts"]["plays"] for row in both["data"]] == [10, 0] and "partial" not in both["meta"]


def test_before_anything_was_counted_no_count_of_a_range_is_known(client: FlaskClient, layers: FakeLayers) -> None:
    layers.published, layers.through, layers.total_rows, layers.increment_rows = {}, None, {}, []
    for path in (f"{PLAYS}&start=2024-03-01&end=2024-03-02", HOURS, f"{TOP}&period=24h"):
        assert "plays is published by the batch yet" in get(client, path, 503)["detail"]
    assert plays(client) == 0
