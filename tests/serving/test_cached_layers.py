"""What is remembered, for how long, and that a stampede on a key is one read. Layers in memory; a slow one for
stampedes."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from serving.layers.cached import CachedLayers
from serving.layers.interface import (
    ChartOf,
    Deadline,
    IncrementsSince,
    LayerDown,
    Layers,
    MembersOf,
    OutOfTime,
    Pending,
    TooManyRows,
    TotalsRange,
)
from serving.layers.memcached import MemcachedLayers
from serving.layers.memory import Memory
from serving.layers.row_cache import RowCache
from stitch.buckets import ALL, EPOCH
from stitch.cutoff import Published
from stitch.merge import Increment, Ranking, Total
from stitch.settings import Settings, load_settings
from tests.fakes import FakeLayers

CUTOFF = datetime(2024, 3, 1, tzinfo=UTC)
FIRST_RUN, SECOND_RUN = Published(CUTOFF, 0), Published(CUTOFF, 1)


@pytest.fixture(scope="module")
def settings() -> Settings:
    found = load_settings("conf/stitch.toml")
    return found.model_copy(update={"serving": found.serving.model_copy(update={"cache": timedelta(seconds=60)})})


def read_of(key: str, at: Published | None = FIRST_RUN) -> TotalsRange:
    return TotalsRange("plays", key, "all", EPOCH, ALL.end, at)


class Slow(FakeLayers):
    """Answers when it is let go; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.go = threading.Event()
        self.failing = False

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        self.asked.append(tuple(read.key for read in reads))
        time.sleep(0.05)  # to send takes its time too: who joins meanwhile must wait for that

        def rows() -> list[dict[datetime, Total]]:
            assert self.go.wait(10)
            if self.failing:
                raise LayerDown("batch", "timed out")
            return [{EPOCH: Total(len(read.key), CUTOFF)} for read in reads]

        return rows


def test_a_stampede_on_a_key_is_one_read(settings: Settings) -> None:
    slow = Slow()
    layers = CachedLayers(slow, settings, Memory(10**7))
    with ThreadPoolExecutor(32) as pool:
        sent = [pool.submit(lambda: layers.totals([read_of("hot"), read_of("hotter")])()) for _ in range(32)]
        threading.Timer(0.2, slow.go.set).start()
        found = [future.result(10) for future in sent]
    assert slow.asked == [("hot", "hotter")]
    assert found == [[{EPOCH: Total(3, CUTOFF)}, {EPOCH: Total(6, CUTOFF)}]] * 32
    assert layers.totals([read_of("hotter")])() == [{EPOCH: Total(6, CUTOFF)}] and len(slow.asked) == 1


def test_requests_that_share_some_keys_read_each_once_and_do_not_wait_in_a_circle(settings: Settings) -> None:
    slow = Slow()
    layers = CachedLayers(slow, settings, Memory(10**7))
    keys = ["a", "bb", "ccc", "dddd"]
    with ThreadPoolExecutor(8) as pool:
        sent = {
            (one, other): pool.submit(lambda pair: layers.totals([read_of(key) for key in pair])(), (one, other))
            for one in keys
            for other in keys
        }
        threading.Timer(0.1, slow.go.set).start()
        for pair, future in sent.items():
            assert future.result(10) == [{EPOCH: Total(len(key), CUTOFF)} for key in pair]
    assert sorted(key for asked in slow.asked for key in asked) == keys


def test_whoever_asks_for_few_does_not_join_a_read_of_many_and_who_asks_for_as_many_does(settings: Settings) -> None:
    slow = Slow()
    layers = CachedLayers(slow, settings, Memory(10**7))
    many = [read_of(f"{n}") for n in range(60)]
    waiting = [layers.totals(many), layers.totals(many[1:])]
    few = layers.totals(many[:2])
    assert [len(asked) for asked in slow.asked] == [60, 2]
    slow.go.set()
    found = few()
    assert [pending()[1:2] for pending in waiting] == [found[1:], [{EPOCH: Total(1, CUTOFF)}]]
    assert layers.totals(many)()[:2] == found and len(slow.asked) == 2


def test_a_read_that_failed_fails_for_all_who_joined_it_and_is_tried_again(settings: Settings) -> None:
    slow = Slow()
    slow.failing = True
    slow.go.set()
    layers = CachedLayers(slow, settings, Memory(10**7))
    one, other = layers.totals([read_of("a")]), layers.totals([read_of("a")])
    for pending in (one, other):
        with pytest.raises(LayerDown):
            pending()
    slow.failing = False
    assert layers.totals([read_of("a")])() == [{EPOCH: Total(1, CUTOFF)}]
    assert slow.asked == [("a",), ("a",)]


