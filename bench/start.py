"""`make bench-start`: what a job without work takes, with and without the file of Spark's classes that set-up makes.

A stack of its own; each job runs to its end by `stitch submit`, both ways in turn, after a first time that gives it
what there is to do. Seconds, and CPU seconds of all its processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from stitch.java import java_home
from stitch.settings import load_settings
from stitch.submit import JVM_OPTIONS
from stitch_local import stack
from tests.conftest import stack_config

JOBS = ("streaming_counts", "archive_events")


@dataclass(frozen=True)
class Start:
    """Of one job, from the command line to its end."""

    job: str
    kept: bool  # with the file of classes
    seconds: float
    cpu_seconds: float


def starts(config: Path, jobs: Sequence[str], rounds: int) -> Iterator[Start]:
    """So many rounds of each job, with the file and without."""
    for job in jobs:
        started(config, job, kept=True)
        for _ in range(rounds):
            yield started(config, job, kept=True)
            yield started(config, job, kept=False)


def started(config: Path, job: str, kept: bool) -> Start:
    """Run it to its end. Raises RuntimeError where it fails."""
    own = os.environ.get(JVM_OPTIONS, "")
    of_java_alone = f"{own} -XX:SharedArchiveFile={java_home()}/lib/server/classes.jsa"  # the last one said is used
    env = {**os.environ, JVM_OPTIONS: own if kept else of_java_alone}
    command = [str(Path(sys.executable).parent / "stitch"), "--config", str(config), "submit", job, "--available-now"]
    began = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)  # with all that it waited for itself
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{job} ended with status {process.returncode}")
    return Start(job, kept, time.monotonic() - began, used.ru_utime + used.ru_stime)


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds: int) -> None:
    """Measure, and print the table of bench/README.md."""
    with tempfile.TemporaryDirectory(prefix="start") as folder:
        config = stack_config(Path(folder))
        settings = load_settings(config)
        stack.up(settings, say=lambda _: None)
        try:
            print("| job | classes kept | seconds | CPU seconds |\n| --- | --- | --- | --- |")
            for one in starts(config, JOBS, rounds):
                kept = "yes" if one.kept else "no"
                print(f"| {one.job} | {kept} | {one.seconds:.1f} | {one.cpu_seconds:.1f} |", flush=True)
        finally:
            stack.down(settings, say=lambda _: None)


if __name__ == "__main__":
    main()
