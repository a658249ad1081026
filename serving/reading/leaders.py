"""The first members of several buckets, found from lists of those that counted most in each. Pure.

Of a bucket, all members are known, or a list. A member that is not in a list counted at most as much as the last that
is, and where as much, comes behind it by name; what it gained since is known. So each has an upper bound: its counts
where they are known, elsewhere those of the lists' last members and what it gained. A page is found where the count of
its last member is known, and no other bound comes before that: this is the threshold algorithm (Fagin, Lotem and Naor,
2001). Members whose bound comes before are asked for by name, a few times; where that is not enough, all are read.

Members are those of a key, or the keys of a counter: of these, nobody knows what others gained.

Counts and gains may be negative, and a member without a row counted 0: so no bound of a list is below that.
"""

from __future__ import annotations

import heapq
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from serving.reading.told import Ranked, Told
from stitch import merge
from stitch.buckets import Bucket
from stitch.merge import Increment, Ranking, Total

WAVES = 3  # times that members are asked for by name: each raises the count that others have to reach
CELLS = 1000  # counts of a member in a bucket that are asked for at a time

Names = dict[Bucket, list[str]]


class Members:
    """The members of a bucket, as far as they are known.

    counts: of those that are; whole: no other counted anything
    most:   how much any other counted at most, before what it gained since; where as much, it comes behind `last`
    gains:  of those others that gained
    """

    def __init__(
        self, bucket: Bucket, increments: Sequence[Increment], published: datetime | None, layer: merge.Layer
    ) -> None:
        self._bucket, self._increments, self._published, self._layer = bucket, increments, published, layer
        self.counts: dict[str, int] = {}
        self.gains: dict[str, int] = {}
        self.whole, self.most, self.last = False, 0, ""

    def are(self, totals: Mapping[str, Total]) -> Members:
        """These are all totals of the bucket."""
        self.whole, self.most, self.gains = True, 0, {}
        self.counts = merge.members(self._bucket, totals, self._increments, self._published, self._layer)
        return self

    def begin_with(self, ranking: Ranking) -> Members:
        """The first of them are those of the list."""
        self.gains = merge.gains(self._increments, ranking.cutoff, self._published, self._layer)
        self.counts = {
            name: count + self.gains.pop(name, 0) for name, count in zip(ranking.members, ranking.counts, strict=True)
        }
        last = ranking.counts[-1]
        self.most, self.last = (last, ranking.members[-1]) if last > 0 else (0, "")
        return self

    def have(self, names: Iterable[str], totals: Mapping[str, Total]) -> None:
        """These are the totals of the members of those names, as far as they have any."""
        live = (increment for name in names for increment in self._live.get(name, ()))
        found = merge.members(self._bucket, totals, live, self._published, self._layer)
        for name in names:
            self.counts[name] = found.get(name, 0)
            self.gains.pop(name, None)

    @cached_property
    def _live(self) -> dict[str, list[Increment]]:
        found: dict[str, list[Increment]] = {}
        for increment in self._increments:
            if increment.member is not None:
                found.setdefault(increment.member, []).append(increment)
        return found

    def lacks(self, name: str) -> bool:
        """Whether the member's count is not known."""
        return not self.whole and name not in self.counts


def counts_of(members: Iterable[Members], names: Sequence[str]) -> dict[str, int]:
    """Of each name, over all the buckets, in all of which it is known."""
    each = list(members)
    return {name: sum(one.counts.get(name, 0) for one in each) for name in names}


def lacking(members: Mapping[Bucket, Members], names: Iterable[str], most: int | None = None) -> Names:
    """The counts of the names that are not known, the first `most` of them."""
    found: Names = {}
    left = most
    for name in names:
        if left is not None and left <= 0:
            break
        for bucket, one in members.items():
            if one.lacks(name):
                found.setdefault(bucket, []).append(name)
                left = None if left is None else left - 1
    return found


def leaders(
    members: Mapping[Bucket, Members], limit: int, told: Told, ask: Callable[[Names], bool]
) -> Tally[str] | None:
    """The counts of those that were told, of the first `limit` others, and of one more at least; None where all have to
    be read for them. `ask` finds out the counts that it is given, or says that it cannot."""
    for wave in range(WAVES + 1):
        known, bounds = _known(members.values())
        needed = _needed(members.values(), known, bounds, limit, told)
        if not needed:
            return Tally(known) if needed is not None else None
        if wave == WAVES or not ask(lacking(members, needed, CELLS)):
            break
    return None


@dataclass(frozen=True)
class First:
    """names: those that counted most, by count, then by name; decided: no other comes before the last of them.
    others: how much any other counted at most"""

    names: list[str]
    decided: bool
    others: int


def first(members: Mapping[Bucket, Members], limit: int, ask: Callable[[Names], bool]) -> First:
    """The first `limit` members, or all that count; where lists do not decide, the first of those that are known."""
    each = list(members.values())
    decided = all(one.whole for one in each) or leaders(members, limit, Told(), ask) is not None
    known, bounds = _known(each)
    rows = heapq.nsmallest(limit, ((-count, name) for name, count in known.items() if count))
    names = [name for _, name in rows]
    most = [count for name, count in (known | bounds).items() if name not in set(names)]
    in_order = len(each) == 1 and len(rows) == limit  # of one bucket: the list is
    return First(names, decided or in_order, max([sum(one.most for one in each), *most]))


def _known(members: Iterable[Members]) -> tuple[dict[str, int], dict[str, int]]:
    """The counts that are known, over all buckets, and the bounds of the other members that have a name."""
    each = list(members)
    most = sum(one.most for one in each)
    lists = sum(not one.whole for one in each)
    sums: dict[str, int] = defaultdict(lambda: most)
    seen: dict[str, int] = defaultdict(int)
    for one in each:
        for name, count in one.counts.items():
            sums[name] += count - one.most
        for name, gain in one.gains.items():
            sums[name] += gain
        if not one.whole:
            for name in one.counts:
                seen[name] += 1
    known = {name: count for name, count in sums.items() if seen[name] == lists}
    return known, {name: bound for name, bound in sums.items() if name not in known}


def _needed(
    members: Iterable[Members], known: Mapping[str, int], bounds: Mapping[str, int], limit: int, told: Told
) -> list[str] | None:
    """The members whose counts have to be known beside, the highest bounds first; None where that would not do."""
    # No member without a name comes at or before this.
    unnamed = (-sum(one.most for one in members), max(one.last for one in members))
    if told.has_others([*known, *bounds]):  # up to the edge no other was: the page comes behind it
        return None
    may = [(-bound, name) for name, bound in bounds.items()]
    left = [(-count, name) for name, count in known.items() if count]
    needed: list[Ranked] = []
    if told != Told():
        needed = [row for row in may if told.has(row)]
        may, left = ([row for row in rows if not told.has(row)] for rows in (may, left))
    page = heapq.nsmallest(limit + 1, left)
    best = heapq.nsmallest(limit, [*page, *may])
    if len(best) < limit or best[-1] > unnamed:
        return None
    if len(page) > limit:
        needed += [row for row in may if row < page[limit - 1]]
    elif may:
        needed += heapq.nsmallest(limit + 1 - len(page), may)
    else:
        return None  # that there are more has to be known, too
    return [name for _, name in sorted(needed)]
