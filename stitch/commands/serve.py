"""`stitch serve`: the reader."""

from __future__ import annotations

import click

from stitch.commands.group import settings_of


@click.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Run the reader until SIGTERM; SIGHUP makes it read its settings again."""
    from serving.server import serve as run_reader  # the reader's libraries are for this command alone

    run_reader(lambda: settings_of(context))
