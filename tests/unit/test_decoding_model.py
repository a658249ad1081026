"""The decoder against a slow and obvious model: json.loads held to RFC 8259, decimals, and instants made by datetime.

Records are made valid and then broken: fields of any JSON, bytes put in, taken out and changed, encodings, nesting.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stitch.decoding import Decoder, Rules
from stitch.settings import Settings

NOW = datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC)
APPENDED = int(NOW.timestamp()) * 10**6
DEEPEST = 500


class Number(str):
    """A number of JSON as it was written."""


def rules(**events: Any) -> Rules:
    settings = {
        "events": {"paths": {"country": "listener.country", "city": "listener.at.city"}, "max_text": 20,
                   "types": {"duration_s": "int", "premium": "boolean", "volume": "double", "count": "int"}, **events},
        "counters": [{"name": "plays", "key": "track_id", "member": "country",
                      "weights": {"play": "duration_s", "play ♥": 1}}],
    }  # fmt: skip
    return Settings.model_validate(settings).rules


OTHERS = [{}, {"identity": ["track_id", "type"]}, {"event_id": "track_id"}, {"constant_type": "play ♥"}]
DECODERS = [Decoder(rules(**events)) for events in OTHERS]


def model(value: bytes, rules: Rules) -> tuple[Any, ...] | None:
    """(event_id, type, occurred_at, values, how many notes), or None for what is no event."""
    try:
        event = parsed(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or depth(event) > DEEPEST:
        return None
    own = [text_at(event, rules.event_id), rules.constant_type or text_at(event, rules.type)]
    at = instant(at_path(event, rules.occurred_at))
    read = [read_field(at_path(event, field.path), field.kind, field.most) for field in rules.fields]
    values = [found for found, _ in read]
    identity = {"event_id": own[0], "type": own[1]} | {f.name: v for f, v in zip(rules.fields, values, strict=True)}
    needed = [identity[name] for name in {*rules.identity, "type"}]
    if at is None or any(blank(one) for one in needed):
        return None
    return (None if blank(own[0]) else own[0], own[1], at, values, sum(wrong for _, wrong in read))


def parsed(value: bytes) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    text = value.decode("utf-8").removeprefix("\ufeff")
    found = json.loads(text, parse_float=Number, parse_int=Number, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # fails where half of a surrogate pair is in it
    return found


def depth(found: Any) -> int:
    level, deep = [found], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        deep += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return deep


def at_path(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_of(found: Any) -> str | None:
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str) else None


def text_at(event: Any, path: str) -> str | None:
    return text_of(at_path(event, path))


def blank(found: Any) -> bool:
    return found is None or (isinstance(found, str) and not found.strip())


def read_field(found: Any, kind: str, most: int | None) -> tuple[Any, bool]:
    """The value, and whether it is wrong."""
    text = text_of(found)
    if found is None or text is None:
        return None, found is not None
    try:
        if kind == "string":
            return (text, False) if most is None or len(text.encode()) <= most else (None, True)
        if kind == "boolean":
            return {"true": True, "false": False}[text], False
        json.loads(text, parse_int=Number, parse_float=Number, parse_constant=lambda _: None)
        if text.strip(" \t\r\n") != text or not isinstance(
            json.loads(text, parse_int=Number, parse_float=Number), Number
        ):
            return None, True
        number = Decimal(text)
        if kind == "double":
            return (float(text), False) if abs(float(text)) != float("inf") else (None, True)
        if (number and number.adjusted() > 20) or number != number.to_integral_value():
            return None, True
        fits = -(2**63) <= number < 2**63 and (most is None or abs(number) <= most)
        return (int(number), False) if fits else (None, True)
    except (ValueError, KeyError, ArithmeticError):
        return None, True


def instant(found: Any) -> int | None:
    """Only the instants that the generators make: 2024-02-…T…Z and numbers since 1970."""
    if isinstance(found, bool) or not isinstance(found, str):
        return None
    try:
        if isinstance(found, Number):
            number = Decimal(found)
            if abs(number) < 10**6 or number.adjusted() > 15:
                return None  # 1970, or a year that is not
            seconds = number if number < 10**11 else number / 10**3 if number < 10**14 else number / 10**6
            micros = int(seconds * 10**6 // 1)
        else:
            at = datetime.strptime(found, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
            micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    except (ValueError, ArithmeticError):
        return None
    day = 86_400 * 10**6
    return micros if APPENDED - 9131 * day <= micros <= APPENDED + day else None


def agree(value: bytes) -> None:
    """Both say the same."""
    for decoder in DECODERS:
        found, expected = decoder.decode(value, APPENDED, 1), model(value, decoder.rules)
        if expected is None:
            assert found.reject_reason is not None, (value, found)
        else:
            assert found.reject_reason is None, (value, found)
            shown = (found.event_id, found.type, found.occurred_at, list(found.fields), len(found.notes or ()))
            assert shown == expected, value


texts = (
    st.text(max_size=8)
    | st.text("aé🎵\0\\\"/{}[]'", max_size=30)
    | st.sampled_from(["", " ", "31", "1e3", "true", "null"])
)
numbers = st.from_regex(r"\A-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,4})?\Z").map(Number)
numbers |= st.integers(-(2**64), 2**64).map(lambda n: Number(str(n))) | st.floats(
    allow_nan=False, allow_infinity=False
).map(lambda x: Number(repr(x)))
leaves = texts | numbers | st.none() | st.booleans()
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
minutes = st.integers(-9000 * 1440, 3 * 1440).map(lambda m: f"{NOW + timedelta(minutes=m):%Y-%m-%dT%H:%M:%S.%fZ}")
instants = (
    minutes
    | st.integers(10**6, 2 * 10**15).map(lambda n: Number(str(n)))
    | st.booleans()
    | st.just(Number("1709200800.25"))
)
events = st.fixed_dictionaries(
    {"event_id": st.just("e1") | leaves, "type": st.just("play") | leaves, "occurred_at": instants},
    optional={
        "track_id": anything, "duration_s": anything, "count": leaves, "volume": anything, "premium": anything,
        "listener": anything | st.fixed_dictionaries({}, optional={
            "country": anything, "at": anything | st.fixed_dictionaries({}, optional={"city": anything})}),
        "unread": anything,
    },
)  # fmt: skip


def written(found: Any, ascii_only: bool, space: str) -> str:
    """JSON, numbers as they are written; strings escaped or not."""
    if isinstance(found, Number):
        return str(found)
    if isinstance(found, dict):
        members = (
            f"{json.dumps(name, ensure_ascii=ascii_only)}{space}:{written(one, ascii_only, space)}"
            for name, one in found.items()
        )
        return "{" + f"{space},".join(members) + space + "}"
    if isinstance(found, list):
        return "[" + f",{space}".join(written(one, ascii_only, space) for one in found) + "]"
    return json.dumps(found, ensure_ascii=ascii_only)


payloads = st.builds(written, events, st.booleans(), st.sampled_from(["", " ", "\n\t"])).map(str.encode)


@given(payloads)
@example(b"\xef\xbb\xbf" + b'{"event_id":1.0,"type":"p","occurred_at":1709200800}')
@example(b'{"event_id":-0,"type":"p","occurred_at":1709200800}')
@example(b'{"event_id":12345678901234567890,"type":"p","occurred_at":1709200800123,"track_id":-9223372036854775808}')
@example(b'{"event_id":"1","type":"p","occurred_at":1709200800,"volume":0.1000000000000000055511151231257827}')
def test_a_record_of_any_fields_is_decoded_as_the_model_does(value: bytes) -> None:
    agree(value)


PIECES = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"\x00", b"\x1f", b"\xff",
     b"\xed\xa0\x80", b"\\u", b"\\ud83c", b"\\udfb5", b"'", b"NaN", b"null", b"//", b" ", b"\n", b"\x0b", b"\xc2\xa0",
     b"\xef\xbb\xbf", b"1e999"]
) | st.binary(min_size=1, max_size=3)  # fmt: skip


@given(payloads, st.lists(st.tuples(st.integers(0, 10_000), PIECES, st.integers(0, 3)), min_size=1, max_size=3))
def test_a_record_with_bytes_changed_is_decoded_as_the_model_does(
    value: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    for at, piece, over in changes:
        place = at % (len(value) + 1)
        value = value[:place] + piece + value[place + over :]
    agree_but_for_instants(value)


def agree_but_for_instants(value: bytes) -> None:
    """As `agree`, where the bytes changed may have made an instant of another form, which the model does not know."""
    try:
        event = parsed(value)
        said = at_path(event, "occurred_at")
        unknown = isinstance(said, str) and instant(said) is None
    except (ValueError, RecursionError):
        unknown = False
    if not unknown:
        agree(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_rejected(value: bytes) -> None:
    agree(value)


@given(st.integers(490, 510), st.booleans(), st.sampled_from([b"", b"]", b'"[" ,']))
def test_nesting_has_one_limit_for_all(levels: int, objects: bool, before: bytes) -> None:
    inner = b'{"a":' * levels + b"1" + b"}" * levels if objects else b"[" * levels + before[4:] + b"]" * levels
    agree(b'{"event_id":"e1","type":"[[[","occurred_at":1709200800,"unread":' + inner + b"}")


@given(st.sampled_from(["utf-16", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "cp037", "utf-7"]), texts)
def test_a_record_in_another_encoding_is_decoded_as_its_bytes_say(encoding: str, track: str) -> None:
    event = {"event_id": "e1", "type": "play", "occurred_at": "2024-02-29T10:00:00.0Z", "track_id": track}
    agree(json.dumps(event, ensure_ascii=False).encode(encoding, "replace"))
