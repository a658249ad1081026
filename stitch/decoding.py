"""A record decoded into an event, or into the reason why it is none: the one definition, for every job and every replay.

Whether a record is an event depends on the record alone: its bytes, its broker timestamp and that timestamp's type. It
is rejected only for what all counters need: strict JSON (RFC 8259, one object), identity, type and instant. Anything
else that is wrong costs the one field, which is then absent, and is noted.

Ids, keys and members are texts: a string as it reads, a number or a boolean exactly as it was written. So a payload is not
decoded into numbers but into the bytes of each value (msgspec's Raw), which its field's type then reads. Nothing but the
standard library and msgspec is needed, for this runs in Spark's workers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stitch.instants import NUMBER, hint, instant_of_number, instant_of_text
from stitch.payloads import DEEPEST, misread, too_deep

VERSION = 2  # raise it with every change of what a record is decoded into: logs of another are decoded again
OWN = ("event_id", "type", "occurred_at")
CREATE_TIME, NO_TIME = 0, -1  # Kafka's types of timestamps; LogAppendTime is 1
_QUOTE, _BACKSLASH, _BOM = 0x22, 0x5C, b"\xef\xbb\xbf"
_SHOWN = 80  # characters of a value in a reason
_LEAST, _MOST = -(2**63), 2**63 - 1
_PARTS = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)0*([0-9]+))?")


class Field(NamedTuple):
    """One field of an event: where it is, of which type, and its bound (bytes of a text, size of an amount)."""

    name: str
    path: str
    kind: str
    most: int | None = None


class Rules(NamedTuple):
    """What the settings say about events, as plain data for workers."""

    event_id: str
    type: str
    occurred_at: str
    identity: tuple[str, ...]
    epoch: str
    max_past: int  # µs
    max_future: int  # µs
    fields: tuple[Field, ...]


class Decoded(NamedTuple):
    """An event, or why it is none: then all but `reject_reason` is empty."""

    event_id: str | None
    type: str | None
    occurred_at: int | None  # µs since 1970
    fields: tuple[Any, ...]
    notes: list[str] | None  # what was wrong with fields that are absent therefore
    reject_reason: str | None


class Rejected(Exception):
    """A record is no event; the message says why."""


class _Wrong(Exception):
    """A value is not what its field may hold; the message says how."""


Leaves = tuple[Any, ...]  # the values of all paths: Raw, or of a text field perhaps str or None


class Decoder:
    """Decodes records by the rules. Made once for many."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._paths = (rules.event_id, rules.type, rules.occurred_at, *(field.path for field in rules.fields))
        self._read = tuple((field, _READ[field.kind]) for field in rules.fields)
        self._nothing = (None,) * len(rules.fields)
        self._identity = tuple(name for name in rules.identity if name not in OWN)
        self._exact = _leaves(self._paths, frozenset())
        self._quick = _leaves(self._paths, self._texts())

    def decode(self, value: bytes | None, appended: int | None, timestamp_type: int | None = None) -> Decoded:
        """`appended`: the broker timestamp in µs; its type as Kafka says it, None where nobody did."""
        try:
            return self._event(value, appended, timestamp_type)
        except Rejected as reason:
            return Decoded(None, None, None, self._nothing, None, str(reason))

    def _event(self, value: bytes | None, appended: int | None, timestamp_type: int | None) -> Decoded:
        if appended is None or timestamp_type == NO_TIME:
            raise Rejected("no ingest time")
        if timestamp_type == CREATE_TIME:
            raise Rejected("stamped by its producer (CreateTime), not by the broker")
        if value is None:
            raise Rejected("no value (a tombstone)")
        event_id, kind, instant, *values = self._parsed(value)
        rules, notes = self.rules, None
        read = []
        for (field, reader), leaf in zip(self._read, values, strict=True):
            try:
                read.append(reader(leaf, field))
            except _Wrong as wrong:
                read.append(None)
                notes = [*(notes or ()), f"{field.path} {wrong}"]
        for name in self._identity:
            at = next(at for at, (field, _) in enumerate(self._read) if field.name == name)
            if read[at] is None or (isinstance(read[at], str) and not read[at].strip()):
                raise Rejected(f"{rules.fields[at].path} is missing")
        return Decoded(
            _own_text(event_id, rules.event_id, "event_id" in rules.identity),
            _own_text(kind, rules.type, True),
            self._instant(instant, appended),
            tuple(read),
            notes,
            None,
        )

    def _parsed(self, value: bytes) -> Leaves:
        if value.startswith(_BOM):
            value = value[len(_BOM) :]
        try:
            if not value.isascii():
                value.decode()  # the parser does not look at the texts that it skips
            if too_deep(value):
                raise Rejected(f"nested deeper than {DEEPEST} levels")
            try:
                return self._quick(value)
            except msgspec.ValidationError:  # a text that is none, or no object
                return self._exact(value)
        except msgspec.ValidationError:
            raise Rejected("not a JSON object") from None
        except UnicodeDecodeError as error:
            raise Rejected(misread(value, str(error))) from None
        except msgspec.DecodeError as error:
            raise Rejected(misread(value, str(error)) if value.strip() else "not a JSON object") from None
        except RecursionError:
            raise Rejected(f"nested deeper than {DEEPEST} levels") from None

    def _instant(self, leaf: Any, appended: int) -> int:
        path = self.rules.occurred_at
        raw = bytes(leaf)
        if raw[:1] == b'"':
            said = _string(raw)
            at = instant_of_text(said, self.rules.epoch)
        else:
            said = raw.decode()
            at = instant_of_number(said, self.rules.epoch) if NUMBER.fullmatch(said) else None
        if at is None:
            if said in ("", "null") or not said.strip():
                raise Rejected(f"{path} is missing")
            raise Rejected(f"{path} is not an instant: {said[:_SHOWN]}{hint(said)}")
        if at > appended + self.rules.max_future:
            raise Rejected(f"{path} is too far in the future: {said}")
        if at < appended - self.rules.max_past:
            raise Rejected(f"{path} is too far in the past: {said}")
        return at

    def _texts(self) -> frozenset[str]:
        """The paths whose every reader wants a text, as nearly all producers send them: these need not come as Raw."""
        others = {field.path for field in self.rules.fields if field.kind != "string"} | {self.rules.occurred_at}
        return frozenset(self._paths) - others


