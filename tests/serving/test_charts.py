"""Charts by lists of keys: who is in them, and what they counted (test_chart_answers.py: how that is told). Literal
tables, and any rows beside a plain list of events. Layers in memory."""

from __future__ import annotations

import random
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.layers.interface import Unavailable
from serving.reading import charts as module
from serving.reading.found import Chart
from serving.reading.queries import BadRequest, ChartQuery, Span
from serving.reading.reader import Reader
from serving.reading.view import View
from stitch.buckets import Range, bucket_of
from stitch.counters import Counter
from stitch.merge import Increment, Ranking, Total
from stitch.periods import comparison
from stitch.sections import ServingSettings
from stitch.settings import load_settings
from stitch.zones import UTC_CALENDAR
from tests.fakes import FakeLayers

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TODAY = datetime(2024, 3, 14, tzinfo=UTC)
NOW, CUTOFF = TODAY + 12.5 * HOUR, TODAY + 10 * HOUR
NEXT = CUTOFF + HOUR  # to which the next run counts
LENGTH = 3  # keys of a list
PLAYS = Counter(name="plays", key="track_id", weights={"play": 1}, chart=True)
LIKES = Counter(name="likes", key="track_id", weights={"like": 1, "unlike": -1}, chart=True)


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RANKED_KEYS", LENGTH)
    monkeypatch.setattr(module, "SPARE", 1)
    monkeypatch.setattr(module, "RISING", (2, 4))


@dataclass(frozen=True)
class Event:
    """Appended at a time, of which the hour is the ingest window."""

    key: str
    at: datetime
    appended: datetime
    amount: int = 1


@dataclass
class World:
    """What the layers hold of events after a run up to the cutoff; loading: while the next run is half way through."""

    events: Sequence[Event]
    counter: Counter = PLAYS
    layers: FakeLayers = field(default_factory=FakeLayers)
    serving: ServingSettings = field(default_factory=ServingSettings)
    loading: random.Random | None = None

    def __post_init__(self) -> None:
        layers, name = self.layers, self.counter.name
        layers.published, layers.through = {name: CUTOFF}, NOW
        for one in self.events:
            bucket, window = one.at.replace(minute=0), one.appended.replace(minute=0)
            layers.increment_rows.append((name, one.key, Increment(bucket, window, one.amount)))
        for cutoff in (CUTOFF, NEXT) if self.loading else (CUTOFF,):
            for (key, granularity, start), count in self.sums(cutoff).items():
                if self.written(cutoff):
                    layers.total_rows[name, key, granularity, start] = Total(count, cutoff)
            for place, rows in self.listed(cutoff).items():
                if self.written(cutoff):
                    first = sorted(rows)[:LENGTH]
                    keys, counts = [key for _, key in first], [-count for count, _ in first]
                    layers.chart_rows[place] = Ranking(keys, counts, cutoff)

    def sums(self, cutoff: datetime) -> Tally[tuple[str, str, datetime]]:
        """(key, granularity, bucket start) → what was appended before the cutoff."""
        found: Tally[tuple[str, str, datetime]] = Tally()
        for one in self.events:
            if one.appended.replace(minute=0) < cutoff:
                for granularity in ("hour", "day", "month", "all"):
                    found[one.key, granularity, bucket_of(one.at, granularity).start] += one.amount
        return found

    def listed(self, cutoff: datetime) -> dict[tuple[str, str, datetime], list[tuple[int, str]]]:
        """Bucket → (−count, key) of the keys that count."""
        found: dict[tuple[str, str, datetime], list[tuple[int, str]]] = {}
        for (key, granularity, start), count in self.sums(cutoff).items():
            if granularity != "hour":
                rows = found.setdefault((self.counter.name, granularity, start), [])
                rows.extend([(-count, key)] if count else [])
        return found

    def written(self, cutoff: datetime) -> bool:
        """Whether a row of the run to the cutoff is there."""
        return cutoff == CUTOFF or (self.loading is not None and self.loading.random() < 0.5)

    def chart(self, asked: Range | None, limit: int = 2, order: str = "count", partial: bool = False) -> Chart:
        return self.answer(asked, limit, order, partial)[0]

    def answer(self, asked: Range | None, limit: int, order: str, partial: bool) -> tuple[Chart, View]:
        settings = load_settings("conf/stitch.toml").model_copy(
            update={"counters": [self.counter], "serving": self.serving}
        )
        faced = asked and comparison(asked, None, "previous_period", False, NOW, UTC_CALENDAR, "hour")
        span = Span(asked, UTC_CALENDAR, None, faced if order == "rising" else None)
        query = ChartQuery(self.counter, span, limit, order, "json", partial)
        return Reader(settings, self.layers, lambda: NOW).chart(query)

    def counts(self, asked: Range | None, before: datetime | None = None) -> Tally[str]:
        """Of the events in the range, of those that were appended before then."""
        found: Tally[str] = Tally()
        for one in self.events:
            if (asked is None or asked.start <= one.at < asked.end) and (before is None or one.appended < before):
                found[one.key] += one.amount
        return found


