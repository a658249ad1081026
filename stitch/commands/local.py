"""`stitch local`: the real Kafka and Cassandra of this machine, and what `make run` and `make demo` feed them."""

from __future__ import annotations

import click

from stitch.commands.group import settings_of
from stitch.extras import require


@click.group()
def local() -> None:
    """The real Kafka and Cassandra of this machine, without Docker."""
    require("local")


@local.command()
@click.pass_context
def up(context: click.Context) -> None:
    """Start both, then make the topic and the tables. Harmless when they are up."""
    from stitch_local import stack

    stack.up(settings_of(context), click.echo)


@local.command()
@click.pass_context
def down(context: click.Context) -> None:
    """Stop the jobs, the reader, and both; the data stays."""
    from stitch_local import run, stack

    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.down(settings, click.echo)


@local.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Say what is running; exit status 1 unless all of it is."""
    from stitch_local import stack

    rows = stack.status(settings_of(context))
    for row in rows:
        ports = ", ".join(f"{setting}={port}" for setting, port in row.ports.items())
        click.echo(f"{row.name:<10} {row.state:<9} pid {row.pid or '-':<8} {ports}")
    context.exit(0 if all(row.state == "running" for row in rows) else 1)


@local.command()
@click.pass_context
def logs(context: click.Context) -> None:
    """Print the paths of the log files."""
    from stitch_local import stack

    for row in stack.status(settings_of(context)):
        click.echo(row.log)


@local.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Stop all and remove the data, the checkpoints, the event log and the totals' table in local.folder."""
    from stitch_local import run, stack

    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.reset(settings, click.echo)


@local.command()
@click.pass_context
def flights(context: click.Context) -> None:
    """Count the flights that left New York in 2013 through every part, and compare with the CSV."""
    from stitch_local import run

    run.flights(context.obj, click.echo)


@local.command()
@click.option("--rate", default=50, show_default=True, help="Events per second.")
@click.option("--seconds", type=float, default=None, help="Stop after that long; else run until interrupted.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn: the same again with the same.")
@click.pass_context
def music(context: click.Context, rate: int, seconds: float | None, seed: int) -> None:
    """An endless synthetic music service: skewed popularity, late events, duplicates, unlikes."""
    from stitch_local import run

    run.music(context.obj, rate, seconds, seed, click.echo)
