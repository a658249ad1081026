"""What all commands have in common: the group whose commands may raise named errors, its settings, its arguments."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from typing import Any

import click

from stitch import exits
from stitch.errors import ExitStatus
from stitch.settings import Settings, load_settings
from stitch.values import parse_duration

LOG_FORMATS = ("text", "json")


class Stitch(click.Group):
    """The group whose commands may raise named errors."""

    def main(self, args: Any = None, prog_name: str | None = None, **options: Any) -> Any:  # type: ignore[override]
        if "_STITCH_COMPLETE" in os.environ:
            return super().main(args, prog_name, **options)
        if args is None:
            signal.signal(signal.SIGTERM, end)
        sys.exit(exits.run(self, sys.argv[1:] if args is None else args, prog_name or "stitch"))


def end(*_: Any) -> None:
    """What SIGTERM does by default: but the first process of a container is not ended by a default."""
    sys.exit(ExitStatus.ENDED)


class Passing(click.Command):
    """A command that hands its arguments on as they are, `--` and `--help` included."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.args = list(args)
        return context.args


class Lasting(click.ParamType):
    """`30d` → how long."""

    name = "DURATION"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> timedelta:
        try:
            found: timedelta = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)
        return found


def set_log_format(said: str) -> None:
    """Let the jobs below this process tell what they do as text, or as lines of JSON with the run's id."""
    if said not in LOG_FORMATS:
        raise click.BadParameter(f"{said!r}: write {' or '.join(LOG_FORMATS)}", param_hint="--log-format")
    os.environ["STITCH_LOG_FORMAT"] = said


def settings_of(context: click.Context) -> Settings:
    """The settings that --config names. Read by the command that needs them, so that --help never fails."""
    return load_settings(context.obj)
