"""What the reader found, in the words of the answers (answers.py)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from serving.api import answers
from serving.api.answers import iso, number
from serving.layers.interface import Ran
from serving.reading.queries import SeriesQuery, Span
from serving.reading.reader import Point, Series
from serving.reading.view import View
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.zones import Calendar


def points(found: Series, query: SeriesQuery) -> list[answers.Point]:
    """Points as they are answered: filled as asked, summed up where asked, each with what it is compared with."""
    running, earlier, shown = _Running(query, found.before), _Running(query), []
    for point, faced in zip_longest(found.points, found.facing):
        counts, previous = running.add(point), _previous(faced, earlier, query)
        if query.fill == "none" and not any(one and any(one.counts.values()) for one in (point, faced)):
            continue
        rendered: answers.Point = {**_point(point, counts, query.span.calendar)}
        if query.span.comparison:
            rendered["previous"] = previous
        shown.append(rendered)
    return shown


def before(found: Series, query: SeriesQuery) -> answers.PlainPoint | None:
    """All time before the first point, as one; None where the points are all of it."""
    return _point(found.before, _Running(query).add(found.before), query.span.calendar) if found.before else None


class _Running:
    """The counts of points one after the other: filled as asked, and summed up where asked."""

    def __init__(self, query: SeriesQuery, before: Point | None = None) -> None:
        self._query = query
        self._sums = dict(before.counts) if before else {counter.name: 0 for counter in query.counters}

    def add(self, point: Point) -> dict[str, answers.Count | None]:
        for name, count in point.counts.items():
            self._sums[name] += count
        if self._query.fill != "zero" and point.status != "known" and not any(point.counts.values()):
            return dict.fromkeys(point.counts)
        return {name: number(count) for name, count in (self._sums if self._query.cumulative else point.counts).items()}


def _previous(faced: Point | None, earlier: _Running, query: SeriesQuery) -> answers.PlainPoint | None:
    return _point(faced, earlier.add(faced), query.span.calendar) if faced else None


def _point(point: Point, counts: dict[str, answers.Count | None], calendar: Calendar) -> answers.PlainPoint:
    return {
        "start": iso(calendar.wall(point.bucket.start)) or "", "end": iso(calendar.wall(point.bucket.end)) or "",
        "counts": counts, "source": point.source, "status": point.status, "complete": point.complete,
        "final": point.final,
    }  # fmt: skip


def truth(point: answers.PlainPoint) -> list[str]:
    return [str(point["complete"]).lower(), str(point["final"]).lower()]


def change(current: int, previous: int) -> answers.Change:
    change = (current - previous) / abs(previous) if previous else None
    return {"current": number(current), "previous": number(previous), "change": change}


def span(span: Span) -> dict[str, Any]:
    asked: dict[str, Any] = {"start": None, "end": None}
    if span.range:
        asked = {"start": iso(span.calendar.wall(span.range.start)), "end": iso(span.calendar.wall(span.range.end))}
    return asked | ({"period": span.period} if span.period else {}) | {"tz": span.calendar.name}


def bounds(span: Span) -> dict[str, Any]:
    parts = {"current": span.comparison.current, "previous": span.comparison.previous} if span.comparison else {}
    wall = span.calendar.wall
    bounds = {name: {"start": iso(wall(part.start)), "end": iso(wall(part.end))} for name, part in parts.items()}
    return {"compare": span.compare, "match_weekday": span.match_weekday, **bounds}


def meta(view: View, counters: Sequence[Counter]) -> answers.Meta:
    found: answers.Meta = {"cutoff": iso(view.cutoff(counters)), "realtime_through": iso(view.realtime_through)}
    if view.missing:
        found |= {"partial": True, "missing": list(view.missing)}
    return found


def run(run: Ran) -> answers.RunStatus:
    cutoff, since = iso(run.cutoff) or "", iso(run.noted_at) or ""
    return {"cutoff": cutoff, "kind": run.kind, "state": run.state, "since": since, "left": run.left}


def counter(counter: Counter) -> answers.CounterInfo:
    return {
        "name": counter.name, "key": counter.key, "member": counter.member, "weights": dict(counter.weights),
        "where": counter.where, "resolution": counter.resolution, "granularities": list(granularities_of(counter)),
    }  # fmt: skip
