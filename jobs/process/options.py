"""What is written on the jobs' command lines: instants, edges of ingest windows, ranges of offsets."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from jobs.process.errors import BadOption
from stitch.cutoff import window_start
from stitch.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
Records = tuple[str | None, int, int, int]  # topic, partition, first and last offset
_RANGE = re.compile(r"^(?:(.+)/)?(\d+):(\d+)-(\d+)$")  # an id of Kafka's is base64, which has slashes


def parse_instant(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """An ISO-8601 instant, UTC where it names no zone."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an ISO-8601 instant such as 2026-11-23T00:00:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def passed_edge(settings: Settings, now: datetime) -> datetime:
    """The end of the newest ingest window that is over, brokers' clocks granted their grace."""
    return window_start(now - settings.log.grace, settings.streaming.ingest_window)


def checked_edge(settings: Settings, edge: datetime, now: datetime, option: str = "--cutoff") -> datetime:
    """The instant. Raises BadOption where it is no edge of an ingest window, or one that has not passed."""
    passed = passed_edge(settings, now)
    if edge != window_start(edge, settings.streaming.ingest_window) or edge > passed:
        raise BadOption(
            f"{option} {edge:%FT%TZ}: must be the edge of an ingest window ({settings.streaming.ingest_window}) "
            f"that has passed by {settings.log.grace}; the last is {passed:%FT%TZ}"
        )
    return edge


def parse_records(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[Records]:
    """`[TOPIC/]PARTITION:FIRST-LAST` → (topic, or None, partition, first, last)."""
    return [_records(value) for value in values]


def records(name: str, help: str) -> Callable[[Command], Command]:
    """An option for ranges of a partition's records, as often as there are any."""
    return click.option(name, multiple=True, callback=parse_records, metavar="[TOPIC/]PARTITION:FIRST-LAST", help=help)


def _records(value: str) -> Records:
    match = _RANGE.match(value)
    if not match or int(match[3]) > int(match[4]):
        raise click.BadParameter(f"{value!r}: write [TOPIC/]PARTITION:FIRST-LAST, both offsets included")
    return match[1], int(match[2]), int(match[3]), int(match[4])
