"""What the fields of many events look like: how often each is there, of which type, and how its values repeat."""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stitch.instants import NUMBER, instant_of_number, instant_of_text
from stitch.values import JsonPath

DEEPEST = 6  # objects in objects
_YEAR_2000, _YEAR_2100 = (
    946_684_800_000_000,
    4_102_444_800_000_000,
)  # µs: what a number must lie between to be an instant
_PATH: TypeAdapter[str] = TypeAdapter(JsonPath)


@dataclass
class Column:
    """The values at a path, null ones left out.

    values:   as texts, each with how often it is there
    kinds:    their JSON types: string, int, double, boolean
    instants: how many of them are instants, as Stitch reads them
    first, last: of the instants, in µs
    """

    path: str
    values: Tally[str] = field(default_factory=Tally)
    kinds: Tally[str] = field(default_factory=Tally)
    instants: int = 0
    first: int | None = None
    last: int | None = None

    @property
    def there(self) -> int:
        """In how many records it is."""
        return self.values.total()

    @property
    def different(self) -> int:
        return len(self.values)

    @property
    def longest(self) -> int:
        return max(map(len, self.values), default=0)

    @property
    def kind(self) -> str:
        """The type by which all of its values can be read; a string where they have several."""
        kinds = set(self.kinds)
        if kinds == {"int", "double"}:
            return "double"
        return kinds.pop() if len(kinds) == 1 else "string"

    def add(self, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        self.values[text] += 1
        self.kinds[_kind(value)] += 1
        if (at := _instant(value, text)) is not None:
            self.instants += 1
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)


@dataclass
class Profile:
    """Many events. broken: lines that are no JSON object. rows: path → value of each, in their order."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: int = 0
    columns: dict[str, Column] = field(default_factory=dict)

    @property
    def records(self) -> int:
        return len(self.rows)


def profile(lines: Iterable[bytes]) -> Profile:
    """The profile of events, a JSON object a line; blank lines are none."""
    found = Profile()
    for line in lines:
        if not line.strip():
            continue
        try:
            event = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            found.broken += 1
            continue
        row = {path: value for path, value in _leaves(event) if value is not None}
        found.rows.append(row)
        for path, value in row.items():
            found.columns.setdefault(path, Column(path)).add(value)
    outer = {path[:at] for path in found.columns for at, sign in enumerate(path) if sign == "."}
    for path in outer & found.columns.keys():  # a value here and an object there: no path of the settings
        del found.columns[path]
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN: no number of JSON


def _leaves(event: dict[str, Any], within: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        path = f"{within}{name}"
        if "." in name or not _is_path(path):
            continue  # no path of the settings leads there
        if isinstance(value, dict):
            if depth < DEEPEST:
                yield from _leaves(value, f"{path}.", depth + 1)
        elif not isinstance(value, list):
            yield path, value


def _is_path(path: str) -> bool:
    try:
        _PATH.validate_python(path)
    except ValidationError:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "int", float: "double"}.get(type(value), "string")


def _instant(value: Any, text: str) -> int | None:
    """The instant that a value is, in µs; a number of no year between 2000 and 2100 is more likely something else."""
    if isinstance(value, bool):
        return None
    number = NUMBER.fullmatch(text) is not None
    if number and isinstance(value, str) and len(text) == 8:
        return None
    at = instant_of_number(text, "auto") if number else instant_of_text(text, "auto")
    return at if at is None or not number or _YEAR_2000 <= at < _YEAR_2100 else None
