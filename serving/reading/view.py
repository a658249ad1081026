"""One consistent look at the layers: what is published, which of them answer, and how far back and on they know the
counts.

When a layer does not answer, the question is asked again without it, and the answer says so. Without the batch layer,
totals that are remembered are exact with the increments since the cutoff under which they were read (stitch.merge);
what is not remembered is not known. Without the real-time layer, totals are exact as of their cutoff. A layer that
lost what it said before, since its keyspace was recreated, does not answer: its zeros would be taken for counts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, TypeVar

from serving.layers.interface import LayerDown, LayerName, Layers, Pending, Unavailable
from serving.observe.metrics import LAYER_ERRORS
from serving.reading.queries import Span, alignment
from stitch.buckets import ALL, Bucket, Range, finest_of, floor
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import Publication, served
from stitch.merge import Layer
from stitch.periods import Comparison

T = TypeVar("T")
LOG = logging.getLogger("stitch.layers")
PointStatus = Literal["known", "unknown", "future"]
LOST: dict[LayerName, str] = {
    "batch": "the batch layer holds no cutoff any more: `batch_totals --reload` loads what was published",
    "realtime": "the real-time layer holds no progress any more: `streaming_counts --from-cutoff` counts again",
}
_AWAY: dict[LayerName, str] = {
    "batch": "the batch layer does not answer, and not all of its totals are remembered",
    "realtime": "the real-time layer does not answer: counts end with the cutoff",
}
FIRST = datetime(1, 1, 1, tzinfo=UTC)  # before anything was appended
LAG = timedelta(minutes=1)  # a micro-batch takes seconds; one that takes longer is told
OLD_CUTOFF = 2 / 3  # of the retention: time to repair the batch is left, and nights on which it failed are past


class Down(Exception):
    """Layers that did not answer, all of them that were asked at once."""

    def __init__(self, failures: Sequence[LayerDown]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = list(failures)


@dataclass(frozen=True)
class LastPublished:
    """What was published when the batch layer said it last, and up to when the real-time layer then counted.

    stored:  a counter's name → under which its rows are found; by the settings, where nothing is published of it
    by_name: a counter's name → what is published of it; None: the batch layer never said
    before:  a counter's name → what was published before that under the same stored name
    """

    stored: dict[str, str]
    by_name: dict[str, Publication] | None = None
    before: dict[str, Published] = field(default_factory=dict)
    realtime_through: datetime | None = None

    def lost(self, missing: Sequence[LayerName], said: object, through: datetime | None) -> list[LayerDown]:
        """The layers that answer, but have nothing of what they said before."""
        lost: dict[LayerName, bool] = {
            "batch": bool(self.by_name) and not said,
            "realtime": self.realtime_through is not None and through is None,
        }
        return [LayerDown(layer, LOST[layer]) for layer, is_lost in lost.items() if is_lost and layer not in missing]

    def followed_by(self, said: dict[str, Publication]) -> LastPublished:
        """The same when the batch layer has said what is published."""
        stored, before = served(said), dict(self.before)
        for name, of in stored.items():
            last = (self.by_name or {}).get(name)
            if self.stored.get(name) != of:
                before.pop(name, None)
            elif last and last.at != said[of].at:
                before[name] = last.at
        by_name = {name: said[of] for name, of in stored.items()}
        return replace(self, stored={**self.stored, **stored}, by_name=by_name, before=before)


@dataclass(frozen=True)
class View:
    """`layer` is what answers: as `asked`, or `batch` where the real-time layer is missing. Where the batch layer is
    missing, `last` is what it said last, and its rows are those that are remembered.

    layers: for this request alone: with its deadline
    fresh_until: when the first row of its answer runs out, by time.monotonic()
    """

    layers: Layers
    asked: Layer
    layer: Layer
    last: LastPublished
    realtime_through: datetime | None
    now: datetime
    retention: timedelta
    missing: tuple[LayerName, ...] = ()
    fresh_until: float = math.inf

    def at(self, counter: Counter) -> Published | None:
        """What is published of the counter."""
        found = self._published(counter)
        return found.at if found else None

    def ranked(self, counter: Counter) -> bool:
        """Whether lists of members are right with what is published."""
        found = self._published(counter)
        return found is not None and found.ranked

    def charted(self, counter: Counter) -> bool:
        """The same of lists of its keys."""
        found = self._published(counter)
        return found is not None and found.charted

    def stored(self, counter: Counter) -> str:
        """Under which name the counter's rows are found."""
        return self.last.stored[counter.name]

    def before(self, counter: Counter) -> Published | None:
        """What was published before that, where the increments since are still held."""
        found = self.last.before.get(counter.name)
        return found if found and found.cutoff >= self.now - self.retention else None

    def counted_as(self, counter: Counter) -> Counter:
        """The counter as it is published, which may be by another definition than the settings'."""
        found = self._published(counter)
        return (found.counter if found else None) or counter

    def _published(self, counter: Counter) -> Publication | None:
        return (self.last.by_name or {}).get(counter.name)

    def check(self, counter: Counter, buckets: Iterable[Bucket], members: bool = False) -> None:
        """Raises Unavailable where the published definition of the counter has no such buckets, or no members: the
        settings ask for what the next run of the batch counts."""
        then = self.counted_as(counter)
        finest = finest_of(then)
        edges = (edge for bucket in buckets if bucket is not ALL for edge in (bucket.start, bucket.end))
        if finest != finest_of(counter) and any(floor(edge, finest) != edge for edge in edges):
            lacks = f"by the {finest}, and no finer"
        elif members and then.member != counter.member:
            lacks = f"by {then.member}" if then.member else "without a breakdown"
        else:
            return
        raise Unavailable(
            f"the definition of the counter {counter.name} changed, and until batch_totals has counted by the new one "
            f"its counts are {lacks}"
        )

    def cutoff(self, counter: Counter) -> datetime | None:
        found = self.at(counter)
        return found.cutoff if found else None

    def as_of(self, counter: Counter) -> datetime | None:
        """Its counts have everything that was appended before this; None where that is not known."""
        cutoff, through = self.cutoff(counter), self.realtime_through
        if self.layer == "batch":
            return cutoff
        if self.layer == "realtime":
            return through
        return max((at for at in (cutoff, through) if at), default=None)

    def compared(self, span: Span, counters: Sequence[Counter]) -> Comparison | None:
        """What the span is compared with, cut at the edge of published buckets until which all counters are counted.
        Raises BadRequest."""
        until = min([self.now, *(as_of for counter in counters if (as_of := self.as_of(counter)))])
        return span.compared(until, alignment([self.counted_as(counter) for counter in counters]), counters)

    def lost(self, counter: Counter) -> Range | None:
        """When events were appended whose increments may have expired before the batch counted them."""
        cutoff, as_of = self.cutoff(counter), self.as_of(counter)
        if self.layer != "merged" or cutoff is None or as_of is None:
            return None
        until = min(as_of, self.now - self.retention)
        return Range(cutoff, until) if cutoff < until else None

    def unheld(self, counter: Counter) -> datetime | None:
        """Of a counter of which nothing is published yet: what was appended before this may have expired; None of
        others. What was appended since may have occurred long before: a count is what is held, and only that nothing
        is held says nothing."""
        if self.layer != "merged" or self.last.by_name is None or self.cutoff(counter):
            return None
        return self.now - self.retention if self.realtime_through else self.now

    def lacks(self, counter: Counter) -> Callable[[Bucket, int], bool]:
        """Of which buckets the count, so much by the rows, is not known."""
        lost = self.lost(counter)
        nothing = self.asked == "merged" and self.layer == "batch" and self.cutoff(counter) is None

        unheld = self.unheld(counter)

        def lacks(bucket: Bucket, count: int) -> bool:
            if unheld and not count and bucket is not ALL:  # all time is all that is held
                return bucket.start < unheld
            return nothing or (lost is not None and bucket.start < lost.end and lost.start < bucket.end)

        return lacks

    def why_partial(self, counters: Sequence[Counter]) -> str:
        """Why counts are not known, in words; which of them, the answer says."""
        found = [_AWAY[layer] for layer in self.missing]
        for counter in counters:
            if lost := self.lost(counter):
                found.append(
                    f"events of {counter.name} that were appended from {lost.start:%Y-%m-%dT%H:%M:%SZ} on were not "
                    "counted by the batch before their increments expired"
                )
            if unheld := self.unheld(counter):
                found.append(
                    f"nothing of {counter.name} is published by the batch yet, and what was appended before "
                    f"{unheld:%Y-%m-%dT%H:%M:%SZ} is not held"
                )
        return "; ".join(found)

    def concerns(self, counters: Iterable[Counter]) -> list[str]:
        """What somebody should look after, in words that name no counter: the layers answer, but lag."""
        found = []
        if self.realtime_through and (lag := self.now - self.realtime_through) > LAG:
            found.append(f"the increments are {_about(lag)} behind: look after streaming_counts")
        published = [self.cutoff(counter) for counter in counters]
        age = self.now - min((cutoff for cutoff in published if cutoff), default=self.now)
        if self.realtime_through and age > self.retention * OLD_CUTOFF:
            found.append(
                f"a cutoff is {_about(age)} old, and increments expire after {_about(self.retention)} "
                "(realtime.retention): let batch_totals publish before that"
            )
        return found

    def closed(self, counters: Sequence[Counter], end: datetime | None) -> bool:
        """Whether what ends there changes only by late events and corrections."""
        if self.missing or self.layer == "realtime" or end is None:
            return False
        return all((cutoff := self.cutoff(counter)) and end <= cutoff for counter in counters)

    def status(self, counter: Counter) -> Callable[[Bucket], PointStatus]:
        """Which buckets the answering layers know the counts of."""
        until, lost = self.as_of(counter), self.lacks(counter)
        since = None if self.cutoff(counter) and self.layer != "realtime" else self.now - self.retention
        present = max(self.now, until or self.now)  # the clock of the reader may be behind

        def of(bucket: Bucket) -> PointStatus:
            if bucket.start >= present:
                return "future"
            known = until is not None and bucket.start < until and (since is None or bucket.start >= since)
            return "known" if known and not lost(bucket, 1) else "unknown"

        return of


