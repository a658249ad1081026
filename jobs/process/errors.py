"""The named errors of the jobs, and how a job's file is run: stitch.exits turns errors into exit statuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from jobs.process.causes import cause_of, may_pass
from jobs.process.log_lines import told_as_asked
from stitch import exits
from stitch.errors import ExitStatus, StitchError


class JobError(StitchError):
    """The job cannot go on; the message says what was wrong, where, and what to do."""


class BadOption(JobError):
    """The command line or a setting asks for what cannot be."""

    exit_status = ExitStatus.USAGE


class NotYet(JobError):
    """Nothing is wrong: something that the job waits for has not come yet. The same command later is enough."""

    exit_status = ExitStatus.AGAIN


class Unreachable(NotYet):
    """A part that the job needs does not answer (yet)."""


def run(main: click.Command) -> None:
    """Call the main of a job's file and end with its exit status; without spark-submit, hand it to `stitch submit`."""
    from jobs.process import figures, parents, progress  # executors import this module too

    job, args = Path(sys.argv[0]).stem, sys.argv[1:]
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit sets it
        os.execv(sys.executable, [sys.executable, "-m", "stitch.cli", "submit", job, *args])
    with parents.watched(), told_as_asked(job, args), progress.told(job, args):
        status = exits.run(main, args, f"stitch submit {job}", cause_of, may_pass)
        figures.end(status)
        sys.exit(status)
