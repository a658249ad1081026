"""The kinds of values that the settings file holds, and what all of its tables have in common. Values only."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_DURATION = re.compile(r"^(\d+)(s|m|h|d)$")
_URI = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/")
_LONGEST_S = 10_000 * 366 * 86_400
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: Any) -> Any:
    """`"15m"` → fifteen minutes. Other types pass through for pydantic to judge."""
    if not isinstance(text, str):
        return text
    match = _DURATION.match(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f'{text!r} is not a duration: write a number and s, m, h or d, such as "1h"')
    seconds = int(match[1]) * _UNIT[match[2]]
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than 10,000 years")
    return timedelta(seconds=seconds)


def as_duration(length: timedelta) -> str:
    """The duration as the settings say it: `15m`."""
    seconds = int(length.total_seconds())
    unit = next((unit for unit in reversed(_UNIT) if seconds and not seconds % _UNIT[unit]), "s")
    return f"{seconds // _UNIT[unit]}{unit}"


_AS_TEXT = WithJsonSchema({"type": "string", "pattern": _DURATION.pattern})  # for editors
Duration = Annotated[timedelta, BeforeValidator(parse_duration), _AS_TEXT]
OptionalDuration = Annotated[
    timedelta, BeforeValidator(lambda text: timedelta(0) if text == "0s" else parse_duration(text)), _AS_TEXT
]


class PathMark:
    """Marks a setting that is a path: a relative one is meant from the settings file's folder (stitch.paths)."""


def scheme_of(path: str) -> str | None:
    """The scheme of a URI (hdfs://…, s3a://…), as it is written; None for a path."""
    found = _URI.match(path)
    return found[1] if found else None


def no_uri(path: str) -> str:
    """The path. Raises ValueError for a URI."""
    if scheme_of(path):
        raise ValueError(f"{path}: must be a path of this machine, and not a URI")
    return path


# A file or folder that Python opens, or one that Hadoop's file systems do: a path, or a URI (hdfs://…, s3a://…).
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(no_uri), PathMark()]
StoragePath = Annotated[str, Field(min_length=1), PathMark()]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
# The way into a JSON object: names joined by dots, which therefore cannot hold one.
JsonPath = Annotated[str, Field(pattern=r"^[^.\"\\\x00-\x1f]+([.][^.\"\\\x00-\x1f]+)*$")]
Port = Annotated[int, Field(ge=1, le=65535)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]  # Kafka's
NotBlank = Annotated[str, Field(pattern=r"\S")]


class Section(BaseModel):
    """A table of the file: an unknown name in it is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def flatten(table: Any) -> Any:
    """`{a = {b = 1}}`, as TOML reads `a.b = 1`, → `{"a.b": "1"}`. Other types pass through for pydantic to judge."""
    if not isinstance(table, dict):
        return table
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": deeper for inner, deeper in flatten(value).items()}
        else:
            flat[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat
