"""What the reader found, in the words of the answers (answers.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.api import answers
from serving.api.answers import iso, number
from serving.layers.interface import Ran
from serving.reading.queries import SeriesQuery, Span
from serving.reading.reader import Point
from serving.reading.view import View
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.zones import Calendar


def points(points: Sequence[Point], query: SeriesQuery, names: list[str]) -> list[answers.Point]:
    """Points as they are answered: filled as asked, and summed up where asked."""
    calendar, running, shown = query.span.calendar, dict.fromkeys(names, 0), []
    for point in points:
        for name in names:
            running[name] += point.counts[name]
        counts: dict[str, answers.Count | None] = {
            name: number(running[name] if query.cumulative else point.counts[name]) for name in names
        }
        if query.fill != "zero" and point.status != "known" and not any(point.counts.values()):
            counts = dict.fromkeys(names)
        if query.fill == "none" and not any(point.counts.values()):
            continue
        shown.append(_point(point, counts, calendar))
    return shown


def _point(point: Point, counts: dict[str, answers.Count | None], calendar: Calendar) -> answers.Point:
    return {
        "start": iso(calendar.wall(point.bucket.start)) or "", "end": iso(calendar.wall(point.bucket.end)) or "",
        "counts": counts, "source": point.source, "status": point.status, "complete": point.complete,
        "final": point.final,
    }  # fmt: skip


def truth(point: answers.Point) -> list[str]:
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
