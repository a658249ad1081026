"""The keys of a counter that counted most, or rose most: found by the lists of the batch, counted by both layers.

Who may be among them the batch says: its lists of each day, each month and all time, and totals by name of those that
only some of the lists have (leaders). So that is as of the published cutoff. What they counted is what both layers say,
as everywhere, and by that they are ranked: more of them than are shown, since one may have come before another.

How much a key rose is no more than it counted, if no weight is negative. So keys are compared with the earlier range in
the order of their counts, a few times as many, until nobody who counted less can have risen more.
"""

from __future__ import annotations

from serving.layers.interface import ChartOf, TotalsRange, Unavailable
from serving.reading.budget import Asked, Cost, can_hold, check
from serving.reading.counting import Counting
from serving.reading.found import Change, Chart, not_whole, totals_of
from serving.reading.leaders import First, Members, Names, first
from serving.reading.queries import BadRequest, ChartQuery, Mistake, TotalsQuery
from serving.reading.reads import Reads
from serving.reading.slices import as_point, compared_points, fewest, flat, keyed
from serving.reading.view import View, together
from stitch.buckets import ALL, Bucket, bucketed
from stitch.counters import Counter
from stitch.merge import Ranking, Total
from stitch.settings import Settings
from stitch.tables import CHARTED, RANKED_KEYS

SPARE = 10  # keys behind the last that is shown, which may have come before it since the cutoff
RISING = (100, 400, 1000)  # keys that are compared with the earlier range: the first so many, then more


def chart_of(settings: Settings, view: View, query: ChartQuery) -> Chart:
    """Raises BadRequest where it would cost more than a request may, and Unavailable where there is no such chart, or
    counts are not whole and have to be."""
    if "batch" in view.missing:
        raise Unavailable("the batch layer does not answer: a chart is made of its lists")
    if not view.charted(query.counter):
        raise Unavailable(f"there is no chart of {query.counter.name} until the next run of batch_totals has made it")
    charting = _Charting(settings, view, query)
    charting.begin()
    return charting.rising() if query.order == "rising" else charting.most()


