"""The reader equals the truth at every step: a state machine over the pure core, with a plain list of events as the oracle.

Events are appended, late ones and duplicates among them. One writer keeps up with the topic; others start at old window
edges with nothing, read the partitions in any order, die, or take over. Their writes arrive late and in any order.
Batches load row by row, die half-way, run again, are restored. After each step every count must be the one that the
list of events gives.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stitch import write_time
from stitch.buckets import ALL, EPOCH, Bucket, after
from stitch.cutoff import Published
from stitch.merge import Increment, Total, count
from stitch.runs import Run, going_back, plan, restoring

HOUR = timedelta(hours=1)
WINDOW = HOUR  # of ingestion
PARTITIONS = 2
BUCKETS = 3
START = EPOCH + 400_000 * HOUR


@dataclass(frozen=True)
class Event:
    """A record of the topic: where it was appended, and what it weighs in which bucket."""

    event_id: int
    partition: int
    offset: int
    window: datetime
    bucket: datetime
    amount: int


@dataclass
class Writer:
    """A copy of the streaming job: what it has read since the window edge it started from."""

    positions: list[int]
    seen: list[Event] = field(default_factory=list)


Row = tuple[datetime, datetime]  # (ingest window, bucket)


def last_write_wins(stored: tuple[int, int] | None, new: tuple[int, int]) -> tuple[int, int]:
    """Cassandra's rule for (value, write timestamp): the later; on a tie the larger bytes."""
    if stored is None or new[1] > stored[1]:
        return new
    if new[1] == stored[1]:
        return max(stored, new, key=lambda cell: cell[0].to_bytes(8, "big", signed=True))
    return stored


def rows_of(seen: list[Event]) -> dict[Row, tuple[int, int]]:
    """What the streaming job writes of the events it has seen: (value, write timestamp) by row."""
    values: dict[Row, list[int]] = defaultdict(list)
    for event in seen:
        values[event.window, event.bucket].append(event.amount)
    return {
        row: (sum(amounts), write_time.of_increment(row[0], sum(map(abs, amounts)))) for row, amounts in values.items()
    }


def first_of_each(events: list[Event]) -> list[Event]:
    """Duplicates removed: the first appended stays."""
    return list({event.event_id: event for event in reversed(events)}.values())


