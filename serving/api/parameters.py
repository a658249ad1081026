"""Every parameter of the API, declared once: what is parsed (form.py), documented (openapi.py) and refused as unknown.

A parameter means the same in every endpoint that takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from stitch.buckets import FIXED, GRANULARITIES, finest_of
from stitch.merge import Layer
from stitch.periods import COMPARES, PERIODS
from stitch.settings import Settings

Schema = dict[str, Any]

MAX_CURSOR_BYTES = 60_000  # of an opaque `after`: a member of many escapes, in base64
MAX_LIMIT = 1000
LAYERS = get_args(Layer)
FILLS = ("zero", "null", "none")
PARTIAL = ("refuse", "allow")
ORDERS = ("count", "rising")
FORMATS = ("json", "csv")

TIME = ("start", "end", "period", "tz")
COMPARING = ("compare", "match_weekday")
TOTALS = ("counters", "keys", "key", *TIME, *COMPARING, "layer", "partial", "format", "download")
TOTALS_BODY = tuple(name for name in TOTALS if name not in ("key", "download"))
SERIES = (
    "counters", "keys", "key", "granularity", *TIME, *COMPARING, "cumulative", "fill", "layer", "partial", "format",
    "download",
)  # fmt: skip
SERIES_BODY = tuple(name for name in SERIES if name not in ("key", "download"))
TOP = ("counter", "key", *TIME, *COMPARING, "limit", "after", "layer", "partial", "format", "download")
CHART = ("counter", *TIME, *COMPARING, "order", "limit", "partial", "format", "download")
KEYS = ("counter", "prefix", "limit", "after", "format", "download")
CORRECTIONS = ("counter", "start", "end", "format", "download")
# The values of parameters that take one of few, whatever is counted.
CHOICES = {"compare": tuple(COMPARES), "fill": tuple(FILLS), "layer": tuple(LAYERS), "partial": tuple(PARTIAL),
           "order": tuple(ORDERS)}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """`schema` is JSON Schema; `explode`: a list is given as `name=a&name=b`, else as `name=a,b`."""

    description: str
    schema: Callable[[Settings], Schema]
    required: bool = False
    explode: bool = True


def series_granularities(settings: Settings) -> list[str]:
    """What a series can be asked by, finest first: what counters keep, and the sums of it."""
    finest = min((finest_of(counter) for counter in settings.counters), key=GRANULARITIES.index, default="hour")
    return [name for name in GRANULARITIES[GRANULARITIES.index(finest) :] if name in FIXED] + ["week", "month"]


def _one_of(*values: str, default: str | None = None) -> Callable[[Settings], Schema]:
    schema: Schema = {"type": "string", "enum": list(values)}
    return lambda _: schema | ({"default": default} if default else {})


def _text(**more: Any) -> Callable[[Settings], Schema]:
    return lambda _: {"type": "string", **more}


def _flag() -> Callable[[Settings], Schema]:
    return lambda _: {"type": "boolean", "default": False}


def _counter(settings: Settings) -> Schema:
    """Those that the caller may see; an enumeration of none would not be valid."""
    names = [counter.name for counter in settings.counters]
    return {"type": "string", "enum": names} if names else {"type": "string"}


_KEY = {"type": "string", "minLength": 1}
_INSTANT = (
    "an ISO-8601 instant or date on the edge of a bucket, in `tz` where it names no zone; ranges are half-open, "
    "`[start, end)`"
)

PARAMETERS: dict[str, Parameter] = {
    "counters": Parameter(
        "the counters, separated by commas", lambda s: {"type": "array", "items": _counter(s), "minItems": 1},
        required=True, explode=False,
    ),
    "counter": Parameter("the counter", _counter, required=True),
    "keys": Parameter(
        "the keys that were counted (`/v1/counters` says what they are), separated by commas; spaces beside those do "
        "not count",
        lambda s: {"type": "array", "items": _KEY, "minItems": 1, "maxItems": s.serving.max_keys},
        explode=False,
    ),
    "key": Parameter(
        "a key, taken whole: never split at commas; UTF-8, percent-encoded, at most 1,024 bytes unless "
        "`serving.max_key` says otherwise",
        lambda _: _KEY,
    ),
    "start": Parameter(f"from when: {_INSTANT}", _text(examples=["2026-11-01", "2026-11-01T09:00:00Z"])),
    "end": Parameter(f"until when: {_INSTANT}", _text(examples=["2026-12-01", "2026-11-02T09:00:00Z"])),
    "period": Parameter(
        "a named range in place of `start` and `end`: it ends with the present hour (`24h`, `48h`), day (`7d`, `28d`, "
        "`30d`) or month (`12mo`) of `tz`, the present one included; `week`, `month`, `quarter` and `year` are the "
        "calendar's; `yesterday`, `last_week` and `last_month` are over; `all` is all time, from the first count",
        _one_of(*PERIODS),
    ),
    "tz": Parameter(
        "the IANA time zone whose hours, days, weeks and months are counted; refused where its edges lie within the "
        "finest bucket that the counter keeps",
        _text(default="UTC", examples=["Europe/Berlin"]),
    ),
    "compare": Parameter(
        "what to compare the range with: as many days or hours of the zone, and of a range that is not over yet as "
        "much; 400 where its clocks skipped all of that",
        _one_of(*CHOICES["compare"]),
    ),
    "match_weekday": Parameter("shift the comparison by whole weeks, so that weekdays face each other", _flag()),
    "granularity": Parameter(
        "the length of a point; may be left out with `period`, which has one of its own",
        lambda s: {"type": "string", "enum": series_granularities(s)},
    ),
    "cumulative": Parameter("each point is the sum of all since the start of the range", _flag()),
    "fill": Parameter(
        "points without a count: `zero` shows 0; `null` shows null for those of the future; `none` leaves both out. A "
        "count that is not known is null, whatever is asked here",
        _one_of(*CHOICES["fill"], default="zero"),
    ),
    "order": Parameter(
        "`rising`: by how much more a key counted than in the earlier range (`previous_period`, unless `compare` says "
        "another), of those that did",
        _one_of(*CHOICES["order"], default="count"),
    ),
    "limit": Parameter(
        "at most so many rows", lambda _: {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 10}
    ),
    "after": Parameter("`next` of the page before; empty: from the beginning", _text()),
    "prefix": Parameter("only keys that begin with this", _text()),
    "layer": Parameter(
        "`merged` is the whole count; `batch` and `realtime` are what one layer holds",
        _one_of(*CHOICES["layer"], default="merged"),
    ),
    "partial": Parameter(
        "what to do where a part of a count cannot be had, because a layer is away or its rows expired: `refuse` gives "
        "null in its place, and 503 where no count can be given; `allow` gives what is left",
        _one_of(*CHOICES["partial"], default="refuse"),
    ),
    "format": Parameter(
        "`csv` is also had by `Accept: text/csv`; it has no comparison", _one_of(*FORMATS, default="json")
    ),
    "download": Parameter(
        "CSV as a file to keep: with a name, and with a byte order mark, by which spreadsheets know UTF-8", _flag()
    ),
}  # fmt: skip