def days(first: int, last: int = 0) -> Range:
    """From so many days before today to the end of the day so many days before."""
    return Range(TODAY - first * DAY, TODAY + (1 - last) * DAY)


def events(day: int, live: bool = False, **counts: int) -> list[Event]:
    """So many of each key, so many days before today; live: appended after the cutoff."""
    at = TODAY - day * DAY + 5 * HOUR
    appended = NOW - timedelta(minutes=5) if live else at + HOUR
    return [Event(key, at, appended, count) for key, count in counts.items()]


FIVE = {"a": 9, "b": 7, "c": 5, "d": 4, "e": 3}
CASES: dict[str, tuple[list[Event], Range | None, list[tuple[str, int]], bool]] = {
    # what was counted, the range → the first two keys, whether it is exact
    "all time": (events(3, **FIVE), None, [("a", 9), ("b", 7)], True),
    "a day": (events(3, **FIVE) + events(2, z=99), days(3, 3), [("a", 9), ("b", 7)], True),
    "days before the first": (events(3, **FIVE), days(9, 5), [], True),
    "a month": (events(20, b=2, a=1) + events(3, z=9), Range(TODAY.replace(month=2, day=1), TODAY.replace(day=1)),
                [("b", 2), ("a", 1)], True),
    "a day that is to come is empty": (events(0, a=1), Range(TODAY + DAY, TODAY + 2 * DAY), [], True),
    "of equal counts, by name": (events(3, b=5, c=5, a=5, d=5), None, [("a", 5), ("b", 5)], True),
    "one of the list gained since": (events(3, **FIVE) + events(0, True, b=3), days(3), [("b", 10), ("a", 9)], True),
    "one behind the page gained since": (events(3, **FIVE) + events(0, True, c=3), days(3), [("a", 9), ("c", 8)], True),
    "one who is no candidate gained since, as of a later run": (
        events(3, **FIVE) + events(0, True, e=99), days(3), [("a", 9), ("b", 7)], True),
    "the first lost all since": (events(3, **FIVE) + events(3, True, a=-9), days(3), [("b", 7), ("c", 5)], True),
    "two days, one key is in one of the lists alone": (
        events(3, a=9, b=8, c=3, d=2) + events(2, a=9, e=8, f=3, d=2), days(3), [("a", 18), ("b", 8)], True),
    "two days, who is in no list of either may come before": (
        events(3, a=9, b=8, c=7, x=6) + events(2, d=9, e=8, f=7, x=6), days(3), [("a", 9), ("d", 9)], False),
    "few keys are all of them": (events(3, a=9) + events(2, a=1, b=1), days(3), [("a", 10), ("b", 1)], True),
}  # fmt: skip


@pytest.mark.parametrize(("held", "asked", "first", "exact"), CASES.values(), ids=list(CASES))
def test_a_chart_has_the_first_keys_by_their_live_counts(
    held: list[Event], asked: Range | None, first: list[tuple[str, int]], exact: bool
) -> None:
    found = World(held).chart(asked)
    assert (found.keys, found.exact, found.partial) == (first, exact, False)


