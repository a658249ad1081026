"""`stitch config`: are the settings right, what is in force and where does it come from, and what could be set."""

from __future__ import annotations

import difflib
import json
import os

import click

from stitch.commands.group import settings_of
from stitch.errors import ExitStatus
from stitch.origins import Origins, Setting
from stitch.settings import Settings, settings_file

# Variables of Stitch that set no setting: of commands, of tests, and of what stands in deploy/.
OF_STITCH = (
    "STITCH_CONFIG", "STITCH_CACHE", "STITCH_DEBUG", "STITCH_MAVEN_MIRROR", "STITCH_URL", "STITCH_TOKEN",
    "STITCH_TOKEN_FILE", "STITCH_LOG_FORMAT", "STITCH_RUN_ID", "STITCH_SUBMITTER", "STITCH_EXAMPLES", "STITCH_SEED",
    "STITCH_AUDIT_SAMPLE", "STITCH_COMMAND", "STITCH_SCHEDULE", "STITCH_WAIT", "STITCH_TRIES", "STITCH_LOGS",
)  # fmt: skip


@click.group()
def config() -> None:
    """The settings: are they right, what is in force, what could be set?"""


@config.command("check")
@click.pass_context
def check(context: click.Context) -> None:
    """Read the settings and say what is wrong with them; exit status 2, or 1 for variables that set nothing."""
    settings = settings_of(context)
    topics, counters = list(settings.by_topic), len(settings.counters)
    click.echo(f"{settings_file(context.obj)} is right: {counters} counters over {', '.join(topics)}")
    found = unknown_variables(list(os.environ))
    for variable, section in found.items():
        click.echo(f"{variable} sets nothing: there is no section {section!r}{_meant(section)}")
    context.exit(ExitStatus.LOOK if found else ExitStatus.DONE)


@config.command()
@click.argument("of", required=False, metavar="[SECTION]")
@click.option("--changed", is_flag=True, help="Leave out what is as it is by default.")
@click.option("--json", "as_json", is_flag=True, help="The same, for programs.")
@click.pass_context
def show(context: click.Context, of: str | None, changed: bool, as_json: bool) -> None:
    """Every setting in force, and where it comes from: a line of the file, a variable, or the default.

    SECTION is a name such as kafka, kafka.topic or counters.plays. Secrets are masked.
    """
    settings, file = settings_of(context), settings_file(context.obj)
    rows = list(Origins(file.read_text("utf-8"), os.environ).resolved(settings))
    if of:
        rows = [row for row in rows if row.name == of or row.name.startswith(f"{of}.")]
        if not rows:
            raise click.UsageError(f"there is no setting {of!r}; the sections are {', '.join(Settings.model_fields)}")
    rows = [row for row in rows if not changed or row.origin.kind != "default"]
    if as_json:
        said = [{"setting": row.name, "value": row.value, "source": row.origin.kind, "where": row.origin.where or None}
                for row in rows]  # fmt: skip
        click.echo(json.dumps({"file": str(file), "settings": said}, ensure_ascii=False))
        return
    click.echo(f"# {file}")
    wide = max((len(_said(row)) for row in rows), default=0)
    for row in rows:
        where = {"file": f"line {row.origin.where}", "default": "default"}.get(row.origin.kind, row.origin.where)
        click.echo(f"{_said(row):<{min(wide, 70)}}  # {where}")


@config.command()
def schema() -> None:
    """The settings file as JSON Schema, for editors that complete and check TOML by one."""
    from stitch.settings_schema import settings_schema

    click.echo(json.dumps(settings_schema(), indent=2, ensure_ascii=False))


def unknown_variables(names: list[str]) -> dict[str, str]:
    """Variables that look like settings, and name no section: nobody reads them."""
    found = {}
    for name in sorted(names):
        section = name.upper().removeprefix("STITCH_").partition("__")[0].lower()
        ours = name.upper() in OF_STITCH or section in Settings.model_fields
        if name.upper().startswith("STITCH_") and not ours:
            found[name] = section
    return found


def _meant(section: str) -> str:
    close = difflib.get_close_matches(section.partition("_")[0], Settings.model_fields, 1)
    return f"; is {close[0]!r} meant (STITCH_{close[0].upper()}__NAME)?" if close else ""


def _said(row: Setting) -> str:
    return f"{row.name} = {'none' if row.value is None else json.dumps(row.value, ensure_ascii=False)}"
