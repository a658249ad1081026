"""A request's parameters into a typed query, or one answer that lists every mistake in them.

Pure: it knows neither Flask nor Cassandra. A caller who repairs one mistake at a time gives up at the third, so
nothing here stops at the first; and an unknown parameter is a mistake, because a misspelt `strat` that is ignored
gives a plausible wrong count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from serving.api import parameters
from serving.api.form import Form, Raw
from serving.reading.queries import (
    LONGEST,
    TOLD,
    BadRequest,
    ChartQuery,
    CorrectionsQuery,
    KeysQuery,
    Mistake,
    SeriesQuery,
    Span,
    TopQuery,
    TotalsQuery,
    alignment,
    unsplit,
)
from serving.reading.told import Told, from_cursor
from stitch.buckets import FIXED, Bucket, Range
from stitch.counters import Counter
from stitch.periods import HOURS, Compare, NoEarlierRangeError, changes_at, comparison, range_of
from stitch.settings import Settings
from stitch.zones import Calendar

SHOWN_BY_DEFAULT = {"minute": 60, "quarter_hour": 96, "hour": 24, "day": 30, "week": 12, "month": 12}
FLAGS = ("match_weekday", "cumulative")


def parse_totals(raw: Raw, settings: Settings, now: datetime, preferred: str = "json") -> TotalsQuery:
    """`keys` is split on commas, `key` never, so that a key with a comma or a space at its end can be asked for.

    preferred: here and below, the format of the answer where `format` says none
    """
    return _totals(Form(raw, settings, parameters.TOTALS, preferred), now)


def parse_totals_body(body: Any, settings: Settings, now: datetime, preferred: str = "json") -> TotalsQuery:
    """The same from a JSON object, whose lists are never split."""
    raw, mistakes = _of_body(body)
    return _totals(Form(raw, settings, parameters.TOTALS_BODY, preferred, mistakes), now, split=False)


def _of_body(body: Any) -> tuple[dict[str, list[Any]], list[Mistake]]:
    """The parameters in a JSON object, and what is no parameter's value."""
    if not isinstance(body, dict):
        raise BadRequest([Mistake("body", "must be a JSON object with `counters` and `keys`")])
    raw: dict[str, list[Any]] = {}
    mistakes: list[Mistake] = []
    for name, value in body.items():
        several, flag = name in ("counters", "keys"), name in FLAGS and isinstance(value, bool)
        values = value if several and isinstance(value, list) else [] if value is None else [value]
        values = [json.dumps(value)] if flag else values
        if not all(isinstance(item, str) for item in values) and len(mistakes) < TOLD:
            mistakes.append(Mistake(name[:60], "must be a list of strings" if several else "must be a string"))
        raw[name] = [item for item in values if isinstance(item, str)]
    return raw, mistakes


def parse_series(raw: Raw, settings: Settings, now: datetime, preferred: str = "json") -> SeriesQuery:
    """Without a range: the last 24 hours, 30 days, 12 weeks or 12 months, the present one included."""
    return _series(Form(raw, settings, parameters.SERIES, preferred), now, many="keys" in raw)


def parse_series_body(body: Any, settings: Settings, now: datetime, preferred: str = "json") -> SeriesQuery:
    """The same from a JSON object, whose lists are never split."""
    raw, mistakes = _of_body(body)
    return _series(Form(raw, settings, parameters.SERIES_BODY, preferred, mistakes), now, many=True, split=False)


def _series(form: Form, now: datetime, many: bool, split: bool = True) -> SeriesQuery:
    counters, keys = form.counters("counters"), form.keys(split) if many else [form.key()]
    granularity, calendar = form.granularity(counters), form.calendar
    # Of weeks and months the first and the last may be cut: the same dates have the same sum by day, week and month.
    edge = "day" if granularity in ("week", "month") else granularity
    asked = form.range(edge, lambda at: calendar.floor(at, edge), lambda at: calendar.ceil(at, edge))
    relative = bool(form.period or not asked)
    if form.period:
        asked = range_of(form.period, now, calendar)
    elif not asked:
        asked = _latest(now, granularity, calendar)
    span = _compared(form, asked, alignment(counters), now, relative)
    points = _points(form, asked, granularity, len(counters) * len(keys)) if asked else None
    facing = span.comparison.facing(points) if points and span.comparison else []
    _check_edges(form, [span.range, *_compared_ranges(span), *(points or ()), *facing], counters)
    cumulative, fill = form.flag("cumulative"), form.fill()
    return form.done(
        lambda: SeriesQuery(
            counters,
            keys,
            granularity,
            span,
            points,
            facing,
            cumulative,
            fill,
            form.layer,
            form.format,
            form.partial,
            many,
        )
    )


def parse_top(raw: Raw, settings: Settings, now: datetime, preferred: str = "json") -> TopQuery:
    form = Form(raw, settings, parameters.TOP, preferred)
    counters = form.counter()
    if counters and not counters[0].member:
        broken_down = [counter.name for counter in settings.counters if counter.member]
        form.wrong(
            "counter", f"{counters[0].name!r} has no members; counters that have: {', '.join(broken_down) or 'none'}"
        )
    key = form.key()
    span = _span(form, counters, now)
    limit, after = form.limit(), _told(form)
    return form.done(lambda: TopQuery(counters[0], key, span, limit, after, form.layer, form.format, form.partial))


