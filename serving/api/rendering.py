"""What the reader found, in the words of the answers (answers.py)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from serving.api import answers
from serving.api.answers import iso, number_or_none
from serving.layers.interface import Ran
from serving.reading.found import Chart, Point, Series
from serving.reading.queries import SeriesQuery, Span
from serving.reading.view import View
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.periods import Comparison
from stitch.settings import Settings
from stitch.zones import Calendar

_BY_COUNTER = ("source", "status", "complete", "final")
FIGURES = ("records", "rejected", "excluded", "duplicates")  # of a run, that mean something to its readers


def spoken(name: str) -> str:
    """A name of the settings as people write it: Creator plays."""
    return name.replace("_", " ").capitalize()


def label_of(field: str, settings: Settings) -> str:
    """What people call the field: as the first counter that counts by it says, else its name without `_id`."""
    said = (counter.key_label for counter in settings.counters if counter.key == field and counter.key_label)
    return next(said, spoken(field.removesuffix("_id")))


def points(found: Series, query: SeriesQuery) -> list[answers.Point]:
    """Points as they are answered: filled as asked, summed up where asked, each with what it is compared with."""
    running, earlier, shown = _Running(query, found.before), _Running(query), []
    for point, faced in zip_longest(found.points, found.facing):
        counts, previous = running.add(point), _previous(faced, earlier, query)
        if query.fill == "none" and not any(one and _tells(one) for one in (point, faced)):
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
        self._sums: dict[str, int | None] = {counter.name: 0 for counter in query.counters}
        self._sums |= before.counts if before else {}

    def add(self, point: Point) -> dict[str, answers.Count | None]:
        shown: dict[str, answers.Count | None] = {}
        for name, count in point.counts.items():
            self._sums[name] = _sum(self._sums[name], count)
            unknown = point.status[name] == "unknown" and not self._query.partial
            to_come = point.status[name] == "future" and self._query.fill != "zero"
            told = self._sums[name] if self._query.cumulative else count
            shown[name] = None if not count and (unknown or to_come) else number_or_none(told)
        return shown


def _sum(so_far: int | None, count: int | None) -> int | None:
    return None if so_far is None or count is None else so_far + count


def _tells(point: Point) -> bool:
    """Whether it has a count, or one that is not known."""
    return any(count or point.status[name] == "unknown" for name, count in point.counts.items())


def _previous(faced: Point | None, earlier: _Running, query: SeriesQuery) -> answers.PlainPoint | None:
    return _point(faced, earlier.add(faced), query.span.calendar) if faced else None


def _point(point: Point, counts: dict[str, answers.Count | None], calendar: Calendar) -> answers.PlainPoint:
    return {
        "start": iso(calendar.wall(point.bucket.start)) or "", "end": iso(calendar.wall(point.bucket.end)) or "",
        "counts": counts, "source": point.source, "status": point.status, "complete": point.complete,
        "final": point.final,
    }  # fmt: skip


def key_series(key: str, series: Series, query: SeriesQuery) -> answers.KeySeries:
    """One key's series as it is answered."""
    found: answers.KeySeries = {
        "key": key,
        "totals": {counter.name: number_or_none(series.total(counter.name)) for counter in query.counters},
        "points": points(series, query),
    }
    if earlier := before(series, query):
        found["before"] = earlier
    if series.comparison:
        found["comparison"] = {
            **bounds(query.span, series.comparison),  # type: ignore[typeddict-item]
            "changes": {name: change(*pair) for name, pair in series.changes.items()},
        }
    return found


def columns(query: SeriesQuery) -> list[str]:
    """The header of series in CSV; no counter's name has a dot."""
    names = [counter.name for counter in query.counters]
    by_counter = [f"{name}.{column}" for name in names for column in _BY_COUNTER]
    return [*(["key"] * query.many), "start", "end", *names, *by_counter]


def rows(series: answers.KeySeries, query: SeriesQuery) -> list[list[Any]]:
    """The same as rows of CSV; what came before the points is the first."""
    names = [counter.name for counter in query.counters]
    before = [series["before"]] if "before" in series else []
    return [
        [*([series["key"]] * query.many), point["start"], point["end"],
         *(cell(point["counts"][name]) for name in names),
         *(_word(point[column][name]) for name in names for column in _BY_COUNTER)]  # type: ignore[literal-required]
        for point in [*before, *series["points"]]
    ]  # fmt: skip


def chart_table(found: Chart) -> tuple[list[str], list[list[Any]]]:
    """A chart as CSV; with how each key changed, where it is in the order of that."""
    rows = [[key, count, *found.changes.get(key, ())] for key, count in found.keys]
    return ["key", "count", *(["current", "previous"] if found.comparison else [])], rows


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def cell(count: answers.Count | None) -> int | None:
    """A count as a number, in which no program looks for a formula."""
    return None if count is None else int(count)


def change(current: int | None, previous: int | None) -> answers.Change:
    change = (current - previous) / abs(previous) if current is not None and previous else None
    return {"current": number_or_none(current), "previous": number_or_none(previous), "change": change}


def span(span: Span) -> dict[str, Any]:
    asked: dict[str, Any] = {"start": None, "end": None}
    if span.range:
        asked = {"start": iso(span.calendar.wall(span.range.start)), "end": iso(span.calendar.wall(span.range.end))}
    return asked | ({"period": span.period} if span.period else {}) | {"tz": span.calendar.name}


def bounds(span: Span, comparison: Comparison) -> dict[str, Any]:
    parts = {"current": comparison.current, "previous": comparison.previous}
    wall = span.calendar.wall
    bounds = {name: {"start": iso(wall(part.start)), "end": iso(wall(part.end))} for name, part in parts.items()}
    return {"compare": span.compare, "match_weekday": span.match_weekday, **bounds}


def meta(view: View, counters: Sequence[Counter], partial: bool = False) -> answers.Meta:
    """partial: whether a part of a count is lacking."""
    found: answers.Meta = {
        "realtime_through": iso(view.realtime_through),
        "counters": {c.name: {"cutoff": iso(view.cutoff(c)), "as_of": iso(view.as_of(c))} for c in counters},
    }
    if view.missing:
        found["missing"] = list(view.missing)
    if partial:
        found |= {"partial": True, "reason": view.why_partial(counters)}
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
        "chart": counter.chart,
    }  # fmt: skip
