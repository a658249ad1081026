"""Events that are not to be counted: which rules a file may hold."""

from __future__ import annotations

from stitch.exclusions import parse

FIELDS = ("track_id", "country")


def test_rules_are_a_field_and_a_value_as_it_was_written_and_a_reason_for_people() -> None:
    text = (
        b'{"event_id": "e2"}\n\n  {"event_id": "e1", "reason": "bot"}\r\n{"track_id": 12345678.0}\n{"track_id": 1e7}\n'
    )
    assert [(line.number, line.field, line.value, line.reason) for line in parse(text, FIELDS)] == [
        (1, "event_id", "e2", None),
        (3, "event_id", "e1", "bot"),
        (4, "track_id", "12345678.0", None),
        (5, "track_id", "1e7", None),
    ]
    assert [line.wrong for line in parse(text, FIELDS)] == [None] * 4


def test_a_part_of_a_file_has_the_line_numbers_of_the_file() -> None:
    assert [line.number for line in parse(b'\n{"event_id": "e1"}\n', FIELDS, first=1000)] == [1001]


def test_a_field_that_is_called_reason_can_be_named_too() -> None:
    ((_, field, value, reason, wrong),) = parse(b'{"reason": "spam"}', ["reason"])
    assert (field, value, reason, wrong) == ("reason", "spam", None, None)


def test_of_every_bad_line_it_is_told_what_is_wrong() -> None:
    text = (
        b'e1\n["e1"]\n{"event_id": "e1", "track_id": "t1"}\n{"nobody": "x"}\n{"country": null}\n{"country": "T1"}\n'
        b'{"country": NaN}\n{"country": "\xff"}\n{}\n{"track_id": true}\n' + b"[" * 100_000
    )
    assert [(line.number, line.wrong) for line in parse(text, FIELDS) if line.wrong] == [
        (1, "not JSON: e1"),
        (2, 'a rule is an object such as {"event_id": "e1"}'),
        (3, "a rule names exactly one field, and perhaps a reason"),
        (4, "no event has a field 'nobody'; known are event_id, country, track_id"),
        (5, "the value of country must be a string or a number"),
        (7, 'not JSON: {"country": NaN}'),
        (8, 'not JSON: {"country": "\ufffd"}'),
        (9, "a rule names exactly one field, and perhaps a reason"),
        (10, "the value of track_id must be a string or a number"),
        (11, "not JSON: " + "[" * 80),
    ]
