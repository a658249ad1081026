"""The console script: what a person types. Each command is a line or two; the work is in other modules.

Errors become messages and exit statuses in stitch.exits. A command imports what it needs by itself: the drivers of
Kafka and Cassandra are not loaded to print a help.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from stitch import exits
from stitch.cql import script, wanted
from stitch.errors import ExitStatus
from stitch.settings import Settings, load_settings
from stitch.tables import TABLES, LayerName
from stitch.values import parse_duration

SUBMIT = "JOB [SPARK-SUBMIT'S OPTIONS] [--] [JOB'S OPTIONS]"


class Stitch(click.Group):
    """The group whose commands may raise named errors."""

    def main(self, args: Any = None, prog_name: str | None = None, **options: Any) -> Any:  # type: ignore[override]
        if "_STITCH_COMPLETE" in os.environ:
            return super().main(args, prog_name, **options)
        if args is None:
            signal.signal(signal.SIGTERM, end)
        sys.exit(exits.run(self, sys.argv[1:] if args is None else args, prog_name or "stitch"))


def end(*_: Any) -> None:
    """What SIGTERM does by default: but the first process of a container is not ended by a default."""
    sys.exit(ExitStatus.ENDED)


class Passing(click.Command):
    """A command that hands its arguments on as they are, `--` and `--help` included."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.args = list(args)
        return context.args


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
    from stitch.local import stack

    stack.up(settings_of(context), click.echo)


@local.command()
@click.pass_context
def down(context: click.Context) -> None:
    """Stop the jobs, the reader, and both; the data stays."""
    from stitch.local import run, stack

    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.down(settings, click.echo)


@local.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Say what is running; exit status 1 unless all of it is."""
    from stitch.local import stack

    rows = stack.status(settings_of(context))
    for row in rows:
        ports = ", ".join(f"{setting}={port}" for setting, port in row.ports.items())
        click.echo(f"{row.name:<10} {row.state:<9} pid {row.pid or '-':<8} {ports}")
    context.exit(0 if all(row.state == "running" for row in rows) else 1)


@local.command()
@click.pass_context
def logs(context: click.Context) -> None:
    """Print the paths of the log files."""
    from stitch.local import stack

    for row in stack.status(settings_of(context)):
        click.echo(row.log)


@local.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Stop all and remove the data, the checkpoints, the event log and the totals' table in local.folder."""
    from stitch.local import run, stack

    settings = settings_of(context)
    run.stop_all(settings, click.echo)
    stack.reset(settings, click.echo)


@main.group()
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


@main.command("status")
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


class Lasting(click.ParamType):
    """`30d` → how long."""

    name = "DURATION"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> timedelta:
        try:
            found: timedelta = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)
        return found


@main.command()
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


@main.command()
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


@main.command(
    "submit", cls=Passing, add_help_option=False, options_metavar=SUBMIT, short_help="Run a job by spark-submit."
)
@click.pass_context
def submit_job(context: click.Context) -> None:
    """Run JOB by spark-submit, with conf/spark-defaults.conf or, in its place, --properties-file FILE.

    Options that spark-submit knows go there (--master URL, --conf NAME=VALUE, --driver-memory 4g, …), all others to the
    job. With a -- it is said which: what stands before it goes to spark-submit, what stands behind it to the job.
    --jars and --packages come beside those of Stitch.

    `stitch submit JOB --help` is the job's help.
    """
    from stitch.submit import JOBS

    jobs = f"the jobs are {', '.join(JOBS)}"
    job, *args = context.args or [""]
    if job == "--help":
        click.echo(f"{context.get_help()}\n\n{jobs}")
    elif job in JOBS:
        run_job(context, job, args)
    else:
        raise click.UsageError(f"{job!r} is no job, and the job comes first: {jobs}" if job else f"name a job: {jobs}")


@main.command(cls=Passing, add_help_option=False, short_help="Are the counts right, and how do you know?")
@click.pass_context
def audit(context: click.Context) -> None:
    """The job audit_counts: one page, and exit status 3 where something is not right."""
    run_job(context, "audit_counts", context.args)


def run_job(context: click.Context, job: str, args: Sequence[str]) -> None:
    """Run it, and end with its exit status; or print its help, for which no Spark is needed."""
    from stitch.submit import job_command, submit
    from stitch.submit_args import split

    spark, own = split(args)
    if "--help" in own:
        command = job_command(job)
        click.echo(command.get_help(click.Context(command, info_name=f"stitch submit {job}")))
        return
    context.exit(submit(job, own, context.obj, spark))


@main.command("spark-conf")
@click.option("--properties-file", metavar="FILE", help="In place of conf/spark-defaults.conf.")
def spark_conf(properties_file: str | None) -> None:
    """Print conf/spark-defaults.conf as jobs get it on this machine, for a spark-submit by hand from any directory."""
    from stitch.submit import own_properties

    click.echo(own_properties(["--properties-file", properties_file] if properties_file else [])[0], nl=False)


@main.command()
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


@main.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Run the reader until SIGTERM; SIGHUP makes it read its settings again."""
    from serving.server import serve as run_reader  # the reader's libraries are for this command alone

    run_reader(lambda: settings_of(context))


@local.command()
@click.pass_context
def flights(context: click.Context) -> None:
    """Count the flights that left New York in 2013 through every part, and compare with the CSV."""
    from stitch.local import run

    run.flights(context.obj or str(run.FLIGHTS_CONFIG), click.echo)


@local.command()
@click.option("--rate", default=50, show_default=True, help="Events per second.")
@click.option("--seconds", type=float, default=None, help="Stop after that long; else run until interrupted.")
@click.option("--seed", default=0, show_default=True)
@click.pass_context
def music(context: click.Context, rate: int, seconds: float | None, seed: int) -> None:
    """An endless synthetic music service: skewed popularity, late events, duplicates, unlikes."""
    from stitch.local import run

    run.music(context.obj, rate, seconds, seed, click.echo)


if __name__ == "__main__":
    main()
