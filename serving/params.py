"""A request's parameters into a typed query, or one answer that lists every mistake in them.

Pure: it knows neither Flask nor Cassandra. A caller who repairs one mistake at a time gives up at the third, so
nothing here stops at the first; and an unknown parameter is a mistake, because a misspelt `strat` that is ignored
gives a plausible wrong count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from serving.errors import BadRequest, Mistake
from stitch.buckets import FIXED, GRANULARITIES, after, ceil, finest_of, floor, granularities_of
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.settings import Settings

Raw = Mapping[str, Sequence[Any]]  # parameter → its values, as often as it was given

LAYERS = get_args(Layer)
MAX_KEY_BYTES = 60_000  # Cassandra: a partition key, counter and granularity with it, is at most 64 KB
MAX_LIMIT = 1000
YEARS = (1900, 2999)
SHOWN_BY_DEFAULT = {"minute": 60, "quarter": 96, "hour": 24, "day": 30, "month": 12}


@dataclass(frozen=True)
class Range:
    """`[start, end)`."""

    start: datetime
    end: datetime


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
    form = _Form(raw, settings, {"counters", "keys", "key", "start", "end", "layer"})
    counters = form.counters("counters")
    keys = form.keys()
    asked = form.range(_alignment(counters))
    return form.done(lambda: TotalsQuery(counters, keys, asked, form.layer()))


def parse_totals_body(body: Any, settings: Settings) -> TotalsQuery:
    """The same from a JSON object, whose lists are never split."""
    if not isinstance(body, dict):
        raise BadRequest([Mistake("body", "must be a JSON object with `counters` and `keys`")])
    raw, mistakes = {}, []
    for name, value in body.items():
        values = value if isinstance(value, list) and name in ("counters", "keys") else [value]
        if value is None:
            continue
        if not all(isinstance(item, str) for item in values):
            mistakes.append(
                Mistake(name, "must be a list of strings" if name in ("counters", "keys") else "must be a string")
            )
        raw["key" if name == "keys" else name] = [item for item in values if isinstance(item, str)]
        if name == "key":
            mistakes.append(Mistake("key", "unknown parameter; known are counters, keys, start, end, layer"))
    form = _Form(raw, settings, {"counters", "key", "start", "end", "layer"}, mistakes)
    counters = form.counters("counters")
    keys = form.keys()
    asked = form.range(_alignment(counters))
    return form.done(lambda: TotalsQuery(counters, keys, asked, form.layer()))


def parse_series(raw: Raw, settings: Settings, now: datetime) -> SeriesQuery:
    """Without a range: the last 24 hours, 30 days or 12 months, the present one included."""
    form = _Form(raw, settings, {"counters", "key", "granularity", "start", "end", "layer"})
    counters = form.counters("counters")
    key = form.key()
    granularity = form.granularity(counters)
    asked = form.range(granularity) or _latest(now, granularity)
    form.limit_points(asked, granularity, len(counters))
    return form.done(lambda: SeriesQuery(counters, key, granularity, asked, form.layer()))


def parse_top(raw: Raw, settings: Settings) -> TopQuery:
    form = _Form(raw, settings, {"counter", "key", "start", "end", "limit", "layer"})
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
    return form.done(lambda: TopQuery(counters[0], key, asked, limit, form.layer()))


def parse_nothing(raw: Raw, settings: Settings) -> None:
    """For an endpoint without parameters."""
    _Form(raw, settings, set()).done(lambda: None)


def parse_instant(text: str) -> datetime:
    """An ISO-8601 instant, in UTC where it names no zone. Raises ValueError."""
    instant = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a bare + in a URL is a space
    instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    if not YEARS[0] <= instant.year <= YEARS[1]:
        raise ValueError("out of range")
    return instant


def _alignment(counters: Sequence[Counter]) -> str:
    """The granularity whose edges every one of the counters has."""
    return max((finest_of(counter) for counter in counters), key=GRANULARITIES.index, default="hour")


def _latest(now: datetime, granularity: str) -> Range:
    end = after(floor(now, granularity), granularity)
    if granularity == "month":
        return Range(end.replace(year=end.year - 1), end)
    return Range(end - SHOWN_BY_DEFAULT[granularity] * FIXED[granularity], end)


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class _Form:
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

    def done(self, make: Any) -> Any:
        """The query, made after everything was read; or BadRequest with all that was wrong."""
        query = None
        if "layer" in self.known:
            self.layer(report=True)
        if not self.mistakes:
            query = make()
        if self.mistakes:
            raise BadRequest(self.mistakes)
        return query

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

    def keys(self) -> list[str]:
        split = [part for value in self.raw.get("keys", ()) for part in value.split(",")]
        keys = list(dict.fromkeys([*split, *self.raw.get("key", ())]))
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

    def layer(self, report: bool = False) -> Layer:
        text = (self.single("layer") if report else next(iter(self.raw.get("layer", ())), None)) or "merged"
        if text not in LAYERS:
            if report:
                self.wrong("layer", f"{text!r} is no layer; one of {', '.join(LAYERS)}")
            return "merged"
        return text  # type: ignore[return-value]

    def limit(self) -> int:
        text = self.single("limit") or "10"
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
            self.wrong("limit", f"{text!r} is not a whole number from 1 to {MAX_LIMIT}")
            return 10
        return int(text)

    def granularity(self, counters: Sequence[Counter]) -> str:
        common = [g for g in granularities_of(counters[0])] if counters else ["hour", "day", "month"]
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

    def limit_points(self, asked: Range, granularity: str, counters: int) -> None:
        length = FIXED.get(granularity, timedelta(days=28))
        points = ((asked.end - asked.start) // length) * max(counters, 1)
        if points > self.settings.serving.max_points:
            self.wrong(
                "start", f"about {points} points; at most {self.settings.serving.max_points}: ask for a shorter range"
            )
