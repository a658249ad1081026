"""Lists of members and keys are right at every moment, whatever runs do: a state machine beside that of test_exactness.

One counter with buckets and members, a table of totals with a branch for each run, and Cassandra's cells, of which the
later write timestamp wins, and of equal ones a deletion. Runs load row by row in any order, totals before lists, and
die; they count on, recount, restore an older run; a version that makes no lists runs in between, or settings without a
chart; members are excluded, and erased; lists are damaged by hand at any write timestamp, which a recount mends. What
jobs.totals.ranking and charts do in Spark stands here a second time, in two dozen lines. Charts are of the same
members: what a list names is a member or a key, and all else about it is the same.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

MOST, BUCKETS, MEMBERS = 2, "pq", "abcdef"

Row = tuple[str, str]  # bucket, member
Branch = dict[Row, tuple[int, int]]  # count, write time
List = list[tuple[str, int]]  # members and counts

SPAM = st.sampled_from([None, None, None, "b", "c"])
ROWS = [*product("p", MEMBERS), *product("q", "abc")]  # one bucket with many members, one with hardly enough
EVENTS = st.lists(st.tuples(st.sampled_from(ROWS), st.integers(-9, 9)), max_size=2)
MOSTLY, RARELY = st.sampled_from([True, True, False]), st.sampled_from([False, False, False, True])
DIES = st.sampled_from([None, None, None, None, None, 1, 3, 5, 9, 11])  # after so many rows


class Published(NamedTuple):
    cutoff: int
    stamp: int
    ranked: bool
    charted: bool


class Stored(NamedTuple):
    """A row of Cassandra: value (None: deleted), its cutoff, and its write timestamp."""

    value: int | List | None
    cutoff: int
    stamp: int


class Load(NamedTuple):
    """What a run writes at its stamp: totals, then lists and charts, and what it then publishes."""

    stamp: int
    branch: Branch
    totals: list[tuple[Row, Stored]]
    lists: list[tuple[str, Stored]]
    charts: list[tuple[str, Stored]]
    done: Published


def first(branch: Branch, bucket: str) -> List:
    """All members of the bucket that count, in order."""
    found = [(member, count) for (of, member), (count, _) in branch.items() if of == bucket and count]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def held(cell: Stored | None) -> List:
    """What a list says; nothing where it was erased, or is not there."""
    return cell.value if cell and isinstance(cell.value, list) else []


def later(one: Stored | None, other: Stored) -> Stored:
    """Which of the two stays; a deletion wins over a write at the same time."""
    if one is None or other.stamp > one.stamp or (other.stamp == one.stamp and other.value is None):
        return other
    return one


class Lists(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now, self.events = 0, list[tuple[int, Row, int]]()
        self.excluded, self.kept = set[str](), dict[int, Branch]()  # stamp of a run → its totals
        self.branches = dict[int, Branch]()  # of all runs, by what they wrote
        self.cutoffs, self.published = dict[int, int](), None
        self.totals, self.lists, self.charts = dict[Row, Stored](), dict[str, Stored](), dict[str, Stored]()
        self.lacking = False  # whether an erasure took charts since they were published
        self.died: dict[int, bool] = {}  # stamp of a run that did not publish → whether it recounted

    published: Published | None

    @initialize()
    def all_members_count_and_are_listed(self) -> None:
        self.a_run_counts([(row, 5) for row in ROWS], None, False, True, True, None, Random(0))

    @rule(events=EVENTS, spam=SPAM, full=RARELY, lists=MOSTLY, chart=MOSTLY, dies=DIES,
          dice=st.randoms())  # fmt: skip
    def a_run_counts(
        self, events: list[tuple[Row, int]], spam: str | None, full: bool, lists: bool, chart: bool, dies: int | None,
        dice: Random,
    ) -> None:  # fmt: skip
        """spam: a member that is excluded first; lists: whether by a version that makes them; chart: by settings that
        say so."""
        self.now += 1
        self.events += [(self.now, row, amount) for row, amount in events]
        self.excluded |= {spam} if spam else set()
        base = self.kept.get(self.published.stamp) if self.published else None
        again = full or base is None or any(self.died.values())
        stamp, before = self.next_stamp(again), dict(base or {})
        counted = Counter[Row]()
        since = 0 if again or not self.published else self.published.cutoff
        for at, row, amount in self.events:
            if at > since and row[1] not in self.excluded:
                counted[row] += amount
        branch = self.recounted(before, counted, stamp) if again else self.added(before, counted, stamp)
        rows, listed = self.changed(branch, stamp, self.now), self.ranked(branch, stamp, self.now, again, lists)
        charts = self.charted(branch, stamp, self.now, again, lists and chart)
        done = Published(self.now, stamp, lists, lists and chart)
        self.load(Load(stamp, branch, rows, listed, charts, done), again, dies, dice)

    @rule(events=EVENTS, dice=st.randoms())
    def a_night_passes(self, events: list[tuple[Row, int]], dice: Random) -> None:
        self.a_run_counts(events, None, False, True, True, None, dice)

    @rule(row=st.sampled_from(ROWS), dice=st.randoms())
    def what_a_run_listed_before_it_died_is_excluded_from_the_next(self, row: Row, dice: Random) -> None:
        self.a_run_counts([(row, 9)], None, False, True, True, 99, dice)
        self.a_run_counts([], row[1], False, True, True, None, dice)

    @precondition(lambda self: self.kept and self.published and self.published.stamp in self.kept)
    @rule(which=st.integers(0, 5), chart=MOSTLY, dies=DIES, dice=st.randoms())
    def a_kept_run_is_restored(self, which: int, chart: bool, dies: int | None, dice: Random) -> None:
        assert self.published
        tag = sorted(self.kept)[which % len(self.kept)]
        cutoff, stamp = self.cutoffs[tag], self.next_stamp(True)
        counted = Counter({row: count for row, (count, _) in self.kept[tag].items()})
        branch = self.recounted(self.kept[self.published.stamp], counted, stamp, cutoff)
        lists, charts = (make(branch, stamp, cutoff, True, wanted)
                         for make, wanted in ((self.ranked, True), (self.charted, chart)))  # fmt: skip
        if self.published.cutoff >= cutoff:
            self.published = Published(cutoff, stamp, self.published.ranked, chart and self.published.charted)
            self.branches[stamp] = branch
        rows, done = self.changed(branch, stamp, cutoff), Published(cutoff, stamp + 1, True, chart)
        self.load(Load(stamp, branch, rows, lists, charts, done), True, dies, dice)

    @precondition(lambda self: len(self.excluded) < 4)
    @rule(member=st.sampled_from("abcd"))
    def a_member_is_erased(self, member: str) -> None:
        self.excluded.add(member)
        for branch in [*self.kept.values(), *self.branches.values()]:
            for row in [row for row in branch if row[1] == member]:
                del branch[row]
        self.totals = {row: cell for row, cell in self.totals.items() if row[1] != member}
        self.lacking |= any(member in [name for name, _ in held(cell)] for cell in self.charts.values())
        for of in (self.lists, self.charts):
            for bucket, cell in of.items():
                if member in [name for name, _ in held(cell)]:
                    of[bucket] = later(cell, cell._replace(value=None))

    @precondition(lambda self: self.published)
    @rule(bucket=st.sampled_from([*BUCKETS, "ghost"]), chart=st.booleans(), ahead=st.integers(0, 9), dice=st.randoms())
    def a_list_is_damaged_by_hand_and_mended(self, bucket: str, chart: bool, ahead: int, dice: Random) -> None:
        of = self.charts if chart else self.lists
        newest = max(self.next_stamp(True), of[bucket].stamp + 1 if bucket in of else 0)
        of[bucket] = Stored([("nobody", 9)], self.now, newest + ahead)
        self.a_run_counts([], None, True, True, True, None, dice)

    @invariant()
    def every_list_that_readers_rely_on_has_the_first_of_its_bucket(self) -> None:
        if self.published is None or not self.published.ranked:
            return
        for bucket, cell in self.lists.items():
            if of_it := held(cell):
                assert of_it == self.first_by(cell, bucket)[: len(of_it)], (bucket, cell, self.published)

    @invariant()
    def every_chart_that_readers_rely_on_has_the_first_of_its_bucket_and_where_is_none_nothing_counts(self) -> None:
        if self.published is None or not self.published.charted:
            return
        for bucket in (*BUCKETS, "ghost"):
            cell = self.charts.get(bucket)
            if cell and cell.value is None:
                assert self.lacking
            else:
                right = self.first_by(cell, bucket)[:MOST]
                assert held(cell) == right, (bucket, cell, self.published)

    def first_by(self, cell: Stored | None, bucket: str) -> List:
        """What counts in the bucket, in order: as published, or at the later cutoff of the list."""
        assert self.published
        published = cell is None or cell.cutoff <= self.published.cutoff
        return first(self.branches[self.published.stamp if published or cell is None else cell.stamp], bucket)

    def load(self, load: Load, recounts: bool, dies: int | None, dice: Random) -> None:
        """Write it in any order, totals before lists before charts, and publish; or so many rows."""
        self.branches |= {load.stamp: load.branch, load.done.stamp: load.branch}
        dice.shuffle(load.totals)
        for lists in (load.lists, load.charts):
            dice.shuffle(lists)
        for row, cell in load.totals[:dies]:
            self.totals[row] = later(self.totals.get(row), cell)
        written = [(self.lists, one) for one in load.lists] + [(self.charts, one) for one in load.charts]
        for of, (bucket, cell) in written[: None if dies is None else max(0, dies - len(load.totals))]:
            of[bucket] = later(of.get(bucket), cell)
        if dies is not None:
            self.died[load.done.stamp] = recounts
            return
        self.published, self.died, self.lacking = load.done, {}, False
        self.kept[load.done.stamp], self.cutoffs[load.done.stamp] = load.branch, load.done.cutoff

    def next_stamp(self, recounts: bool) -> int:
        """Later than what was published, than runs that died, and, of a recount, than all that is stored."""
        cells = [*self.totals.values(), *self.lists.values(), *self.charts.values()] if recounts else []
        before = self.published.stamp + self.lacking if self.published else 0
        return max([self.now, before, *self.died, *(cell.stamp for cell in cells)]) + 1

    def added(self, before: Branch, counted: Counter[Row], stamp: int) -> Branch:
        """As jobs.frames.totals.added, with the rows of runs that died written again."""
        since = self.published.stamp if self.published else 0
        died = {row for row, cell in self.totals.items() if self.died and cell.stamp > since}
        branch = dict(before)
        for row in {*counted, *died}:
            count, _ = before.get(row, (0, 0))
            if counted[row] or row not in before or self.died:
                branch[row] = (count + counted[row], stamp)
        return branch

    def recounted(self, before: Branch, counted: Counter[Row], stamp: int, cutoff: int | None = None) -> Branch:
        """As jobs.frames.totals.replaced: rows that are stored as they should be stay, unless a run has died."""
        upto = self.now if cutoff is None else cutoff
        branch = Branch()
        for row in {*before, *counted, *self.totals}:
            cell = self.totals.get(row)
            stands = cell and not self.died and cell.cutoff <= upto and cell.value == counted[row]
            branch[row] = (counted[row], cell.stamp if cell and stands else stamp)
        return branch

    def changed(self, branch: Branch, stamp: int, cutoff: int) -> list[tuple[Row, Stored]]:
        return [(row, Stored(count, cutoff, at)) for row, (count, at) in branch.items() if at == stamp]

    def ranked(self, branch: Branch, stamp: int, cutoff: int, recounts: bool, lists: bool) -> list[tuple[str, Stored]]:
        """As jobs.totals.ranking."""
        if not lists:
            return []
        found = dict[str, List]()
        for bucket in BUCKETS:
            rows = [at for (of, _), (_, at) in branch.items() if of == bucket]
            if len(rows) >= MOST and rows and (recounts or stamp in rows):
                order = first(branch, bucket)
                found[bucket] = order[:MOST] if len(order) > MOST else []
        if recounts or not (self.published and self.published.ranked):
            found |= {bucket: [] for bucket, cell in self.lists.items() if bucket not in found and held(cell)}
        return [(bucket, Stored(names, cutoff, stamp)) for bucket, names in found.items()]

    def charted(self, branch: Branch, stamp: int, cutoff: int, recounts: bool, chart: bool) -> list[tuple[str, Stored]]:
        """As jobs.totals.charts."""
        if not chart:
            return []
        whole = recounts or not (self.published and self.published.charted)
        touched = {bucket for (bucket, _), (_, at) in branch.items() if whole or at == stamp}
        touched |= {bucket for bucket, cell in self.charts.items() if self.lacking and cell.value is None}
        found = {bucket: first(branch, bucket)[:MOST] for bucket in touched}
        if whole:
            found |= {bucket: [] for bucket, cell in self.charts.items() if bucket not in found and cell.value != []}
        return [(bucket, Stored(names, cutoff, stamp)) for bucket, names in found.items()]


TestLists = Lists.TestCase
TestLists.settings = settings(stateful_step_count=12, deadline=None)
