"""An event weighed by the counters, one by one and without Spark: what it adds to which count, or why it adds nothing.

The jobs weigh by jobs.frames.contributions, millions at once; this says the same of a single event, and tells why. A
test holds the two to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from stitch.buckets import EPOCH, floor, granularities_of
from stitch.counters import Counter
from stitch.decoding import Decoded

Holds = Callable[[Counter, Mapping[str, Any]], bool]  # whether a counter's condition holds for an event's fields


class Added(NamedTuple):
    """What an event adds to a count: that of the key, or of a member of it.

    buckets: granularity → the start of the bucket in which it counts, the finest first
    """

    counter: str
    key: str
    member: str | None
    buckets: dict[str, datetime]
    amount: int


class Weighed(NamedTuple):
    """left: counter → why it leaves out an event of a type that it weighs."""

    added: list[Added]
    left: dict[str, str]


def weigh(event: Decoded, names: Sequence[str], counters: Sequence[Counter], holds: Holds) -> Weighed:
    """What an event (a record that was not rejected) adds to each counter. names: of its fields, in their order."""
    fields = named(event, names)
    at = fields["occurred_at"]
    added: list[Added] = []
    left: dict[str, str] = {}
    for counter in counters:
        weight = counter.weights.get(event.type or "")
        if weight is None:
            continue
        amount = fields[weight] if isinstance(weight, str) else weight
        key = as_text(fields[counter.key])
        if not key:
            left[counter.name] = f"{counter.key} is {'absent' if key is None else 'empty'}: no key"
        elif amount is None:
            left[counter.name] = f"{weight} is absent: no weight"
        elif counter.where and not holds(counter, fields):
            left[counter.name] = f"not where {counter.where}"
        else:
            buckets = {granularity: floor(at, granularity) for granularity in granularities_of(counter)}
            added.append(Added(counter.name, key, None, buckets, amount))
            if counter.member and (member := as_text(fields[counter.member])):
                added.append(Added(counter.name, key, member, buckets, amount))
    return Weighed(added, left)


def named(event: Decoded, names: Sequence[str]) -> dict[str, Any]:
    """The event's fields and its own three by their names."""
    own = {"event_id": event.event_id, "type": event.type, "occurred_at": instant_of(event)}
    return dict(zip(names, event.fields, strict=True)) | own


def instant_of(event: Decoded) -> datetime:
    """When the event occurred."""
    return EPOCH + timedelta(microseconds=event.occurred_at or 0)


def as_text(value: Any) -> str | None:
    """A field's value as a key or member, as Spark casts it to a text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = f"{value:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
        return f"{value.year:04d}{text[text.index('-') :]}"  # strftime leaves out the zeros of early years
    return _double(value) if isinstance(value, float) else str(value)


def _double(value: float) -> str:
    """As Java writes a double: 25.0, 1.0E7, 1.5E-4."""
    if value == 0:
        return "0.0"
    sign, digits, exponent = _parts(value)
    if -3 <= exponent < 7:
        point = exponent + 1
        whole = digits[:point].ljust(point, "0") if point > 0 else "0"
        rest = digits[point:] if point > 0 else "0" * -point + digits
        return f"{sign}{whole}.{rest or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _parts(value: float) -> tuple[str, str, int]:
    """(sign, digits, exponent of the first digit) of the shortest text that means the double."""
    for precision in range(17):
        mantissa, _, exponent = f"{abs(value):.{precision}e}".partition("e")
        if float(f"{mantissa}e{exponent}") == abs(value):
            break
    return "-" if value < 0 else "", mantissa.replace(".", "").rstrip("0") or "0", int(exponent)
