"""`stitch status`: the last runs."""

from __future__ import annotations

import click

from stitch.commands.group import settings_of


@click.command("status")
@click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.pass_context
def last_runs(context: click.Context, last: int) -> None:
    """The last runs that made totals, the newest first: how far each came, and what it did."""
    from jobs.ledger.runs import noted_runs
    from jobs.sinks.cassandra import connected
    from stitch.runs import described

    with connected(settings_of(context).batch, "batch") as session:
        runs = noted_runs(session, last=last)
    click.echo("\n".join(map(described, runs)) or "no run made totals yet")
