"""`stitch schema`: the tables of both layers."""

from __future__ import annotations

import click

from stitch.commands.group import settings_of
from stitch.cql import script, wanted
from stitch.errors import ExitStatus
from stitch.tables import TABLES, LayerName


@click.group()
def schema() -> None:
    """The tables of both layers: print them, make them, compare them with the settings."""


of_layer = click.option("--layer", type=click.Choice(list(TABLES)), help="One layer (default: both).")


@schema.command()
@of_layer
@click.pass_context
def show(context: click.Context, layer: LayerName | None) -> None:
    """Print the CQL that makes the tables in new keyspaces."""
    settings = settings_of(context)
    layers = [layer] if layer else list(TABLES)
    click.echo("\n".join(script(wanted(name, getattr(settings, name))) for name in layers), nl=False)


@schema.command()
@of_layer
@click.pass_context
def apply(context: click.Context, layer: LayerName | None) -> None:
    """Make what is missing and alter what differs; never drops anything. Harmless when nothing differs."""
    from connections.schema import apply_schema

    apply_schema(settings_of(context), click.echo, layer)
    click.echo("the tables are as the settings say")


@schema.command()
@of_layer
@click.pass_context
def check(context: click.Context, layer: LayerName | None) -> None:
    """Compare the tables with the settings: each difference with the way out; exit status 1 where there is one."""
    from connections.schema import check_schema

    found = check_schema(settings_of(context), layer)
    for name, differences in found.items():
        click.echo(f"{name}: " + (f"{len(differences)} to fix" if differences else "as the settings say"))
        for difference in differences:
            click.echo(f"  {difference.what}: {difference.way_out}")
    context.exit(ExitStatus.LOOK if any(found.values()) else ExitStatus.DONE)
