"""The console script: what a person types. Each command is a line or two; the work is in other modules.

Every error that has a name becomes one message on stderr and exit status 1 here, in `Stitch.invoke`, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import click

from stitch.errors import StitchError
from stitch.local import run, stack
from stitch.settings import Settings, load_settings
from stitch.submit import JOBS, submit


class Stitch(click.Group):
    """The group whose commands may raise named errors."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except StitchError as error:
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
    """Stop the jobs, the reader, and both; the data stays."""
    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.down(settings, click.echo)


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
    """Stop all and remove the data, the checkpoints, the event log and the snapshots in local.folder."""
    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.reset(settings, click.echo)


@main.command()
@click.argument("name")
@click.option("--counter", "counters", multiple=True, help="a counter that it may read (default: all)")
def token(name: str, counters: tuple[str, ...]) -> None:
    """Make an API token for NAME, and the lines for the settings; the token itself is nowhere kept."""
    secret = secrets.token_urlsafe(32)
    click.echo(f"the token, shown once: {secret}\n\n[serving.tokens.{name}]")
    click.echo(f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"')
    if counters:
        click.echo(f"counters = {json.dumps(counters)}")


@main.command("submit", context_settings={"ignore_unknown_options": True})
@click.argument("job", type=click.Choice(JOBS))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def submit_job(context: click.Context, job: str, args: tuple[str, ...]) -> None:
    """Run JOB by spark-submit with conf/spark-defaults.conf; ARGS go to the job."""
    context.exit(submit(job, args, context.obj))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def audit(context: click.Context, args: tuple[str, ...]) -> None:
    """Are the counts right, and how do you know? One page; exit status 2 where something is not. --sample, --json."""
    context.exit(submit("audit_counts", args, context.obj))


@main.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Run the reader under gunicorn until SIGTERM."""
    from serving.server import serve as run_reader  # the reader's libraries are for this command alone

    run_reader(settings_of(context))


@local.command()
@click.pass_context
def flights(context: click.Context) -> None:
    """Count the flights that left New York in 2013 through every part, and compare with the CSV."""
    run.flights(context.obj or str(run.FLIGHTS_CONFIG), click.echo)


@local.command()
@click.option("--rate", default=50, show_default=True, help="Events per second.")
@click.option("--seconds", type=float, default=None, help="Stop after that long; else run until interrupted.")
@click.option("--seed", default=0, show_default=True)
@click.pass_context
def music(context: click.Context, rate: int, seconds: float | None, seed: int) -> None:
    """An endless synthetic music service: skewed popularity, late events, duplicates, unlikes."""
    run.music(context.obj, rate, seconds, seed, click.echo)


if __name__ == "__main__":
    main()
