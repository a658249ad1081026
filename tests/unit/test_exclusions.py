"""Events that are not to be counted: which rules a file may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from stitch.exclusions import ExclusionError, keep, known, mark, parse, read

FIELDS = ("track_id", "country")


def test_rules_are_values_by_field_and_a_reason_is_for_people() -> None:
    text = '{"event_id": "e2"}\n\n{"event_id": "e1", "reason": "bot"}\n{"track_id": 9}\n{"event_id": "e1"}\n{"track_id": 12345678.0}\n{"track_id": 1e7}\n'
    assert parse(text, FIELDS, "f") == {"event_id": ["e1", "e2"], "track_id": ["12345678.0", "1e7", "9"]}


def test_every_bad_line_is_told_at_once() -> None:
    text = 'e1\n["e1"]\n{"event_id": "e1", "track_id": "t1"}\n{"nobody": "x"}\n{"country": null}\n{"country": "T1"}'
    with pytest.raises(ExclusionError) as told:
        parse(text, FIELDS, "spam.jsonl")
    assert str(told.value).splitlines() == [
        "spam.jsonl cannot be used:",
        "  line 1: not JSON: e1",
        '  line 2: a rule is an object such as {"event_id": "e1"}',
        "  line 3: a rule names exactly one field, and perhaps a reason",
        "  line 4: no event has a field 'nobody'; known are event_id, country, track_id",
        "  line 5: the value of country must be a string or a number",
    ]


def test_rules_are_kept_once_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    kept, new, bad = (str(tmp_path / name) for name in ("kept/exclusions.jsonl", "new.jsonl", "bad.jsonl"))
    Path(new).write_text('{"event_id": "e1"}\n{"event_id": "e2"}\n')
    Path(bad).write_text('{"event_id": "e3"}\nbroken\n')
    assert (keep(new, kept, FIELDS), keep(new, kept, FIELDS)) == (2, 0)
    with pytest.raises(ExclusionError):
        keep(bad, kept, FIELDS)
    assert read(kept, FIELDS) == {"event_id": ["e1", "e2"]}
    assert read(str(tmp_path / "none"), FIELDS) == {}
    with pytest.raises(ExclusionError, match="cannot be read"):
        keep(str(tmp_path / "none"), kept, FIELDS)


def test_the_first_so_many_rules_are_those_that_were_in_force_before_others_were_added(tmp_path: Path) -> None:
    kept, first, more = (str(tmp_path / name) for name in ("kept.jsonl", "first.jsonl", "more.jsonl"))
    Path(first).write_text('{"event_id": "e2"}\n\n{"event_id": "e9"}\n')
    Path(more).write_text('{"event_id": "e9"}\n{"event_id": "e1"}\n')
    assert (mark(kept)[0], known(kept, *mark(kept)), read(kept, FIELDS, 5)) == (0, 0, {})
    keep(first, kept, FIELDS)
    before = mark(kept)
    keep(more, kept, FIELDS)
    assert (mark(kept)[0], read(kept, FIELDS)) == (3, {"event_id": ["e1", "e2", "e9"]})
    assert known(kept, *before) == 2 and 0 <= before[1] < 2**63
    assert (read(kept, FIELDS, 2), read(kept, FIELDS, 0)) == ({"event_id": ["e2", "e9"]}, {})


def test_rules_that_were_changed_by_hand_are_known_to_nobody(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text('{"event_id": "e1"}\n{"event_id": "e2"}\n')
    before = mark(str(kept))
    for by_hand in (
        '{"event_id": "e1"}\n{"track_id": "t1"}\n',
        '{"event_id": "e2"}\n',
        '{"event_id": "e3"}\n' + kept.read_text(),
    ):
        kept.write_text(by_hand)
        assert known(str(kept), *before) == 0
    kept.unlink()
    assert known(str(kept), *before) == 0