def test_totals_are_kept_until_another_run_publishes(settings: Settings) -> None:
    fake = FakeLayers()
    fake.total_rows = {("plays", "a", "all", EPOCH): Total(1, CUTOFF)}
    layers = CachedLayers(fake, settings, Memory(10**7))
    layers.totals([read_of("a")])()
    fake.total_rows = {("plays", "a", "all", EPOCH): Total(2, CUTOFF)}
    assert layers.totals([read_of("a")])() == [{EPOCH: Total(1, CUTOFF)}]
    assert layers.totals([read_of("a", SECOND_RUN)])() == [{EPOCH: Total(2, CUTOFF)}]


def test_lists_of_members_are_kept_until_another_run_publishes_and_recalled_after_their_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    fake, place = FakeLayers(), ("plays", "a", "all", EPOCH)
    layers = CachedLayers(fake, settings, Memory(10**7))
    first, second = (MembersOf("plays", "a", ALL, at) for at in (FIRST_RUN, SECOND_RUN))
    one, other = (Ranking([name], [5], CUTOFF) for name in ("one", "other"))
    fake.ranked_rows[place] = one
    assert layers.ranked([first])() == [one]
    fake.ranked_rows[place] = other
    assert layers.ranked([first])() == [one] and layers.recalled_ranked([second]) == [None]
    assert layers.ranked([second])() == [other]
    clock[0] += settings.serving.cache_closed.total_seconds() + 1
    assert layers.recalled_ranked([first, second]) == [one, other]
    assert layers.ranked([first])() == [other]


def test_lists_of_keys_are_kept_until_another_run_publishes_and_that_there_is_none_for_a_moment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    fake = FakeLayers()
    layers = CachedLayers(fake, settings, Memory(10**7))
    first, second = (ChartOf("plays", ALL, at) for at in (FIRST_RUN, SECOND_RUN))
    one, other = (Ranking([name], [5], CUTOFF) for name in ("one", "other"))
    none = Ranking([], [], EPOCH)
    assert layers.charts([first])() == [none]
    fake.chart_rows["plays", "all", EPOCH] = one
    assert layers.charts([first])() == [none]
    clock[0] += settings.serving.cache.total_seconds() + 0.1
    assert layers.charts([first])() == [one]
    fake.chart_rows["plays", "all", EPOCH] = other
    assert layers.charts([first])() == [one]
    assert layers.charts([second, first])() == [other, one]


def test_members_that_are_asked_for_by_name_are_not_taken_for_all_members(settings: Settings) -> None:
    fake = FakeLayers()
    totals = {member: Total(count, CUTOFF) for count, member in enumerate("abc")}
    fake.member_total_rows = {("plays", "k", "all", EPOCH, member): total for member, total in totals.items()}
    layers, read = CachedLayers(fake, settings, Memory(10**7)), MembersOf("plays", "k", ALL, FIRST_RUN)
    reads = [replace(read, among=("b", "none")), read, replace(read, among=("c",))]
    expected = [{"b": totals["b"]}, totals, {"c": totals["c"]}]
    assert layers.member_totals(reads)() == layers.member_totals(reads)() == layers.recalled_members(reads) == expected


def test_what_may_still_change_is_kept_for_its_seconds_only() -> None:
    seconds = {"brief": 0.0, "long": 60.0}
    cache: RowCache[str, list[int]] = RowCache("test", Memory(10**7), lambda read, _: seconds[read], 5)
    calls: list[str] = []

    def send(reads: Sequence[str]) -> Pending[list[list[int]]]:
        calls.extend(reads)
        return lambda: [[len(calls)] for _ in reads]

    for _ in range(3):
        cache.many(["brief", "long"], send, Deadline.after(5))()
    assert calls == ["brief", "long", "brief", "brief"]


def test_rows_whose_seconds_are_over_are_recalled_and_asked_for_again() -> None:
    cache: RowCache[str, list[int]] = RowCache("test", Memory(10**6), lambda _, __: 0.0, 5, recall=60)
    rows = iter(([1], [2]))
    for expected in ([1], [2]):
        assert cache.many(["a"], lambda reads: lambda: [next(rows)], Deadline.after(5))() == [expected]
        assert (cache.recalled("a"), cache.recalled("b")) == (expected, None)


