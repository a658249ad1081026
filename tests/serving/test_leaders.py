"""The first members by lists: literal tables, and any rows beside the plain way, which sorts all members."""

from __future__ import annotations

import random
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.reading import leaders as module
from serving.reading.leaders import Members, Names, leaders
from serving.reading.queries import Span, TopQuery
from serving.reading.ranking import ranked
from serving.reading.told import Told, after, from_cursor
from stitch.buckets import ALL, Bucket, bucket_of
from stitch.counters import Counter
from stitch.merge import Increment, Ranking, Total
from stitch.zones import Calendar

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = [bucket_of(START + n * DAY, "day") for n in range(3)]
PUBLISHED = START + 10 * DAY
NOBODY = Told()
COUNTER = Counter(name="plays", key="k", member="m", weights={"play": 1})


def query(limit: int, told: Told = NOBODY) -> TopQuery:
    return TopQuery(COUNTER, "k", Span(None, Calendar("UTC", UTC)), limit, told, "merged", "json")


@dataclass
class Stored:
    """What the layers hold of each bucket: totals, maybe a list, and increments; `asked`: who was asked for by name."""

    totals: dict[Bucket, dict[str, Total]]
    lists: dict[Bucket, Ranking]
    increments: dict[Bucket, list[Increment]] = field(default_factory=dict)
    asked: list[set[tuple[datetime, str]]] = field(default_factory=list)

    def leaders(self, limit: int, told: Told = NOBODY) -> Tally[str] | None:
        of = {bucket: Members(bucket, self.increments.get(bucket, []), PUBLISHED, "merged") for bucket in self.totals}
        for bucket, members in of.items():
            if bucket in self.lists:
                members.begin_with(self.lists[bucket])
            else:
                members.are(self.totals[bucket])

        def ask(names: Names) -> bool:
            self.asked.append({(bucket.start, name) for bucket, some in names.items() for name in some})
            for bucket, some in names.items():
                assert len(some) == len(set(some)) and all(of[bucket].lacks(name) for name in some)
                totals = self.totals[bucket]
                of[bucket].have(some, {name: totals[name] for name in some if name in totals})
            return True

        return leaders(of, limit, told, ask)


def total(count: int) -> Total:
    return Total(count, PUBLISHED)


def stored(*buckets: Mapping[str, int], length: int = 3, gains: Sequence[tuple[int, str, int]] = ()) -> Stored:
    """Buckets with lists of that length; gains: in which of them, of whom, how much."""
    totals = {bucket: {m: total(n) for m, n in of.items()} for bucket, of in zip(DAYS, buckets, strict=False)}
    lists = {}
    for bucket, of in zip(DAYS, buckets, strict=False):
        first = sorted(of.items(), key=lambda row: (-row[1], row[0]))[:length]
        lists[bucket] = Ranking([m for m, _ in first], [n for _, n in first], PUBLISHED)
    live: dict[Bucket, list[Increment]] = {}
    for at, member, count in gains:
        live.setdefault(DAYS[at], []).append(Increment(DAYS[at].start, PUBLISHED, count, member))
    return Stored(totals, lists, live)


ONE = {"a": 9, "b": 7, "c": 5, "d": 4, "e": 3}
CASES: dict[str, tuple[Stored, int, list[tuple[str, int]] | None, list[list[str]]]] = {
    # what the layers hold, how many are asked for → the first of them, who was asked for by name
    "a list alone": (stored(ONE), 2, [("a", 9), ("b", 7)], []),
    "as many as the list has, so that it is not known whether there are more": (stored(ONE), 3, None, []),
    "somebody of the list gained": (stored(ONE, gains=[(0, "c", 3)]), 2, [("a", 9), ("c", 8)], []),
    "somebody else gained so little that he cannot come before": (stored(ONE, gains=[(0, "e", 1)]), 2,
                                                                  [("a", 9), ("b", 7)], []),
    "somebody else gained enough to come before": (stored(ONE, gains=[(0, "e", 5)]), 2, [("a", 9), ("e", 8)], [["e"]]),
    "somebody new gained": (stored(ONE, gains=[(0, "n", 8)]), 2, [("a", 9), ("n", 8)], [["n"]]),
    "the first of the list lost all": (stored(ONE, gains=[(0, "a", -9)]), 1, [("b", 7)], []),
    "the list's members lost so much that anybody may come before": (
        stored(ONE, gains=[(0, "a", -9), (0, "b", -5)]), 1, [("c", 5)], []),
    "another may count as much and its name is behind": (
        stored({"a": 2, "b": 1, "c": 1, "d": 1}), 2, [("a", 2), ("b", 1)], []),
    "another may count as much and its name may come before": (
        stored(ONE, gains=[(0, "c", -5), (0, "e", 2), (0, "f", 4)]), 3, None, [["e", "f"]]),
    "counts below zero, which who has no row comes before": (stored({"a": 1, "b": -1, "c": -2, "d": -3}), 2, None, []),
    "of two buckets, who is in one list alone is asked for": (
        stored({"a": 9, "b": 8, "c": 3, "d": 1}, {"a": 9, "e": 8, "f": 3, "b": 1}), 2,
        [("a", 18), ("b", 9)], [["b", "e"]]),
    "of two buckets, nobody who is not there can be ruled out": (
        stored({"a": 9, "b": 8, "c": 7, "d": 6}, {"e": 9, "f": 8, "g": 7, "h": 6}), 1,
        None, [["a", "e"], ["b", "c", "f", "g"]]),
}  # fmt: skip


