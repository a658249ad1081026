"""Hundreds of random questions over random events, split between the layers at random: the answers of a plain list of
events."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from serving.app import create_app
from stitch.buckets import bucket_of, finest_of, floor, granularities_of
from stitch.counters import Counter
from stitch.merge import Increment, Ranking, Total
from stitch.sections import ServingSettings
from stitch.settings import load_settings
from tests.fakes import FakeLayers
from tests.queries import CHANGES, Happened, Questions, asker

NOW = datetime(2024, 11, 20, 10, 40, tzinfo=UTC)
COUNTERS = [
    Counter(name="plays", key="track_id", weights={"play": 1}, resolution="15m", chart=True),
    Counter(name="creator_plays", key="creator_id", member="track_id", weights={"play": 1}, resolution="15m"),
]
MEMBERS = ["x", "x", "x", "y", "y", "z", "ü", "v", "w", None]
Place = tuple[str, str, str, datetime]  # counter, key, granularity, bucket start
LISTED = 3  # members of a bucket that a list has


def some_events(rng: random.Random) -> list[Happened]:
    """Around now, a year ago, and on the days on which clocks are set, some of their years, and a year after."""
    some = [at for _, at in rng.sample(CHANGES, k=4)]
    ago = (0, 1, 8, 30, 60, 365, 366, 373, 396)  # in days: what periods hold and face
    centres = [*(NOW - timedelta(days=days) for days in ago), *some,
               *(min(NOW, at + timedelta(days=365)) for at in some)]  # fmt: skip
    events = []
    for _ in range(rng.randint(50, 400)):
        at = min(NOW, rng.choice(centres) + timedelta(hours=rng.gauss(0, 30)))
        for counter in COUNTERS:
            events.append(
                Happened(counter.name, rng.choice("ab"),
                         rng.choice(MEMBERS) if counter.member else None,
                         rng.choice([1, 1, 1, 3, -1]), at)
            )  # fmt: skip
    return events


def layers_of(
    events: list[Happened], cutoff: datetime, rng: random.Random, held: list[Happened] | None = None
) -> FakeLayers:
    """What the layers hold of the events: each was ingested some time after it happened, in hourly windows. `held`
    gets those before the cutoff."""
    layers = FakeLayers()
    layers.published = {counter.name: cutoff for counter in COUNTERS}
    layers.through = NOW
    of = {counter.name: counter for counter in COUNTERS}
    totals: dict[tuple[object, ...], int] = {}
    for e in events:
        late = timedelta(hours=rng.choice([0, 0, 1, 30]))
        window = min(floor(e.at + late, "hour"), floor(NOW, "hour"))
        if window >= cutoff - timedelta(hours=3):
            increment = Increment(floor(e.at, finest_of(of[e.counter])), window, e.amount)
            layers.increment_rows.append((e.counter, e.key, increment))
            if e.member:
                layers.member_increment_rows.append(
                    (e.counter, e.key, Increment(increment.bucket, window, e.amount, e.member))
                )
        if window < cutoff:
            if held is not None:
                held.append(e)
            for granularity in granularities_of(of[e.counter]):
                start = bucket_of(e.at, granularity).start
                for row in ((e.counter, e.key, granularity, start), (e.counter, e.key, granularity, start, e.member)):
                    totals[row] = totals.get(row, 0) + e.amount
    for row, count in totals.items():
        if len(row) == 4:
            layers.total_rows[row] = Total(count, cutoff)  # type: ignore[index]
        elif row[4]:
            layers.member_total_rows[row] = Total(count, cutoff)  # type: ignore[index]
    layers.ranked_rows = lists_of(layers, cutoff, rng)
    layers.chart_rows = charts_of(layers, cutoff)
    return layers


def charts_of(layers: FakeLayers, cutoff: datetime) -> dict[tuple[str, str, datetime], Ranking | None]:
    by_bucket: dict[tuple[str, str, datetime], list[tuple[int, str]]] = {}
    for (counter, key, granularity, start), total in layers.total_rows.items():
        if total.count:
            by_bucket.setdefault((counter, granularity, start), []).append((-total.count, key))
    return {
        place: Ranking([key for _, key in sorted(rows)], [-count for count, _ in sorted(rows)], cutoff)
        for place, rows in by_bucket.items()
    }


def lists_of(layers: FakeLayers, cutoff: datetime, rng: random.Random) -> dict[Place, Ranking]:
    """Of most buckets with more members than a list has; some have none, as before an upgrade."""
    by_bucket: dict[Place, list[tuple[int, str]]] = {}
    for (*bucket, member), total in layers.member_total_rows.items():
        if total.count:
            by_bucket.setdefault(tuple(bucket), []).append((-total.count, member))  # type: ignore[arg-type]
    first = {place: sorted(rows)[:LISTED] for place, rows in by_bucket.items() if len(rows) > LISTED}
    return {
        place: Ranking([member for _, member in rows], [-count for count, _ in rows], cutoff)
        for place, rows in first.items()
        if rng.random() < 0.9
    }


def questions(seed: int) -> Questions:
    rng = random.Random(seed)
    events = some_events(rng)
    cutoff = floor(NOW - timedelta(hours=rng.choice([1, 5, 30, 300])), "hour")
    caching = ServingSettings() if seed % 2 else ServingSettings(cache=timedelta(0))
    settings = load_settings("conf/stitch.toml").model_copy(update={"counters": COUNTERS, "serving": caching})
    held: list[Happened] = []
    client = create_app(settings, layers_of(events, cutoff, rng, held), now=lambda: NOW).test_client()
    return Questions(events, asker(client), rng, "creator_plays", lambda: NOW, held=held)


@pytest.mark.parametrize("seed", range(6))
def test_any_question_is_answered_as_by_the_list_of_events(seed: int) -> None:
    questions(seed).ask_some(2)


@pytest.mark.parametrize("seed", range(8))
def test_any_top_is_that_of_the_list_of_events(seed: int) -> None:
    asked = questions(seed)
    for _ in range(6):
        asked.ask_top()


@pytest.mark.parametrize("seed", range(8))
def test_any_chart_is_that_of_the_list_of_events(seed: int) -> None:
    asked = questions(seed)
    for _ in range(6):
        asked.ask_chart()
