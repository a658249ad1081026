"""The reader equals the truth at every step: a state machine over the pure core, with a plain list of events as the
oracle.

Events are appended, late ones and duplicates (with other payloads) among them, by brokers whose clocks differ, also
under stamps from before what is published. One writer keeps up with the topic; others start at old window edges with
nothing, read the partitions in any order, evict, die, or take over. Their writes arrive late and in any order, and tie
as Cassandra ties. Increments expire. Batches load row by row, die half-way, run again, lose their totals; events are
excluded; a counter is added, another gets a new definition and perhaps its old one again; the guard leaves some behind;
totals are restored, also to before that counter, damaged and repaired. After each step every count of every counter
must be the one that the list of events gives, by the definition that readers get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobs.process.options import passed_edge
from stitch import write_time
from stitch.amounts import saturated
from stitch.buckets import ALL, EPOCH, MICROSECOND, Bucket, micros
from stitch.cutoff import Published, window_start
from stitch.definitions import name_of, served
from stitch.merge import Increment, Total, count
from stitch.runs import (
    Held,
    Noted,
    Run,
    State,
    going_back,
    half_loaded,
    latest_cutoff,
    newest,
    overwriting,
    plan,
    restoring,
)
from tests.cells import Cell, expiring, lasting
from tests.events_counted import (
    ADDED,
    AMOUNTS,
    AT,
    BEGUN_WITH,
    BEHIND,
    BUCKETS,
    HOUR,
    KEEP,
    OTHER_PLAYS,
    RETENTION,
    SETTINGS,
    START,
    WINDOW,
    Event,
    Increments,
    Sums,
    Totals,
    Writer,
    first_of_each,
    rows_of,
    summed,
    sums_of,
)

Order = tuple[datetime, int, int]
Removed = dict[str, frozenset[Order]]  # counter → events
Pick = Callable[[Sequence[Any]], Any]
# One of what there is when a step is taken: known before it, so that tests/histories.py can draw it without hypothesis.
ANY_OF: st.SearchStrategy[Pick] = st.integers(0, 59).map(lambda at: lambda of: of[at % len(of)])


Appended = tuple[int, int, int, dict[str, int]]  # id, partition, how many hours after START it occurred, amounts
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 9), st.integers(0, len(BEHIND) - 1), st.integers(0, BUCKETS - 1), st.fixed_dictionaries(AMOUNTS)
    ),
    min_size=1,
    max_size=4,
)


class Stitch(RuleBasedStateMachine):
    @initialize(one_second=st.booleans())
    def begin(self, one_second: bool) -> None:
        self.one_second, self.writes = one_second, 0  # whether all that is written falls into one second
        self.now = START
        self.topic: list[list[Event]] = [[] for _ in BEHIND]
        self.appended: list[Event] = []
        self.live = Writer([0] * len(BEHIND))
        self.others: list[Writer] = []
        self.increments: dict[Increments, Cell] = {}
        self.expires: dict[Increments, datetime] = {}
        self.in_flight: list[tuple[Increments, tuple[int, int]]] = []
        self.counts: dict[Totals, Cell] = {}
        self.cutoffs: dict[Totals, Cell] = {}
        self.expiring: set[Totals] = set()  # of those
        self.counters = BEGUN_WITH  # of the settings; another comes
        self.live_counters = {*BEGUN_WITH, ADDED}  # what the streaming jobs count
        self.ever_known: dict[str, Published] = {}  # what is published of each, also of replaced definitions
        self.known: dict[str, Published] = {}  # of those that readers get, as jobs.sources.stored.published
        self.stamp: int | None = None  # the write timestamp of what is published
        self.snapshots: dict[Published, dict[Totals, int]] = {}
        self.kept: list[Published] = []
        self.counters_in: dict[Published, list[str]] = {}
        self.runs: list[Noted] = []  # the ledger
        self.excluded: set[int] = set()
        self.removed: Removed = {counter: frozenset() for counter in AMOUNTS}  # what totals lack by exclusion
        self.removed_in: dict[Published, Removed] = {}
        self.unread_in: dict[Published, set[Order]] = {}  # behind the position of each run, under a stamp from before
        self.left_in: dict[Published, dict[str, Published]] = {}  # which counters the guard left where they were
        self.unfinished: list[Removed] = []  # what rows lack of runs that have not published
        self.loading: tuple[Run, list[tuple[Totals, int]]] | None = None
        self.repaired: set[Increments] = set()
        self.not_promised: set[tuple[str, Order]] = set()  # counter, event: real time may lack it until the next batch
        self.looked_at: Any = None

    # The topic

    @rule(hours=st.integers(0, 3))
    def time_passes_and_what_is_old_expires(self, hours: int) -> None:
        """As long as batches run within the retention, which is the operator's part of the promise: at its end the
        first increments behind the cutoff are gone."""
        needed = min((at.cutoff for at in self.known.values()), default=START)
        self.now = min(self.now + timedelta(minutes=30) + hours * HOUR, needed + RETENTION - MICROSECOND)
        for row in [row for row, at in self.expires.items() if at <= self.now]:
            del self.increments[row], self.expires[row]

    @rule(events=EVENTS)
    def events_are_appended_and_counted(self, events: list[Appended]) -> None:
        for event in events:
            _, partition, _ = self.append(*event).order
            self.read(self.live, partition, 1)
        for row, cell in rows_of(self.live.seen).items():
            self.write(row, *cell)

    @precondition(lambda self: self.known)
    @rule(
        event_id=st.integers(0, 9), partition=st.integers(0, len(BEHIND) - 1), late=st.integers(0, BUCKETS - 1),
        amounts=st.fixed_dictionaries(AMOUNTS), hours=st.integers(1, 5),
    )  # fmt: skip
    def an_event_is_appended_under_a_stamp_from_before_the_published_cutoff(
        self, event_id: int, partition: int, late: int, amounts: dict[str, int], hours: int
    ) -> None:
        """The stream has evicted its window, and drops it. It is left to the batch."""
        stamp = min(at.cutoff for at in self.known.values()) - hours * HOUR
        order = (stamp, partition, len(self.topic[partition]))
        event = Event(event_id, order, window_start(stamp, WINDOW), [*AT][late], amounts)
        self.topic[partition].append(event)
        self.appended.append(event)
        self.live.positions[partition] += 1
        self.not_promised |= {(counter, order) for counter in AMOUNTS}
        for unread in self.unread_in.values():
            unread.add(order)
        self.removed = with_order(self.removed, order)
        self.removed_in = {at: with_order(removed, order) for at, removed in self.removed_in.items()}
        self.unfinished = [with_order(removed, order) for removed in self.unfinished]

    # Writers

    @rule(any_of=ANY_OF, events=st.tuples(*[st.integers(0, 6)] * len(BEHIND)), at_once=st.booleans())
    def a_writer_starts_with_nothing_at_an_edge_before_the_published_cutoff(
        self, any_of: Pick, events: tuple[int, ...], at_once: bool
    ) -> None:
        cutoff = self.base.cutoff if self.base else EPOCH
        edges = sorted({event.window for event in self.appended if event.window < cutoff})
        writer = self.writer_since(any_of([cutoff, *edges]))
        self.others.append(writer)
        self.read_and_write(writer, events, at_once)

    @rule(events=EVENTS, hours=st.integers(0, 3))
    def the_stream_was_away_and_counts_the_windows_that_are_over_as_batches(
        self, events: list[Appended], hours: int
    ) -> None:
        """Those of which it has not read all, each at once, as jobs.streaming.windows does. Then it begins, without a
        state, behind them."""
        unread = [self.append(*event) for event in events]
        self.time_passes_and_what_is_old_expires(hours)
        unread += [self.append(*event) for event in events]
        since = window_start(min(event.order[0] for event in unread) - SETTINGS.log.grace, WINDOW)
        over = passed_edge(SETTINGS, self.now)
        for row, cell in rows_of(event for event in self.appended if since <= event.window < over).items():
            self.write(row, *cell)
        self.live = self.writer_since(over)
        self.read_and_write(self.live, tuple(map(len, self.topic)), True)

    @rule(events=EVENTS, hours=st.integers(0, 3))
    def a_transaction_was_open_and_the_windows_of_its_records_are_counted_again(
        self, events: list[Appended], hours: int
    ) -> None:
        """The stream has evicted them, and drops the late records. Then windows are counted again, whole, as
        jobs.streaming.recounts does."""
        late = [self.append(*event) for event in events]
        self.time_passes_and_what_is_old_expires(hours)
        over = passed_edge(SETTINGS, self.now)
        for partition, records in enumerate(self.topic):
            self.read(self.live, partition, len(records))
        self.live.seen = [event for event in self.live.seen if event.window >= over]
        for row, cell in rows_of(self.live.seen).items():
            self.write(row, *cell)
        since = min(event.window for event in late)
        for row, cell in rows_of(event for event in self.appended if since <= event.window < over).items():
            self.write(row, *cell)

    @precondition(lambda self: self.others)
    @rule(any_of=ANY_OF, events=st.tuples(*[st.integers(0, 6)] * len(BEHIND)), at_once=st.booleans())
    def another_writer_reads_on(self, any_of: Pick, events: tuple[int, ...], at_once: bool) -> None:
        self.read_and_write(any_of(self.others), events, at_once)

    @precondition(lambda self: self.in_flight)
    @rule(any_of=ANY_OF, twice=st.booleans())
    def a_delayed_write_arrives(self, any_of: Pick, twice: bool) -> None:
        at = any_of(range(len(self.in_flight)))
        row, cell = self.in_flight[at] if twice else self.in_flight.pop(at)
        self.write(row, *cell)

    @precondition(lambda self: self.others)
    @rule(any_of=ANY_OF)
    def a_writer_evicts_the_windows_that_are_over(self, any_of: Pick) -> None:
        writer = any_of([self.live, *self.others])
        over = passed_edge(SETTINGS, self.now)
        writer.seen = [event for event in writer.seen if event.window >= over]

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
    @rule(
        back=st.integers(0, 3),
        full=st.booleans(),
        only=st.sampled_from([None, *AMOUNTS]),
        refused=st.sampled_from([None, None, None, State.REFUSED, State.COUNTING]),
        left=st.frozensets(st.sampled_from([*AMOUNTS])),
    )
    def a_batch_counts(
        self, back: int, full: bool, only: str | None, refused: State | None = None, left: frozenset[str] = frozenset()
    ) -> None:
        """Perhaps the guard leaves counters as they were."""
        cutoff, base = passed_edge(SETTINGS, self.now) - back * WINDOW, self.base
        if cutoff < (latest_cutoff(self.counters, self.known_so_far) or EPOCH) or only not in (None, *self.counters):
            return
        held, died = base in self.snapshots, half_loaded(self.runs, base)
        behind = {
            name: Held(at.cutoff) for name, at in self.left_in.get(base, {}).items() if self.known.get(name) == at
        } if base and held else {}  # fmt: skip
        only = only if full else None
        run = plan(
            self.counters, self.known_so_far, cutoff, held, full, only, died, self.latest_write(),
            frozenset(self.redefined), behind,
        )  # fmt: skip
        if run and refused:
            self.note(self.stored_totals(run)[0], refused)
            self.a_batch_counts(back, full, only)  # again, and accepted
        elif run:
            run, stored = self.stored_totals(run)
            rows, touched = self.counted(run, stored)
            left &= set(self.counters)
            if not left or not run.base or not run.can_leave(left, self.counters):
                self.begin_load(run, self.counters, (rows, touched), self.removed_by(run))
                return
            before = self.snapshots.get(run.base, {})
            rows = {row: n for row, n in rows.items() if row[0] not in left}
            rows |= {row: n for row, n in before.items() if row[0] in left}
            others = [name for name in self.counters if name not in left]
            self.left_in[run.target] = {name: self.known[name] for name in left}
            self.begin_load(run, others, (rows, {row for row in touched if row[0] not in left}), self.removed_by(run))

    @precondition(lambda self: self.loading is None and ADDED not in self.counters)
    @rule()
    def a_counter_is_added(self) -> None:
        self.counters = [*self.counters, ADDED]

    @precondition(lambda self: self.loading is None)
    @rule()
    def a_counter_gets_another_definition_and_the_stream_counts_by_both(self) -> None:
        """It reads again from the published cutoff what it did not count; what it counts no longer stays as it is."""
        swapped = {BEGUN_WITH[0]: OTHER_PLAYS, OTHER_PLAYS: BEGUN_WITH[0]}
        self.counters = [swapped.get(counter, counter) for counter in self.counters]
        self.the_stream_is_started_again()

    @rule()
    def the_stream_is_started_again(self) -> None:
        before = self.live_counters
        self.live_counters = {*self.counters, *self.known, ADDED}
        since = min((at.cutoff for at in self.known.values()), default=EPOCH)
        for row, cell in rows_of(self.appended).items():
            if row[0] not in before and row[1] >= since:
                self.write(row, *cell)

    @rule(event_id=st.integers(0, 9))
    def events_are_excluded_from_the_windows_that_are_not_counted_yet(self, event_id: int) -> None:
        """And from all history by a full run."""
        self.excluded.add(event_id)

    def removed_by(self, run: Run) -> Removed:
        """The events that the totals of the run lack: since somebody excluded them, or since they came late and another
        with their id was counted."""
        found = {}
        for counter in self.counters:
            if run.goes_on_from(counter) is None:
                before, new = frozenset[Order](), [e for e in self.appended if e.window < run.target.cutoff]
            else:
                at = self.goes_on_from(run, counter)
                new = [e for e in self.appended if self.is_new(at, e) and e.window < run.target.cutoff]
                old = [e for e in self.appended if not self.is_new(at, e) and e.order not in self.removed[counter]]
                ids = {event.event_id for event in old}
                late = {event.order for event in new if event.order in self.unread_in[at]}
                # The windows behind that run are all counted now; something of them may have been late for another.
                before = self.removed[counter] - late - {event.order for event in new if event.window >= at.cutoff}
                before |= {event.order for event in new if event.order in late and event.event_id in ids}
            found[counter] = before | {event.order for event in new if event.event_id in self.excluded}
        return found

    def goes_on_from(self, run: Run, counter: str) -> Published:
        """The run that published the totals of the counter to which this one adds."""
        assert run.base
        return self.known[counter] if counter in run.behind else run.base

    def is_new(self, at: Published, event: Event) -> bool:
        """As jobs.totals.counting.count_windows: of an ingest window behind that run, or behind its position."""
        return event.window >= at.cutoff or event.order in self.unread_in[at]

    def counted(self, run: Run, stored: list[Totals]) -> tuple[dict[Totals, int], set[Totals]]:
        """The totals of the run, and which of their rows are written."""
        wanted = [event for event in self.appended if event.event_id not in self.excluded]
        wanted = [event for event in wanted if event.window < run.target.cutoff]
        before = self.snapshots.get(run.base, {}) if run.base else {}
        rows: dict[Totals, int] = {row: n for row, n in before.items() if row[0] not in self.counters}
        touched: set[Totals] = set()
        for counter in self.counters:
            mine = {row: n for row, n in before.items() if row[0] == counter}
            if counter in run.recount:
                gone = {row: 0 for row in [*mine, *stored] if row[0] == counter}
                rows |= (fresh := summed(first_of_each(wanted), counter, gone))
                touched |= {row for row, n in fresh.items() if self.standing(run).get(row) != n}
            else:
                at = self.goes_on_from(run, counter)
                first = first_of_each(wanted, lambda event, at=at: self.is_new(at, event))  # type: ignore[misc]
                new = [event for event in first if self.is_new(at, event)]
                died = dict.fromkeys((row for row in stored if row[0] == counter), 0)
                rows |= summed(new, counter, died | mine)
                new_rows = summed(new, counter, died)
                touched |= {row for row in new_rows if run.died or row in died or mine.get(row) != rows[row]}
        return rows, touched

    def standing(self, run: Run) -> dict[Totals, int]:
        """As jobs.totals.counting.standing: the stored rows that may stay where they are counted the same again."""
        if run.died:
            return {}
        until = micros(run.target.cutoff)
        return {
            row: cell.value
            for row, cell in self.counts.items()
            if row in self.cutoffs and self.cutoffs[row].value <= until and row not in self.expiring
        }

    def stored_totals(self, run: Run) -> tuple[Run, list[Totals]]:
        """As jobs.totals.loading.stored_totals: what is stored of the counters that are recounted, and by runs that
        died, and a run that overwrites it."""
        written = {
            row: max(cells[row].stamp for cells in (self.counts, self.cutoffs) if row in cells) for row in self.counts
        }
        since = run.loaded_since
        wanted = [row for row, at in written.items() if row[0] in run.recount or (since is not None and at > since)]
        stored = [row for row in wanted if row[0] in self.counters]
        cells = [written[row] for row in stored if row[0] in run.recount]
        return overwriting(run, max(cells, default=None), "totals"), stored

    def begin_load(
        self,
        run: Run,
        counters: list[str],
        counted: tuple[dict[Totals, int], set[Totals]],
        removed: Removed,
        unread: Iterable[Order] = (),
    ) -> None:
        rows, touched = counted
        removed = self.removed | {counter: removed[counter] for counter in counters}
        self.snapshots[run.target] = rows
        self.counters_in[run.target] = counters
        self.removed_in[run.target] = removed
        self.unread_in[run.target] = set(unread)
        self.unfinished.append(removed)
        self.note(run, State.LOADING)
        known = {counter: at for counter, at in self.known.items() if counter in counters}
        if run.kind == "restore" and (first := going_back(known, run.target)):
            self.unfinished.append(self.removed)
            self.publish(run.target, first)
        self.loading = (run, [(row, rows[row]) for row in sorted(touched, key=str)])
        if run.base in self.snapshots:
            self.expiring |= {row for row in self.counts if row[0] in self.replaced}

    @precondition(lambda self: self.loading is not None)
    @rule(rows=st.integers(1, 9))
    def it_loads_some_rows_and_publishes_after_the_last(self, rows: int) -> None:
        assert self.loading
        run, waiting = self.loading
        for row, value in waiting[:rows]:
            self.counts[row] = lasting(self.counts.get(row), Cell(value, run.target.write_time))
            cutoff = Cell(micros(run.target.cutoff), run.target.write_time)
            self.cutoffs[row] = lasting(self.cutoffs.get(row), cutoff)
            self.expiring.discard(row)
        self.loading = (run, waiting[rows:])
        if not waiting[rows:]:
            done, counters = run.done, self.counters_in[run.target]
            if run.base in self.snapshots:
                self.readers_get({s: at for s, at in self.ever_known.items() if s not in self.replaced})
            self.counters_in[done] = counters
            self.snapshots[done] = self.snapshots[run.target]
            self.removed_in[done] = self.removed_in[run.target]
            self.unread_in[done] = self.unread_in[run.target]
            self.left_in[done] = self.left_in.get(run.target, {})
            self.publish(done, counters)
            left = [counter for counter in AMOUNTS if counter not in counters]  # as they were
            self.unfinished = [self.removed | {counter: one[counter] for counter in left} for one in self.unfinished]
            self.kept = [*self.kept, done][-KEEP:]
            self.snapshots = {at: self.snapshots[at] for at in self.kept if at in self.snapshots}
            self.note(run, State.PUBLISHED)
            self.loading = None

    @precondition(lambda self: self.loading is None)
    @rule()
    def a_night_passes(self) -> None:
        self.time_passes_and_what_is_old_expires(0)
        self.a_batch_counts(0, False, None)
        self.load_all()

    @precondition(lambda self: self.loading is None)
    @rule(left=st.frozensets(st.sampled_from([*AMOUNTS])), hours=st.integers(0, 3))
    def a_night_passes_and_the_guard_leaves_counters_as_they_were(self, left: frozenset[str], hours: int) -> None:
        self.time_passes_and_what_is_old_expires(hours)
        self.a_batch_counts(0, False, None, left=left)
        self.load_all()

    @precondition(lambda self: self.loading is not None)
    @rule()
    def it_dies_half_way(self) -> None:
        self.loading = None

    @precondition(lambda self: self.loading is None)
    @rule(rows=st.integers(1, 9), event_id=st.integers(0, 9))
    def what_it_loaded_before_it_died_is_excluded_from_the_next(self, rows: int, event_id: int) -> None:
        self.time_passes_and_what_is_old_expires(1)
        self.a_batch_counts(0, False, None)
        if self.loading:
            self.it_loads_some_rows_and_publishes_after_the_last(rows)
            self.loading = None
            self.events_are_excluded_from_the_windows_that_are_not_counted_yet(event_id)
            self.a_night_passes()

    @rule()
    def totals_of_replaced_definitions_are_gone(self) -> None:
        for row in self.expiring:
            self.counts.pop(row, None)
            self.cutoffs.pop(row, None)
        self.expiring = set()

    @rule()
    def the_snapshots_are_lost(self) -> None:
        if self.loading is None:
            self.snapshots, self.kept = {}, []

    @precondition(lambda self: self.loading is None and self.kept)
    @rule(any_of=ANY_OF, rows=st.integers(0, 9))
    def totals_are_restored_from_a_snapshot(self, any_of: Pick, rows: int) -> None:
        kept = any_of(self.kept)
        if kept.cutoff <= self.now - RETENTION:  # refused
            return
        names = [counter for counter in self.counters if counter in self.counters_in[kept]]
        known = {counter: at for counter, at in self.known.items() if counter in names}
        run = restoring(names, known, kept.cutoff, half_loaded(self.runs, newest(names, known)), self.latest_write())
        run, stored = self.stored_totals(run)
        current = self.snapshots.get(run.base, {}) if run.base else {}
        gone = dict.fromkeys((row for row in [*current, *stored] if row[0] in names), 0)
        restored = gone | {row: n for row, n in self.snapshots[kept].items() if row[0] in names}
        left = {row: n for row, n in current.items() if row[0] not in names}
        stands = self.standing(run)
        self.begin_load(
            run,
            names,
            (left | restored, {row for row, n in restored.items() if stands.get(row) != n}),
            self.removed_in[kept],
            self.unread_in[kept],
        )
        if rows:
            self.it_loads_some_rows_and_publishes_after_the_last(rows)

    # Damage

    @precondition(lambda self: self.loading is None and self.known)
    @rule(ahead=st.integers(0, 48))
    def the_cutoffs_were_written_by_a_clock_that_is_ahead(self, ahead: int) -> None:
        self.stamp = max(self.stamp or 0, micros(self.now + ahead * HOUR))

    @precondition(lambda self: self.loading is None and self.known)
    @rule(row=st.tuples(st.sampled_from([*AMOUNTS]), st.sampled_from([*AT.values(), ALL])),
          far=st.sampled_from([1, 1000]), count=st.sampled_from([99, None]), cutoff=st.none() | st.integers(0, 600_000),
          only=st.booleans())  # fmt: skip
    def a_total_is_damaged_or_foreign_and_a_full_run_mends_it(
        self, row: Totals, far: int, count: int | None, cutoff: int | None, only: bool
    ) -> None:
        if row[0] not in self.counters:
            return
        stamp = micros(self.now) * far
        if count is not None or row not in self.counts:
            self.counts[row] = lasting(self.counts.get(row), Cell(99, stamp))
        if cutoff is not None:
            self.cutoffs[row] = lasting(self.cutoffs.get(row), Cell(micros(EPOCH + cutoff * HOUR), stamp))
        latest = latest_cutoff(self.counters, self.known_so_far)
        if latest and passed_edge(SETTINGS, self.now) < latest:
            self.now = latest + 2 * WINDOW
        self.a_batch_counts(0, True, row[0] if only else None)
        self.load_all()

    @rule(any_of=ANY_OF, damage=st.integers(-5, 50), stamp=st.sampled_from([None, 7, 10**15]), clock=st.integers(-3, 3))
    def a_row_of_a_finished_window_is_lost_or_damaged_and_repaired(
        self, any_of: Pick, damage: int, stamp: int | None, clock: int
    ) -> None:
        over = passed_edge(SETTINGS, self.now)
        finished = sorted(row for row in self.increments if row[1] < over and row[0] in self.live_counters)
        if not finished:
            return
        row = any_of(finished)
        lost = self.increments.pop(row)
        stored = lost.stamp + stamp if stamp else None
        if stored:
            self.write(row, damage, stored)
        truth, whole = rows_of(self.appended)[row]
        self.write(row, truth, write_time.of_repair(stored, whole, self.now + clock * HOUR))
        self.repaired.add(row)

    # The reader

    @invariant()
    def every_count_is_the_truth(self) -> None:
        if not hasattr(self, "topic"):
            return
        seen = [
            self.increments.copy(), self.counts.copy(), self.cutoffs.copy(), self.known, self.counters, self.removed,
            self.unfinished.copy(), len(self.appended),
        ]  # fmt: skip
        if seen == self.looked_at:  # by half of all steps nothing changes that a count comes from
            return
        self.looked_at = seen
        known, base, redefined = self.known, self.base, self.redefined
        held: dict[str, list[Increment]] = {}
        for (name, window, b), n in self.increments.items():
            held.setdefault(name, []).append(Increment(b, window, n.value))
        sums: dict[tuple[datetime, frozenset[Order]], Sums] = {}
        for counter in [redefined.get(counter, counter) for counter in self.counters]:
            if base and counter not in known:  # new: nobody has counted what was before it
                continue
            published = known[counter].cutoff if known else None
            lacking = {removed[counter] for removed in (self.removed, *self.unfinished)}
            for bucket in [*AT.values(), ALL]:
                total = self.total(counter, bucket)
                bound = max(published or EPOCH, total.cutoff if total else EPOCH)
                true: set[int] = set()
                for removed in lacking:
                    if (bound, removed) not in sums:
                        sums[bound, removed] = sums_of(self.events_that_count(bound, removed))
                    true |= self.may_be(sums[bound, removed].get((counter, bucket), 0), counter, bucket, bound)
                found = count(bucket, total, held.get(counter, ()), published).count
                assert saturated(found) in true, (counter, bucket, found, true)

    def total(self, counter: str, bucket: Bucket) -> Total | None:
        row = (counter, bucket)
        if row not in self.counts or row not in self.cutoffs:  # the reader takes a row without a cutoff for none
            return None
        return Total(self.counts[row].value, EPOCH + timedelta(microseconds=self.cutoffs[row].value))

    def events_that_count(self, bound: datetime, removed: frozenset[Order]) -> list[Event]:
        """What the list of events gives: duplicates, and what was excluded, are gone up to the bound, and still there
        after it."""
        before = first_of_each([e for e in self.appended if e.window < bound and e.order not in removed])
        return before + [event for event in self.appended if event.window >= bound]

    def may_be(self, counted: int, counter: str, bucket: Bucket, bound: datetime) -> set[int]:
        """What the events may count: with or without each that real time may lack."""
        if not self.not_promised:
            return {saturated(counted)}
        sums = {counted}
        for event in self.appended:
            if event.window >= bound and bucket.holds(event.bucket) and (counter, event.order) in self.not_promised:
                sums |= {total - event.amounts[counter] for total in sums}
        return {saturated(total) for total in sums}

    # What the rules share

    def note(self, run: Run, state: State) -> None:
        """As jobs.ledger.runs.note: a row for each write timestamp, which the try before did not have."""
        at = run.done
        before = [noted for noted in self.runs if noted.at.write_time == at.write_time]
        assert not before or state == State.PUBLISHED
        self.runs = [noted for noted in self.runs if noted not in before] + [Noted(at, run.kind, state, run.recount)]

    def latest_write(self) -> int | None:
        stamps = [noted.at.write_time for noted in self.runs]
        return max([*stamps, *([self.stamp] if self.stamp else [])], default=None)

    @property
    def redefined(self) -> dict[str, str]:
        """As stitch.definitions.replacing: counter of the settings → the other definition that readers get so far."""
        now = {name_of(stored): stored for stored in self.known}
        before = {counter: now.get(name_of(counter), counter) for counter in self.counters}
        return {counter: other for counter, other in before.items() if other != counter}

    @property
    def replaced(self) -> set[str]:
        """As jobs.sources.stored.replaced, without those that the settings have."""
        return self.ever_known.keys() - self.known.keys() - set(self.counters)

    @property
    def known_so_far(self) -> dict[str, Published]:
        """As jobs.totals.planning: what is published of each counter of the settings, be it by another definition."""
        known = self.known
        return known | {counter: known[other] for counter, other in self.redefined.items()}

    @property
    def base(self) -> Published | None:
        """The run that published last."""
        return newest(self.counters, self.known_so_far)

    def publish(self, at: Published, counters: Iterable[str]) -> None:
        """With the run's write timestamp: it must take effect, whatever is stored."""
        assert self.stamp is None or at.write_time > self.stamp
        self.readers_get(self.ever_known | dict.fromkeys(counters, at))
        self.stamp = at.write_time
        self.removed = self.removed | {counter: self.removed_in[at][counter] for counter in counters}

    def readers_get(self, published: dict[str, Published]) -> None:
        self.ever_known = published
        self.known = {stored: published[stored] for stored in served(published).values()}

    def load_all(self) -> None:
        while self.loading:
            self.it_loads_some_rows_and_publishes_after_the_last(9)

    def read(self, writer: Writer, partition: int, events: int) -> None:
        at = writer.positions[partition]
        writer.seen += [event for event in self.topic[partition][at : at + events] if event.window >= writer.since]
        writer.positions[partition] = min(at + events, len(self.topic[partition]))

    def read_and_write(self, writer: Writer, events: tuple[int, ...], at_once: bool) -> None:
        """Some events of each partition, not the same of each; its rows are written at once, or wait in flight."""
        for partition, number in enumerate(events):
            self.read(writer, partition, number)
        for row, cell in rows_of(writer.seen).items():
            if at_once:
                self.write(row, *cell)
            else:
                self.in_flight.append((row, cell))

    def write(self, row: Increments, value: int, stamp: int) -> None:
        if row[0] not in self.live_counters:
            return
        self.writes += not self.one_second
        stored = self.increments.get(row)
        self.increments[row] = expiring(stored, Cell(value, stamp, self.writes))
        if self.increments[row] != stored:
            self.expires[row] = self.now + RETENTION

    def append(self, event_id: int, partition: int, late: int, amounts: dict[str, int]) -> Event:
        stamp = self.now - BEHIND[partition]
        order, window = (stamp, partition, len(self.topic[partition])), window_start(stamp, WINDOW)
        self.topic[partition].append(Event(event_id, order, window, START + late * HOUR, amounts))
        self.appended.append(self.topic[partition][-1])
        return self.topic[partition][-1]

    def writer_since(self, edge: datetime) -> Writer:
        """One that has read nothing, at the first record of each partition that is not before the edge."""
        starts = [
            next((at for at, event in enumerate(partition) if event.window >= edge), len(partition))
            for partition in self.topic
        ]
        return Writer(starts, since=edge)

    def caught_up(self, writer: Writer) -> bool:
        return writer.positions == [len(partition) for partition in self.topic]


def with_order(removed: Removed, order: Order) -> Removed:
    """The same, and an event that came after it."""
    return {counter: events | {order} for counter, events in removed.items()}


TestStitch = Stitch.TestCase
TestStitch.settings = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=30, deadline=None)
