"""One consistent look at the layers: what is published, which of them answer, and how far back and on they know the
counts.

When a layer does not answer, the question is asked again of the other one alone, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from serving.layers.interface import LayerDown, LayerName, Layers, Pending, Unavailable
from serving.observe.metrics import LAYER_ERRORS
from stitch.buckets import ALL, Bucket, finest_of, floor
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import Publication, served
from stitch.merge import Layer

T = TypeVar("T")
PointStatus = Literal["known", "unknown", "future"]


class Down(Exception):
    """Layers that did not answer, all of them that were asked at once."""

    def __init__(self, failures: Sequence[LayerDown]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = list(failures)


@dataclass(frozen=True)
class View:
    """`layer` is what answers: as asked, or the one that is left where one is `missing`.

    layers:    for this request alone: with its deadline
    published: a counter's name → what is published of it, under the stored name of `stored`
    stored:    a counter's name → under which its rows are found
    """

    layers: Layers
    layer: Layer
    published: dict[str, Publication]
    stored: dict[str, str]
    realtime_through: datetime | None
    now: datetime
    missing: tuple[LayerName, ...] = ()

    def at(self, counter: Counter) -> Published | None:
        """What is published of the counter."""
        found = self.published.get(counter.name)
        return found.at if found else None

    def counted_as(self, counter: Counter) -> Counter:
        """The counter as it is published, which may be by another definition than the settings'."""
        found = self.published.get(counter.name)
        return (found.counter if found else None) or counter

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

    def cutoff(self, counters: Sequence[Counter]) -> datetime | None:
        """The oldest published cutoff over the counters; None where one has none."""
        found = [self.at(counter) for counter in counters]
        return min((at.cutoff for at in found if at), default=None) if all(found) else None

    def closed(self, counters: Sequence[Counter], end: datetime | None) -> bool:
        """Whether what ends there changes only by late events and corrections."""
        cutoff = self.cutoff(counters)
        if self.missing or self.layer == "realtime" or cutoff is None or end is None:
            return False
        return end <= cutoff

    def status(self, counters: Sequence[Counter], retention: timedelta) -> Callable[[Bucket], PointStatus]:
        """Which buckets the answering layers know the counts of."""
        cutoff, through, now = self.cutoff(counters), self.realtime_through, self.now
        if self.layer == "batch" or not through:
            until = cutoff if self.layer != "realtime" else None
        else:
            until = max(through, cutoff) if cutoff and self.layer == "merged" else through
        since = None if cutoff and self.layer != "realtime" else now - retention

        def of(bucket: Bucket) -> PointStatus:
            if bucket.start >= now:
                return "future"
            known = until is not None and bucket.start < until and (since is None or bucket.start >= since)
            return "known" if known else "unknown"

        return of


def look(layers: Layers, own: Mapping[str, str], layer: Layer, missing: tuple[LayerName, ...], now: datetime) -> View:
    """The published cutoffs, before anything else is read; from `layer` alone, or from what is not missing.

    own: a counter's name → the stored name of the settings' definition, for counters of which nothing is published
    """
    if layer == "merged" and missing:
        layer = "realtime" if "batch" in missing else "batch"
    published, through = together(
        None if "batch" in missing else deferred(layers.cutoffs),
        None if "realtime" in missing else deferred(layers.realtime_through),
    )
    stored = served(published or {})
    found = {name: published[of] for name, of in stored.items()}
    return View(layers, layer, found, {**own, **stored}, through, now, missing)


def answer(
    layers: Layers, own: Mapping[str, str], layer: Layer, now: datetime, ask: Callable[[View], T]
) -> tuple[T, View]:
    """Ask both layers, or the one left: each failure takes one away, so this ends. Raises Unavailable."""
    down: dict[LayerName, LayerDown] = {}
    while True:
        try:
            view = look(layers, own, layer, tuple(sorted(down)), now)
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
            failures.append(failure)
    if failures:
        raise Down(failures)
    return found
