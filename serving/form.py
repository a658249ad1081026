"""A request's parameters while they are read, and every mistake found in them so far. Pure, like params.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar, get_args

from stitch.buckets import ceil, floor, granularities_of
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.settings import Settings

T = TypeVar("T")
Raw = Mapping[str, Sequence[Any]]  # parameter → its values, as often as it was given

LAYERS = get_args(Layer)
MAX_KEY_BYTES = 60_000  # Cassandra: a partition key, counter and granularity with it, is at most 64 KB
MAX_LIMIT = 1000
YEARS = (1900, 2999)


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a request, and where."""

    parameter: str
    detail: str


class BadRequest(Exception):
    """The request cannot be understood; it carries every mistake in it, not the first alone."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(f"{mistake.parameter}: {mistake.detail}" for mistake in mistakes))
        self.mistakes = list(mistakes)


@dataclass(frozen=True)
class Range:
    """`[start, end)`."""

    start: datetime
    end: datetime


@dataclass
class Form:
    """The parameters of one request while they are read, and the mistakes found so far."""

    raw: Raw
    settings: Settings
    known: set[str]
    mistakes: list[Mistake] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.raw:
            if name not in self.known:
                known = f"known are {', '.join(sorted(self.known))}" if self.known else "none are known here"
                self.wrong(name, f"unknown parameter; {known}")

    def wrong(self, parameter: str, detail: str) -> None:
        self.mistakes.append(Mistake(parameter, detail))

    def done(self, make: Callable[[], T]) -> T:
        """The query; or BadRequest with all that was wrong."""
        if "layer" in self.known:
            _ = self.layer
        if self.mistakes:
            raise BadRequest(self.mistakes)
        return make()

    def listed(self, parameter: str) -> list[str]:
        parts = [part.strip() for value in self.raw.get(parameter, ()) for part in value.split(",")]
        return list(dict.fromkeys(part for part in parts if part))

    def single(self, parameter: str) -> str | None:
        values = self.raw.get(parameter, ())
        if len(values) > 1:
            self.wrong(parameter, "given more than once")
        return values[0] if values else None

    def counters(self, parameter: str) -> list[Counter]:
        names = self.listed(parameter)
        known = {counter.name: counter for counter in self.settings.counters}
        for name in names:
            if name not in known:
                self.wrong(parameter, f"unknown counter {name!r}; known are {', '.join(known)}")
        if not names:
            self.wrong(parameter, f"missing; known counters are {', '.join(known)}")
        return [known[name] for name in names if name in known]

    def keys(self, split: bool) -> list[str]:
        given = [part for value in self.raw.get("keys", ()) for part in (value.split(",") if split else [value])]
        keys = list(dict.fromkeys([*given, *self.raw.get("key", ())]))
        if not keys:
            self.wrong("keys", "missing: at least one key")
        if len(keys) > self.settings.serving.max_keys:
            self.wrong("keys", f"{len(keys)} keys; at most {self.settings.serving.max_keys} in one request")
        for key in keys:
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
            return
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            self.wrong(parameter, "a key that is not valid Unicode text")
            return
        if size > MAX_KEY_BYTES:
            self.wrong(parameter, f"a key of {size} bytes; at most {MAX_KEY_BYTES}")

    @cached_property
    def layer(self) -> Layer:
        text = self.single("layer") or "merged"
        if text not in LAYERS:
            self.wrong("layer", f"{text!r} is no layer; one of {', '.join(LAYERS)}")
        return text  # type: ignore[return-value]  # it is one of them, or the request is refused

    def limit(self) -> int:
        text = self.single("limit") or "10"
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
            self.wrong("limit", f"{text!r} is not a whole number from 1 to {MAX_LIMIT}")
            return 10
        return int(text)

    def granularity(self, counters: Sequence[Counter]) -> str:
        common = list(granularities_of(counters[0])) if counters else ["hour", "day", "month"]
        usable = [g for g in common if g != "all" and all(g in granularities_of(counter) for counter in counters)]
        text = self.single("granularity")
        if text not in usable:
            given = f"{text!r} cannot be used" if text is not None else "missing"
            self.wrong("granularity", f"{given}; one of {', '.join(usable)}")
            return "hour"
        return text

    def range(self, granularity: str) -> Range | None:
        texts = {"start": self.single("start"), "end": self.single("end")}
        found = {name: self._edge(name, text, granularity) for name, text in texts.items() if text is not None}
        if len(found) == 1:
            (given,) = found
            absent = "end" if given == "start" else "start"
            self.wrong(absent, f"missing: `{given}` is given, and a range needs both or neither")
        start, end = found.get("start"), found.get("end")
        if not start or not end:
            return None
        if start >= end:
            self.wrong("end", f"{_iso(end)} is not after start {_iso(start)}; ranges are [start, end)")
            return None
        return Range(start, end)

    def _edge(self, parameter: str, text: str, granularity: str) -> datetime | None:
        try:
            instant = parse_instant(text)
        except (ValueError, OverflowError):
            self.wrong(
                parameter,
                f"{text[:60]!r} is not an ISO-8601 instant such as 2026-11-23T09:00:00Z ({YEARS[0]}-{YEARS[1]})",
            )
            return None
        if floor(instant, granularity) != instant:
            nearest = f"{_iso(floor(instant, granularity))} or {_iso(ceil(instant, granularity))}"
            self.wrong(
                parameter, f"{text[:60]!r} is not on the edge of a bucket ({granularity}); nearest are {nearest}"
            )
            return None
        return instant

    def limit_points(self, parameter: str, points: int) -> None:
        most = self.settings.serving.max_points
        if points > most:
            self.wrong(parameter, f"about {points} counts in one answer; at most {most}: ask for less at a time")


def parse_instant(text: str) -> datetime:
    """An ISO-8601 instant, in UTC where it names no zone. Raises ValueError."""
    instant = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a bare + in a URL is a space
    instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    if not YEARS[0] <= instant.year <= YEARS[1]:
        raise ValueError("out of range")
    return instant


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
