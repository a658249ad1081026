"""Small files that must be whole: written under another name, synced and renamed; one that is not whole is a message.

A process that dies while it writes, or a machine that loses power, leaves the old note or the new one, never half of
one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stitch.errors import StitchError


class TornNote(StitchError):
    """A note is not what was written: cut off, empty, or changed by hand. The message says what to do about it."""


def write_note(file: Path, text: str) -> None:
    """Put the text in the file's place, whole or not at all, also where the machine loses power."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.half")
    with half.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    half.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or the old name may come back
    finally:
        os.close(folder)


def read_note(file: Path, keys: tuple[str, ...], way_out: str) -> dict[str, Any]:
    """The JSON object in the file, which has these keys. Raises TornNote, with the way out."""
    return parse_note(_text(file, way_out), keys, str(file), way_out)


def parse_note(text: str, keys: tuple[str, ...], name: str, way_out: str) -> dict[str, Any]:
    """The JSON object of a note that was read from elsewhere."""
    try:
        said = json.loads(text)
    except ValueError as error:
        said, why = None, f"it is no JSON ({error})" if text.strip() else "it is empty"
    else:
        why = f"it is no object with {', '.join(keys)}"
    if not isinstance(said, dict) or not all(key in said for key in keys):
        raise TornNote(f"{name} is not whole: {why}. {way_out}")
    return said


def _text(file: Path, way_out: str) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise TornNote(f"{file} is not there. {way_out}") from None
    except UnicodeDecodeError:
        raise TornNote(f"{file} is not whole: it is no text. {way_out}") from None
