"""The answers of the API as types: mypy holds the code to them, and the OpenAPI document is made from them.

Counts beyond ±(2^53 − 1), which JavaScript would round, are given as decimal strings: `BigInt(count)` takes both.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

SAFE = 2**53 - 1

Count = int | Annotated[str, Field(pattern=r"^-?[0-9]+$", description="beyond ±(2^53 − 1)")]
Counts = Annotated[
    dict[str, Count | None], Field(description="counter → count; null where it is not known (`meta.partial`)")
]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
LayerName = Literal["batch", "realtime"]
_exactly = with_config(ConfigDict(extra="forbid"))


def number(count: int) -> Count:
    """The count as JSON can carry it to JavaScript."""
    return count if -SAFE <= count <= SAFE else str(count)


def number_or_none(count: int | None) -> Count | None:
    return None if count is None else number(count)


def iso(instant: datetime | None) -> str | None:
    """ISO-8601, with a Z for UTC; fractions of a second only where there are some."""
    return instant.isoformat().replace("+00:00", "Z") if instant else None


@_exactly
class CountedUntil(TypedDict):
    cutoff: Annotated[Instant | None, Field(description="what was appended before it is counted by the batch: exact")]
    as_of: Annotated[Instant | None, Field(description="everything that was appended before it is counted")]


@_exactly
class Meta(TypedDict):
    """What the answer rests on."""

    realtime_through: Annotated[Instant | None, Field(description="what was appended before it is in the increments")]
    counters: Annotated[dict[str, CountedUntil], Field(description="by counter")]
    missing: NotRequired[Annotated[list[LayerName], Field(description="layers that do not answer")]]
    partial: NotRequired[
        Annotated[
            Literal[True],
            Field(description="not every count has all that was appended until now: see `as_of`, and counts of null"),
        ]
    ]
    reason: NotRequired[Annotated[str, Field(description="why it is partial, in words")]]


@_exactly
class CounterInfo(TypedDict):
    name: str
    key: Annotated[str, Field(description="the event field that is counted")]
    member: Annotated[str | None, Field(description="the field that `/v1/top` breaks the count down by")]
    weights: Annotated[dict[str, int | str], Field(description="event type → amount, or the field that is summed")]
    where: str | None
    resolution: Literal["1h", "15m", "1m"]
    granularities: list[str]
    title: Annotated[str, Field(description="what to call the counter")]
    unit: Annotated[str | None, Field(description="what is counted, where that is not the title")]
    key_label: Annotated[str, Field(description="what to call the key")]
    member_label: Annotated[str | None, Field(description="what to call the member")]
    chart: Annotated[bool, Field(description="whether `/v1/chart` has its keys")]


@_exactly
class Counters(TypedDict):
    query: dict[str, Any]
    meta: Meta
    data: list[CounterInfo]


@_exactly
class KeyCounts(TypedDict):
    key: str
    counts: Counts


@_exactly
class Bounds(TypedDict):
    start: Instant
    end: Instant


@_exactly
class Change(TypedDict):
    current: Count | None
    previous: Count | None
    change: Annotated[
        float | None, Field(description="(current − previous) / |previous|; null where previous is 0 or one is null")
    ]


@_exactly
class KeyChanges(TypedDict):
    key: str
    changes: dict[str, Change]


@_exactly
class PlainPoint(TypedDict):
    """All but start and end by counter."""

    start: Instant
    end: Instant
    counts: Annotated[
        dict[str, Count | None], Field(description="null where it is not known, and by `fill` in the future")
    ]
    source: Annotated[
        dict[str, Literal["batch", "realtime", "mixed"]], Field(description="which layers the count is from")
    ]
    status: Annotated[
        dict[str, Literal["known", "unknown", "future"]], Field(description="unknown: beyond what the layers cover")
    ]
    complete: Annotated[dict[str, bool], Field(description="the bucket ends before the counter's `as_of`")]
    final: Annotated[
        dict[str, bool], Field(description="it ends before the cutoff: only late events or corrections change it")
    ]


@_exactly
class Point(PlainPoint):
    previous: NotRequired[
        Annotated[
            PlainPoint | None,
            Field(description="with `compare`: what the point faces in the earlier range, whole; null for nothing"),
        ]
    ]


@_exactly
class TotalsComparison(TypedDict):
    """Like for like: `current` is cut where it is not over, or not counted yet, `previous` as long after its start."""

    compare: Literal["previous_period", "year_over_year"]
    match_weekday: bool
    current: Bounds
    previous: Bounds
    data: list[KeyChanges]


@_exactly
class SeriesComparison(TypedDict):
    """As for totals; what each point is compared with is its `previous`."""

    compare: Literal["previous_period", "year_over_year"]
    match_weekday: bool
    current: Bounds
    previous: Bounds
    changes: dict[str, Change]


@_exactly
class Totals(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    meta: Meta
    data: list[KeyCounts]
    comparison: NotRequired[TotalsComparison]


@_exactly
class Series(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    meta: Meta
    totals: Counts
    points: list[Point]
    before: NotRequired[
        Annotated[
            PlainPoint,
            Field(description="of all time: what came before the first point, as one; not there where nothing did"),
        ]
    ]
    comparison: NotRequired[SeriesComparison]


@_exactly
class KeySeries(TypedDict):
    key: str
    totals: Counts
    points: list[Point]
    before: NotRequired[PlainPoint]
    comparison: NotRequired[SeriesComparison]


@_exactly
class ManySeries(TypedDict):
    """Of each key the same points; where `keys` are asked for, or by POST."""

    query: Annotated[dict[str, Any], Field(description="what was understood")]
    meta: Meta
    data: list[KeySeries]


@_exactly
class Member(TypedDict):
    member: str
    count: Count


@_exactly
class MemberChange(TypedDict):
    member: str
    current: Count | None
    previous: Count | None
    change: Annotated[
        float | None, Field(description="(current − previous) / |previous|; null where previous is 0 or one is null")
    ]


@_exactly
class TopComparison(TypedDict):
    """As for totals; of the members on this page, in their order."""

    compare: Literal["previous_period", "year_over_year"]
    match_weekday: bool
    current: Bounds
    previous: Bounds
    data: list[MemberChange]


@_exactly
class Top(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    meta: Meta
    members: Annotated[list[Member], Field(description="by count, then by name")]
    others: Annotated[Count, Field(description="the key's count less the members on this page and those before it")]
    total: Count
    next: Annotated[
        str | None,
        Field(
            description="`after` of the next page; null on the last. It names the last 1,000 members or so that were "
            "told: nobody is skipped or told twice while counts move, who does not move by some 500 ranks at once"
        ),
    ]
    comparison: NotRequired[TopComparison]


@_exactly
class KeyCount(TypedDict):
    key: str
    count: Count


@_exactly
class KeyChange(TypedDict):
    key: str
    current: Count | None
    previous: Count | None
    change: Annotated[
        float | None, Field(description="(current − previous) / |previous|; null where previous is 0 or one is null")
    ]


@_exactly
class ChartComparison(TypedDict):
    """As for totals; of the keys of the chart, in their order."""

    compare: Literal["previous_period", "year_over_year"]
    match_weekday: bool
    current: Bounds
    previous: Bounds
    data: list[KeyChange]


@_exactly
class Chart(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    meta: Meta
    keys: Annotated[list[KeyCount], Field(description="in the order asked for, then by name; counts are live")]
    as_of: Annotated[
        Instant,
        Field(description="the cutoff: whoever belonged to the chart then is there, unless others come before now"),
    ]
    exact: Annotated[
        bool,
        Field(description="false: lists do not decide it, and another key may belong there; counts are right"),
    ]
    comparison: NotRequired[ChartComparison]


@_exactly
class Key(TypedDict):
    key: str


@_exactly
class Keys(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    data: Annotated[list[Key], Field(description="keys that the batch has counted, by code point")]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last")]


@_exactly
class Correction(TypedDict):
    day: date
    cutoff: Annotated[Instant, Field(description="the run that changed it")]
    before: Annotated[Count, Field(description="what readers saw: previous totals and the increments it replaced")]
    after: Annotated[Count, Field(description="what the log gives: duplicates removed, exclusions left out")]
    difference: Count


@_exactly
class Corrections(TypedDict):
    query: Annotated[dict[str, Any], Field(description="what was understood")]
    data: list[Correction]


@_exactly
class LayerStatus(TypedDict):
    up: bool
    reason: str | None


@_exactly
class RunStatus(TypedDict):
    cutoff: Instant
    kind: Annotated[str, Field(description="incremental, full, restore or rollup")]
    state: Annotated[str, Field(description="counting, refused (by the publish guard), loading or published")]
    since: Annotated[Instant, Field(description="when it came to this state")]
    left: Annotated[int, Field(description="counters that the publish guard left at an earlier cutoff")]
    figures: Annotated[
        dict[str, int],
        Field(
            description="records that it read of the log, and of them rejected, excluded, duplicates; where known, and "
            "the caller may read all counters of all keys"
        ),
    ]


@_exactly
class Status(TypedDict):
    query: dict[str, Any]
    meta: Meta
    layers: dict[LayerName, LayerStatus]
    cutoffs: dict[str, Instant | None]
    runs: Annotated[list[RunStatus], Field(description="the last runs of the batch, the newest first")]


@_exactly
class Health(TypedDict):
    status: Literal["ok"]


@_exactly
class Readiness(TypedDict):
    status: Literal["ready", "degraded", "unavailable"]
    missing: list[LayerName]
    reasons: Annotated[list[str], Field(description="why it is not ready, in words")]


class MistakeInfo(TypedDict):
    parameter: str
    detail: str


class Problem(TypedDict):
    """RFC 9457, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[
        Annotated[list[MistakeInfo], Field(description="everything that was wrong, not the first alone")]
    ]
