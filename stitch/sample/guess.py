"""What the fields of events may mean: which is the identity, the type and the instant, what is counted and by what.

A guess, for a person to correct: each comes with the reason, and what could have been meant instead stays in the file
as a comment. Names decide where figures leave a choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stitch.errors import ExitStatus, StitchError
from stitch.sample.naming import (
    AMOUNTS,
    IDS,
    INSTANTS,
    KEYS,
    TYPES,
    is_named,
    name_of,
    names_of,
    plural,
    rank,
    singular,
)
from stitch.sample.profile import Column, Profile

UNDONE = ("un", "remove_", "delete_", "cancel_", "undo_")
MOST_KEYS, MOST_TYPES, MOST_AMOUNTS = 4, 6, 3
LONGEST_KEY = 200  # characters: what is longer is a text, and nobody's key
NO_ID = "no_event_id"  # a path where no event has anything


class NoGuess(StitchError):
    """The sample does not show what the events are; the message says what is missing."""

    exit_status = ExitStatus.USAGE


@dataclass(frozen=True)
class Chosen:
    """A path, why it was chosen, and what else could have been."""

    path: str
    why: str
    others: Sequence[str] = ()


@dataclass(frozen=True)
class Counted:
    """A counter. member: perhaps None. weights: event type → 1, −1, or the field that is summed."""

    name: str
    key: str
    member: str | None
    weights: dict[str, int | str]


@dataclass
class Guess:
    """event_id: None where no field is an identity; then `identity` are fields. type: None where all are of
    `constant_type`. paths: field → path, of those that counters read. types: field → type, where it is no string."""

    records: int
    broken: int
    occurred_at: Chosen
    event_id: Chosen | None
    identity: list[str]
    type: Chosen | None
    constant_type: str
    types_seen: list[tuple[str, int]]
    paths: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    fields_why: dict[str, str] = field(default_factory=dict)
    counters: list[Counted] = field(default_factory=list)
    countries: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    max_past: timedelta | None = None


def guess(seen: Profile, name: str, now: int) -> Guess:
    """The meaning of the events. name: of the file; now: in µs. Raises NoGuess."""
    if not seen.records:
        broken = f": {seen.broken} lines are no JSON objects" if seen.broken else ""
        raise NoGuess(f"the sample has no events{broken}; it must have one JSON object in each line")
    occurred_at = _instant(seen)
    event_id = _event_id(seen, occurred_at.path)
    kind, constant = _type(seen), singular(name_of(name))
    column = seen.columns[kind.path] if kind else None
    types = column.values.most_common() if column else [(constant, seen.records)]
    own = {occurred_at.path, *([event_id.path] if event_id else []), *([kind.path] if kind else [])}
    found = Guess(seen.records, seen.broken, occurred_at, event_id, ["event_id"], kind, constant, types)
    names = names_of(path for path in seen.columns if path not in own)
    _choose_counters(found, seen, names)
    if event_id is None:
        _identity(found, seen, names)
    _tell_of_age(found, seen.columns[occurred_at.path], now)
    return found


def _instant(seen: Profile) -> Chosen:
    found = [one for one in seen.columns.values() if one.there and one.instants >= 0.95 * one.there]
    found = [one for one in found if one.there >= 0.95 * seen.records]
    if not found:
        raise NoGuess(
            "no field of the sample is an instant in nearly every record: ISO-8601, or a number since 1970. An event "
            "needs one: docs/events.md says in which forms"
        )
    best, *others = sorted(found, key=lambda one: (rank(one.path, INSTANTS), -one.there, -one.different, one.path))
    return Chosen(best.path, f"an instant in {best.instants} of {seen.records} records", [one.path for one in others])


def _event_id(seen: Profile, instant: str) -> Chosen | None:
    found = [
        one for one in seen.columns.values()
        if one.there == one.different == seen.records and one.path != instant and one.kind in ("string", "int")
        and one.longest <= LONGEST_KEY and (not one.instants or is_named(one.path, IDS))
    ]  # fmt: skip
    named = [one for one in found if is_named(one.path, IDS)]
    if not named and not (found and seen.records >= 20):  # few records differ in everything
        return None
    best, *others = sorted(named or found, key=lambda one: (rank(one.path, IDS), one.path.count("."), one.path))
    return Chosen(best.path, f"different in each of {seen.records} records", [one.path for one in others])


def _type(seen: Profile) -> Chosen | None:
    found = [
        one for one in seen.columns.values()
        if one.there >= 0.99 * seen.records and one.kind == "string" and one.different <= 50 and one.longest <= 60
        and is_named(one.path, TYPES) and (one.different < seen.records or seen.records < 3)
    ]  # fmt: skip
    if not found:
        return None
    best, *others = sorted(found, key=lambda one: (rank(one.path, TYPES), one.path.count("."), one.path))
    said = ", ".join(f"{value} ({count})" for value, count in best.values.most_common(5))
    return Chosen(best.path, said, [one.path for one in others])


def _choose_counters(found: Guess, seen: Profile, names: dict[str, str]) -> None:
    """The counters: of each kind of event by the best key, of all kinds by the others, and sums of amounts."""
    keys = sorted((column for path, column in seen.columns.items() if path in names and _is_key(column, seen)),
                  key=lambda one: (rank(one.path, KEYS), -one.there, one.different, one.path))[:MOST_KEYS]  # fmt: skip
    amounts = sorted((column for path, column in seen.columns.items() if path in names and _is_amount(column)),
                     key=lambda one: (rank(one.path, AMOUNTS), one.path))[:MOST_AMOUNTS]  # fmt: skip
    doubles = [one.path for one in seen.columns.values() if one.kind == "double" and is_named(one.path, AMOUNTS)]
    if not keys:
        same = [one.path for one in seen.columns.values() if one.different == 1 and one.there == seen.records]
        raise NoGuess(
            "no field of the sample has several values that come again and again, as what is counted does (a track, a "
            "page, a user): take a longer sample, or one of more than one of them"
            + (f"; {', '.join(same)} is the same in all records" if same else "")
        )
    for column in keys:
        _read(found, names[column.path], column, f"{column.different} different in {column.there} records")
        if rank(column.path, ("country",)) == 0 and all(re.fullmatch("[A-Z]{2}", one) for one in column.values):
            found.countries.append(names[column.path])
    for column in amounts:
        _read(found, names[column.path], column, f"numbers in {column.there} records, as {_shown(column)}")
        found.types[names[column.path]] = "int"
    if doubles:
        found.notes.append(f"{', '.join(sorted(doubles))}: numbers with fractions cannot be summed; send integers "
                           "(cents, milliseconds) to sum them")  # fmt: skip
    best, *others = (names[column.path] for column in keys)
    member = next(iter(others), None)
    kinds = _kinds(found)
    for kind, weights in kinds:
        found.counters.append(Counted(plural(kind), best, member, weights))
    main, weights = kinds[0]
    for key in others:
        found.counters.append(Counted(f"{plural(main)}_by_{key}"[:48], key, None, weights))
    for column in amounts:
        name = names[column.path]
        weighed: dict[str, int | str] = {
            kind: name for kind, count in _of_kind(seen, found, column.path).items() if count
        }
        if weighed:
            found.counters.append(Counted(f"{name}_total"[:48], best, None, weighed))
    found.counters = list({one.name: one for one in reversed(found.counters)}.values())[::-1]


def _kinds(found: Guess) -> list[tuple[str, dict[str, int | str]]]:
    """(kind, weights) of the most frequent event types; one that takes another back weighs −1 there."""
    types = [value for value, _ in found.types_seen if value.strip()] or [found.constant_type]
    kinds: list[tuple[str, dict[str, int | str]]] = []
    undone = {f"{before}{one}": one for one in types for before in UNDONE if f"{before}{one}" in types}
    for one in types:
        if one not in undone and len(kinds) < MOST_TYPES:
            kinds.append((name_of(one), {one: 1, **{back: -1 for back, of in undone.items() if of == one}}))
    return list({plural(kind): (kind, weights) for kind, weights in reversed(kinds)}.values())[::-1]


def _of_kind(seen: Profile, found: Guess, path: str) -> dict[str, int]:
    """Event type → how many of its events have the path."""
    if not found.type:
        return {found.constant_type: seen.columns[path].there}
    counts: dict[str, int] = {}
    for row in seen.rows:
        kind = row.get(found.type.path)
        if isinstance(kind, str) and kind.strip() and path in row:
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _is_key(column: Column, seen: Profile) -> bool:
    return (
        column.kind in ("string", "int", "boolean")
        and (column.kind != "int" or column.path.lower().endswith("id"))
        and column.instants < 0.5 * column.there
        and column.there >= 0.3 * seen.records
        and 2 <= column.different <= column.there // 2
        and column.longest <= LONGEST_KEY
        and "" not in column.values
    )


def _is_amount(column: Column) -> bool:
    return (
        column.kind == "int"
        and column.different > 1
        and not column.instants
        and not column.path.lower().endswith("id")
        and is_named(column.path, AMOUNTS)
        and all(abs(int(value)) <= 10**12 for value in column.values)
    )


def _read(found: Guess, name: str, column: Column, why: str) -> None:
    found.paths[name], found.fields_why[name] = column.path, why


def _identity(found: Guess, seen: Profile, names: dict[str, str]) -> None:
    """Fields that tell the events apart, taken one by one, each the one that tells most apart beside the others."""
    paths = {"occurred_at": found.occurred_at.path} | ({"type": found.type.path} if found.type else {})
    always = {names[one.path]: one.path for one in seen.columns.values() if one.path in names
              and one.there == seen.records and one.longest <= LONGEST_KEY and one.kind != "double"}  # fmt: skip
    chosen, left = ["occurred_at"], {**{name: path for name, path in paths.items() if name != "occurred_at"}, **always}
    told = _apart(seen, [paths["occurred_at"]])
    while left and told < seen.records and len(chosen) < 4:
        gains = {name: _apart(seen, [*({**paths, **always}[one] for one in chosen), path])
                 for name, path in left.items()}  # fmt: skip
        best = max(gains, key=lambda name: (gains[name], name in found.paths, name))
        if gains[best] <= told:
            break
        told = gains[best]
        chosen.append(best)
        path = left.pop(best)
        if best in always:
            found.paths.setdefault(best, path)
            found.fields_why.setdefault(best, "a part of the identity")
            if seen.columns[path].kind != "string":
                found.types.setdefault(best, seen.columns[path].kind)
    found.identity = chosen
    found.notes.append(
        f"no field is different in each record, so events are one where {', '.join(chosen)} are equal: "
        + ("all of the sample differ in that" if told == seen.records else
           f"{seen.records - told} of {seen.records} records would be duplicates; add an id where they are not")
    )  # fmt: skip


def _apart(seen: Profile, paths: Sequence[str]) -> int:
    return len({tuple(str(row.get(path)) for path in paths) for row in seen.rows})


def _tell_of_age(found: Guess, column: Column, now: int) -> None:
    day = 86_400 * 10**6
    if column.first is not None and now - column.first > 9000 * day:
        found.max_past = timedelta(days=(now - column.first) // day + 3650)
        found.notes.append(f"events lie up to {(now - column.first) // day} days back: events.max_past says so")
    if column.last is not None and column.last > now + day:
        found.notes.append("some events are of the future, and are rejected beyond events.max_future (1d)")
    if column.instants < column.there:
        found.notes.append(f"{column.there - column.instants} records have no instant in {column.path}: rejected")


def _shown(column: Column) -> str:
    return ", ".join(value for value, _ in column.values.most_common(3))


def _paths(found: Guess) -> list[str]:
    return [found.occurred_at.path, *([found.type.path] if found.type else []), *found.paths.values()]


def as_plain(found: Guess) -> dict[str, Any]:
    """The guess as the settings' tables have it."""
    events: dict[str, Any] = {"occurred_at": found.occurred_at.path}
    if found.event_id:
        events["event_id"] = found.event_id.path
    elif any(path.startswith("event_id.") for path in _paths(found)):
        events["event_id"] = NO_ID  # it would be at event_id, and nothing may lie within a value
    events |= {"type": found.type.path} if found.type else {"constant_type": found.constant_type}
    if found.identity != ["event_id"]:
        events["identity"] = found.identity
    if found.max_past:
        events["max_past"] = f"{found.max_past.days}d"
    events["paths"] = {name: path for name, path in found.paths.items() if name != path}
    events["types"] = dict(found.types)
    counters = [{"name": one.name, "key": one.key, **({"member": one.member} if one.member else {}),
                 "weights": one.weights} for one in found.counters]  # fmt: skip
    return {"events": events, "counters": counters}
