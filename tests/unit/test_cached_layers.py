"""What is remembered, for how long, and that a stampede on a key is one read. Layers in memory; a slow one for
stampedes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from serving.layers.cached import CachedLayers, RowCache
from serving.layers.interface import IncrementsSince, LayerDown, Pending, TotalsRange
from stitch.buckets import ALL, EPOCH
from stitch.cutoff import Published
from stitch.merge import Increment, Total
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
    layers = CachedLayers(slow, settings)
    with ThreadPoolExecutor(32) as pool:
        sent = [pool.submit(lambda: layers.totals([read_of("hot"), read_of("hotter")])()) for _ in range(32)]
        threading.Timer(0.2, slow.go.set).start()
        found = [future.result(10) for future in sent]
    assert slow.asked == [("hot", "hotter")]
    assert found == [[{EPOCH: Total(3, CUTOFF)}, {EPOCH: Total(6, CUTOFF)}]] * 32
    assert layers.totals([read_of("hotter")])() == [{EPOCH: Total(6, CUTOFF)}] and len(slow.asked) == 1


def test_requests_that_share_some_keys_read_each_once_and_do_not_wait_in_a_circle(settings: Settings) -> None:
    slow = Slow()
    layers = CachedLayers(slow, settings)
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


def test_a_read_that_failed_fails_for_all_who_joined_it_and_is_tried_again(settings: Settings) -> None:
    slow = Slow()
    slow.failing = True
    slow.go.set()
    layers = CachedLayers(slow, settings)
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
    layers = CachedLayers(fake, settings)
    layers.totals([read_of("a")])()
    fake.total_rows = {("plays", "a", "all", EPOCH): Total(2, CUTOFF)}
    assert layers.totals([read_of("a")])() == [{EPOCH: Total(1, CUTOFF)}]
    assert layers.totals([read_of("a", SECOND_RUN)])() == [{EPOCH: Total(2, CUTOFF)}]


def test_what_may_still_change_is_kept_for_its_seconds_only() -> None:
    seconds = {"brief": 0.0, "long": 60.0}
    cache: RowCache[str, list[int]] = RowCache("test", 100, seconds.__getitem__, 5)
    calls: list[str] = []

    def send(reads: Sequence[str]) -> Pending[list[list[int]]]:
        calls.extend(reads)
        return lambda: [[len(calls)] for _ in reads]

    for _ in range(3):
        cache.many(["brief", "long"], send)()
    assert calls == ["brief", "long", "brief", "brief"]


def test_no_more_rows_are_kept_than_allowed() -> None:
    cache: RowCache[int, list[int]] = RowCache("test", 50, lambda _: 60.0, 5)
    for read in range(30):
        cache.many([read], lambda reads: lambda: [[0] * 9 for _ in reads])()
    assert cache._kept.currsize <= 50
    cache.many([99], lambda reads: lambda: [[0] * 200 for _ in reads])()  # larger than the cache: answered, not kept
    assert 99 not in cache._kept


def test_increments_of_different_cutoffs_are_different_reads(settings: Settings) -> None:
    fake = FakeLayers()
    fake.increment_rows = [("plays", "a", Increment(CUTOFF, CUTOFF, 4))]
    layers = CachedLayers(fake, settings)
    reads = [
        IncrementsSince("plays", "a", CUTOFF.date(), since) for since in (None, CUTOFF, CUTOFF + timedelta(hours=1))
    ]
    assert [len(rows) for rows in layers.increments(reads)()] == [1, 1, 0]
