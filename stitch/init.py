"""`stitch init`: the first settings file, in the folder where one stands, with a comment on all that one may change.

It is an example's of conf/, which every test run tries. There its paths lead out of conf/, and its ingest windows are
those of production: here a batch is to have something to count after a minute, and not after an hour.
"""

from __future__ import annotations

from pathlib import Path

from stitch.errors import ExitStatus, StitchError
from stitch.shipped import CONF

FILE = "stitch.toml"
HERE = {
    '"../.local': '".local',
    'ingest_window = "1h"              # must divide an hour; a minute or less for demos':
    'ingest_window = "1m"              # must divide an hour; "1h" in production: fewer rows',
}  # fmt: skip
EXAMPLES = {"music": "stitch.toml", "flights": "flights.toml"}  # name → file of conf/


class NotWritten(StitchError):
    """The file was not written; the message says why."""

    exit_status = ExitStatus.USAGE


def write_settings(example: str, folder: Path) -> Path:
    """Write the settings of the example as stitch.toml into the folder. Raises NotWritten where there is one."""
    text = (CONF / EXAMPLES[example]).read_text("utf-8")
    for said, written in HERE.items():
        text = text.replace(said, written)
    return write_new(folder / FILE, text)


def write_new(file: Path, text: str) -> Path:
    """Write a file that was not there. Raises NotWritten where it was: nobody's settings are overwritten."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise NotWritten(f"{file} is there already: move it away, or run this in another folder") from None
    return file
