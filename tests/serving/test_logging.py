"""What the reader's processes write to stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.observe.logging_config import JsonLine

AT = datetime(2026, 11, 27, 16, 3, 16, 250_000, tzinfo=UTC)


def line_of(message: Any, *args: Any, exc_info: Any = None) -> dict[str, Any]:
    record = logging.LogRecord("stitch.layers", logging.WARNING, __file__, 1, message, args, exc_info)
    record.created = AT.timestamp()
    line = JsonLine().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


SAID = {"level": "WARNING", "name": "stitch.layers", "time": "2026-11-27T16:03:16.250000Z"}


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("the %s layer cannot be read", ("batch",), {"message": "the batch layer cannot be read"}),
        ("two\nlines, “quoted”", (), {"message": "two\nlines, “quoted”"}),
        (
            {"message": "request", "status": 200, "token": None},
            (),
            {"message": "request", "status": 200, "token": None},
        ),
        ({"message": "request", "error": ValueError("no")}, (), {"message": "request", "error": "no"}),
    ],
)
def test_a_record_is_one_line_of_json(message: Any, args: tuple[Any, ...], expected: dict[str, Any]) -> None:
    assert line_of(message, *args) == SAID | expected


def test_an_error_is_told_with_its_stack_in_the_same_line() -> None:
    try:
        raise ValueError("no such key")
    except ValueError:
        line = line_of("it failed", exc_info=sys.exc_info())
    assert line["exc_info"].startswith("Traceback") and line["exc_info"].endswith("ValueError: no such key")
