"""`stitch init`: the first settings file."""

from __future__ import annotations

from pathlib import Path

import click

from stitch.init import EXAMPLES, write_settings


@click.command()
@click.option(
    "--example", type=click.Choice(list(EXAMPLES)), default="music", show_default=True, help="Which service's."
)
def init(example: str) -> None:
    """Write stitch.toml into this folder: settings that run, commented, to be changed to your own events."""
    file = write_settings(example, Path.cwd())
    click.echo(f"{file} is written, the settings of an example ({example}). `stitch local up` starts what they name")
