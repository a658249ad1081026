"""A request's parameters into a typed query, or one answer that lists every mistake in them.

Pure: it knows neither Flask nor Cassandra. A caller who repairs one mistake at a time gives up at the third, so
nothing here stops at the first; and an unknown parameter is a mistake, because a misspelt `strat` that is ignored
gives a plausible wrong count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from serving.form import BadRequest, Form, Mistake, Range, Raw
from stitch.buckets import FIXED, GRANULARITIES, after, finest_of, floor
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.settings import Settings

TOTALS = {"counters", "keys", "key", "start", "end", "layer"}
SHOWN_BY_DEFAULT = {"minute": 60, "quarter_hour": 96, "hour": 24, "day": 30, "month": 12}


@dataclass(frozen=True)
class TotalsQuery:
    counters: list[Counter]
    keys: list[str]
    range: Range | None
    layer: Layer


@dataclass(frozen=True)
class SeriesQuery:
    counters: list[Counter]
    key: str
    granularity: str
    range: Range
    layer: Layer


@dataclass(frozen=True)
class TopQuery:
    counter: Counter
    key: str
    range: Range | None
    limit: int
    layer: Layer


def parse_totals(raw: Raw, settings: Settings) -> TotalsQuery:
    """`keys` is split on commas, `key` never, so that a key with a comma can be asked for."""
    return _totals(Form(raw, settings, TOTALS))


def parse_totals_body(body: Any, settings: Settings) -> TotalsQuery:
    """The same from a JSON object, whose lists are never split."""
    if not isinstance(body, dict):
        raise BadRequest([Mistake("body", "must be a JSON object with `counters` and `keys`")])
    raw: dict[str, list[Any]] = {}
    mistakes = []
    for name, value in body.items():
        several = name in ("counters", "keys")
        values = value if several and isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(item, str) for item in values):
            mistakes.append(Mistake(name, "must be a list of strings" if several else "must be a string"))
        raw[name] = [item for item in values if isinstance(item, str)]
    return _totals(Form(raw, settings, TOTALS - {"key"}, mistakes), split=False)


def parse_series(raw: Raw, settings: Settings, now: datetime) -> SeriesQuery:
    """Without a range: the last 24 hours, 30 days or 12 months, the present one included."""
    form = Form(raw, settings, {"counters", "key", "granularity", "start", "end", "layer"})
    counters = form.counters("counters")
    key = form.key()
    granularity = form.granularity(counters)
    asked = form.range(granularity) or _latest(now, granularity)
    length = FIXED.get(granularity, timedelta(days=28))
    form.limit_points("start", (asked.end - asked.start) // length * len(counters))
    return form.done(lambda: SeriesQuery(counters, key, granularity, asked, form.layer))


def parse_top(raw: Raw, settings: Settings) -> TopQuery:
    form = Form(raw, settings, {"counter", "key", "start", "end", "limit", "layer"})
    counters = form.counters("counter")
    if len(counters) > 1:
        form.wrong("counter", "one counter at a time")
    elif counters and not counters[0].member:
        broken_down = [counter.name for counter in settings.counters if counter.member]
        form.wrong(
            "counter", f"{counters[0].name!r} has no members; counters that have: {', '.join(broken_down) or 'none'}"
        )
    key = form.key()
    asked = form.range(_alignment(counters))
    limit = form.limit()
    return form.done(lambda: TopQuery(counters[0], key, asked, limit, form.layer))


def parse_nothing(raw: Raw, settings: Settings) -> None:
    """For an endpoint without parameters."""
    Form(raw, settings, set()).done(lambda: None)


def _totals(form: Form, split: bool = True) -> TotalsQuery:
    counters = form.counters("counters")
    keys = form.keys(split)
    asked = form.range(_alignment(counters))
    form.limit_points("keys", len(keys) * len(counters))
    return form.done(lambda: TotalsQuery(counters, keys, asked, form.layer))


def _alignment(counters: Sequence[Counter]) -> str:
    """The granularity whose edges every one of the counters has."""
    return max((finest_of(counter) for counter in counters), key=GRANULARITIES.index, default="hour")


def _latest(now: datetime, granularity: str) -> Range:
    end = after(floor(now, granularity), granularity)
    if granularity == "month":
        return Range(end.replace(year=end.year - 1), end)
    return Range(end - SHOWN_BY_DEFAULT[granularity] * FIXED[granularity], end)
