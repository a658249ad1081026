"""A request's parameters while they are read, and every mistake found in them so far. Pure, like parsing.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from string import whitespace
from typing import Any, TypeVar, cast

from serving.api.parameters import FILLS, FORMATS, LAYERS, MAX_CURSOR_BYTES, MAX_LIMIT, PARTIAL, series_granularities
from serving.reading.queries import TOLD, BadRequest, Mistake
from stitch.buckets import GRANULARITIES, Range, ceil, finest_of, floor
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.periods import COMPARES, GRANULARITY_OF, PERIODS, Compare
from stitch.settings import Settings
from stitch.zones import UTC_CALENDAR, Calendar, calendar

T = TypeVar("T")
Raw = Mapping[str, Sequence[Any]]  # parameter → its values, as often as it was given
Snap = Callable[[datetime], datetime]

YEARS = (1900, 2999)


@dataclass
class Form:
    """The parameters of one request while they are read, and the mistakes found so far."""

    raw: Raw
    settings: Settings
    known: Iterable[str]
    preferred: str = "json"  # the format where none is asked for
    mistakes: list[Mistake] = field(default_factory=list)
    more: int = 0  # mistakes that are counted alone, since none of them would be told
    unknown: list[str] = field(default_factory=list)  # counters

    def __post_init__(self) -> None:
        known = f"known are {', '.join(sorted(self.known))}" if self.known else "none are known here"
        self.all_wrong(
            [name for name in self.raw if name not in self.known],
            lambda name: Mistake(name[:60], f"unknown parameter; {known}"),
        )

    def wrong(self, parameter: str, detail: str) -> None:
        self.mistakes.append(Mistake(parameter, detail))

    def all_wrong(self, found: Sequence[T], mistake: Callable[[T], Mistake]) -> None:
        """Each of these is one; who sends thousands has no more work done than for twenty."""
        self.mistakes += map(mistake, found[:TOLD])
        self.more += len(found[TOLD:])

    def done(self, make: Callable[[], T]) -> T:
        """The query; or BadRequest with all that was wrong."""
        if "layer" in self.known:
            _ = self.layer
        if "format" in self.known:
            _ = self.format
        if "partial" in self.known:
            _ = self.partial
        if "download" in self.known:
            self.flag("download")  # of the response alone (responses.py)
        if self.mistakes:
            raise BadRequest(self.mistakes, self.unknown, self.more)
        return make()

    # Plain values

    def listed(self, parameter: str) -> list[str]:
        parts = [part.strip() for value in self.raw.get(parameter, ()) for part in value.split(",")]
        return list(dict.fromkeys(part for part in parts if part))

    def single(self, parameter: str) -> str | None:
        values = self.raw.get(parameter, ())
        if len(values) > 1:
            self.wrong(parameter, "given more than once")
        return values[0] if values else None

    def choice(self, parameter: str, values: Sequence[str], default: str | None) -> str | None:
        text = self.single(parameter)
        if text is None:
            return default
        if text not in values:
            self.wrong(parameter, f"{text[:60]!r} cannot be used; one of {', '.join(values)}")
            return default
        return text

    def flag(self, parameter: str) -> bool:
        return self.choice(parameter, ("true", "false"), "false") == "true"

    @cached_property
    def layer(self) -> Layer:
        return self.choice("layer", LAYERS, "merged")  # type: ignore[return-value]  # it is one of them

    @cached_property
    def format(self) -> str:
        return self.choice("format", FORMATS, self.preferred) or self.preferred

    @cached_property
    def partial(self) -> bool:
        return self.choice("partial", PARTIAL, "refuse") == "allow"

    def fill(self) -> str:
        return self.choice("fill", FILLS, "zero") or "zero"

    def limit(self) -> int:
        text = self.single("limit")
        text = "10" if text is None else text
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
            self.wrong("limit", f"{text[:60]!r} is not a whole number from 1 to {MAX_LIMIT}")
            return 10
        return int(text)

    def text(self, parameter: str) -> str | None:
        """A key or the beginning of one; None where it is not given or empty."""
        text = self.single(parameter)
        if text:
            self._check_text(parameter, text)
        return text or None

    def told_key(self, parameter: str) -> str | None:
        """A key that another page told, however long it is; None where it is not given or empty."""
        text = self.single(parameter)
        if text and not _is_unicode(text):
            self.wrong(parameter, "is not valid Unicode text")
        return text or None

    def cursor(self, parameter: str) -> str | None:
        """An opaque text; None where it is not given or empty."""
        text = self.single(parameter)
        if text and len(text) > MAX_CURSOR_BYTES:
            self.wrong(parameter, "is not the `next` of another page")
            return None
        return text or None

    # What is counted

    def counters(self, parameter: str) -> list[Counter]:
        names = self.listed(parameter)
        known = {counter.name: counter for counter in self.settings.counters}
        unknown = [name for name in names if name not in known]
        self.unknown += unknown
        names_known = ", ".join(known) or "none"
        self.all_wrong(
            unknown, lambda name: Mistake(parameter, f"unknown counter {name[:60]!r}; known are {names_known}")
        )
        if not names:
            self.wrong(parameter, f"missing; known counters are {names_known}")
        return [known[name] for name in names if name in known]

    def counter(self) -> list[Counter]:
        """One counter, or none where it cannot be had."""
        found = self.counters("counter")
        if len(found) > 1:
            self.wrong("counter", "one counter at a time")
        return found[:1]

    def keys(self, split: bool) -> list[str]:
        given = [*self.raw.get("keys", ())]
        if split:
            given = [part.strip(whitespace) for value in given for part in value.split(",")]
        given += self.raw.get("key", ())
        keys = list(dict.fromkeys(given))
        if not keys:
            self.wrong("keys", "missing: at least one key")
        most = self.settings.serving.max_keys
        if len(given) > most:
            self.wrong("keys", f"{len(given)} keys; at most {most} in one request")
        for key in keys[:most]:
            self._check_key("keys", key)
        return keys

    def key(self) -> str:
        key = self.single("key")
        if key is None:
            self.wrong("key", "missing")
            return ""
        self._check_key("key", key)
        return key

    def _check_key(self, parameter: str, key: str) -> None:
        if not key:
            self.wrong(parameter, "an empty key: no event is counted under it")
        else:
            self._check_text(parameter, key)

    def _check_text(self, parameter: str, text: str) -> None:
        if not _is_unicode(text):
            self.wrong(parameter, "is not valid Unicode text")
            return
        size = len(text.encode())
        counted, asked = self.settings.events.max_text, self.settings.serving.max_key
        if size > counted:
            self.wrong(parameter, f"{size} bytes; no event is counted under more than {counted} (events.max_text)")
        elif size > asked:
            self.wrong(parameter, f"{size} bytes; at most {asked} can be asked for (serving.max_key)")

    # When

    @cached_property
    def calendar(self) -> Calendar:
        text = self.single("tz")
        try:
            return calendar("UTC" if text is None else text, self.settings.serving.week_start)
        except ValueError as error:
            self.wrong("tz", str(error))
            return calendar("UTC", self.settings.serving.week_start)

    @cached_property
    def period(self) -> str | None:
        found = self.choice("period", PERIODS, None)
        if found and (self.raw.get("start") or self.raw.get("end")):
            self.wrong("period", "given beside `start` or `end`: give the one or the other")
        return found

    def granularity(self, counters: Sequence[Counter]) -> str:
        finest = max((finest_of(counter) for counter in counters), key=GRANULARITIES.index, default="hour")
        offered = series_granularities(self.settings)
        usable = offered[offered.index(finest) :]
        default = GRANULARITY_OF.get(self.period or "")
        if self.single("granularity") is None and not default:
            self.wrong("granularity", f"missing; one of {', '.join(usable)}")
        return self.choice("granularity", usable, default) or "hour"

    def range(self, granularity: str, floor_: Snap, ceil_: Snap) -> Range | None:
        """`[start, end)`, both on edges that the functions know; None where it is not given, or wrong."""
        texts = {"start": self.single("start"), "end": self.single("end")}
        found = {
            name: self._edge(name, text, granularity, floor_, ceil_) for name, text in texts.items() if text is not None
        }
        if len(found) == 1:
            (given,) = found
            absent = "end" if given == "start" else "start"
            self.wrong(absent, f"missing: `{given}` is given, and a range needs both or neither")
        start, end = found.get("start"), found.get("end")
        if not start or not end:
            return None
        if start >= end:
            self.wrong("end", f"{self._said(end)} is not after start {self._said(start)}; ranges are [start, end)")
            return None
        return Range(start, end)

    def utc_range(self, granularity: str) -> Range | None:
        """The range, on the edges of the layers' own buckets."""
        return self.range(granularity, lambda at: floor(at, granularity), lambda at: ceil(at, granularity))

    def compare(self, has_range: bool) -> tuple[Compare | None, bool]:
        compare, match_weekday = self.choice("compare", COMPARES, None), self.flag("match_weekday")
        if match_weekday and not compare:
            self.wrong("match_weekday", "belongs to `compare`")
        if compare and not has_range:
            self.wrong("compare", "needs a range: `start` and `end`, or a `period` other than `all`")
        if compare and self.format == "csv":
            self.wrong("compare", "CSV has no comparison: ask for JSON")
        return cast("Compare | None", compare), match_weekday

    def limit_points(self, parameter: str, points: int) -> None:
        most = self.settings.serving.max_points
        if points > most:
            self.wrong(parameter, f"about {points} counts in one answer; at most {most}: ask for less at a time")

    def _edge(self, parameter: str, text: str, granularity: str, floor_: Snap, ceil_: Snap) -> datetime | None:
        try:
            instant = parse_instant(text, self.calendar)
            before, after = floor_(instant), ceil_(instant)
        except (ValueError, OverflowError):
            self.wrong(
                parameter,
                f"{text[:60]!r} is not an ISO-8601 instant such as 2026-11-23T09:00:00Z ({YEARS[0]}-{YEARS[1]})",
            )
            return None
        if before != instant:
            self.wrong(
                parameter,
                f"{text[:60]!r} is not on the edge of a bucket ({granularity}); nearest are {self._said(before)} or "
                f"{self._said(after)}",
            )
            return None
        return instant

    def _said(self, instant: datetime) -> str:
        return self.calendar.wall(instant).isoformat().replace("+00:00", "Z")


def parse_instant(text: str, calendar: Calendar = UTC_CALENDAR) -> datetime:
    """An ISO-8601 instant, by the calendar's clocks where it names no zone. Raises ValueError."""
    instant = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a bare + in a URL is a space
    instant = instant.astimezone(UTC) if instant.tzinfo else calendar.at(instant)
    if not YEARS[0] <= instant.year <= YEARS[1]:
        raise ValueError("out of range")
    return instant


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
