"""What one request may cost, known before any row is read: reads of the layers, and the rows that these may hold.

Its third part, the seconds, is the deadline of the request (layers.interface.Deadline).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from serving.layers.interface import TooManyRows
from serving.reading.queries import BadRequest, Mistake
from stitch.buckets import EPOCH, Range
from stitch.sections import EventSettings, ServingSettings

READS_OF_INCREMENTS = 2  # of a key, mostly: the cutoff's date and today. What is more is bounded by the deadline
CLOCKS_DIFFER = timedelta(days=1)


@dataclass(frozen=True)
class Cost:
    """reads: partitions that are asked; rows: how many rows of totals they may hold at most."""

    reads: int
    rows: int


@dataclass(frozen=True)
class Asked:
    """What a request asks for, by which a smaller one can be named: so many keys, or None where there is but one, of
    the range (None: all time), in points of the granularity (None: as a whole)."""

    keys: int | None
    range: Range | None
    granularity: str | None = None


def can_hold(events: EventSettings, now: datetime) -> Range:
    """When counted events may have occurred: nothing was appended before 1970, or is after now."""
    return Range(EPOCH - events.max_past, now + events.max_future + CLOCKS_DIFFER)


def check(cost: Cost, serving: ServingSettings, asked: Asked, holds: Range) -> None:
    """Raises BadRequest where the cost is beyond the budget, with a smaller request that is within. `holds`: as of
    can_hold; nothing else costs anything."""
    limits = (
        (cost.reads, serving.max_reads, "reads of the layers", "serving.max_reads"),
        (cost.rows, serving.max_rows, "buckets", "serving.max_rows"),
    )
    wanted, most, what, setting = max(limits, key=lambda limit: limit[0] / limit[1])
    if wanted <= most:
        return
    parameter, instead = _instead(asked, most / wanted, holds)
    detail = f"the answer would take up to {wanted:,} {what}, and one may take {most:,} ({setting}): ask {instead}"
    raise BadRequest([Mistake(parameter, detail)])


def too_many_rows(error: TooManyRows, parameter: str) -> BadRequest:
    """The same of what is known only while it is read: how many members there are, and increments."""
    detail = (
        f"there are more than {error.most:,} rows to read (serving.max_rows), of members or of increments: ask for a "
        "shorter range, or for fewer keys"
    )
    return BadRequest([Mistake(parameter, detail)])


def _instead(asked: Asked, share: float, holds: Range) -> tuple[str, str]:
    """The parameter to change, and how, for `share` of the cost."""
    if asked.keys is not None and (keys := int(asked.keys * share)):
        return "keys", f"for at most {keys} keys at a time, or for fewer counters"
    if asked.range is None:
        return "counters", "for fewer counters at a time"
    length = min(asked.range.end, holds.end) - max(asked.range.start, holds.start)
    if asked.keys is not None:
        share *= asked.keys
    days = int(length / timedelta(days=1) * share)
    parts = f"for at most {days} days at a time" if days else "for a shorter range"
    coarser = ", or by a coarser granularity" if asked.granularity not in (None, "month") else ""
    return "start", parts + coarser