def look(
    layers: Layers,
    last: LastPublished,
    layer: Layer,
    missing: tuple[LayerName, ...],
    now: datetime,
    retention: timedelta,
) -> View:
    """The published cutoffs, before anything else is read: from what is not missing, and what was published `last`."""
    asked: Layer = layer
    said, through = together(
        None if "batch" in missing else deferred(layers.cutoffs),
        None if "realtime" in missing else deferred(layers.realtime_through),
    )
    if last.by_name is None and not said and (before := layers.recalled_cutoffs()):
        last = last.followed_by(before)
    if lost := last.lost(missing, said, through):
        for one in lost:
            _warn(one.layer, now.replace(second=0, microsecond=0))
        raise Down(lost)
    if said is not None:
        last = last.followed_by(said)
    if through is not None:
        last = replace(last, realtime_through=through)
    if layer == "merged" and "realtime" in missing:
        layer = "batch"
    return View(layers, asked, layer, last, through, now, retention, missing)


@lru_cache(2)  # once a minute, for it is found out by every request
def _warn(layer: LayerName, _: datetime) -> None:
    LOG.warning("%s; if it was recreated on purpose, restart readers and memcached", LOST[layer])


def answer(
    layers: Layers, last: LastPublished, layer: Layer, now: datetime, retention: timedelta, ask: Callable[[View], T]
) -> tuple[T, View]:
    """Ask both layers, or the one left: each failure takes one away, so this ends. Raises Unavailable."""
    down: dict[LayerName, LayerDown] = {}
    while True:
        try:
            view = look(layers, last, layer, tuple(sorted(down)), now, retention)
            return ask(view), view if layer == "merged" else _as_asked(view)
        except Down as failure:
            for one in failure.failures:
                down[one.layer] = one
                LAYER_ERRORS.labels(one.layer).inc()
            if layer in down or len(down) == 2:
                raise Unavailable("; ".join(str(one) for one in down.values())) from failure


def _as_asked(view: View) -> View:
    """One layer alone was asked for: the other is not missed."""
    return replace(view, missing=())


def deferred(send: Callable[[], Pending[T]]) -> Pending[T]:
    """Send now; what goes wrong in sending is raised where the answer is waited for."""
    try:
        return send()
    except LayerDown as error:
        failure = error

    def fail() -> T:
        raise failure

    return fail


def together(*pending: Pending[Any] | None) -> list[Any]:
    """What each of them came to; None for None. Raises Down with every layer that failed, not the first alone."""
    found: list[Any] = []
    failures: list[LayerDown] = []
    for one in pending:
        try:
            found.append(one() if one else None)
        except LayerDown as failure:
            failures.append(failure.with_traceback(None))  # whose frames hold this list, and the request
    if failures:
        raise Down(failures)
    return found


def _about(length: timedelta) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if length.total_seconds() >= 2 * seconds:
            return f"{length.total_seconds() / seconds:.0f} {unit}"
    return f"{length.total_seconds():.0f} s"
