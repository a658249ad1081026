"""The parts of the documents that are made of the code: the options of all commands and jobs, what HTTP takes.

    make reference

writes them between their markers; tests/unit/test_reference.py fails where a page says something else.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click

from serving.api.openapi import PROBLEMS, Schema, document, operations
from serving.api.parameters import PARAMETERS
from serving.app import create_app
from stitch.cli import main as stitch
from stitch.settings import load_settings
from stitch.shipped import CONF
from stitch.submit import JOBS, job_command

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 116
OF_THE_SETTINGS = ("counter", "granularity")  # parameters whose values they decide


def of_commands() -> str:
    """Every command and job, with its help as it prints it."""
    return "\n\n".join(_help(name, command) for name, command in every_command().items())


def every_command() -> dict[str, click.Command]:
    """What is typed → the command, or the job."""
    jobs = {f"stitch submit {job}": job_command(job) for job in JOBS}
    return dict(_below("stitch", stitch)) | jobs


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for below, one in sorted(getattr(command, "commands", {}).items()):
        yield from _below(f"{name} {below}", one)


def _help(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    lines = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## `{name}`\n\n```text\n{lines}\n```"


def of_http() -> str:
    """What each request takes, and what each parameter means."""
    settings = load_settings(CONF / "stitch.toml")
    app = create_app(settings)
    found = ["### Requests", ""]
    for (path, method), (operation, _, text) in sorted(operations(app).items()):
        names = operation.parameters or operation.body
        takes = f" Takes {', '.join(f'`{name}`' for name in names)}." if names else ""
        kinds = [kind.__name__ for kind in (operation.answer, operation.or_answer) if kind and kind is not str]
        answers = f" Answers {' or '.join(f'[{kind}](#{kind.lower()})' for kind in kinds)}." if kinds else ""
        found += _item(f"**`{method.upper()} {path}`**: {text}{takes}{answers}")
    found += ["", "### Parameters", ""]
    openapi = document(app, settings)
    schemas = _schemas(openapi)
    for name, parameter in PARAMETERS.items():
        needed = " (required)" if parameter.required else ""
        found += _item(f"**`{name}`**{needed}: {parameter.description}{_allowed(name, schemas[name])}")
    found += ["", "### Statuses", ""]
    for status, meaning in PROBLEMS.items():
        found += _item(f"**{status}**: {meaning}")
    found += ["", "### Answers"]
    for name, schema in openapi["components"]["schemas"].items():
        found += ["", f"#### {name}", "", *textwrap.wrap(schema.get("description", ""), WIDTH)]
        found += [""] if "description" in schema else []
        for field, of in schema["properties"].items():
            absent = "" if field in schema.get("required", ()) else ", where there is one"
            said = f": {of['description']}" if "description" in of else ""
            found += _item(f"`{field}` ({_type(of)}{absent}){said}")
    return "\n".join(found)


def _type(schema: Schema) -> str:
    """A type of JSON Schema in a few words."""
    if several := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(map(_type, several)))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    of_any_name = schema.get("additionalProperties")
    if isinstance(of_any_name, dict):
        return f"name → {_type(of_any_name)}"
    return str(schema.get("format", schema.get("type", "anything")))


def _schemas(openapi: Schema) -> dict[str, Schema]:
    """parameter → its JSON Schema, as some request takes it."""
    gets = [cast("Schema", methods["get"]) for methods in openapi["paths"].values() if "get" in methods]
    return {one["name"]: one["schema"] for get in gets for one in get.get("parameters", [])}


def _allowed(name: str, schema: Schema) -> str:
    """Which values there are, where the settings do not decide it, and which is taken where none is given."""
    values: list[str] = [] if name in OF_THE_SETTINGS else schema.get("enum", [])
    listed = f". One of {', '.join(f'`{value}`' for value in values)}" if values else ""
    default = schema.get("default")
    said = "false" if default is False else default
    return listed if said is None else f"{listed}. Default: `{said}`"


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


MADE = {"options.md": of_commands, "http.md": of_http}  # page → what makes its part between the markers
MARKED = re.compile(r"(?<=<!-- made by `make reference` -->\n).*?(?=<!-- end -->)", re.DOTALL)


def with_made(page: str, made: str) -> str:
    """The page with what was made between its markers. Raises ValueError where they are not there, once."""
    text, times = MARKED.subn(lambda _: f"\n{made}\n\n", page)
    if times != 1:
        raise ValueError("the page needs <!-- made by `make reference` --> and <!-- end -->, once, each on a line")
    return text


def main() -> None:
    """Write all of them."""
    for name, make in MADE.items():
        page = DOCS / name
        page.write_text(with_made(page.read_text("utf-8"), make()), "utf-8")


if __name__ == "__main__":
    main()