RISING: dict[str, tuple[Counter, list[Event], list[tuple[str, int | None, int | None]], bool]] = {
    # what was counted three to zero days ago, and four days before → key, now, before; whether it is exact
    "more than before": (PLAYS, events(2, a=9, b=8) + events(6, a=8, b=1), [("b", 8, 1), ("a", 9, 8)], True),
    "who did not rise is not there": (PLAYS, events(2, a=9, b=8) + events(6, a=9, b=9), [], True),
    "who is new": (PLAYS, events(2, a=9, n=3) + events(6, a=7), [("n", 3, 0), ("a", 9, 7)], True),
    "the last hour, which is not over, is left out of both": (
        PLAYS, [*events(2, a=2), Event("a", NOW, NOW), Event("b", NOW, NOW)], [("a", 2, 0)], True),
    "who counted less than another rose cannot have risen more": (
        PLAYS, events(2, a=9, b=9, c=2, d=2, e=1) + events(6, a=1, b=2, c=1), [("a", 9, 1), ("b", 9, 2)], True),
    "behind the first so many there may be one who rose more": (
        PLAYS, events(2, a=9, b=9, c=8, d=7, e=7) + events(6, a=9, b=9, c=8), [], False),
    "counts that may fall": (LIKES, events(2, a=9) + events(6, a=2), [("a", 9, 2)], False),
}  # fmt: skip


@pytest.mark.parametrize(("counter", "held", "rows", "exact"), RISING.values(), ids=list(RISING))
def test_a_chart_of_rising_keys_is_by_how_much_more_they_counted(
    counter: Counter, held: list[Event], rows: list[tuple[str, int, int]], exact: bool
) -> None:
    found = World(held, counter).chart(days(3), order="rising")
    assert [(key, *found.changes[key]) for key, _ in found.keys] == rows and found.exact == exact


def test_a_chart_is_made_by_lists_that_are_right_alone() -> None:
    world = World(events(3, a=9, b=7))
    world.layers.charted_with_it = False
    with pytest.raises(Unavailable, match="no chart of plays until the next run"):
        world.chart(None)
    world.layers.charted_with_it = True
    world.layers.down = {"batch"}
    with pytest.raises(Unavailable, match="batch layer does not answer"):
        world.chart(None)


def test_a_day_from_whose_list_a_key_was_erased_is_not_told_and_what_is_left_is_not_exact() -> None:
    world = World(events(3, a=9, b=7) + events(2, c=3))
    world.layers.chart_rows["plays", "day", TODAY - 3 * DAY] = None
    with pytest.raises(Unavailable, match="lacks 2024-03-11: a key was erased"):
        world.chart(days(3))
    left = world.chart(days(3), partial=True)
    assert (left.keys, left.exact) == ([("c", 3)], False)
    assert world.chart(days(2)).exact


def test_without_the_realtime_layer_counts_end_with_the_cutoff() -> None:
    world = World(events(3, a=9, b=7) + events(0, True, b=5))
    world.layers.down = {"realtime"}
    found, view = world.answer(days(3), 2, "count", False)
    assert found.keys == [("a", 9), ("b", 7)] and found.partial and found.exact and view.missing == ("realtime",)


def test_what_a_chart_may_cost_is_known_before_anything_is_read() -> None:
    world = World(events(3, a=9), serving=ServingSettings(max_reads=40))
    with pytest.raises(BadRequest, match=r"limit: .*max_reads.*: at most 6 of this range"):
        world.chart(days(3), limit=7)
    assert world.layers.reads == 0
    assert world.chart(days(3), limit=6).keys == [("a", 9)]
    with pytest.raises(BadRequest, match=r"start: .*days at a time"):
        World([], serving=ServingSettings(max_reads=30)).chart(Range(TODAY - 33 * DAY, TODAY), limit=1)


def test_keys_are_asked_for_by_name_no_more_than_reads_are_left() -> None:
    others_every_day = [events(n, **{f"a{n}": 20, f"b{n}": 20, f"c{n}": 9, f"d{n}": 1}) for n in range(4)]
    world = World([one for day in others_every_day for one in day], serving=ServingSettings(max_reads=20))
    assert not world.chart(days(3), limit=2).exact
    assert world.layers.reads == 4 + 8 + 2 * 2  # lists, half of the rest by name, and both layers of two keys


# any events

KEYS = list("abcdefgh")


def some_world(rng: random.Random, loading: bool = False) -> World:
    counter = PLAYS if loading else rng.choice([PLAYS, LIKES])
    skew, amounts = rng.choice([0, 1, 2]), [1, 1, 3] if counter is PLAYS else [-2, -1, 1, 3]
    weights = [1 / (n + 1) ** skew for n in range(len(KEYS))]
    live, happened = rng.choice([0, 0, 0.1, 0.5]), []
    for _ in range(rng.choice([0, 5, 20, 60])):
        at = TODAY - rng.choice([0, 1, 1, 2, 3, 4, 5, 20, 40]) * DAY + rng.randrange(12) * HOUR
        late = rng.random() < live
        appended = CUTOFF + rng.choice([0, 1, 2]) * HOUR if late else min(at, CUTOFF - HOUR)
        happened.append(Event(rng.choices(KEYS, weights)[0], at, max(at, appended), rng.choice(amounts)))
    return World(happened, counter, loading=rng if loading else None)