@pytest.mark.parametrize(("held", "limit", "first", "asked"), CASES.values(), ids=list(CASES))
def test_lists_decide(held: Stored, limit: int, first: list[tuple[str, int]] | None, asked: list[list[str]]) -> None:
    held.asked.clear()
    tally = held.leaders(limit)
    assert (ranked(tally, 0, False, query(limit)).members if tally is not None else None) == first
    assert [sorted(name for _, name in cells) for cells in held.asked] == asked


def test_who_was_told_before_is_found_wherever_he_ranks_now() -> None:
    held = stored(ONE, gains=[(0, "e", 1)])
    told = Told(marks=after(Told(), [], [(0, "b"), (0, "e")], "k").marks)
    tally = held.leaders(1, told)
    assert tally is not None and tally["e"] == 4
    assert ranked(tally, 29, False, query(1, told)).others == 29 - 7 - 4 - 9
    lost = Told(marks=after(Told(), [], [(0, "d")], "k").marks)  # who gained nothing since, and is in no list
    assert held.leaders(1, lost) is None


def test_no_more_is_asked_for_than_a_few_times_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 2)
    many = stored(ONE, length=2, gains=[(0, f"n{n:02}", 20) for n in range(30)])
    assert many.leaders(9) is None
    assert [len(cells) for cells in many.asked] == [2, 2, 2]


# any rows

NAMES = list("abcdefghijklmnop")


@dataclass(frozen=True)
class Event:
    bucket: int
    member: str
    window: int  # hours from PUBLISHED
    count: int


@dataclass(frozen=True)
class World:
    events: list[Event]
    stored: Stored
    counts: Tally[str]


def some_world(rng: random.Random, length: int = 3) -> World:
    """Totals and lists of runs that published, or load and are further; a row that a run had nothing for is older."""
    buckets = [ALL] if rng.random() < 0.3 else DAYS[: rng.randint(1, 3)]
    skew, amounts = rng.choice([0, 1, 2]), rng.choice([[1], [1, 2, 5], [-2, -1, 1, 3]])
    live = rng.choice([0.1, 0.3, 1])
    weights = [1 / (n + 1) ** skew for n in range(len(NAMES))]
    events = [
        Event(rng.randrange(len(buckets)), rng.choices(NAMES, weights)[0], window, rng.choice(amounts))
        for _ in range(rng.choice([5, 20, 60]))
        if (window := rng.randint(-6, 3)) < 0 or rng.random() < live
    ]
    held = Stored({}, {})
    for at, bucket in enumerate(buckets):
        mine = [event for event in events if event.bucket == at]
        held.totals[bucket] = {}
        for name in sorted({event.member for event in mine}):
            cutoff = some_cutoff(rng, [event.window for event in mine if event.member == name])
            if counted := [event.count for event in mine if event.member == name and event.window < cutoff]:
                held.totals[bucket][name] = Total(sum(counted), instant(cutoff))
        if ranking := some_list(rng, mine, length):
            held.lists[bucket] = ranking
        held.increments[bucket] = [
            Increment(bucket.start, instant(event.window), event.count, event.member)
            for event in mine
            if event.window >= 0 or rng.random() < 0.1  # the reader asks for those since the cutoff
        ]
    counts = Tally[str]()
    for event in events:
        counts[event.member] += event.count
    return World(events, held, counts)


def some_cutoff(rng: random.Random, windows: list[int]) -> int:
    """Of a row that counts these: the published one, a later one, or an older one, if there is nothing in between."""
    cutoff = rng.choice([-2, -1, 0, 0, 1, 2])
    return 0 if any(cutoff <= window < 0 for window in windows) else cutoff


def some_list(rng: random.Random, events: list[Event], length: int) -> Ranking | None:
    """As a run writes it: none of a bucket without more members than it has room for, and not of all others."""
    cutoff = some_cutoff(rng, [event.window for event in events])
    counts = Tally[str]()
    for event in events:
        if event.window < cutoff:
            counts[event.member] += event.count
    rows = sorted((-count, name) for name, count in counts.items() if count or rng.random() < 0.5)
    if sum(count != 0 for count, _ in rows) <= length or rng.random() < 0.2:
        return None
    return Ranking([name for _, name in rows[:length]], [-count for count, _ in rows[:length]], instant(cutoff))


def instant(window: int) -> datetime:
    return PUBLISHED + window * HOUR


def some_told(rng: random.Random, world: World) -> Told:
    """After some pages that others were told, when they counted otherwise."""
    told = Told()
    for _ in range(rng.choice([0, 0, 1, 2])):
        page = rng.sample(NAMES, k=rng.randint(1, 2))
        told = after(told, [], sorted((-world.counts[name], name) for name in page), "k")
    if rng.random() < 0.2:
        name = rng.choice(NAMES)
        told = Told(told.marks, (-world.counts[name] + rng.choice([-1, 0, 0, 1]), name))
    return from_cursor(told.cursor()) if told != Told() else told


@given(st.randoms(use_true_random=False))
def test_a_page_by_lists_is_the_page_of_all_members_sorted(rng: random.Random) -> None:
    world, limit = some_world(rng), rng.randint(1, 3)
    told = some_told(rng, world)
    tally = world.stored.leaders(limit, told)
    if tally is not None and world.stored.lists:
        total = rng.randint(-9, 99)
        asked = query(limit, told)
        assert ranked(tally, total, False, asked) == ranked(world.counts, total, False, asked)


def test_lists_decide_most_of_these_pages() -> None:
    decided = Tally[bool]()
    for seed in range(300):
        world = some_world(random.Random(seed))
        if world.stored.lists:
            decided.update(world.stored.leaders(limit) is not None for limit in (1, 2, 3))
    assert decided[True] > 4 * decided[False] > 100
