"""Increments of several writers converge, and never go down where no weight is negative: by Cassandra's rule for
expiring cells."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stitch import write_time
from stitch.amounts import MOST_SUM, saturated
from stitch.buckets import EPOCH, micros
from tests.cells import Cell, expiring

START = EPOCH + timedelta(hours=400_000)
# What sums are made of in practice, and what makes them saturate.
PLAIN = st.sampled_from([0, 1, 1, 2, 30, 400, 10**6, 10**13])
HUGE = st.sampled_from([10**15, 10**18, 2**61, MOST_SUM - 1, MOST_SUM])
SIGNED = st.integers(-(10**13), 10**13)


def written(amounts: list[int], at: int = 0) -> Cell:
    """The row of a writer that has read these contributions of the window."""
    movement = saturated(sum(map(abs, amounts)))
    return Cell(saturated(sum(amounts)), write_time.of_increment(START, movement), at)


@given(st.lists(st.tuples(PLAIN | HUGE, st.lists(st.booleans(), min_size=4, max_size=4)), max_size=8),
       st.permutations(range(4)), st.booleans())  # fmt: skip
@example([(1500, [True] * 4), (1100, [True, False, False, False])], [0, 1, 2, 3], False)
@settings(max_examples=3 * settings.default.max_examples)
def test_where_no_weight_is_negative_a_row_never_goes_down_whoever_writes(
    events: list[tuple[int, list[bool]]], order: list[int], one_second: bool
) -> None:
    """Each of four writers has read some events of the window, not the same: the largest sum so far is what is stored,
    in any order of arrival, with sums that saturate too."""
    sums = [min(sum(amount for amount, read in events if read[writer]), MOST_SUM) for writer in order]
    stored: Cell | None = None
    for at, (writer, largest) in enumerate(zip(order, accumulate(sums, max), strict=True)):
        row = written([amount for amount, read in events if read[writer]], 0 if one_second else at)
        stored = expiring(stored, row)
        assert stored.value == largest


@given(st.lists(st.tuples(SIGNED | st.just(0), st.booleans()), min_size=1, max_size=12), st.booleans())
@example([(5, True), (-5, False), (5, False)], False)
@settings(max_examples=3 * settings.default.max_examples)
def test_whoever_has_read_the_whole_window_is_not_overwritten_and_overwrites_all_others(
    events: list[tuple[int, bool]], whole_first: bool
) -> None:
    """With weights of both signs, as long as the window moves less than the cap; a part that ties lacks only what
    weighs 0."""
    whole, part = [amount for amount, _ in events], [amount for amount, read in events if read]
    parts = (whole, part) if whole_first else (part, whole)
    stored: Cell | None = None
    for at, amounts in enumerate(parts):
        stored = expiring(stored, written(amounts, at))
    assert stored and stored.value == sum(whole)


def test_what_is_not_promised_of_two_that_tie_with_different_parts_the_later_stays_until_either_reads_on() -> None:
    one, other = written([3, -1], at=1), written([-3, 1], at=2)
    assert one.stamp == other.stamp and expiring(one, other) == other
    assert expiring(other, written([3, -1, -3], at=3)).value == -1


def test_what_is_not_promised_of_both_signs_at_the_cap_the_later_written_stays() -> None:
    whole, part = written([MOST_SUM, -5], at=1), written([MOST_SUM], at=2)
    assert whole.stamp == part.stamp and expiring(whole, part) == part


NOW = START + timedelta(hours=3)
REPAIRS = {  # what is stored, what a writer of the whole window writes, the clock of whoever repairs
    "a row of a quiet window": (micros(START) + 7, micros(START) + 9, NOW),
    "no row": (None, micros(START) + 9, NOW),
    "a window that moved more than a million a second": (micros(START) + 5, micros(NOW) + 10**12, NOW),
    "a row written by a clock that is ahead": (micros(NOW) + 10**9, micros(START) + 9, NOW),
    "a clock that is behind": (micros(START) + 7, micros(START) + 9, START - timedelta(days=400)),
    "a sum at the cap": (write_time.of_increment(START, MOST_SUM), write_time.of_increment(START, MOST_SUM), NOW),
}


def test_a_repair_wins_over_what_is_stored_and_over_every_later_replay_of_the_window() -> None:
    for stored, whole, now in REPAIRS.values():
        stamp = write_time.of_repair(stored, whole, now)
        assert stamp > (stored or 0) and stamp > whole and stamp <= write_time.LATEST
    assert write_time.of_repair(write_time.LATEST, None, NOW) == write_time.LATEST  # it ties, and is the later written


def test_the_latest_write_timestamp_of_an_increment_and_of_its_repair_are_signed_64_bit_numbers_for_a_century() -> None:
    in_2126 = EPOCH + timedelta(days=365 * 156)
    assert write_time.of_increment(in_2126, MOST_SUM * 3) == micros(in_2126) + MOST_SUM < 2**63 - 1