def parse_chart(raw: Raw, settings: Settings, now: datetime, preferred: str = "json") -> ChartQuery:
    """Days are UTC's, as the batch lists their keys."""
    form = Form(raw, settings, parameters.CHART, preferred)
    counters = form.counter()
    if counters and not counters[0].chart:
        charted = ", ".join(counter.name for counter in settings.counters if counter.chart)
        form.wrong("counter", f"{counters[0].name!r} has no chart; counters that have: {charted or 'none'}")
    asked, order = form.utc_range("day"), form.choice("order", parameters.ORDERS, "count") or "count"
    if form.calendar.name != "UTC":
        form.wrong("tz", "charts are of days and months of UTC: leave it out")
    if form.period in HOURS:
        form.wrong("period", f"{form.period!r} is no whole days, which charts are of")
    elif form.period:
        asked = range_of(form.period, now, form.calendar)
    if order == "rising" and not asked:
        form.wrong("order", "needs a range: `start` and `end`, or a `period` other than `all`")
    faced: Compare | None = "previous_period" if order == "rising" else None
    span = _compared(form, asked, alignment(counters), now, bool(form.period), faced)
    limit = form.limit()
    return form.done(lambda: ChartQuery(counters[0], span, limit, order, form.format, form.partial))


def parse_keys(raw: Raw, settings: Settings, preferred: str = "json") -> KeysQuery:
    form = Form(raw, settings, parameters.KEYS, preferred)
    counters, prefix, after, limit = form.counter(), form.text("prefix"), form.told_key("after"), form.limit()
    return form.done(lambda: KeysQuery(counters[0], prefix or "", after, limit, form.format))


def parse_corrections(raw: Raw, settings: Settings, now: datetime, preferred: str = "json") -> CorrectionsQuery:
    """Without a range: the last 30 days. Days are UTC's, as the batch compares them."""
    form = Form(raw, settings, parameters.CORRECTIONS, preferred)
    counters = form.counter()
    asked = form.utc_range("day") or _latest(now, "day", form.calendar)
    form.limit_points("start", (asked.end - asked.start) // FIXED["day"])
    return form.done(lambda: CorrectionsQuery(counters[0], asked, form.format))


def parse_nothing(raw: Raw, settings: Settings) -> None:
    """For an endpoint without parameters."""
    Form(raw, settings, ()).done(lambda: None)


def _told(form: Form) -> Told:
    text = form.cursor("after")
    try:
        return from_cursor(text) if text is not None else Told()
    except ValueError:
        form.wrong("after", "is not the `next` of another page")
        return Told()


def _totals(form: Form, now: datetime, split: bool = True) -> TotalsQuery:
    counters, keys = form.counters("counters"), form.keys(split)
    span = _span(form, counters, now)
    form.limit_points("keys", len(keys) * len(counters))
    return form.done(lambda: TotalsQuery(counters, keys, span, form.layer, form.format, form.partial))


def _span(form: Form, counters: Sequence[Counter], now: datetime) -> Span:
    """The range of a count that is not cut into points, on edges of the finest buckets."""
    finest = alignment(counters)
    asked = form.utc_range(finest)
    if form.period:
        asked = range_of(form.period, now, form.calendar)
    span = _compared(form, asked, finest, now, bool(form.period))
    _check_edges(form, [asked, *_compared_ranges(span)], counters)
    return span


def _compared(
    form: Form, asked: Range | None, finest: str, now: datetime, relative: bool, default: Compare | None = None
) -> Span:
    """default: what the range is compared with where nothing is asked for"""
    compare, match_weekday = form.compare(asked is not None)
    compare = compare or default
    found = None
    if asked and compare:
        try:
            found = comparison(asked, form.period, compare, match_weekday, now, form.calendar, finest)
        except NoEarlierRangeError as error:
            form.wrong("compare", str(error))
        except (ValueError, OverflowError):
            form.wrong("compare", "there is no such earlier range")
    changes = changes_at(form.period, asked, form.calendar) if asked and relative else None
    return Span(asked, form.calendar, form.period, found, compare, match_weekday, changes)


def _points(form: Form, asked: Range, granularity: str, rows: int) -> list[Bucket]:
    """Every point of the range, the first and the last cut where it begins and ends; none where they are too many, a
    mistake."""
    about = (asked.end - asked.start) // LONGEST[granularity] * rows
    form.limit_points("period" if form.period else "start", about)
    if about > form.settings.serving.max_points:
        return []
    found = form.calendar.series(asked.start, asked.end, granularity)
    for end in (0, -1):
        point = found[end]
        found[end] = Bucket(granularity, max(point.start, asked.start), min(point.end, asked.end))
    return found


def _compared_ranges(span: Span) -> list[Range]:
    return [span.comparison.current, span.comparison.previous] if span.comparison else []


def _check_edges(form: Form, parts: Sequence[Range | Bucket | None], counters: Sequence[Counter]) -> None:
    edges = [edge for part in parts if part for edge in (part.start, part.end)]
    form.mistakes.extend(unsplit(form.calendar, edges, counters))


def _latest(now: datetime, granularity: str, calendar: Calendar) -> Range:
    """So many buckets as are shown by default, the present one last."""
    end = calendar.after(calendar.floor(now, granularity), granularity)
    start = end
    for _ in range(SHOWN_BY_DEFAULT[granularity]):
        start = calendar.floor(start - timedelta(microseconds=1), granularity)
    return Range(start, end)
