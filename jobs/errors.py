"""The named errors of the jobs, and how a job's file is run: stitch.exits turns errors into exit statuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

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
    from jobs import parents  # executors import this module too

    job, args = Path(sys.argv[0]).stem, sys.argv[1:]
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit sets it
        os.execv(sys.executable, [sys.executable, "-m", "stitch.cli", "submit", job, *args])
    with parents.watched():
        sys.exit(exits.run(main, args, f"stitch submit {job}", cause_of, may_pass))


def cause_of(error: BaseException) -> str:
    """What happened, for an error without a name: one of Spark, of a driver, or a fault of ours."""
    return exits.first_line(error)


# Servers that are away, overloaded or slow, as the drivers of Python and of the JVM call it.
_PASSING = (
    "NoHostAvailable", "OperationTimedOut", "ReadTimeout", "WriteTimeout", "Unavailable", "AllNodesFailedException",
    "DriverTimeoutException", "BusyPoolException", "NoNodeAvailableException", "_TRANSPORT", "_TIMED_OUT",
    "_ALL_BROKERS_DOWN", "org.apache.kafka.common.errors.TimeoutException",
)  # fmt: skip


def may_pass(error: BaseException) -> bool:
    """Whether the same command later may be enough: a server was away, and nothing is wrong with what it was asked."""
    said = f"{type(error).__name__}: {error}"
    return any(sign in said for sign in _PASSING)
