"""The console script: the index of what a person types. Each command is a module of stitch.commands."""

from __future__ import annotations

import click

from stitch import __version__
from stitch.commands.config import config as config_commands
from stitch.commands.doctor import doctor
from stitch.commands.get import get
from stitch.commands.group import LOG_FORMATS, Stitch, set_log_format
from stitch.commands.init import init
from stitch.commands.local import local
from stitch.commands.probe import probe
from stitch.commands.schema import schema
from stitch.commands.serve import serve
from stitch.commands.status import status
from stitch.commands.submit import audit, rejected, spark_conf, submit_job
from stitch.commands.token import link, token
from stitch.commands.try_events import try_events


@click.group(cls=Stitch)
@click.option("--config", metavar="PATH", help="The settings file; else $STITCH_CONFIG, else stitch.toml here.")
@click.version_option(__version__, prog_name="stitch", message="%(prog)s %(version)s")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="What jobs say: text, or JSON with the run's id.")
@click.pass_context
def main(context: click.Context, config: str | None, log_format: str | None) -> None:
    """Counts events and serves the counts live and exact."""
    context.obj = config
    if log_format:
        set_log_format(log_format)


COMMANDS = (
    init, try_events, config_commands, doctor, get, local, schema, status, token, link, submit_job, audit, rejected,
    probe, spark_conf, serve,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
