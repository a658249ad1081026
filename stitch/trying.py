"""What Stitch would make of records, before anything is set up: each counted where, or why not.

Records are decoded and weighed by the settings, in the order in which they are given. What needs more than the records
is not asked: exclusions that are in force, and events that the log holds already.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stitch.decoding import TOPIC, Decoded, Decoder
from stitch.rejections import without_value
from stitch.settings import Settings
from stitch.weighing import Added, Holds, instant_of, named, weigh


class Record(NamedTuple):
    """A record as it is tried. place: for people, `line 3`; appended: when it was, or would be, in µs."""

    place: str
    topic: str
    value: bytes | None
    appended: int | None
    timestamp_type: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What becomes of a record.

    rejected:     why it is no event; then nothing else of this is told
    absent:       what is wrong with fields that are absent therefore
    duplicate_of: where the event of the same identity is that counts in its place; then nothing of this is counted
    unweighed:    whether no counter weighs events of its type
    """

    place: str
    rejected: str | None = None
    event: Decoded | None = None
    absent: tuple[str, ...] = ()
    duplicate_of: str | None = None
    added: tuple[Added, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    unweighed: bool = False

    def as_json(self) -> dict[str, Any]:
        """As `stitch try --json` has it: a line for each record."""
        if self.rejected is not None or self.event is None:
            return {"place": self.place, "outcome": "rejected", "reason": self.rejected}
        return {
            "place": self.place,
            "outcome": "duplicate" if self.duplicate_of else "event",
            **({"duplicate_of": self.duplicate_of} if self.duplicate_of else {}),
            "event_id": self.event.event_id,
            "type": self.event.type,
            "occurred_at": instant_of(self.event).isoformat(),
            "absent": list(self.absent),
            "added": [
                {**one._asdict(), "buckets": {name: start.isoformat() for name, start in one.buckets.items()}}
                for one in self.added
            ],
            "left": dict(self.left),
        }


def outcomes(records: Iterable[Record], settings: Settings, holds: Holds) -> Iterator[Outcome]:
    """What becomes of each record, in order."""
    names = [one.name for one in settings.rules.fields]
    weighed_types = {kind for counter in settings.counters for kind in counter.weights}
    first: dict[tuple[Any, ...], str] = {}
    for record, found in decoded(records, settings):
        if found.reject_reason is not None:
            yield Outcome(record.place, rejected=found.reject_reason)
            continue
        identity = _identity(found, names, record.topic, settings)
        absent, before = tuple(found.notes or ()), first.setdefault(identity, record.place)
        if before != record.place:
            yield Outcome(record.place, event=found, absent=absent, duplicate_of=before)
            continue
        said = weigh(found, names, settings.counters, holds)
        unweighed = found.type not in weighed_types
        yield Outcome(record.place, None, found, absent, None, tuple(said.added), said.left, unweighed)


def decoded(records: Iterable[Record], settings: Settings) -> Iterator[tuple[Record, Decoded]]:
    """Each record, and the event that it is, or why it is none."""
    decoders = {topic: Decoder(view.rules) for topic, view in settings.by_topic.items()}
    for record in records:
        yield record, decoders[record.topic].decode(record.value, record.appended, record.timestamp_type)


def fields_of(records: Iterable[Record], settings: Settings) -> Iterator[dict[str, Any]]:
    """The fields of those records that are events."""
    names = [one.name for one in settings.rules.fields]
    for _, found in decoded(records, settings):
        if found.reject_reason is None:
            yield named(found, names)


def _identity(event: Decoded, names: list[str], topic: str, settings: Settings) -> tuple[Any, ...]:
    fields = named(event, names) | {TOPIC: topic}
    return tuple(fields[name] for name in settings.identity)


@dataclass
class Summary:
    """The outcomes of many records, summed up.

    counted: counter → (events that it counts, Σ amount); duplicates are not in it
    """

    records: int = 0
    events: int = 0
    duplicates: int = 0
    unweighed: Tally[str] = field(default_factory=Tally)  # event type → events
    rejected: Tally[str] = field(default_factory=Tally)  # reason → records
    absent: Tally[str] = field(default_factory=Tally)  # what is wrong with a field → events
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    left: dict[str, Tally[str]] = field(default_factory=lambda: defaultdict(Tally))

    def add(self, outcome: Outcome) -> None:
        """Take one more into account."""
        self.records += 1
        if outcome.rejected is not None or outcome.event is None:
            self.rejected[without_value(outcome.rejected or "")] += 1
            return
        self.events += 1
        self.absent.update(without_value(note) for note in outcome.absent)
        self.duplicates += outcome.duplicate_of is not None
        if outcome.unweighed:
            self.unweighed[outcome.event.type or ""] += 1
        for one in outcome.added:
            if one.member is None:
                events, amount = self.counted.get(one.counter, (0, 0))
                self.counted[one.counter] = (events + 1, amount + one.amount)
                self.keys[one.counter].add(one.key)
        for counter, why in outcome.left.items():
            self.left[counter][why] += 1

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "records": self.records, "events": self.events, "duplicates": self.duplicates,
            "rejected": dict(self.rejected), "absent": dict(self.absent), "unweighed_types": dict(self.unweighed),
            "counters": {name: {"events": events, "amount": amount, "keys": len(self.keys[name])}
                         for name, (events, amount) in self.counted.items()},
            "left": {name: dict(why) for name, why in self.left.items()},
        }  # fmt: skip
