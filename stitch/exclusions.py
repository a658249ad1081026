"""Events that are not to be counted: spam found later, a creator's bots, a person's right to be forgotten.

A file of rules is JSON lines, one rule a line: {"event_id": "e1"} or {"track_id": "t9", "reason": "bought plays"}.
A rule names one field and its value; an event that has it is left out of every count. Rules that are in force stand in
a table (jobs.lake.exclusions). Nothing but the standard library is needed, for this runs in Spark's workers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from stitch.errors import ExitStatus, StitchError

SHOWN = 20  # bad lines of a file that a message names


class ExclusionError(StitchError):
    """A file of exclusions cannot be used; the message lists its bad lines, and nothing was changed."""

    exit_status = ExitStatus.USAGE


class Line(NamedTuple):
    """A line of a file: its number, from 1, and its rule or what is wrong with it (then `field` and `value` are
    None)."""

    number: int
    field: str | None
    value: str | None
    reason: str | None
    wrong: str | None


def parse(content: bytes, fields: Collection[str], first: int = 1) -> Iterator[Line]:
    """The lines of a file, or of a part of it that begins with the line number `first`; empty ones are left out.

    fields: those that an event may have besides its event_id
    """
    for number, line in enumerate(content.split(b"\n"), first):
        if line.strip():
            try:
                yield Line(number, *_rule(line.strip(), fields), None)
            except ValueError as error:
                yield Line(number, None, None, None, str(error))


def _rule(line: bytes, fields: Collection[str]) -> tuple[str, str, str | None]:
    """(field, value, reason). Raises ValueError."""
    try:
        rule: Any = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {line[:80].decode(errors='replace')}") from None
    if not isinstance(rule, dict):
        raise ValueError('a rule is an object such as {"event_id": "e1"}')
    reason = rule.pop("reason", None) if len(rule) > 1 else None
    if len(rule) != 1:
        raise ValueError("a rule names exactly one field, and perhaps a reason")
    ((field, value),) = rule.items()
    if field != "event_id" and field not in fields:
        raise ValueError(f"no event has a field {field!r}; known are event_id, {', '.join(sorted(fields))}")
    if not isinstance(value, str):
        raise ValueError(f"the value of {field} must be a string or a number")
    return field, str(value), None if reason is None else str(reason)


class _Number(str):
    """A number as it is written, for so events' numbers are compared: 12345678.0 is not 12345678."""


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
