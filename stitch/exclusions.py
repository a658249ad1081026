"""Events that are not to be counted: spam found later, a creator's bots, a person's right to be forgotten.

A JSON-lines file beside the log, one rule a line: {"event_id": "e1"} or {"track_id": "t9", "reason": "bought plays"}.
A rule names one field and its value; an event that has it is left out of every count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stitch.errors import ExitStatus, StitchError
from stitch.notes import write_note


class ExclusionError(StitchError):
    """A file of exclusions cannot be used; the message lists every bad line, and nothing was changed."""

    exit_status = ExitStatus.USAGE


def parse(text: str, fields: Collection[str], name: str) -> dict[str, list[str]]:
    """field → values to leave out. `fields`: those that an event may have besides its event_id."""
    found: dict[str, list[str]] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            field, value = _rule(line, fields)
        except ValueError as error:
            wrong.append(f"  line {number}: {error}")
        else:
            found.setdefault(field, []).append(value)
    if wrong:
        raise ExclusionError("\n".join([f"{name} cannot be used:", *wrong]))
    return {field: sorted(set(values)) for field, values in found.items()}


def read(path: str, fields: Collection[str], first: int | None = None) -> dict[str, list[str]]:
    """The exclusions that are in force, or the first so many of them; none where there is no file."""
    if not Path(path).exists():
        return {}
    return parse(_text(path) if first is None else "\n".join(_rules(path)[:first]), fields, path)


def mark(path: str, first: int | None = None) -> tuple[int, int]:
    """(number, digest) of the exclusions in force, or of the first so many: what a run notes that counts with them."""
    rules = _rules(path)[:first] if Path(path).exists() else []
    digest = hashlib.sha256("\n".join(rules).encode()).digest()
    return len(rules), int.from_bytes(digest[:8]) >> 1  # the ledger keeps numbers of 63 bits


def known(path: str, number: int, digest: int) -> int:
    """How many of the exclusions in force have that mark: all of them, behind which new ones are kept, or none where
    somebody changed them by hand."""
    return number if mark(path, number) == (number, digest) else 0


def keep(new: str, path: str, fields: Collection[str]) -> int:
    """Add the rules of the file `new` to those in force; returns how many were not there yet."""
    new = str(Path(new).absolute())
    text = _text(new)
    parse(text, fields, new)
    file = Path(path)
    kept = _text(path).splitlines() if file.exists() else []
    added = [line for line in dict.fromkeys(text.splitlines()) if line.strip() and line not in kept]
    write_note(file, "".join(f"{line}\n" for line in [*kept, *added]))
    return len(added)


def _rules(path: str) -> list[str]:
    return [line for line in _text(path).splitlines() if line.strip()]


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExclusionError(f"{path} cannot be read: {error}") from None


def _rule(line: str, fields: Collection[str]) -> tuple[str, str]:
    try:
        rule: Any = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
    except ValueError:
        raise ValueError(f"not JSON: {line[:80]}") from None
    if not isinstance(rule, dict):
        raise ValueError('a rule is an object such as {"event_id": "e1"}')
    named = {name: value for name, value in rule.items() if name != "reason"}
    if len(named) != 1:
        raise ValueError("a rule names exactly one field, and perhaps a reason")
    ((field, value),) = named.items()
    if field != "event_id" and field not in fields:
        raise ValueError(f"no event has a field {field!r}; known are event_id, {', '.join(sorted(fields))}")
    if not isinstance(value, str):
        raise ValueError(f"the value of {field} must be a string or a number")
    return field, str(value)


class _Number(str):
    """A number as it is written, for so events' numbers are compared: 12345678.0 is not 12345678."""


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