def some_range(rng: random.Random) -> Range | None:
    first = rng.choice([0, 1, 2, 3, 14, 45])
    return rng.choice([None, days(first), days(first, rng.randint(0, first))])


def ranked(counts: Tally[str], limit: int) -> list[tuple[int, str]]:
    return sorted((-count, key) for key, count in counts.items() if count)[:limit]


def check_members(page: list[tuple[int, str]], live: dict[str, int], then: Tally[str], limit: int) -> None:
    """Whoever was among the first at the cutoff is shown, unless others come before him now."""
    shown = {key for _, key in page}
    for _, key in ranked(then, limit):
        if key not in shown and live[key]:
            assert len(page) == limit and page[-1] < (-live[key], key), (key, page)


@given(st.randoms(use_true_random=False))
def test_a_chart_of_any_events_has_whoever_was_first_at_the_cutoff_by_what_he_counts_now(rng: random.Random) -> None:
    world, asked, limit = some_world(rng), some_range(rng), rng.randint(1, 3)
    found = world.chart(asked, limit)
    live = world.counts(asked)
    page = [(-count, key) for key, count in found.keys]
    assert found.keys == [(key, live[key]) for key, _ in found.keys] and page == sorted(page) and len(page) <= limit
    if found.exact:
        check_members(page, live, world.counts(asked, CUTOFF), limit)
        if not any(one.appended >= CUTOFF for one in world.events):
            assert page == ranked(live, limit)


@given(st.randoms(use_true_random=False))
def test_while_a_run_loads_counts_are_live_and_whoever_was_first_at_the_cutoff_is_there(rng: random.Random) -> None:
    world, asked, limit = some_world(rng, loading=True), some_range(rng), rng.randint(1, 3)
    found, live, then = world.chart(asked, limit), world.counts(asked), world.counts(asked, CUTOFF)
    page = [(-count, key) for key, count in found.keys]
    assert found.keys == [(key, live[key]) for key, _ in found.keys] and page == sorted(page)
    if found.exact:
        others = max([0, *(count for key, count in then.items() if key not in dict(found.keys))])
        assert others <= (-page[-1][0] if len(page) == limit else 0)


@given(st.randoms(use_true_random=False))
def test_a_chart_of_rising_keys_of_any_events_is_that_of_all_of_them_compared(rng: random.Random) -> None:
    world, limit = some_world(rng), rng.randint(1, 3)
    asked = some_range(rng) or days(2)
    found = world.chart(asked, limit, "rising")
    faced = found.comparison
    assert faced is not None
    rises = [Tally(world.counts(faced.current, until)) for until in (None, CUTOFF)]
    for one, until in zip(rises, (None, CUTOFF), strict=True):
        one.subtract(world.counts(faced.previous, until))
    live, then = ({key: n for key, n in one.items() if n > 0} for one in rises)
    page = [(-live[key], key) for key, _ in found.keys]
    assert page == sorted(page) and len(page) <= limit
    assert all(now is not None and now - (before or 0) == live[key] for key, (now, before) in found.changes.items())
    if found.exact:
        assert world.counter is PLAYS
        for key, rise in live.items():
            if key not in {shown for _, shown in page} and key in then:
                last = page[-1] if len(page) == limit else (0, "")
                assert last < (-rise, key) or last < (-then[key], key), (key, page)
        if not any(one.appended >= CUTOFF for one in world.events):
            assert page == ranked(Tally(live), limit)


def test_lists_decide_most_of_these_charts() -> None:
    decided: Tally[Any] = Tally()
    for seed in range(200):
        rng = random.Random(seed)
        world, asked = some_world(rng), some_range(rng)
        decided["count", world.chart(asked, 2).exact] += 1
        if world.counter is PLAYS:
            decided["rising", world.chart(asked or days(2), 2, "rising").exact] += 1
    assert decided["count", True] > 20 * decided["count", False] > 20
    assert decided["rising", True] > decided["rising", False] > 20
