"""`stitch token` and `stitch link`: who may read what."""

from __future__ import annotations

import secrets
from datetime import timedelta

import click

from stitch.commands.group import Lasting, settings_of


@click.command()
@click.argument("name")
@click.option("--counter", "counters", multiple=True, help="A counter that it may read (default: all).")
@click.option("--key", "keys", multiple=True, help="A key that it may read (default: all).")
@click.option("--key-prefix", help="It may read the keys that begin so.")
@click.option("--list-keys", is_flag=True, help="It may ask which keys there are.")
@click.option("--for", "lasting", type=Lasting(), help="Sign one that expires (30d), and needs no lines.")
@click.pass_context
def token(
    context: click.Context,
    name: str,
    counters: tuple[str, ...],
    keys: tuple[str, ...],
    key_prefix: str | None,
    list_keys: bool,
    lasting: timedelta | None,
) -> None:
    """Make an API token for NAME, and the lines for the settings; the token itself is nowhere kept."""
    from stitch.grants import Grant, lines, signed

    grant = Grant(name, counters or None, keys or None, key_prefix, list_keys)
    if lasting:
        made, expires = signed(settings_of(context), grant, lasting)
        click.echo(f"the token, until {expires:%Y-%m-%d %H:%M} UTC:\n{made}")
    else:
        secret = secrets.token_urlsafe(32)
        click.echo(f"the token, shown once: {secret}\n\n{lines(grant, secret)}")


@click.command()
@click.argument("counter")
@click.argument("key")
@click.option("--for", "lasting", type=Lasting(), default="30d", show_default=True, help="How long it opens the page.")
@click.option("--site", metavar="URL", help="Where the reader is found (default: serving.host and serving.port).")
@click.pass_context
def link(context: click.Context, counter: str, key: str, lasting: timedelta, site: str | None) -> None:
    """Make a link to the page of KEY of COUNTER, and a frame, for whoever is to see this key alone."""
    from stitch.grants import link_of

    found = link_of(settings_of(context), counter, key, lasting, site)
    click.echo(f"the page, until {found.expires:%Y-%m-%d %H:%M} UTC, for whoever has this address:\n{found.page}\n")
    click.echo(f'<iframe src="{found.frame}" title="{counter}" width="240" height="90" frameborder="0"></iframe>')
