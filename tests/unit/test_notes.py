"""Notes are written whole, and one that is not whole is a message with the file, the line and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs.sources.segments import begin, losses, note_loss, segments

from stitch.notes import TornNote, read_note, write_note
from stitch.sections import LogSettings


def test_a_note_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_note(tmp_path / "new/note.json", text)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["note.json"]
    assert (tmp_path / "new/note.json").read_text("utf-8") == "two"


def test_a_writer_that_fails_leaves_the_note_as_it_was(tmp_path: Path) -> None:
    write_note(tmp_path / "note.json", "one")
    with pytest.raises(UnicodeEncodeError):
        write_note(tmp_path / "note.json", "two \udcff")
    assert (tmp_path / "note.json").read_text("utf-8") == "one"


TORN = {
    "empty": (b"", "it is empty"),
    "cut off": (b'{"topic_id": "x', "it is no JSON"),
    "another kind": (b"[1]", "it is no object with topic_id"),
    "without its key": (b'{"other": 1}', "it is no object with topic_id"),
    "no text": (b"\xff\xfe", "it is no text"),
}


@pytest.mark.parametrize(("content", "why"), TORN.values(), ids=TORN.keys())
def test_a_torn_note_is_named_with_the_way_out(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "topic.json").write_bytes(content)
    with pytest.raises(TornNote, match=rf"topic\.json is not whole: {why}.* Write it again") as told:
        read_note(tmp_path / "topic.json", ("topic_id",), "Write it again")
    assert str(tmp_path) in str(told.value)


def test_a_segment_whose_note_is_torn_is_not_taken_for_none(tmp_path: Path) -> None:
    log = LogSettings(path=str(tmp_path / "log"))
    assert segments(log) == [] and begin(log, "t1") == segments(log)[0]
    (tmp_path / "log/segment=1/topic.json").write_text("", "utf-8")
    with pytest.raises(TornNote, match=r"segment=1/topic\.json is not whole: it is empty"):
        segments(log)


def test_losses_are_added_once_and_a_torn_line_is_named_by_its_number(tmp_path: Path) -> None:
    log = LogSettings(path=str(tmp_path / "log"))
    for _ in range(2):
        note_loss(log, {0: (5, 9), 1: (2, None)}, None, None)
    assert [(loss["partition"], loss["first"], loss["last"]) for loss in losses(log)] == [(0, 5, 9), (1, 2, None)]
    file = tmp_path / "log.losses.jsonl"
    file.write_text(file.read_text("utf-8")[:-20], "utf-8")
    with pytest.raises(TornNote, match=r"log\.losses\.jsonl, line 2 is not whole"):
        losses(log)