class _Charting:
    def __init__(self, settings: Settings, view: View, query: ChartQuery) -> None:
        self._settings, self._view, self._query, self._reads = settings, view, query, Reads(view)
        self._can_hold = can_hold(settings.events, view.now)
        self._comparison = view.compared(query.span, [query.counter])
        point = as_point(query.span.range) if query.span.range else ALL
        self._groups = [[point], *compared_points(self._comparison)]
        self._slices = fewest([point], CHARTED, self._can_hold).reads
        self._buckets = flat(bucketed(part) for part in self._slices)
        self._most, self._left = self._budget()
        self._members: dict[Bucket, Members] = {}
        self._known = True
        self._counts: dict[str, int] = {}
        self._changes: dict[str, Change] = {}
        self._partial = False

    def _budget(self) -> tuple[int, int]:
        """How many keys can be counted, with half of the reads, and how many are left to find out which. Raises
        BadRequest."""
        serving, span = self._settings.serving, self._query.span
        lists = len(self._buckets)
        check(Cost(lists, lists * RANKED_KEYS), serving, Asked(None, span.range), self._can_hold)
        of_key = Counting(self._settings, self._view, self._asking([""])).cost(self._groups)
        half = (serving.max_reads - lists) // 2
        most = min(half // of_key.reads, serving.max_rows // max(1, of_key.rows))
        if most < self._query.limit:
            detail = f"so many keys take more than one answer may (serving.max_reads, serving.max_rows): at most {most}"
            raise BadRequest([Mistake("limit", f"{detail} of this range")])
        return most, half

    def begin(self) -> None:
        """Read the lists."""
        view, query = self._view, self._query
        at, stored = view.at(query.counter), view.stored(query.counter)
        (lists,) = together(self._reads.charts([ChartOf(stored, bucket, at) for bucket in self._buckets]))
        rankings: dict[Bucket, Ranking | None] = dict(zip(self._buckets, lists, strict=True))
        unknown = [bucket for bucket, ranking in rankings.items() if ranking is None]
        if unknown and not query.partial:
            raise Unavailable(_unknown(query.counter, unknown))
        self._known = not unknown
        for bucket, ranking in rankings.items():
            if ranking is not None:
                members = self._members[bucket] = Members(bucket, (), view.cutoff(query.counter), "batch")
                if len(ranking.members) < RANKED_KEYS:  # then they are all
                    rows = zip(ranking.members, ranking.counts, strict=True)
                    members.are({key: Total(count, ranking.cutoff) for key, count in rows})
                else:
                    members.begin_with(ranking)

    def most(self) -> Chart:
        limit = self._query.limit
        found = self._first(limit + SPARE)
        page = found if found.decided else self._first(limit)
        self._count(list(dict.fromkeys([*page.names, *found.names])))
        rows = sorted((-count, key) for key, count in self._counts.items() if count)
        return self._chart([key for _, key in rows[:limit]], page.decided)

    def rising(self) -> Chart:
        limit, rises = self._query.limit, _never_falls(self._view.counted_as(self._query.counter))
        for size in RISING if rises else RISING[-1:]:
            found = self._first(max(limit, size))
            self._count([name for name in found.names if name not in self._counts])
            changes = ((key, *self._changes[key]) for key in self._counts)
            rows = sorted((before - now, key) for key, now, before in changes if now is not None and before is not None)
            page = [row for row in rows[:limit] if row[0] < 0]
            least = -page[-1][0] if len(page) == limit else 1
            decided = rises and found.others < least
            if decided or len(found.names) < size:
                break
        return self._chart([key for _, key in page], decided)

    def _chart(self, keys: list[str], decided: bool) -> Chart:
        rows = [(key, self._counts[key]) for key in keys]
        changes = {key: self._changes[key] for key in keys if key in self._changes}
        return Chart(rows, decided and self._known, self._partial, self._comparison, changes)

    def _first(self, size: int) -> First:
        return first(self._members, min(size, self._most), self._ask)

    def _ask(self, names: Names) -> bool:
        """Read the totals of these keys in all buckets, as many as there are reads left for; False for none."""
        keys = list(dict.fromkeys(flat(names.values())))[: self._left // len(self._slices)]
        self._left -= len(keys) * len(self._slices)
        view, counter = self._view, self._query.counter
        at, stored = view.at(counter), view.stored(counter)
        ranges = {key: [TotalsRange(stored, key, *part, at) for part in self._slices] for key in keys}
        (found,) = together(self._reads.totals(flat(ranges.values())))
        rows = iter(found or ())
        totals = {key: keyed(of, [next(rows) for _ in of]) for key, of in ranges.items()}
        for bucket, members in self._members.items():
            lacking = [key for key in keys if members.lacks(key)]
            held = ((key, totals[key].get(bucket.granularity, {}).get(bucket.start)) for key in lacking)
            members.have(lacking, {key: total for key, total in held if total})
        return bool(keys)

    def _count(self, keys: list[str]) -> None:
        """The live counts of the keys, and of the ranges that are compared."""
        view, query, asking = self._view, self._query, self._asking(keys)
        counting = Counting(self._settings, view, asking)
        counts = counting.counts(self._groups, Asked(len(keys), query.span.range)) if keys else []
        found = totals_of(view, asking, counts, self._comparison)
        name = query.counter.name
        for key, of in found.counts.items():
            if (count := of[name]) is None:
                raise not_whole(view, [query.counter])
            self._counts[key] = count
            if self._comparison:
                self._changes[key] = found.changes[key][name]
        self._partial = self._partial or found.partial

    def _asking(self, keys: list[str]) -> TotalsQuery:
        query = self._query
        return TotalsQuery([query.counter], keys, query.span, query.layer, query.format, query.partial)


def _never_falls(counter: Counter) -> bool:
    """Whether no count of it can be negative; a field that is summed may be."""
    return all(isinstance(weight, int) and weight >= 0 for weight in counter.weights.values())


def _unknown(counter: Counter, buckets: list[Bucket]) -> str:
    said = [bucket.granularity if bucket is ALL else f"{bucket.start:%Y-%m-%d}" for bucket in buckets[:3]]
    more = f" and {len(buckets) - 3} more" if len(buckets) > 3 else ""
    return (
        f"the chart of {counter.name} lacks {', '.join(said)}{more}: a key was erased, and the next run of "
        "batch_totals lists the others; `partial=allow` gives what is left"
    )
