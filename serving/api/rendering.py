"""What the reader found, in the words of the answers (answers.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.api import answers
from serving.api.answers import iso, number
from serving.layers.interface import Ran
from serving.reading.queries import SeriesQuery, Span
from serving.reading.reader import Point, Series
from serving.reading.view import View
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.settings import Settings
from stitch.zones import Calendar

FIGURES = ("records", "rejected", "excluded", "duplicates")  # of a run, that mean something to its readers


def spoken(name: str) -> str:
    """A name of the settings as people write it: Creator plays."""
    return name.replace("_", " ").capitalize()


def label_of(field: str, settings: Settings) -> str:
    """What people call the field: as the first counter that counts by it says, else its name without `_id`."""
    said = (counter.key_label for counter in settings.counters if counter.key == field and counter.key_label)
    return next(said, spoken(field.removesuffix("_id")))


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


def key_series(key: str, series: Series, query: SeriesQuery) -> answers.KeySeries:
    """One key's series as it is answered."""
    names = [counter.name for counter in query.counters]
    found: answers.KeySeries = {
        "key": key,
        "totals": {name: number(sum(point.counts[name] for point in series.points)) for name in names},
        "points": points(series.points, query, names),
    }
    if query.span.comparison:
        found["comparison"] = {
            **bounds(query.span),  # type: ignore[typeddict-item]
            "changes": {name: change(*pair) for name, pair in series.changes.items()},
            "points": points(series.earlier, query, names),
        }
    return found


def rows(series: answers.KeySeries, query: SeriesQuery) -> list[list[Any]]:
    """The same as rows of CSV."""
    names = [counter.name for counter in query.counters]
    return [
        [*([series["key"]] * query.many), p["start"], p["end"], *map(p["counts"].get, names),
         p["source"], p["status"], str(p["complete"]).lower(), str(p["final"]).lower()]
        for p in series["points"]
    ]  # fmt: skip


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
    return {
        "cutoff": cutoff, "kind": run.kind, "state": run.state, "since": since, "left": run.left,
        "figures": {name: run.figures[name] for name in FIGURES if name in run.figures},
    }  # fmt: skip


def counter(counter: Counter, settings: Settings) -> answers.CounterInfo:
    return {
        "name": counter.name, "key": counter.key, "member": counter.member, "weights": dict(counter.weights),
        "where": counter.where, "resolution": counter.resolution, "granularities": list(granularities_of(counter)),
        "title": counter.title or spoken(counter.name), "unit": counter.unit,
        "key_label": label_of(counter.key, settings),
        "member_label": label_of(counter.member, settings) if counter.member else None,
    }  # fmt: skip
