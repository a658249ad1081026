"""Where each value of the settings comes from: a line of the file, a variable of the environment, or the default.

tomllib tells no lines, but TOML is made of statements, each of whole lines: so the file is parsed statement by
statement, and what a statement says is on its lines.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from stitch.values import as_duration

Path = tuple[str | int, ...]  # ("counters", 0, "name")
MASKED = "********"
_SECRET_NAME = re.compile(
    r"secret|password|passphrase|jaas|credential|(^|[._-])token($|[._-])|ssl[.]key", re.IGNORECASE
)
_USER_OF_URL = re.compile(r"://[^/@\s]+@")


class Origin(NamedTuple):
    """kind: file, environment or default; where: the line, or the name of the variable."""

    kind: str
    where: str = ""


class Setting(NamedTuple):
    """A value as it is in force. name: kafka.topic, counters.plays.key"""

    name: str
    value: Any
    origin: Origin


def lines_of(text: str) -> dict[Path, int]:
    """Path of each value that a TOML document sets → the line on which it is set, the first being 1."""
    found: dict[Path, int] = {}
    arrays: dict[Path, int] = {}  # of tables: how many there are so far
    table: Path = ()
    begun: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):  # as TOML has lines, and not as Python has
        begun.append(f"{line}\n")
        try:
            said = tomllib.loads("".join(begun))
        except tomllib.TOMLDecodeError:  # goes on in the next line
            continue
        first, begun_lines = number - len(begun) + 1, begun
        begun = []
        if begun_lines[0].lstrip().startswith("["):
            table = _header(said, arrays)
        else:
            found.update(dict.fromkeys(_paths(said, table), first))
    return found


def _header(said: Any, arrays: dict[Path, int]) -> Path:
    """The path of the table that a header begins."""
    path: Path = ()
    while said:
        array = isinstance(said, list)
        if array:
            arrays[path] = arrays.get(path, 0) + 1
            said = said[0]
        if path in arrays:
            path = (*path, arrays[path] - 1)
        if said:
            ((name, said),) = said.items()
            path = (*path, name)
    if path in arrays:  # [[counters]] and nothing behind it
        path = (*path, arrays[path] - 1)
    return path


def _paths(said: Any, within: Path) -> Iterator[Path]:
    """Every path that a statement sets; of tables in tables also those with names joined by dots, as [kafka.jvm] has
    them."""
    entries = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for name, value in entries:
        yield (*within, name)
        yield from _paths(value, (*within, name))
        if isinstance(value, dict):
            yield from ((*within, f"{name}.{path[0]}", *path[1:]) for path in _paths(value, ()))


class Origins:
    """Asks where values come from. environment: as os.environ has it."""

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self._lines = lines_of(text)
        self._variables = {name.lower(): (name, value) for name, value in environment.items()}

    def of(self, path: Path) -> Origin:
        """Where the value at the path comes from."""
        for end in range(len(path), 0, -1):
            name = "stitch_" + "__".join(map(str, path[:end])).lower()
            for variable in (name, f"{name}_file"):
                if variable in self._variables and _in_json(self._variables[variable][1], path[end:]):
                    return Origin("environment", self._variables[variable][0])
        line = self._lines.get(path)
        return Origin("file", str(line)) if line else Origin("default")

    def resolved(self, model: BaseModel, path: Path = (), name: str = "") -> Iterator[Setting]:
        """Every value of the settings in force, secrets masked."""
        own = type(model).model_fields
        values = {_said(field, one): getattr(model, one) for one, field in own.items()} | (model.model_extra or {})
        yield from self._each(values, path, name)

    def _each(self, values: Mapping[Any, Any], path: Path, name: str) -> Iterator[Setting]:
        for one, value in values.items():
            yield from self._value(value, (*path, one), f"{name}.{one}" if name else str(one))

    def _value(self, value: Any, path: Path, name: str) -> Iterator[Setting]:
        if isinstance(value, BaseModel):
            yield from self.resolved(value, path, name)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for at, one in enumerate(value):
                yield from self.resolved(one, (*path, at), f"{name}.{getattr(one, 'name', at)}")
        elif isinstance(value, dict) and value:
            yield from self._each(value, path, name)
        else:
            yield Setting(name, shown(value, str(path[-1])), self.of(path))


def _said(field: FieldInfo, name: str) -> str:
    return field.alias or name


def _in_json(value: str, rest: Path) -> bool:
    """Whether a variable's value, the JSON of a table or list, has what is at the rest of the path."""
    said: Any = value
    if rest:
        with suppress(ValueError):
            said = json.loads(value)
    for part in rest:
        held = range(len(said)) if isinstance(said, list) else said if isinstance(said, dict) else ()
        if part not in held:
            return False
        said = said[part]
    return True


def shown(value: Any, name: str) -> Any:
    """A value as JSON has it: secrets, and what is named as such, masked; durations as the settings say them."""
    if value is None:
        return None
    if isinstance(value, SecretStr) or (isinstance(value, str) and _SECRET_NAME.search(name)):
        return MASKED
    if isinstance(value, timedelta):
        return as_duration(value)
    if isinstance(value, str):
        return _USER_OF_URL.sub(f"://{MASKED}@", value)
    return value