def test_that_a_slice_has_no_rows_is_recalled_where_another_of_the_key_has_some(settings: Settings) -> None:
    fake = FakeLayers()
    fake.total_rows = {("plays", "a", "all", EPOCH): Total(1, CUTOFF)}
    serving = settings.serving.model_copy(update={"cache": timedelta(seconds=0.01)})
    layers = CachedLayers(fake, settings.model_copy(update={"serving": serving}), Memory(10**6))
    later = replace(read_of("a"), granularity="day")
    layers.totals([read_of("a"), later, read_of("unknown")])()
    time.sleep(0.02)
    found = layers.recalled_totals([read_of("a"), later, read_of("unknown")])
    assert [(one.rows, bool(one.lacking)) for one in found] == [
        ({EPOCH: Total(1, CUTOFF)}, False), ({}, False), ({}, True)
    ]  # fmt: skip


def test_that_a_key_has_no_totals_is_kept_as_briefly_as_what_may_still_change(settings: Settings) -> None:
    serving = settings.serving.model_copy(update={"cache": timedelta(seconds=0.05)})
    fake = FakeLayers()
    fake.total_rows = {("plays", "a", "all", EPOCH): Total(1, CUTOFF)}
    layers = CachedLayers(fake, settings.model_copy(update={"serving": serving}), Memory(10**7))
    for _ in range(2):
        layers.totals([read_of("a"), read_of("unknown")])()
    assert fake.reads == 2
    time.sleep(0.06)
    layers.totals([read_of("a"), read_of("unknown")])()
    assert fake.reads == 3


def test_all_caches_together_keep_no_more_bytes_than_allowed_and_what_was_used_last() -> None:
    memory = Memory(100_000)
    one: RowCache[int, list[int]] = RowCache("one", memory, lambda _, __: 60.0, 5)
    other: RowCache[int, list[int]] = RowCache("other", memory, lambda _, __: 60.0, 5)
    sent: list[int] = []

    def send(reads: Sequence[int]) -> Pending[list[list[int]]]:
        sent.extend(reads)
        return lambda: [[0] * 20 for _ in reads]

    for read in range(30):
        for cache in (one, other):
            cache.many([read], send, Deadline.after(5))()
    assert 80_000 < memory.size <= 100_000
    one.many([29], send, Deadline.after(5))()
    assert sent.count(29) == 2  # each cache's once
    one.many([0], send, Deadline.after(5))()
    assert sent.count(0) == 3  # gone