def _leaves(paths: tuple[str, ...], texts: frozenset[str]) -> Callable[[bytes], Leaves]:
    """A function from a payload to the values of the paths: those in `texts` as str or None, all others as Raw.

    It raises ValidationError where the payload is no object, or one of the texts no text. A path through anything but
    objects ends nowhere, and its value is absent.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        *outer, last = path.split(".")
        for part in outer:
            node = node.setdefault(part, {})
        node[last] = path
    flat = tuple(node for node in tree.values() if isinstance(node, str))
    names = {path: f"f{at}" for at, path in enumerate(flat)}
    inner = {part: node for part, node in tree.items() if isinstance(node, dict)}
    struct = _struct([*((path, path in texts) for path in flat), *((part, False) for part in inner)])
    decode = msgspec.json.Decoder(struct).decode
    if not inner:
        return _in_order(decode, [names[path] for path in paths])
    within = [(f"f{len(flat) + at}", _nested(node, texts)) for at, node in enumerate(inner.values())]

    def leaves(value: bytes) -> Leaves:
        top = decode(value)
        found = {path: getattr(top, name) for path, name in names.items()}
        for name, read in within:
            read(bytes(getattr(top, name)), found)
        return tuple([found[path] for path in paths])

    return leaves


def _in_order(decode: Callable[[bytes], Any], names: list[str]) -> Callable[[bytes], Leaves]:
    of = attrgetter(*names)  # at least the event's own three: a tuple
    return lambda value: of(decode(value))


def _nested(tree: dict[str, Any], texts: frozenset[str]) -> Callable[[bytes, dict[str, Any]], None]:
    """A function that puts the values of the paths in an inner object into a dict."""
    parts = list(tree.items())
    decode = msgspec.json.Decoder(
        _struct([(part, node in texts if isinstance(node, str) else False) for part, node in parts])
    ).decode
    inner = {part: _nested(node, texts) for part, node in parts if isinstance(node, dict)}
    absent = {path: None if path in texts else msgspec.Raw() for path in _paths_of(tree)}

    def read(raw: bytes, found: dict[str, Any]) -> None:
        if raw[:1] != b"{":
            found.update(absent)
            return
        values = decode(raw)
        for at, (part, node) in enumerate(parts):
            value = getattr(values, f"f{at}")
            if isinstance(node, dict):
                inner[part](bytes(value), found)
            else:
                found[node] = value

    return read


def _paths_of(tree: dict[str, Any]) -> list[str]:
    return [path for node in tree.values() for path in ([node] if isinstance(node, str) else _paths_of(node))]


def _struct(members: list[tuple[str, bool]]) -> type[Any]:
    """A struct with the members f0, f1, … of an object: (last part of the path, whether it is a text)."""
    types = [
        (f"f{at}", str | None, None) if text else (f"f{at}", msgspec.Raw, msgspec.Raw())
        for at, (_, text) in enumerate(members)
    ]
    names = {f"f{at}": path.rpartition(".")[2] for at, (path, _) in enumerate(members)}
    return msgspec.defstruct("Payload", types, rename=names, gc=False)


_as_string = msgspec.json.Decoder(str).decode


def _string(raw: bytes) -> str:
    return _as_string(raw) if _BACKSLASH in raw else raw[1:-1].decode()


def _text(leaf: Any) -> str | None:
    """A value as it was sent. Raises _Wrong for an object or an array."""
    if leaf is None or isinstance(leaf, str):
        return leaf
    raw = bytes(leaf)
    if not raw or raw == b"null":
        return None
    if raw[0] == _QUOTE:
        return _string(raw)
    if raw[:1] in b"{[":
        raise _Wrong(f"is an {'object' if raw[:1] == b'{' else 'array'}, not a text")
    return raw.decode()


def _own_text(leaf: Any, path: str, needed: bool) -> str | None:
    """Identity and type: what is blank or empty is missing."""
    try:
        text = _text(leaf)
    except _Wrong as wrong:
        if needed and bytes(leaf)[1:-1].strip():
            raise Rejected(f"{path} {wrong}") from None
        text = None
    if text is not None and text.strip():
        return text
    if needed:
        raise Rejected(f"{path} is missing")
    return None


def _string_field(leaf: Any, field: Field) -> str | None:
    text = _text(leaf)
    most = field.most
    if text is not None and most is not None and len(text) * 4 > most and len(text.encode()) > most:
        raise _Wrong(f"is longer than {most} bytes")
    return text


def _int_field(leaf: Any, field: Field) -> int | None:
    raw = bytes(leaf)
    if len(raw) < 19 and raw.isdigit():
        number = int(raw)
    else:
        text = _text(leaf)
        if text is None:
            return None
        found = integral(text)
        if found is None:
            raise _Wrong(f"is not of type int: {text[:_SHOWN]}")
        number = found
    if field.most is not None and abs(number) > field.most:
        raise _Wrong(f"is beyond {field.most}: {number}")
    return number


def _double_field(leaf: Any, field: Field) -> float | None:
    text = _text(leaf)
    if text is None:
        return None
    number = float(text) if NUMBER.fullmatch(text) else None
    if number is None or number in (float("inf"), float("-inf")):
        raise _Wrong(f"is not of type double: {text[:_SHOWN]}")
    return number


def _boolean_field(leaf: Any, field: Field) -> bool | None:
    text = _text(leaf)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise _Wrong(f"is not of type boolean: {text[:_SHOWN]}")
    return text == "true"


_READ: dict[str, Callable[[Any, Field], Any]] = {
    "string": _string_field, "int": _int_field, "double": _double_field, "boolean": _boolean_field,
}  # fmt: skip


def integral(text: str) -> int | None:
    """The integer of 64 bits that a number of JSON is, however it is written (25000000.0, 1e7); None where it is none."""
    if not NUMBER.fullmatch(text):
        return None
    found = _PARTS.fullmatch(text)
    assert found
    fraction = found[3] or ""
    digits = (found[2] + fraction).strip("0")
    if not digits:
        return 0
    if len(found[5] or "") > 9:  # a power that no number of a reasonable length makes up for
        return None
    zeros = len(found[2] + fraction) - len((found[2] + fraction).rstrip("0"))
    power = int(f"{found[4] or ''}{found[5] or 0}") - len(fraction) + zeros
    if power < 0 or len(digits) + power > 19:
        return None
    number = int(digits) * 10**power * (-1 if found[1] else 1)
    return number if _LEAST <= number <= _MOST else None
