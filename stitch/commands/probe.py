"""`stitch probe`: how long an event takes to the reader's answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from stitch.commands.group import Lasting, settings_of


@click.command()
@click.argument("counter")
@click.option("--key", default="stitch-probe", show_default=True, help="The key that the event counts for.")
@click.option("--every", type=Lasting(), help="Go on until SIGTERM, with an event each time after so long (1m).")
@click.option("--within", type=Lasting(), default="1m", show_default=True, help="How long an event may take.")
@click.option("--fields", metavar="JSON", default="{}", help="More fields of the event: name → value.")
@click.option("--site", metavar="URL", help="Where the reader is found (default: serving.host and serving.port).")
@click.option("--token-file", type=click.File(), help="A file with the token to ask the reader with.")
@click.pass_context
def probe(
    context: click.Context,
    counter: str,
    key: str,
    every: timedelta | None,
    within: timedelta,
    fields: str,
    site: str | None,
    token_file: Any,
) -> None:
    """Send an event that COUNTER counts, and say how long it takes to the reader's answer (docs/metrics.md)."""
    from stitch.probe import Probe, parse_fields
    from stitch.probe import probe as run_probe

    settings, token = settings_of(context), token_file.read().strip() if token_file else None
    more = parse_fields(fields)
    run_probe(settings, lambda: Probe(settings, counter, key, more, site, token), within, every, click.echo)