class Stitch(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = START
        self.topic: list[list[Event]] = [[] for _ in range(PARTITIONS)]
        self.appended: list[Event] = []
        self.live = Writer([0] * PARTITIONS)
        self.others: list[Writer] = []
        self.increments: dict[Row, tuple[int, int]] = {}
        self.in_flight: list[tuple[Row, tuple[int, int]]] = []
        self.totals: dict[Bucket, tuple[Total, int]] = {}
        self.published: Published | None = None
        self.snapshots: dict[Published, dict[Bucket, int]] = {}
        self.loading: tuple[Run, list[tuple[Bucket, int]]] | None = None

    # The topic

    @rule(hours=st.integers(0, 2))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(minutes=20) + hours * HOUR

    @rule(
        event_id=st.integers(0, 9), partition=st.integers(0, PARTITIONS - 1), late=st.integers(0, BUCKETS - 1),
        amount=st.integers(-2, 3),
    )  # fmt: skip
    def an_event_is_appended_and_counted(self, event_id: int, partition: int, late: int, amount: int) -> None:
        window = EPOCH + (self.now - EPOCH) // WINDOW * WINDOW
        event = Event(event_id, partition, len(self.topic[partition]), window, START + late * HOUR, amount)
        self.topic[partition].append(event)
        self.appended.append(event)
        self.read(self.live, partition, 1)
        self.write(rows_of(self.live.seen), (event.window, event.bucket))

    # Writers

    @rule()
    def a_writer_starts_with_nothing_at_the_published_cutoff(self) -> None:
        edge = self.published.cutoff if self.published else EPOCH
        positions = [sum(1 for event in partition if event.window < edge) for partition in self.topic]
        self.others.append(Writer(positions))

    @precondition(lambda self: self.others)
    @rule(data=st.data(), partition=st.integers(0, PARTITIONS - 1), events=st.integers(1, 5), at_once=st.booleans())
    def another_writer_reads_on(self, data: st.DataObject, partition: int, events: int, at_once: bool) -> None:
        writer = data.draw(st.sampled_from(self.others))
        self.read(writer, partition, events)
        for cell in rows_of(writer.seen).items():
            if at_once:
                self.write(dict([cell]), cell[0])
            else:
                self.in_flight.append(cell)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), twice=st.booleans())
    def a_delayed_write_arrives(self, data: st.DataObject, twice: bool) -> None:
        at = data.draw(st.integers(0, len(self.in_flight) - 1))
        row, cell = self.in_flight[at] if twice else self.in_flight.pop(at)
        self.write({row: cell}, row)

    @precondition(lambda self: any(self.caught_up(writer) for writer in self.others))
    @rule()
    def the_live_writer_dies_and_another_takes_over(self) -> None:
        heir = next(writer for writer in self.others if self.caught_up(writer))
        self.others.remove(heir)
        self.live = heir

    @precondition(lambda self: self.others)
    @rule()
    def another_writer_dies(self) -> None:
        self.others.pop()

    # The batch

    @precondition(lambda self: self.loading is None)
    @rule(back=st.integers(0, 3), full=st.booleans(), keep=st.booleans())
    def a_batch_counts(self, back: int, full: bool, keep: bool) -> None:
        cutoff = EPOCH + (self.now - EPOCH) // WINDOW * WINDOW - back * WINDOW
        known = {"likes": self.published} if self.published else {}
        if self.published and cutoff < self.published.cutoff:
            return
        held = self.published in self.snapshots and keep
        run = plan(["likes"], known, cutoff, held, full)
        if run is None:
            return
        since = run.since("likes")
        counted = first_of_each([event for event in self.appended if event.window < cutoff])
        new = [event for event in counted if since is None or event.window >= since]
        base = self.snapshots[self.published] if held and not run.recount and self.published else {}
        gone = self.snapshots.get(self.published, {}) if run.recount and self.published else {}
        rows = self.summed(new, {**dict.fromkeys(gone, 0), **base})
        self.snapshots[run.target] = rows
        touched = set(self.summed(new, {})) if not run.recount else set(rows)
        self.loading = (run, [(bucket, rows[bucket]) for bucket in sorted(touched)])

    @precondition(lambda self: self.loading is not None)
    @rule(rows=st.integers(1, 4))
    def it_loads_some_rows_and_publishes_after_the_last(self, rows: int) -> None:
        assert self.loading
        run, waiting = self.loading
        for bucket, value in waiting[:rows]:
            stored = self.totals.get(bucket)
            if stored is None or run.target.write_time > stored[1]:
                self.totals[bucket] = (Total(value, run.target.cutoff), run.target.write_time)
        self.loading = (run, waiting[rows:])
        if not waiting[rows:]:
            self.published = run.target
            self.loading = None

    @precondition(lambda self: self.loading is None)
    @rule()
    def a_night_passes(self) -> None:
        self.now += WINDOW
        self.a_batch_counts(0, False, True)
        while self.loading:
            self.it_loads_some_rows_and_publishes_after_the_last(4)

    @precondition(lambda self: self.loading is not None and self.loading[0].kind != "restore")
    @rule()
    def it_dies_half_way(self) -> None:
        self.loading = None

    @precondition(lambda self: self.loading is None and self.published is not None)
    @rule(data=st.data())
    def totals_are_restored_from_a_snapshot(self, data: st.DataObject) -> None:
        assert self.published
        kept = data.draw(st.sampled_from(sorted(self.snapshots)))
        if kept.write_time > self.published.write_time:  # of a run that died before it published
            return
        run = restoring(["likes"], {"likes": self.published}, kept.cutoff)
        rows = {**dict.fromkeys((bucket for bucket in self.totals), 0), **self.snapshots[kept]}
        self.snapshots[run.target] = rows
        if going_back({"likes": self.published}, run.target):
            self.published = run.target
        self.loading = (run, sorted(rows.items()))
        self.it_loads_some_rows_and_publishes_after_the_last(0)

    # The Restorator

    @rule(data=st.data(), damage=st.integers(-5, 50))
    def a_row_of_a_finished_window_is_damaged_and_repaired(self, data: st.DataObject, damage: int) -> None:
        window = EPOCH + (self.now - EPOCH) // WINDOW * WINDOW
        finished = sorted(row for row in self.increments if row[0] < window)
        if not finished:
            return
        row = data.draw(st.sampled_from(finished))
        _, stamp = self.increments[row]
        self.increments[row] = (damage, stamp + 7)
        truth, _ = rows_of(self.appended)[row]
        self.write({row: (truth, write_time.of_repair(stamp + 7, self.now))}, row)

    # The reader

    @invariant()
    def every_count_is_the_truth(self) -> None:
        if not hasattr(self, "topic"):
            return
        held = [Increment(bucket, window, value) for (window, bucket), (value, _) in self.increments.items()]
        cutoff = self.published.cutoff if self.published else None
        for bucket in [*(hour(START + n * HOUR) for n in range(BUCKETS)), ALL]:
            total = self.totals[bucket][0] if bucket in self.totals else None
            found = count(bucket, total, held, cutoff).count
            bounds = {cutoff or EPOCH}
            if total and (cutoff is None or total.cutoff > cutoff):  # a load that is not published (yet)
                bounds = {total.cutoff}
            assert {found} == {self.truth(bucket, bound) for bound in bounds}

    def truth(self, bucket: Bucket, bound: datetime) -> int:
        """What the list of events gives: duplicates are gone up to the bound, and still there after it."""
        before = first_of_each([event for event in self.appended if event.window < bound])
        later = [event for event in self.appended if event.window >= bound]
        return sum(event.amount for event in before + later if bucket.holds(event.bucket))

    def summed(self, events: list[Event], base: dict[Bucket, int]) -> dict[Bucket, int]:
        rows = dict(base)
        for event in events:
            for bucket in (hour(event.bucket), ALL):
                rows[bucket] = rows.get(bucket, 0) + event.amount
        return rows

    def read(self, writer: Writer, partition: int, events: int) -> None:
        at = writer.positions[partition]
        writer.seen += self.topic[partition][at : at + events]
        writer.positions[partition] = min(at + events, len(self.topic[partition]))

    def write(self, cells: dict[Row, tuple[int, int]], row: Row) -> None:
        self.increments[row] = last_write_wins(self.increments.get(row), cells[row])

    def caught_up(self, writer: Writer) -> bool:
        return writer.positions == [len(partition) for partition in self.topic]


