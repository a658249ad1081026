"""What the documents take from the code is what the code says, and every call of a command that they show is one."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from release.reference import DOCS, MADE, every_command, with_made
from stitch.submit import JOBS
from stitch.submit_args import SWITCHES, WITH_VALUE

ROOT = DOCS.parent
COMMANDS = every_command()
OF_SPARK = {*SWITCHES, *WITH_VALUE, "--help", "--log-format"}  # what every job takes beside its own
SHORT = {"stitch audit": "stitch submit audit_counts", "stitch rejected": "stitch submit rejected_records"}
SHOWN = [
    *ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "bench/README.md",
    *(file for file in (ROOT / "deploy").rglob("*") if file.is_file() and file.suffix != ".pyc"),
]  # fmt: skip
NAMES = re.compile(r"[a-z][a-z_-]*")


@pytest.mark.parametrize("name", MADE)
def test_what_a_page_takes_from_the_code_is_as_the_code_is_now(name: str) -> None:
    page = (DOCS / name).read_text("utf-8")
    assert page == with_made(page, MADE[name]()), "`make reference` writes it"


def test_a_page_without_markers_is_told_and_not_written() -> None:
    with pytest.raises(ValueError, match="needs <!-- made by `make reference` --> and <!-- end -->, once"):
        with_made("# A page\n", "made")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_each_of_its_options(name: str) -> None:
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    assert COMMANDS[name].help
    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize("job", JOBS)
def test_the_head_of_a_job_names_no_option_that_it_has_not(job: str) -> None:
    head = importlib.import_module(f"jobs.{job}").__doc__ or ""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", head))
    options = {one for parameter in COMMANDS[f"stitch submit {job}"].params for one in parameter.opts}
    assert named <= options | {"--help"}


def calls(text: str) -> Iterator[str]:
    """The calls of stitch that a page shows: in lines of code, and within a sentence."""
    whole = text.replace("\\\n", " ")
    lines = re.findall(r"^(?:[ ]{4,}|\$ )?(?:\$ )?(?:[A-Z_]+=\S+ )*(stitch .*)$", whole, re.MULTILINE)
    inline = (" ".join(one.split()) for one in re.findall(r"`(stitch\s[^`]+)`", whole))
    for call in [*lines, *inline]:
        yield re.split(r"\s(?:#|&&|&|\||>|2>)|\s{2,}", call)[0]


def wrong_with(call: str) -> str | None:
    """Why there is no such call; None where there is."""
    words = shlex.split(call.replace("…", " "))[1:]
    while words and words[0] in ("--config", "--log-format"):
        words = words[2:]
    name = "stitch"
    while words and f"{name} {words[0]}" in COMMANDS:
        name = f"{name} {words.pop(0)}"
    if words and hasattr(COMMANDS[name], "commands") and NAMES.fullmatch(words[0]):
        return f"{name} has no command {words[0]}"
    if name == "stitch submit" and words and NAMES.fullmatch(words[0]):
        return f"there is no job {words[0]}"
    name = SHORT.get(name, name)
    known = {one for parameter in COMMANDS[name].params for one in parameter.opts} | {"--help"}
    if name.startswith("stitch submit"):
        known |= OF_SPARK
    given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]|-[a-z]$", word)}
    return f"{name} has no {', '.join(sorted(given - known))}" if given - known else None


@pytest.mark.parametrize("file", SHOWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_call_of_stitch_that_is_shown_can_be_typed(file: Path) -> None:
    found = {call: why for call in calls(file.read_text("utf-8")) if (why := wrong_with(call))}
    assert found == {}


def test_many_calls_are_looked_at_and_a_wrong_one_is_found() -> None:
    assert sum(1 for file in SHOWN for _ in calls(file.read_text("utf-8"))) > 150
    assert wrong_with("stitch try --topics") == "stitch try has no --topics"
    assert wrong_with("stitch submit batch_totals --master local --ful") == "stitch submit batch_totals has no --ful"
    assert wrong_with("stitch submit batch_total") == "there is no job batch_total"
    assert wrong_with("stitch schema drop") == "stitch schema has no command drop"
