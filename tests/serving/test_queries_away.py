"""Random questions while a layer is away: a count is the truth of a plain list of events, or it is not given."""

from __future__ import annotations

import random
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from stitch.buckets import FIXED, floor
from stitch.merge import Increment
from stitch.sections import ServingSettings
from stitch.settings import load_settings
from tests.fakes import FakeLayers
from tests.queries import Happened, counted
from tests.serving.test_queries import COUNTERS, NOW, layers_of, some_events

QUARTER = FIXED["quarter_hour"]
Truth = Callable[[str, str, datetime | None, datetime | None], int]  # counter, key, start, end → count
Answered = tuple[int | None, int]  # what a reader said, what is true


def questions(client: FlaskClient, rng: random.Random, truth: Truth, how_many: int) -> Iterator[Answered]:
    """Ask at random for totals, series and tops; yields each count beside the truth, None where none was given."""
    for _ in range(how_many):
        names, keys = rng.sample([counter.name for counter in COUNTERS], k=rng.randint(1, 2)), rng.sample("ab", k=2)
        granularity = rng.choice(["quarter_hour", "hour", "day"])
        end = floor(NOW, granularity) - rng.randint(-1, 9) * FIXED[granularity]
        start = end - rng.randint(1, 30) * FIXED[granularity]
        whole = rng.random() < 0.3
        bounds = {} if whole else {"start": f"{start:%FT%TZ}", "end": f"{end:%FT%TZ}"}
        of = (None, None) if whole else (start, end)
        asked = {"counters": ",".join(names), **bounds}
        found = client.get("/v1/totals", query_string={**asked, "keys": ",".join(keys)})
        rows = found.get_json()["data"] if found.status_code == 200 else []
        for row in rows:
            yield from ((row["counts"][name], truth(name, row["key"], *of)) for name in names)
        if not rows:
            assert found.status_code == 503
            yield None, 0
        series = client.get("/v1/series", query_string={**asked, "key": "a", "granularity": granularity})
        if not whole and series.status_code == 200:
            for point in series.get_json()["points"]:
                edges = [datetime.fromisoformat(point[edge]) for edge in ("start", "end")]
                for name in names:
                    known = point["status"][name] != "unknown"
                    assert known or point["counts"][name] is None, point
                    yield point["counts"][name], truth(name, "a", edges[0], edges[1])
        top = client.get("/v1/top", query_string={"counter": "creator_plays", "key": "a", **bounds})
        yield (top.get_json()["total"] if top.status_code == 200 else None), truth("creator_plays", "a", *of)


def checked(answers: Iterator[Answered]) -> Tally[bool]:
    """How many counts were given, and how many were not."""
    given: Tally[bool] = Tally()
    for said, true in answers:
        assert said in (None, true)
        given[said is not None] += 1
    return given


@pytest.mark.parametrize("seed", range(4))
def test_with_a_layer_away_a_count_is_the_truth_or_not_given(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, clock = random.Random(seed), [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    events = some_events(rng)
    cutoff = floor(NOW - timedelta(hours=rng.choice([1, 5, 30])), "hour")
    layers = layers_of(events, cutoff, rng)
    settings = load_settings("conf/stitch.toml").model_copy(update={"counters": COUNTERS, "serving": ServingSettings()})
    client = create_app(settings, layers, now=lambda: NOW).test_client()

    def truth(*asked: Any) -> int:
        return counted(events, *asked)

    assert not checked(questions(client, rng, truth, 10))[False]
    layers.down = {"batch"}
    clock[0] += 5
    events += more_of(layers, rng)
    given = checked(questions(client, rng, truth, 20))
    assert given[True] > 20 and given[False]

    def in_totals(counter: str, key: str, start: datetime | None, end: datetime | None) -> int:
        rows = (row for row in layers.total_rows.items() if row[0][:3] == (counter, key, "quarter_hour"))
        return sum(total.count for row, total in rows if not start or not end or start <= row[3] < end)

    layers.down = {"realtime"}
    clock[0] += 5
    assert checked(questions(client, rng, in_totals, 6))[True] > 20


def more_of(layers: FakeLayers, rng: random.Random) -> list[Happened]:
    """Events that are ingested now, of any age."""
    found = []
    for _ in range(20):
        at, counter, key = NOW - timedelta(hours=rng.expovariate(0.1)), rng.choice(COUNTERS).name, rng.choice("ab")
        found.append(Happened(counter, key, None, 1, at))
        layers.increment_rows.append((counter, key, Increment(floor(at, "quarter_hour"), floor(NOW, "hour"), 1)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_without_the_batch_layer_a_top_is_that_of_all_events_or_is_not_given(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, clock = random.Random(seed), [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    events = some_events(rng)
    layers = layers_of(events, floor(NOW - timedelta(hours=5), "hour"), rng)
    settings = load_settings("conf/stitch.toml").model_copy(update={"counters": COUNTERS, "serving": ServingSettings()})
    client = create_app(settings, layers, now=lambda: NOW).test_client()
    given: Tally[bool] = Tally()
    spans = [{"key": rng.choice("ab"), "limit": rng.randint(1, 2), **some_days(rng)} for _ in range(24)]
    for away in (False, True):
        layers.down = {"batch"} if away else set()
        for asked in spans if away else spans[:12]:
            found = client.get("/v1/top", query_string={"counter": "creator_plays", **asked})
            given[found.status_code == 200] += away
            if found.status_code == 200:
                expected = top_of(events, asked)
                told = [(row["member"], row["count"]) for row in found.get_json()["members"]]
                assert told == expected[: asked["limit"]], asked
        clock[0] += 5
        for member in rng.sample("uvwxyz", k=3):
            at = NOW - timedelta(hours=rng.expovariate(0.1))
            events.append(Happened("creator_plays", "a", member, 1, at))
            increment = Increment(floor(at, "quarter_hour"), floor(NOW, "hour"), 1)
            layers.increment_rows.append(("creator_plays", "a", increment))
            layers.member_increment_rows.append(("creator_plays", "a", replace(increment, member=member)))
    assert given[True] > 5 and given[False]


def some_days(rng: random.Random) -> dict[str, str]:
    """Some days up to today, or all time."""
    end = floor(NOW, "day") + timedelta(days=rng.choice([0, 1]))
    start = end - timedelta(days=rng.randint(1, 40))
    return {"start": f"{start:%FT%TZ}", "end": f"{end:%FT%TZ}"} if rng.random() < 0.7 else {}


def top_of(events: list[Happened], asked: dict[str, Any]) -> list[tuple[str, int]]:
    start, end = (datetime.fromisoformat(asked[edge]) if edge in asked else None for edge in ("start", "end"))
    tally: Tally[str] = Tally()
    for e in events:
        within = start is None or end is None or start <= e.at < end
        if (e.counter, e.key) == ("creator_plays", asked["key"]) and within and e.member:
            tally[e.member] += e.amount
    return sorted(((member, n) for member, n in tally.items() if n), key=lambda row: (-row[1], row[0]))
