"""deploy/cron as it is shipped: what cron would run, with a command that ends as a job might."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from stitch.cli import main
from stitch.submit import JOBS
from tests.conftest import needs

CRON = Path(__file__).parents[2] / "deploy/cron"
RUNNER = CRON / "stitch-job"
COMMANDS = main.list_commands(click.Context(main))
ENTRIES = re.findall(r"^(\d+) (\d+) \* \* \*  (\w+)  stitch-job (\w+) '(.+)'$", (CRON / "stitch").read_text(), re.M)


def run(folder: Path, command: str, tries: int = 3) -> subprocess.CompletedProcess[str]:
    """What cron would mail is its output."""
    environment = {**os.environ, "STITCH_LOGS": str(folder), "STITCH_TRIES": str(tries), "STITCH_WAIT": "0"}
    needs("flock")
    return subprocess.run([str(RUNNER), "totals", command], capture_output=True, text=True, env=environment, timeout=60)


def ending(folder: Path, *statuses: int) -> str:
    """A command line that ends with these, one after the other, and says what it does."""
    (folder / "statuses").write_text("".join(f"{status}\n" for status in statuses), "utf-8")
    file = shlex.quote(str(folder / "statuses"))
    note = f'echo "ends with $status"; echo again >> {file}.tries'
    return f"status=$(head -1 {file}); sed -i 1d {file}; {note}; exit $status"


def tries(folder: Path) -> int:
    return (folder / "statuses.tries").read_text("utf-8").count("again")


@pytest.mark.parametrize(
    ("statuses", "status", "tried"),
    [
        ((0,), 0, 1),
        ((75, 143, 0), 0, 3),
        ((137, 0), 0, 2),
        ((75, 75, 75, 0), 75, 3),
        ((1, 0), 1, 1),
        ((2, 0), 2, 1),
        ((3, 0), 3, 1),
        ((75, 1, 0), 1, 2),
    ],
)
def test_a_command_is_tried_again_while_that_may_help(
    tmp_path: Path, statuses: tuple[int, ...], status: int, tried: int
) -> None:
    found = run(tmp_path, ending(tmp_path, *statuses))
    assert (found.returncode, tries(tmp_path)) == (status, tried)


def test_nothing_is_mailed_of_a_night_that_went_well(tmp_path: Path) -> None:
    found = run(tmp_path, ending(tmp_path, 75, 0))
    assert (found.stdout, found.stderr) == ("", "")
    assert (tmp_path / "totals.log").read_text("utf-8") == "ends with 0\n"


def test_of_one_that_failed_the_mail_says_how_and_what_it_printed(tmp_path: Path) -> None:
    found = run(tmp_path, ending(tmp_path, 1))
    assert found.stdout.startswith("totals failed with exit status 1. What it printed, also in ")
    assert found.stdout.endswith("\nends with 1\n") and found.stderr == ""


def test_what_still_runs_is_not_started_twice(tmp_path: Path) -> None:
    with (tmp_path / "totals.log.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = run(tmp_path, ending(tmp_path, 0))
    assert found.returncode == 75 and "still runs from before" in found.stdout
    assert run(tmp_path, ending(tmp_path, 0)).returncode == 0


def test_the_crontab_runs_commands_that_there_are_in_the_order_of_the_clock() -> None:
    lines = [line for line in (CRON / "stitch").read_text("utf-8").splitlines() if re.match(r"[\d*@]", line)]
    assert len(lines) == len(ENTRIES) == 3
    times = [(int(hour), int(minute)) for minute, hour, *_ in ENTRIES]
    assert times == sorted(times)
    for *_, user, name, commands in ENTRIES:
        assert user == "stitch" and name
        for command in commands.split(" && "):
            stitch, first, *rest = command.split()
            assert stitch == "stitch" and first in COMMANDS and (first != "submit" or rest[0] in JOBS)
