"""What a job says as lines of JSON, each with the run's id: for a place where the lines of many jobs come together.

The jobs print, as people read it. Where STITCH_LOG_FORMAT=json is set, what they print to stdout and stderr is made
into lines here, in one place: so no line is left out, a library's warning or a stack trace either. A report that
somebody asked for by --json stays as it is.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from stitch.submit_args import LOG_FORMAT, RUN_ID

_FIGURE = re.compile(r"(?:^|\s)([a-z_]\w*)=(-?\d+(?:\.\d+)?|[^\s=]+)(?=\s|$)")


class JsonLines(io.TextIOBase):
    """A stream that writes each message as one line of JSON. A message ends where what is written ends a line: one of
    several lines that is written at once stays one."""

    def __init__(self, out: TextIO, level: str, job: str, run_id: str) -> None:
        self._out, self._said = out, {"level": level, "job": job, "run_id": run_id}
        self._begun = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._out.fileno()

    def write(self, text: str) -> int:
        self._begun += text
        if self._begun.endswith("\n"):
            self._end()
        return len(text)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Write what was begun, whose end will not come; the stream below stays open."""
        if self._begun:
            self._end()

    def _end(self) -> None:
        message, self._begun = self._begun.rstrip("\n"), ""
        if message.strip():
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            said = {"time": now, **self._said, "message": message, **_figures(message, self._said["job"])}
            self._out.write(json.dumps(said, ensure_ascii=False) + "\n")
            self._out.flush()


def _figures(message: str, job: str) -> dict[str, Any]:
    """The figures of a job's line (`streaming_counts batch=3 events=120`) by their names."""
    if not message.startswith(f"{job} "):
        return {}
    found = {name: _number(value) for name, value in _FIGURE.findall(message)}
    return {"figures": found} if found else {}


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


@contextmanager
def told_as_asked(job: str, args: Sequence[str]) -> Iterator[None]:
    """Make lines of JSON of what is printed meanwhile, where the environment asks for that."""
    if os.environ.get(LOG_FORMAT) != "json":
        yield
        return
    run_id = os.environ.setdefault(RUN_ID, uuid.uuid4().hex[:12])
    before = sys.stdout, sys.stderr
    lines = JsonLines(sys.stdout, "INFO", job, run_id), JsonLines(sys.stderr, "ERROR", job, run_id)
    sys.stdout, sys.stderr = (before[0] if "--json" in args else lines[0]), lines[1]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in lines:
            stream.close()
