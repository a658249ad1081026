"""Fields read from the JSON of their values: texts as sent, numbers and booleans in any spelling that says one.

A reader takes the bytes of a value and returns what the field holds, None where it is absent or null, or raises Wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from stitch.instants import NUMBER

LEAST, MOST = -(2**63), 2**63 - 1
SHOWN = 80  # characters of a value in a reason
_QUOTE, _BACKSLASH = 0x22, 0x5C
_PARTS = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)0*([0-9]+))?")


class Field(NamedTuple):
    """One field of an event: where it is, of which type, and its bound (bytes of a text, size of an amount)."""

    name: str
    path: str
    kind: str
    most: int | None = None


class Wrong(Exception):
    """A value is not what its field may hold; the message says how."""


_decoded = msgspec.json.Decoder(str).decode


def as_string(raw: bytes) -> str:
    return _decoded(raw) if _BACKSLASH in raw else raw[1:-1].decode()


def as_text(raw: bytes) -> str | None:
    """A value as it was sent. Raises Wrong for an object or an array."""
    if not raw or raw == b"null":
        return None
    if raw[0] == _QUOTE:
        return as_string(raw)
    if raw[:1] in b"{[":
        raise Wrong(f"is an {'object' if raw[:1] == b'{' else 'array'}, not a text")
    return raw.decode()


def _string_field(raw: bytes, field: Field) -> str | None:
    text = as_text(raw)
    most = field.most
    if text is not None and most is not None and len(text) * 4 > most and len(text.encode()) > most:
        raise Wrong(f"is longer than {most} bytes")
    return text


def _int_field(raw: bytes, field: Field) -> int | None:
    text = as_text(raw)
    if text is None:
        return None
    number = integral(text)
    if number is None:
        raise Wrong(f"is not of type int: {text[:SHOWN]}")
    if field.most is not None and abs(number) > field.most:
        raise Wrong(f"is beyond {field.most}: {number}")
    return number


def _double_field(raw: bytes, field: Field) -> float | None:
    text = as_text(raw)
    if text is None:
        return None
    number = float(text) if NUMBER.fullmatch(text) else None
    if number is None or number in (float("inf"), float("-inf")):
        raise Wrong(f"is not of type double: {text[:SHOWN]}")
    return number + 0.0  # one zero


def _boolean_field(raw: bytes, field: Field) -> bool | None:
    text = as_text(raw)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise Wrong(f"is not of type boolean: {text[:SHOWN]}")
    return text == "true"


READERS: dict[str, Callable[[Any, Field], Any]] = {
    "string": _string_field, "int": _int_field, "double": _double_field, "boolean": _boolean_field,
}  # fmt: skip


def integral(text: str) -> int | None:
    """The integer of 64 bits that a number of JSON is, however it is written (25000000.0, 1e7); None where it is
    none."""
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
    return number if LEAST <= number <= MOST else None
