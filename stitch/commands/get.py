"""`stitch get totals | series | top | …`: asks the reader over HTTP, by the names that its parameters have there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from serving.api import parameters
from stitch import answered
from stitch.commands.group import settings_of
from stitch.errors import ExitStatus, StitchError
from stitch.settings import SettingsError

SECONDS = 60
ASKED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "totals": ("Counts of all time or of a range.", parameters.TOTALS),
    "series": ("Counts by minute, hour, day, week or month.", parameters.SERIES),
    "top": ("The members of a key that counted most.", parameters.TOP),
    "chart": ("The keys of a counter that counted most.", parameters.CHART),
    "keys": ("The keys of a counter, by prefix.", parameters.KEYS),
    "corrections": ("What the batch changed of a counter, by day.", parameters.CORRECTIONS),
    "counters": ("What is counted.", ()),
}
OURS = ("format", "download")  # --json, --csv


class NotAnswered(StitchError):
    """The reader did not answer as was asked; the message says why."""

    def __init__(self, message: str, status: ExitStatus) -> None:
        super().__init__(message)
        self.exit_status = status


class _NoRedirect(HTTPRedirectHandler):
    """A token is for the reader alone, and for nobody whom it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


@click.group()
def get() -> None:
    """Ask the reader: a table on a terminal, CSV elsewhere, or what --json and --csv say.

    The reader is at --url, $STITCH_URL, or where the settings have it. $STITCH_TOKEN, or the file that
    $STITCH_TOKEN_FILE names, is the token where it wants one.
    """


def command(name: str) -> click.Command:
    """The command that asks for this, with the parameters that it takes over HTTP."""
    short, known = ASKED[name]
    options: list[click.Parameter] = [option(one) for one in known if one not in OURS]
    options += [
        click.Option(["--json", "as_json"], is_flag=True, help="The answer as it is."),
        *([click.Option(["--csv", "as_csv"], is_flag=True, help="CSV, as the reader makes it.")] if known else []),
        click.Option(["--url"], metavar="URL", envvar="STITCH_URL", show_envvar=True, help="Where the reader is."),
    ]

    @click.pass_context
    def run(context: click.Context, url: str | None, as_json: bool, as_csv: bool = False, **asked: Any) -> None:
        if as_json and as_csv:
            raise click.UsageError("--json or --csv: one of the two")
        compared = bool(asked.get("compare"))  # CSV has no comparison
        plain = not as_json and not compared and bool(known) and not sys.stdout.isatty()
        as_csv = as_csv or plain
        text = answer(context, url, name, asked, "text/csv" if as_csv else "application/json")
        if as_csv or as_json:
            click.echo(text, nl=not text.endswith("\n"))
            return
        said = json.loads(text)
        click.echo("\n".join(answered.lines(answered.TABLES[name](said))))
        for note in answered.notes(said):
            click.echo(note, err=True)

    return click.Command(name, callback=run, params=options, help=short)


def option(name: str) -> click.Option:
    """A parameter of the API as an option: --match-weekday, and --match_weekday, which it is called over HTTP."""
    declared = parameters.PARAMETERS[name]
    names = list(dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}", name]))
    described = declared.description.replace("`", "")
    if name in ("match_weekday", "cumulative"):
        return click.Option(names, is_flag=True, help=described)
    one_of = click.Choice(parameters.CHOICES[name]) if name in parameters.CHOICES else None
    return click.Option(names, type=one_of, multiple=name == "key", required=declared.required, help=described)


def answer(context: click.Context, url: str | None, name: str, asked: Mapping[str, Any], wanted: str) -> str:
    """What the reader says. Raises NotAnswered."""
    site = (url or _site(context)).rstrip("/")
    if urlsplit(site).scheme not in ("http", "https"):
        raise click.UsageError(f"--url {site}: write http://HOST:PORT or https://HOST")
    given = {one: "true" if value is True else value for one, value in asked.items()
             if value not in (None, False, ())}  # fmt: skip
    query = urlencode(given, doseq=True)
    request = Request(f"{site}/v1/{name}{'?' + query if query else ''}", headers={"Accept": wanted})
    if token := _token():
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with build_opener(_NoRedirect).open(request, timeout=SECONDS) as response:
            return str(response.read().decode("utf-8"))
    except HTTPError as error:
        raise _refused(site, error) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        message = f"no reader at {site} ({reason}): start it (`stitch serve`), or set --url or STITCH_URL"
        raise NotAnswered(message, ExitStatus.AGAIN) from None


def _refused(site: str, error: HTTPError) -> NotAnswered:
    body = error.read()
    try:
        said = answered.refusal(json.loads(body))
    except ValueError:
        said = f"{error.code} {error.reason}"
    if error.code in (401, 403):
        way = "STITCH_TOKEN is not accepted for this" if _token() else "set STITCH_TOKEN (`stitch token` makes one)"
        return NotAnswered(f"{site}: {said}: {way}", ExitStatus.LOOK)
    if error.code in (429, 502, 503, 504):
        return NotAnswered(f"{site}: {said}", ExitStatus.AGAIN)
    return NotAnswered(f"{site}: {said}", ExitStatus.USAGE if error.code < 500 else ExitStatus.LOOK)


def _token() -> str | None:
    if file := os.environ.get("STITCH_TOKEN_FILE"):
        return Path(file).read_text("utf-8").strip()
    return os.environ.get("STITCH_TOKEN")


def _site(context: click.Context) -> str:
    """Where the settings have the reader; where there are none, where it is by default."""
    try:
        serving = settings_of(context).serving
    except SettingsError:
        if context.obj or os.environ.get("STITCH_CONFIG"):
            raise
        return "http://127.0.0.1:18080"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(serving.host, serving.host)
    return f"http://{host}:{serving.port}"


for _name in ASKED:
    get.add_command(command(_name))
