"""A record decoded into an event, or into the reason why it is none: one definition for every job and every replay.

Whether a record is an event depends on the record alone: its bytes, its broker timestamp and that timestamp's type. It
is rejected only for what all counters need: strict JSON (RFC 8259, one object), identity, type and instant. Anything
else that is wrong costs the one field, which is then absent, and is noted.

Ids, keys and members are texts: a string as it reads, a number or a boolean exactly as it was written. So a payload
is not decoded into numbers but into the bytes of each value (msgspec's Raw), which its field's type then reads.
Nothing but the standard library and msgspec is needed, for this runs in Spark's workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from stitch.fields import LEAST, MOST, READERS, SHOWN, Field, Wrong, as_string, as_text
from stitch.instants import NUMBER, hint, instant_of_number, instant_of_text
from stitch.leaves import raw_leaves, typed_leaves
from stitch.payloads import DEEPEST, SHALLOW, misread, too_deep

VERSION = 2  # raise it with every change of what a record is decoded into: logs of another are decoded again
OWN = ("event_id", "type", "occurred_at")
TOPIC = "_topic"  # the column that says which of several topics a record is of: no field has such a name
CREATE_TIME, NO_TIME = 0, -1  # Kafka's types of timestamps; LogAppendTime is 1
_BOM = b"\xef\xbb\xbf"
T = TypeVar("T")
_INTEGER = Annotated[int, msgspec.Meta(ge=LEAST, le=MOST)]


class Rules(NamedTuple):
    """What the settings say about the events of a topic, as plain data for workers.

    constant_type: the type of all events; then `type` is empty, and none is read
    """

    event_id: str
    type: str
    occurred_at: str
    identity: tuple[str, ...]
    epoch: str
    max_past: int  # µs
    max_future: int  # µs
    fields: tuple[Field, ...]
    constant_type: str | None = None

    @property
    def said(self) -> list[Any]:
        """As JSON has them: with a constant type only where there is one, so that the names of decoders last."""
        said = list(self)
        return said if self.constant_type is not None else said[:-1]


class Decoded(NamedTuple):
    """An event, or why it is none: then all but `reject_reason` is empty."""

    event_id: str | None
    type: str | None
    occurred_at: int | None  # µs since 1970
    fields: Sequence[Any]
    notes: list[str] | None  # what was wrong with fields that are absent therefore
    reject_reason: str | None


class Rejected(Exception):
    """A record is no event; the message says why."""


class Unusual(Exception):
    """A record is to be decoded by itself."""


class Decoder:
    """Decodes records by the rules. Made once for many."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        own = (rules.event_id, *([] if rules.constant_type else [rules.type]), rules.occurred_at)
        paths = (*own, *(field.path for field in rules.fields))
        constant = None if rules.constant_type is None else msgspec.json.encode(rules.constant_type)
        self._raw = _with_type(raw_leaves(paths), constant)
        self._readers = tuple((field, READERS[field.kind]) for field in rules.fields)
        self._nothing = (None,) * len(rules.fields)
        places = {field.name: at for at, field in enumerate(rules.fields)}
        self._identity = tuple(places[name] for name in rules.identity if name not in OWN)
        # A path that two fields read each in its own way has no one type; identity by fields is judged one by one.
        plain = len(set(paths)) == len(paths) and not self._identity
        self._texts, self._texts_or_integers = (
            _with_type(typed_leaves(_types(rules, integers)), rules.constant_type) if plain else None
            for integers in (False, True)
        )
        self._integers = False
        self._texts_at = (0, 1, *(3 + at for at, field in enumerate(rules.fields) if field.kind == "string"))

    def decode(self, value: bytes | None, appended: int | None, timestamp_type: int | None = None) -> Decoded:
        """`appended`: the broker timestamp in µs; its type as Kafka says it, None where nobody did."""
        try:
            return self._event(value, appended, timestamp_type)
        except Rejected as reason:
            return Decoded(None, None, None, self._nothing, None, str(reason))

    def typed(self, value: bytes | None) -> Sequence[Any]:
        """(event_id, type, occurred_at: as it was sent, *fields) of a record of which every value has the type that it
        nearly always has, several times faster. It decides nothing: what it returns, `decode` reads alike, but for
        blank ids and instants, which are yet to be looked at. Raises Unusual for any other record."""
        if value is None or self._texts is None or self._texts_or_integers is None:
            raise Unusual
        try:
            if not value.isascii():
                value.decode()
            if len(value) > SHALLOW and too_deep(value):
                raise Unusual
            if not self._integers:
                try:
                    return self._texts(value)
                except msgspec.ValidationError:  # a producer whose ids or instants are numbers: most likely all of them
                    self._integers = True
            found = list(self._texts_or_integers(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unusual from None
        for at in self._texts_at:
            number = found[at]
            if type(number) is int:
                if not number:  # -0 as it was written is not 0
                    raise Unusual
                found[at] = str(number)
        return found

    def _event(self, value: bytes | None, appended: int | None, timestamp_type: int | None) -> Decoded:
        if appended is None or timestamp_type == NO_TIME:
            raise Rejected("no ingest time")
        if timestamp_type == CREATE_TIME:
            raise Rejected("stamped by its producer (CreateTime), not by the broker")
        if value is None:
            raise Rejected("no value (a tombstone)")
        event_id, kind, instant, *values = self._parsed(value)
        read: list[Any] = []
        notes: list[str] = []
        for (field, reader), raw in zip(self._readers, values, strict=True):
            try:
                read.append(reader(raw, field))
            except Wrong as wrong:
                read.append(None)
                notes.append(f"{field.path} {wrong}")
        for at in self._identity:
            if read[at] is None or (isinstance(read[at], str) and not read[at].strip()):
                raise Rejected(f"{self.rules.fields[at].path} is missing")
        return Decoded(
            _own_text(event_id, self.rules.event_id, "event_id" in self.rules.identity),
            _own_text(kind, self.rules.type, True),
            self._instant(instant, appended),
            read,
            notes or None,
            None,
        )

    def _parsed(self, value: bytes) -> Sequence[bytes]:
        if value.startswith(_BOM):
            value = value[len(_BOM) :]
        try:
            value.decode()  # the parser does not look at the texts that it skips
            if too_deep(value):
                raise Rejected(f"nested deeper than {DEEPEST} levels")
            return self._raw(value)
        except msgspec.ValidationError:
            raise Rejected("not a JSON object") from None
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            raise Rejected(misread(value, str(error)) if value.strip() else "not a JSON object") from None
        except RecursionError:
            raise Rejected(f"nested deeper than {DEEPEST} levels") from None

    def _instant(self, raw: bytes, appended: int) -> int:
        path, epoch = self.rules.occurred_at, self.rules.epoch
        said = as_string(raw) if raw.startswith(b'"') else raw.decode()
        if not said.strip() or raw == b"null":
            raise Rejected(f"{path} is missing")
        if raw.startswith(b'"'):
            at = instant_of_text(said, epoch)
        else:
            at = instant_of_number(said, epoch) if NUMBER.fullmatch(said) else None
        if at is None:
            raise Rejected(f"{path} is not an instant: {said[:SHOWN]}{hint(said)}")
        if at > appended + self.rules.max_future:
            raise Rejected(f"{path} is too far in the future: {said}")
        if at < appended - self.rules.max_past:
            raise Rejected(f"{path} is too far in the past: {said}")
        return at


def _with_type(read: Callable[[bytes], Sequence[T]], constant: T | None) -> Callable[[bytes], Sequence[T]]:
    """The function from a payload to its values, with the constant in the place of the type; itself where there is
    none."""

    if constant is None:
        return read

    def values(payload: bytes) -> list[T]:
        event_id, *rest = read(payload)
        return [event_id, constant, *rest]

    return values


def _types(rules: Rules, integers: bool = False) -> dict[str, Any]:
    """The type that the value of each path nearly always has. `integers`: texts may be such too."""
    own = str | _INTEGER | None if integers else str | None
    paths = (rules.event_id, *([] if rules.constant_type else [rules.type]), rules.occurred_at)
    types: dict[str, Any] = dict.fromkeys(paths, own)
    for field in rules.fields:
        if field.kind == "string":
            text: Any = str
            if field.most:  # no character takes more than four bytes
                text = Annotated[str, msgspec.Meta(max_length=field.most // 4)]
            fits = field.most is None or field.most >= len(str(LEAST))
            types[field.path] = text | _INTEGER | None if integers and fits else text | None
        elif field.kind == "int":
            least, most = (-field.most, field.most) if field.most else (LEAST, MOST)
            types[field.path] = Annotated[int, msgspec.Meta(ge=least, le=most)] | None
        else:
            types[field.path] = {"double": float, "boolean": bool}[field.kind] | None
    return types


def _own_text(raw: bytes, path: str, needed: bool) -> str | None:
    """Identity and type: what is blank or empty is missing."""
    try:
        text = as_text(raw)
    except Wrong as wrong:
        if needed and raw[1:-1].strip():
            raise Rejected(f"{path} {wrong}") from None
        text = None
    if text is not None and text.strip():
        return text
    if needed:
        raise Rejected(f"{path} is missing")
    return None
