"""What is found of a question: points, totals, series, tops, charts; and what makes them of the counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from serving.layers.interface import Unavailable
from serving.reading.queries import SeriesQuery, TotalsQuery
from serving.reading.slices import flat
from serving.reading.view import FIRST, PointStatus, View
from stitch import merge
from stitch.buckets import Bucket
from stitch.counters import Counter
from stitch.periods import Comparison


@dataclass(frozen=True)
class Point:
    """All but the bucket by counter. A count that is None is not known; `whole`: whether all of them are."""

    bucket: Bucket
    whole: bool
    counts: dict[str, int | None]
    source: dict[str, merge.Source]
    status: dict[str, PointStatus]
    complete: dict[str, bool]
    final: dict[str, bool]


Change = tuple[int | None, int | None]  # current, previous; None: not known


@dataclass(frozen=True)
class Totals:
    """key → counter → count, None where it is not known; `changes`: the same of what is compared."""

    counts: dict[str, dict[str, int | None]]
    partial: bool
    comparison: Comparison | None = None
    changes: dict[str, dict[str, Change]] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """facing: what each point is compared with; before: all time before the first point, where that counted.

    held: counters of which nothing is published: their sum is what is held, and not known where that is nothing
    """

    points: list[Point]
    partial: bool
    facing: list[Point | None] = field(default_factory=list)
    before: Point | None = None
    comparison: Comparison | None = None
    changes: dict[str, Change] = field(default_factory=dict)
    held: frozenset[str] = frozenset()

    def total(self, counter: str) -> int | None:
        counts = [point.counts[counter] for point in self.points + ([self.before] if self.before else [])]
        total = sum(count for count in counts if count)
        return None if None in counts and not (counter in self.held and total) else total


@dataclass(frozen=True)
class Top:
    """`changes`: member → (current, previous), where a range is compared."""

    members: list[tuple[str, int]]
    others: int
    total: int
    partial: bool
    next: str | None
    comparison: Comparison | None = None
    changes: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """exact: whether nobody else belongs to it, by what the batch counted; changes: as of Top, of the keys"""

    keys: list[tuple[str, int]]
    exact: bool
    partial: bool
    comparison: Comparison | None = None
    changes: dict[str, Change] = field(default_factory=dict)


def points_of(
    view: View, query: TotalsQuery | SeriesQuery, buckets: Sequence[Bucket], rows: Sequence[Sequence[merge.Count]]
) -> list[Point]:
    """One key's points: of each counter a row of their counts."""
    whole = [all(row[at].whole for row in rows) for at in range(len(buckets))]
    points = [Point(bucket, known, {}, {}, {}, {}, {}) for bucket, known in zip(buckets, whole, strict=True)]
    for counter, row in zip(query.counters, rows, strict=True):
        name, cutoff, status = counter.name, view.cutoff(counter), view.status(counter)
        as_of = min(view.now, view.as_of(counter) or FIRST)
        for point, count in zip(points, row, strict=True):
            end = point.bucket.end
            point.counts[name], point.source[name] = _shown(query, count), count.source
            point.status[name] = status(point.bucket) if count.whole else "unknown"
            point.complete[name] = point.status[name] == "known" and end <= as_of
            point.final[name] = count.whole and cutoff is not None and end <= min(view.now, cutoff)
    return points


def series_of(
    view: View, query: SeriesQuery, groups: list[list[Point]], facing: int, comparison: Comparison | None
) -> Series:
    """One key's series, of its points, `facing` groups of what they are compared with, and both ranges as a whole."""
    faced = {point.bucket: point for group in groups[1 : 1 + facing] for point in group}
    changes: dict[str, Change] = {}
    if comparison and query.span.uncounted(comparison):
        changes = {counter.name: (None, None) for counter in query.counters}
    elif comparison:
        (now,), (then,) = groups[-2:]
        changes = {name: (count, then.counts[name]) for name, count in now.counts.items()}
    found = [faced[bucket] if bucket else None for bucket in query.facing]
    return Series(groups[0], is_partial(view, flat(groups)), found, None, comparison, changes, held(view, query))


def totals_of(
    view: View,
    query: TotalsQuery,
    counts: Sequence[Sequence[Sequence[Sequence[merge.Count]]]],
    comparison: Comparison | None,
) -> Totals:
    """Of key → counter → the count of what is asked, and of both ranges that are compared."""
    found: dict[str, dict[str, int | None]] = {key: {} for key in query.keys}
    changes: dict[str, dict[str, Change]] = {key: {} for key in query.keys}
    for key, of_key in zip(query.keys, counts, strict=True):
        for counter, ((asked,), *parts) in zip(query.counters, of_key, strict=True):
            found[key][counter.name] = _shown(query, asked)
            if comparison:
                changes[key][counter.name] = _change(query, comparison, parts)
    partial = lacks_a_layer(view) or not all(count.whole for row in flat(counts) for (count,) in row)
    return Totals(found, partial, comparison, changes)


def is_partial(view: View, points: Sequence[Point]) -> bool:
    return lacks_a_layer(view) or not all(point.whole for point in points)


def held(view: View, query: SeriesQuery) -> frozenset[str]:
    """The counters of which nothing is published."""
    return frozenset(counter.name for counter in query.counters if view.unheld(counter))


def lacks_a_layer(view: View) -> bool:
    """The real-time layer: counts end with the cutoff."""
    return view.asked == "merged" and view.layer == "batch"


def check_some(view: View, query: TotalsQuery | SeriesQuery, counts: Iterable[Mapping[str, int | None]]) -> None:
    """Raises Unavailable where no count at all can be given."""
    found = [count for by_counter in counts for count in by_counter.values()]
    if found and all(count is None for count in found):
        raise not_whole(view, query.counters)


def not_whole(view: View, counters: Sequence[Counter]) -> Unavailable:
    """Why counts that are asked whole are not, and what to do."""
    return Unavailable(f"{view.why_partial(counters)}; `partial=allow` gives what is left")


def _change(query: TotalsQuery, comparison: Comparison, parts: Sequence[Sequence[merge.Count]]) -> Change:
    if query.span.uncounted(comparison):
        return None, None
    (current,), (previous,) = parts
    return _shown(query, current), _shown(query, previous)


def _shown(query: TotalsQuery | SeriesQuery, count: merge.Count) -> int | None:
    return count.count if count.whole or query.partial else None
