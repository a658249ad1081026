"""Why bytes are not one JSON object: the format that they are in place of it, by name, or what breaks the JSON.

Asked only of what could not be read, so the order may be by certainty and cost nothing to the others.
"""

from __future__ import annotations

import re

DEEPEST = 500  # levels of nesting: below what the stack of any worker holds, so that all decide alike
SHALLOW = 2 * DEEPEST  # bytes that cannot be nested deeper
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"\x82SNAPPY\x00", "Snappy"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy"),
    (b"PK\x03\x04", "ZIP"),
    (b"Obj\x01", "an Avro container file"),
    (b"\xc3\x01", "Avro with a schema's fingerprint"),
    (b"PAR1", "Parquet"),
)
_UTF = ((b"{\x00\x00\x00", "UTF-32"), (b"\x00\x00\x00{\x00\x00\x00", "UTF-32"), (b"\xff\xfe\x00\x00", "UTF-32"),
        (b"\x00\x00\xfe\xff", "UTF-32"), (b"{\x00", "UTF-16"), (b"\x00{\x00", "UTF-16"), (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"))  # fmt: skip
# A string without an end goes on to the end: else each escaped quote in it would be tried as a beginning. Possessive,
# for what was matched once is never given back.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NO_NUMBER = re.compile(rb"[:,\[]\s*(-?(?:NaN|Infinity)|[+-]?0[0-9]+)")
_SINGLE_QUOTES = re.compile(rb"[{,]\s*'")
_COMMENT = re.compile(rb"//|/\*")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PLACE = re.compile(r" \(byte \d+\)$")


def too_deep(value: bytes) -> bool:
    """Whether the JSON is nested deeper than DEEPEST."""
    if len(value) <= SHALLOW or value.count(b"{") + value.count(b"[") <= DEEPEST:
        return False
    deep = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", value)):
        deep += 1 if bracket[0] in b"[{" else -1
        if deep > DEEPEST:
            return True
    return False


def misread(value: bytes, said: str) -> str:
    """Why the value could not be read as one JSON object in UTF-8; `said`: what the parser said of it."""
    for magic, name in (*_UTF, *_MAGIC):
        if value.startswith(magic):
            return f"not JSON: {name}"
    if value[:1] == b"\x00" and len(value) > 5:
        return f"not JSON: Confluent's wire format (schema id {int.from_bytes(value[1:5], 'big')})"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    if "trailing characters" in said:
        return _behind_the_first(value, said)
    return f"not JSON: {_broken(value, said)}"


def _behind_the_first(value: bytes, said: str) -> str:
    found = re.search(r"byte (\d+)", said)
    rest = value[int(found[1]) :].lstrip(b" \t\r\n,") if found else b""
    what = "more than one value" if rest[:1] in (b"{", b"[", b'"') else "text behind the value"
    return f"not JSON: {what}"


def _broken(value: bytes, said: str) -> str:
    if value.lstrip()[:1] == b"<":
        return "XML or HTML"
    if not value.lstrip().startswith(b"{") and _BINARY.search(value):
        return "binary, such as Protocol Buffers"
    bare = _STRING.sub(b'""', value)
    if _SINGLE_QUOTES.search(bare):
        return "single quotes"
    if number := _NO_NUMBER.search(bare):
        return f"{number[1].decode()[:20]} is no number of JSON"
    if _COMMENT.search(bare):
        return "a comment"
    if _SURROGATE.search(value) and ("surrogate" in said or "truncated" in said or "escape" in said):
        return "half of a surrogate pair (\\ud800 to \\udfff by itself)"
    if not value.lstrip().startswith(b"{"):
        return "text"
    return said.removeprefix("JSON is malformed: ")
