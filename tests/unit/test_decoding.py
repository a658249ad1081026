"""Records decoded: literal tables of what producers send, and every other record against a slow and obvious model."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stitch.decoding import Decoder, Rules
from stitch.fields import integral
from stitch.rejections import KINDS, OTHER, kind_of
from stitch.settings import Settings

APPENDED = int(datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC).timestamp()) * 10**6
TEN = 1_709_200_800_000_000  # 2024-02-29T10:00:00Z
SETTINGS: dict[str, Any] = {
    "events": {"paths": {"country": "listener.country"},
               "types": {"duration_s": "int", "premium": "boolean", "volume": "double", "timestamp": "int"}},
    "counters": [{"name": "plays", "key": "track_id", "member": "country", "weights": {"play": "duration_s"},
                  "where": "premium and volume > 0.5"}],
}  # fmt: skip


def rules(**events: Any) -> Rules:
    return Settings.model_validate(SETTINGS | {"events": SETTINGS["events"] | events}).rules


DECODER = Decoder(rules())


def payload(**fields: Any) -> bytes:
    event = {"event_id": "e1", "type": "play", "occurred_at": "2024-02-29T10:00:00Z", "track_id": "t1", **fields}
    return json.dumps({name: value for name, value in event.items() if value != "absent"}).encode()


def raw(**fields: str) -> bytes:
    """A payload with the JSON of some fields as it is given."""
    event = {"event_id": '"e1"', "type": '"play"', "occurred_at": '"2024-02-29T10:00:00Z"', **fields}
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in event.items()) + "}").encode()


def fields(value: bytes, decoder: Decoder = DECODER) -> dict[str, Any]:
    decoded = decoder.decode(value, APPENDED, 1)
    assert decoded.reject_reason is None, decoded.reject_reason
    return dict(zip([field.name for field in decoder.rules.fields], decoded.fields, strict=True))


def notes(value: bytes, decoder: Decoder = DECODER) -> list[str] | None:
    return decoder.decode(value, APPENDED, 1).notes


JSON = "not a JSON object"
OK = payload()
REJECTED = [
    (None, "no value (a tombstone)"),
    (b"", JSON),
    (b" \n", JSON),
    (b"[1, 2]", JSON),
    (b"5", JSON),
    (b"null", JSON),
    (b'"text"', JSON),
    (OK + OK, "not JSON: more than one value"),
    (OK + b"\n" + OK, "not JSON: more than one value"),
    (OK + b" trailing", "not JSON: text behind the value"),
    (OK + b"\x00", "not JSON: text behind the value"),
    (OK.replace(b'"', b"'"), "not JSON: single quotes"),
    (raw(duration_s="NaN"), "not JSON: NaN is no number of JSON"),
    (raw(unread="NaN"), "not JSON: NaN is no number of JSON"),
    (raw(unread="[-Infinity]"), "not JSON: -Infinity is no number of JSON"),
    (raw(duration_s="031"), "not JSON: 031 is no number of JSON"),
    (b"/* why */" + OK, "not JSON: a comment"),
    (OK[:-1] + b", // why\n}", "not JSON: a comment"),
    (raw(track_id='"\\ud83c"'), "not JSON: half of a surrogate pair (\\ud800 to \\udfff by itself)"),
    (raw(unread='"\\udfb5\\ud83c"'), "not JSON: half of a surrogate pair (\\ud800 to \\udfff by itself)"),
    (raw(unread='"\\ud83cx"'), "not JSON: half of a surrogate pair (\\ud800 to \\udfff by itself)"),
    (b'{"event_id": "\xff\xfe"}', "not UTF-8"),
    (OK[:-1] + b', "unread": "\xed\xa0\x80"}', "not UTF-8"),
    (OK[:-1] + b', "\xff": 1}', "not UTF-8"),
    (raw(unread="[" * 501 + "]" * 501), "nested deeper than 500 levels"),
    (raw(unread="[" * 100_000), "nested deeper than 500 levels"),
    (b"\x00\x00\x00\x00\x2a" + OK, "not JSON: Confluent's wire format (schema id 42)"),
    (b"\x1f\x8b\x08\x00" + b"\x00" * 20, "not JSON: gzip"),
    (b"\x28\xb5\x2f\xfd\x24\x00", "not JSON: Zstandard"),
    (b"\x82SNAPPY\x00\x00\x00\x00\x01", "not JSON: Snappy"),
    (b"Obj\x01\x04\x14avro.codec", "not JSON: an Avro container file"),
    (b"\xc3\x01\x00\x00", "not JSON: Avro with a schema's fingerprint"),
    (OK.decode().encode("utf-16"), "not JSON: UTF-16"),
    (OK.decode().encode("utf-16-be"), "not JSON: UTF-16"),
    (OK.decode().encode("utf-32-be"), "not JSON: UTF-32"),
    (OK.decode().encode("utf-32"), "not JSON: UTF-32"),
    (b"\x08\x96\x01\x12\x07testing", "not UTF-8"),
    (b"\x0a\x02e1\x12\x04play", "not JSON: binary, such as Protocol Buffers"),
    (b"<event/>", "not JSON: XML or HTML"),
    (b"e1 played t1", "not JSON: text"),
    (payload(event_id="absent"), "event_id is missing"),
    (payload(event_id=None), "event_id is missing"),
    (payload(event_id=""), "event_id is missing"),
    (payload(event_id=" \t"), "event_id is missing"),
    (payload(event_id=[]), "event_id is missing"),
    (raw(event_id="{ }"), "event_id is missing"),
    (payload(event_id={"id": 1}), "event_id is an object, not a text"),
    (payload(event_id=["e1"]), "event_id is an array, not a text"),
    (payload(type="absent"), "type is missing"),
    (payload(type=""), "type is missing"),
    (payload(occurred_at="absent"), "occurred_at is missing"),
    (payload(occurred_at=None), "occurred_at is missing"),
    (payload(occurred_at=""), "occurred_at is missing"),
    (payload(occurred_at="yesterday"), "occurred_at is not an instant: yesterday"),
    (payload(occurred_at=True), "occurred_at is not an instant: true"),
    (payload(occurred_at={"at": 1}), 'occurred_at is not an instant: {"at": 1}'),
    (payload(occurred_at="2024-02-30T10:00:00Z"), "occurred_at is not an instant: 2024-02-30T10:00:00Z"),
    (payload(occurred_at="2024-W09-4"),
     "occurred_at is not an instant: 2024-W09-4 (a week date: write year, month, day as ISO-8601 does)"),
    (payload(occurred_at="2024-03-02T00:00:00Z"), "occurred_at is too far in the future: 2024-03-02T00:00:00Z"),
    (payload(occurred_at="1899-12-30T00:00:00Z"), "occurred_at is too far in the past: 1899-12-30T00:00:00Z"),
    (payload(occurred_at="1601-01-01"), "occurred_at is too far in the past: 1601-01-01"),
    (payload(occurred_at="1000-01-01"), "occurred_at is too far in the past: 1000-01-01"),
    (payload(occurred_at=0), "occurred_at is too far in the past: 0"),
    (payload(occurred_at=20240229), "occurred_at is too far in the past: 20240229"),
    (payload(occurred_at=-1), "occurred_at is too far in the past: -1"),
    (payload(occurred_at=10**30), f"occurred_at is not an instant: {10**30}"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), REJECTED)
def test_a_record_that_is_no_event_is_rejected_with_its_reason(value: bytes | None, reason: str) -> None:
    decoded = DECODER.decode(value, APPENDED, 1)
    assert decoded.reject_reason == reason
    assert (decoded.event_id, decoded.type, decoded.occurred_at, decoded.notes) == (None, None, None, None)
    assert set(decoded.fields) == {None}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("no value (a tombstone)", "no_value"), ("not a JSON object", "not_json"), ("not JSON: Snappy", "not_json"),
     ("not UTF-8", "not_json"), ("nested deeper than 500 levels", "not_json"), ("no ingest time", "no_ingest_time"),
     ("stamped by its producer (CreateTime), not by the broker", "stamped_by_producer"),
     ("event.id is missing", "missing"), ("event_id is an object, not a text", "not_a_text"),
     ("occurred_at is not an instant: the date is missing", "not_an_instant"),
     ("at is too far in the future: 9", "in_the_future"), ("at is too far in the past: 9", "in_the_past"),
     ("erased", OTHER)],
)  # fmt: skip
def test_reasons_are_of_few_kinds_for_figures(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def test_every_record_that_is_no_event_is_of_a_known_kind_and_every_kind_has_records() -> None:
    reasons = [reason for _, reason in REJECTED] + [
        DECODER.decode(*given).reject_reason or ""
        for given in ((OK, None, 1), (OK, APPENDED, 0), (b'{"a":' + b"[" * 501 + b"]" * 501 + b"}", APPENDED, 1))
    ]
    assert {kind_of(reason) for reason in reasons} == set(KINDS)


@pytest.mark.parametrize(
    ("appended", "timestamp_type", "reason"),
    [(None, 1, "no ingest time"), (APPENDED, -1, "no ingest time"), (APPENDED, 1, None), (APPENDED, None, None),
     (APPENDED, 0, "stamped by its producer (CreateTime), not by the broker")],
)  # fmt: skip
def test_only_what_the_broker_stamped_is_in_an_ingest_window(
    appended: int | None, timestamp_type: int | None, reason: str | None
) -> None:
    assert DECODER.decode(OK, appended, timestamp_type).reject_reason == reason


TEXTS = [
    ('"t1"', "t1"), ('"a\\u0062"', "ab"), ('"\\ud83c\\udfb5 \\/ \\" \\u0000"', '🎵 / " \0'), ("12345678", "12345678"),
    ("12345678.0", "12345678.0"), ("1.2345678E7", "1.2345678E7"), ("-0", "-0"), ("1e400", "1e400"), ("true", "true"),
    ("9" * 400, "9" * 400), ("null", None), ('""', ""), ('" "', " "),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "text"), TEXTS)
def test_ids_keys_and_members_are_texts_as_they_were_sent(sent: str, text: str | None) -> None:
    decoded = fields(raw(track_id=sent, listener=f'{{"country": {sent}}}'))
    assert (decoded["track_id"], decoded["country"]) == (text, text)
    assert notes(raw(track_id=sent)) is None
    if text and text.strip():
        assert DECODER.decode(raw(event_id=sent), APPENDED, 1).event_id == text
        assert DECODER.decode(raw(type=sent), APPENDED, 1).type == text


TYPED = [
    ("duration_s", "25000000.0", 25_000_000), ("duration_s", "1e7", 10_000_000), ("duration_s", "-0", 0),
    ("duration_s", "1.5e1", 15), ("duration_s", "150e-1", 15), ("duration_s", '"31"', 31),
    ("duration_s", '"3.1e1"', 31), ("duration_s", "-0.0", 0), ("duration_s", "0e999999999999", 0),
    ("duration_s", "null", None), ("duration_s", "1000000000000", 10**12),
    ("timestamp", "9223372036854775807", 2**63 - 1), ("timestamp", "-9223372036854775808", -(2**63)),
    ("timestamp", "9007199254740993.0", 9_007_199_254_740_993),
    ("volume", "0.75", 0.75), ("volume", "1", 1.0), ("volume", '"1e-3"', 0.001), ("volume", "5e-324", 5e-324),
    ("volume", "1e-400", 0.0),
    ("premium", "true", True), ("premium", "false", False), ("premium", '"true"', True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "value"), TYPED)
def test_a_number_counts_in_any_spelling(name: str, sent: str, value: Any) -> None:
    assert fields(raw(**{name: sent}))[name] == value
    assert notes(raw(**{name: sent})) is None


ABSENT = [
    ("duration_s", '"n/a"', "duration_s is not of type int: n/a"),
    ("duration_s", '""', "duration_s is not of type int: "),
    ("duration_s", "true", "duration_s is not of type int: true"),
    ("duration_s", "30.5", "duration_s is not of type int: 30.5"),
    ("duration_s", "29.99999999999999999999", "duration_s is not of type int: 29.99999999999999999999"),
    ("duration_s", "[30]", "duration_s is an array, not a text"),
    ("duration_s", '"031"', "duration_s is not of type int: 031"),
    ("duration_s", "1000000000001", "duration_s is beyond 1000000000000: 1000000000001"),
    ("duration_s", "-1e13", "duration_s is beyond 1000000000000: -10000000000000"),
    ("timestamp", "9223372036854775808", "timestamp is not of type int: 9223372036854775808"),
    ("timestamp", "1e999999999", "timestamp is not of type int: 1e999999999"),
    ("volume", "1e400", "volume is not of type double: 1e400"),
    ("volume", '"NaN"', "volume is not of type double: NaN"),
    ("premium", "1", "premium is not of type boolean: 1"),
    ("premium", '"yes"', "premium is not of type boolean: yes"),
    ("track_id", "{}", "track_id is an object, not a text"),
    ("track_id", '["t1"]', "track_id is an array, not a text"),
    ("listener", '{"country": {"code": "DE"}}', "listener.country is an object, not a text"),
    ("track_id", f'"{"x" * 1025}"', "track_id is longer than 1024 bytes"),
    ("track_id", f'"{"é" * 513}"', "track_id is longer than 1024 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "note"), ABSENT)
def test_what_is_wrong_with_a_field_costs_the_field_alone(name: str, sent: str, note: str) -> None:
    value = raw(**({"track_id": '"t1"'} | {name: sent}))
    assert fields(value)["country" if name == "listener" else name] is None
    assert notes(value) == [note]
    assert name == "track_id" or fields(value)["track_id"] == "t1"


def test_the_longest_text_and_a_path_through_no_object() -> None:
    assert fields(payload(track_id="é" * 512))["track_id"] == "é" * 512
    for listener in ("5", '"DE"', "[]", "null", "{}"):
        assert fields(raw(listener=listener))["country"] is None
        assert notes(raw(listener=listener)) is None


def test_a_byte_order_mark_is_skipped_and_of_two_names_the_last_counts() -> None:
    assert fields(b"\xef\xbb\xbf" + payload(track_id="t9"))["track_id"] == "t9"
    assert fields(payload(track_id="t1")[:-1] + b', "track_id": 2.0}')["track_id"] == "2.0"
    assert fields(payload(track_id="t1")[:-1] + b', "track_id": null}')["track_id"] is None
    assert fields(raw(listener='{"country": "DE"}')[:-1] + b', "listener": {}}')["country"] is None


def test_a_producer_may_write_epoch_seconds_or_say_its_unit() -> None:
    for said in (1_709_200_800, 1_709_200_800_000, 1_709_200_800_000.0, "1709200800"):
        assert DECODER.decode(payload(occurred_at=said), APPENDED, 1).occurred_at == TEN
    in_ms = Decoder(rules(epoch="ms"))
    assert in_ms.decode(payload(occurred_at=1_709_200_800_000), APPENDED, 1).occurred_at == TEN
    assert "past" in (in_ms.decode(payload(occurred_at=1_709_200_800), APPENDED, 1).reject_reason or "")


def test_how_far_back_an_event_may_lie_is_a_setting() -> None:
    old = Decoder(rules(max_past="10d"))
    assert old.decode(payload(occurred_at="2024-02-19T23:59:30Z"), APPENDED, 1).reject_reason is None
    assert old.decode(payload(occurred_at="2024-02-19T23:59:29.999999Z"), APPENDED, 1).reject_reason is not None


def test_identity_may_be_any_fields_and_an_event_without_one_of_them_is_rejected() -> None:
    by_track = Decoder(rules(identity=["track_id", "timestamp"]))
    without = payload(event_id="absent", timestamp=5)
    assert by_track.decode(without, APPENDED, 1).reject_reason is None  # event_id is no part of it
    for wrong in (payload(track_id=" ", timestamp=5), payload(timestamp="x"), payload()):
        assert (by_track.decode(wrong, APPENDED, 1).reject_reason or "").endswith("is missing")


def test_a_type_may_be_the_same_of_all_events_whatever_they_say() -> None:
    plays = Decoder(rules(constant_type="play"))
    for value in (
        payload(type="like"),
        payload(type=None),
        payload(type=["x"]),
        b'{"event_id":"e1","occurred_at":1709200800}',
    ):
        assert plays.decode(value, APPENDED, 1)[1::4] == ("play", None)
        assert plays.typed(value)[1] == "play"
    assert plays.decode(payload(event_id=None), APPENDED, 1).reject_reason == "event_id is missing"


def test_an_id_may_be_read_twice_and_own_fields_may_be_anywhere() -> None:
    odd = Decoder(rules(event_id="listener.country", occurred_at="timestamp", type="Type"))
    value = b'{"Type": "play", "type": "x", "timestamp": 1709200800, "listener": {"country": 7.0}}'
    decoded = odd.decode(value, APPENDED, 1)
    assert (decoded.event_id, decoded.type, decoded.occurred_at) == ("7.0", "play", TEN)
    assert fields(value, odd) == {"country": "7.0", "timestamp": 1_709_200_800, "track_id": None, "duration_s": None,
                                  "premium": None, "volume": None}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    {"1e18": 10**18, "1e19": None, "0.1e1": 1, "100e-2": 1, "1e-1": None, "1E+00000000000001": 10, "x": None, "": None,
     "9223372036854775808": None, "0." + "0" * 5000: 0, "1" + "0" * 5000 + "e-5000": 1}.items(),
)  # fmt: skip
def test_an_integral_number_is_told_without_making_it_huge(text: str, number: int | None) -> None:
    assert integral(text) == number


def test_a_long_string_without_an_end_is_told_at_once() -> None:
    """JSON in JSON that was cut off: with a pattern that goes back, 40 KB took 13 s."""
    for inner in (b'\\"' * 300_000, b'{\\"a\\":1},' * 50_000 + b"[" * 501):
        found = DECODER.decode(b'{"event_id":"e1","x":"' + inner, APPENDED, 1)
        assert found.reject_reason and found.reject_reason.startswith("not JSON")