def hour(start: datetime) -> Bucket:
    return Bucket("hour", start, after(start, "hour"))


TestStitch = Stitch.TestCase
TestStitch.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

weights = st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=12)  # (read by this writer too, amount)


@given(st.lists(weights, min_size=1, max_size=4), st.permutations(range(4)))
def test_where_no_weight_is_negative_a_row_never_goes_down_whoever_writes(
    writers: list[list[tuple[bool, int]]], order: list[int]
) -> None:
    """Each writer has read some events of the window, not the same: the largest value stays, in any order of arrival."""
    stored: tuple[int, int] | None = None
    for at in order:
        amounts = [amount for read, amount in writers[at % len(writers)] if read]
        before = stored[0] if stored else 0
        stored = last_write_wins(stored, (sum(amounts), write_time.of_increment(START, sum(amounts))))
        assert stored[0] >= before


@given(st.lists(st.integers(-3, 10**17), min_size=1, max_size=20), st.data())
def test_whoever_has_read_the_whole_window_is_not_overwritten(amounts: list[int], data: st.DataObject) -> None:
    """Up to the cap, with any weights; a subset that ties weighs the same."""
    amounts = [amount % 10**13 for amount in amounts]
    part = data.draw(st.lists(st.sampled_from(range(len(amounts))), unique=True))
    whole = (sum(amounts), write_time.of_increment(START, sum(map(abs, amounts))))
    some = [amounts[at] for at in part]
    less = (sum(some), write_time.of_increment(START, sum(map(abs, some))))
    assert last_write_wins(last_write_wins(None, whole), less)[0] == whole[0]
    assert last_write_wins(last_write_wins(None, less), whole)[0] == whole[0]


def test_a_repair_wins_over_what_is_stored_and_over_every_later_replay_of_the_window() -> None:
    now = START + 3 * HOUR
    assert write_time.of_repair(None, now) > write_time.of_increment(START, 3_600_000_000)
    assert (
        write_time.of_repair(write_time.of_increment(START, 10**15), now) == write_time.of_increment(START, 10**15) + 1
    )
