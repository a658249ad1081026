"""Every way in which clocks were set since 1970, found in the data of all zones: corners of zones and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

SECOND = timedelta(seconds=1)
EVERY = timedelta(days=25)  # shorter than any zone kept to a time (Morocco's Ramadans)
FIRST = datetime(1970, 1, 1, 17, 43)  # noqa: DTZ001  # on the spot, at a time of day at which no clock was set
MOMENTS = [FIRST + n * EVERY for n in range(833)]  # to 2027


@dataclass(frozen=True)
class ClockChange:
    """From `instant` on the clocks of the zone show `after`, where they would have shown `before`."""

    zone: str
    instant: datetime
    before: datetime
    after: datetime

    def __str__(self) -> str:
        return f"{self.zone} {self.before:%FT%T} {self.after:%FT%T}"


@cache
def zones() -> list[str]:
    """One name of each zone: many names are links to others."""
    of_data: dict[bytes | str, str] = {}
    for name in sorted(available_timezones(), key=lambda name: ("/" in name, name)):
        files = [path for folder in TZPATH if (path := Path(folder, name)).is_file()]
        of_data[files[0].read_bytes() if files else name] = name
    return sorted(of_data.values())


@cache
def changes_of(name: str) -> list[ClockChange]:
    """Every change of one zone."""
    zone, found = ZoneInfo(name), []
    offsets = [zone.utcoffset(moment) for moment in MOMENTS]
    for (first, before), (last, after) in pairwise(zip(MOMENTS, offsets, strict=True)):
        if before is None or after is None or before == after:
            continue
        low, high = ((moment - offset).replace(tzinfo=UTC) for moment, offset in ((first, before), (last, after)))
        while high - low > SECOND:
            middle = low + (high - low) // SECOND // 2 * SECOND
            low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
        found.append(ClockChange(name, high, (high + before).replace(tzinfo=None), (high + after).replace(tzinfo=None)))
    return found


@cache
def kinds() -> list[ClockChange]:
    """The last change of each kind: by how much, at which time of day, and how far off the hour."""
    last: dict[object, ClockChange] = {}
    for name in zones():
        for change in changes_of(name):
            ahead = change.before.replace(tzinfo=UTC) - change.instant
            kind = (change.after - change.before, change.before.time(), ahead % timedelta(hours=1))
            if kind not in last or last[kind].instant <= change.instant:
                last[kind] = change
    return list(last.values())