def test_a_value_that_would_push_out_all_others_is_answered_and_not_kept() -> None:
    memory = Memory(100_000)
    cache: RowCache[int, list[int]] = RowCache("test", memory, lambda _, __: 60.0, 5)
    assert cache.many([1], lambda _: lambda: [[0] * 200], Deadline.after(5))() == [[0] * 200]
    assert memory.size == 0


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_the_bytes_that_are_told_are_those_that_are_taken(settings: Settings, rows: int) -> None:
    class Many(FakeLayers):
        def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
            return lambda: [
                {CUTOFF + timedelta(hours=h): Total(1000 + h, CUTOFF + timedelta(0)) for h in range(rows)}
                for _ in reads
            ]

        def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
            hour = timedelta(hours=1)
            return lambda: [[Increment(CUTOFF + h * hour, CUTOFF + h * hour, 1000) for h in range(rows)] for _ in reads]

        def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
            of = [f"{h}".ljust(20, "x") for h in range(max(1, rows))]
            return lambda: [
                Ranking([name + "" for name in of], [10**6 + h for h in range(len(of))], CUTOFF) for _ in reads
            ]

    memory = Memory(10**9)
    layers = CachedLayers(Many(), settings, memory)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(2_000 // (rows + 1)):
            key = f"{n:04}".ljust(64, "x")
            layers.totals([replace(read_of(key), first=CUTOFF + timedelta(seconds=n))])()
            layers.increments([IncrementsSince("plays", key, CUTOFF.date(), CUTOFF + timedelta(seconds=n))])()
            layers.ranked([MembersOf("plays", key, ALL, FIRST_RUN)])()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < (after - before) / memory.size < 1


def test_whoever_joins_a_read_waits_for_it_no_longer_than_its_own_deadline(settings: Settings) -> None:
    slow = Slow()
    layers = CachedLayers(slow, settings, Memory(10**7))
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(lambda: layers.totals([read_of("hot")])())
        while not slow.asked:
            time.sleep(0.01)
        time.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(OutOfTime):
            layers.within(Deadline.after(0.1)).totals([read_of("hot")])()
        assert time.monotonic() - began < 5
        slow.go.set()
        assert sent.result(10) == [{EPOCH: Total(3, CUTOFF)}]


def test_whoever_asked_for_less_than_a_read_that_was_too_much_is_answered(settings: Settings) -> None:
    class Heavy(FakeLayers):
        def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
            def rows() -> list[dict[datetime, Total]]:
                if any(read.key == "heavy" for read in reads):
                    raise TooManyRows(1000)
                return [{EPOCH: Total(1, CUTOFF)} for _ in reads]

            return rows

    layers: Layers = CachedLayers(Heavy(), settings, Memory(10**7))
    much, little = layers.totals([read_of("heavy"), read_of("light")]), layers.totals([read_of("light")])
    with pytest.raises(TooManyRows):
        much()
    assert little() == [{EPOCH: Total(1, CUTOFF)}]


def test_a_read_of_too_many_rows_is_not_begun_again_while_they_stand() -> None:
    cache: RowCache[str, list[int]] = RowCache("test", Memory(10**7), lambda _, __: 60.0, 5)
    sent: list[str] = []

    def send(reads: Sequence[str]) -> Pending[list[list[int]]]:
        def rows() -> list[list[int]]:
            sent.extend(reads)
            if "heavy" in reads:
                raise TooManyRows(1000)
            return [[1] for _ in reads]

        return rows

    for reads in (["light", "heavy"], ["heavy"], ["heavy"], ["heavy", "light"]):
        with pytest.raises(TooManyRows):
            cache.many(reads, send, Deadline.after(5))()
    assert sent == ["light", "heavy", "heavy"]  # together it is not known which of them it was
    assert cache.many(["light"], send, Deadline.after(5))() == [[1]]


def test_a_memcached_that_is_slow_takes_a_share_of_the_time_and_the_rest_is_read(settings: Settings) -> None:
    fake = FakeLayers()
    fake.total_rows = {("plays", f"k{n}", "all", EPOCH): Total(n, CUTOFF) for n in range(1, 600)}
    serving = settings.serving.model_copy(update={"memcached": ["127.0.0.1:1"]})
    layers = MemcachedLayers(fake, settings.model_copy(update={"serving": serving}))
    asked, kept = [0], list[str]()

    def slowly(names: list[str]) -> dict[str, bytes]:
        asked[0] += len(names)
        time.sleep(0.15)
        return {}

    layers._client = SimpleNamespace(get_many=slowly, set_many=lambda rows, expire: kept.extend(rows))
    reads = [read_of(f"k{n}") for n in range(600)]
    found = layers.within(Deadline.after(0.5)).totals(reads)()
    assert asked[0] < 600 and [rows.get(EPOCH) for rows in found[1:]] == [Total(n, CUTOFF) for n in range(1, 600)]
    assert len(kept) == 599  # not that k0 has none


def test_reads_that_nobody_waited_for_are_forgotten() -> None:
    cache: RowCache[int, list[int]] = RowCache("test", Memory(10**7), lambda _, __: 60.0, 0.05)
    for read in range(100):
        cache.many([read], lambda reads: lambda: [[0] for _ in reads], Deadline.after(5))
    time.sleep(0.06)
    cache.many([100], lambda reads: lambda: [[0] for _ in reads], Deadline.after(5))
    assert list(cache._flying) == [100]


def test_reads_that_nobody_waited_for_are_forgotten_though_one_of_them_was_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache: RowCache[int, list[int]] = RowCache("test", Memory(10**7), lambda _, __: 60.0, 0.1)

    def send(now: float, *reads: int) -> None:
        monkeypatch.setattr("serving.layers.row_cache.time", SimpleNamespace(monotonic=lambda: now))
        cache.many(reads, lambda reads: lambda: [[0] for _ in reads], Deadline.after(5))

    send(1.00, *range(60))
    send(1.06, 0)
    send(1.12, 100)
    assert list(cache._flying) == [0, 100]


def test_increments_of_different_cutoffs_are_different_reads(settings: Settings) -> None:
    fake = FakeLayers()
    fake.increment_rows = [("plays", "a", Increment(CUTOFF, CUTOFF, 4))]
    layers = CachedLayers(fake, settings, Memory(10**7))
    reads = [
        IncrementsSince("plays", "a", CUTOFF.date(), since) for since in (None, CUTOFF, CUTOFF + timedelta(hours=1))
    ]
    assert [len(rows) for rows in layers.increments(reads)()] == [1, 1, 0]
