"""The console script: what a person types. Each command is a line or two; the work is in other modules.

Every error that has a name becomes one message on stderr and exit status 1 here, in `Stitch.invoke`, and nowhere else.
"""

from __future__ import annotations

from typing import Any

import click

from stitch.local import stack
from stitch.local.errors import StackError
from stitch.settings import Settings, SettingsError, load_settings


class Stitch(click.Group):
    """The group whose commands may raise named errors."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SettingsError, StackError) as error:
            click.echo(f"stitch: {error}", err=True)
            context.exit(1)


@click.group(cls=Stitch)
@click.option("--config", metavar="PATH", help="The settings file; else $STITCH_CONFIG, else conf/stitch.toml.")
@click.pass_context
def main(context: click.Context, config: str | None) -> None:
    """Counts events and serves the counts live and exact."""
    context.obj = config


def settings_of(context: click.Context) -> Settings:
    """The settings that --config names. Read by the command that needs them, so that --help never fails."""
    return load_settings(context.obj)


@main.group()
def local() -> None:
    """The real Kafka and Cassandra of this machine, without Docker."""


@local.command()
@click.pass_context
def up(context: click.Context) -> None:
    """Start both, then make the topic and the tables. Harmless when they are up."""
    stack.up(settings_of(context), click.echo)


@local.command()
@click.pass_context
def down(context: click.Context) -> None:
    """Stop both; the data stays."""
    stack.down(settings_of(context), click.echo)


@local.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Say what is running; exit status 1 unless all of it is."""
    rows = stack.status(settings_of(context))
    for row in rows:
        ports = ", ".join(f"{setting}={port}" for setting, port in row.ports.items())
        click.echo(f"{row.name:<10} {row.state:<9} pid {row.pid or '-':<8} {ports}")
    context.exit(0 if all(row.state == "running" for row in rows) else 1)


@local.command()
@click.pass_context
def logs(context: click.Context) -> None:
    """Print the paths of the log files."""
    for row in stack.status(settings_of(context)):
        click.echo(row.log)


@local.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Stop both and remove their data, the checkpoints, the event log and the snapshots in local.folder."""
    stack.reset(settings_of(context), click.echo)


# Further commands (submit, serve, …) are made in modules of their own and added here: main.add_command(…).
