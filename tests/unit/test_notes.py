"""Notes are written whole, and one that is not whole is a message with the file, the line and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from stitch.notes import TornNote, read_note, write_note


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
    "cut off": (b'{"track": "x', "it is no JSON"),
    "another kind": (b"[1]", "it is no object with track"),
    "without its key": (b'{"other": 1}', "it is no object with track"),
    "no text": (b"\xff\xfe", "it is no text"),
}


@pytest.mark.parametrize(("content", "why"), TORN.values(), ids=TORN.keys())
def test_a_torn_note_is_named_with_the_way_out(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "note.json").write_bytes(content)
    with pytest.raises(TornNote, match=rf"note\.json is not whole: {why}.* Write it again") as told:
        read_note(tmp_path / "note.json", ("track",), "Write it again")
    assert str(tmp_path) in str(told.value)
