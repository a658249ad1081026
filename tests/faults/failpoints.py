"""Points at which a test makes a job die on purpose. The jobs know nothing of them: functions of theirs are replaced.

In the test's own process: `with armed("half_loaded"): run_job("batch_totals")`. A job in a process of its own is begun
by `command`, which gives this file to spark-submit in place of the job's: it arms the point, then runs the job, and at
the point the driver is killed by SIGKILL, so that nothing is caught and nothing cleaned up.

Executors import nothing from here: what is replaced runs in the driver, and rows go through expressions of Spark's.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.process.errors import JobError, run
from stitch import submit
from stitch.shipped import PACKAGES

Function = Callable[..., Any]
Die = Callable[[], None]
KILLED = 128 + signal.SIGKILL  # the exit status of a spark-submit whose driver was killed


class Point(NamedTuple):
    """The function that is replaced, as `module.name` where it is called, and what it is replaced by."""

    function: str
    replaced: Callable[[Function, Die], Function]


def instead(_: Function, die: Die) -> Function:
    """Die in place of the call."""
    return lambda *args, **named: die()


def afterwards(call: Function, die: Die) -> Function:
    """Die when the call has done its work."""

    @wraps(call)
    def called(*args: Any, **named: Any) -> None:
        call(*args, **named)
        die()

    return called


def with_half(call: Function, die: Die) -> Function:
    """Write half of the rows, of keys and of members, and die."""

    def called(rows: DataFrame, *args: Any) -> None:
        call(rows.where(F.pmod(F.xxhash64("counter", "key", "granularity", "bucket", "member"), F.lit(2)) == 0), *args)
        die()

    return called


def with_keys_alone(call: Function, die: Die) -> Function:
    """Write the rows of keys into their table, none of members into its twin, and die."""

    def called(rows: DataFrame, *args: Any) -> None:
        call(rows.where("member is null"), *args)
        die()

    return called


def with_a_task_that_fails(call: Function, _: Die) -> Function:
    """Write the rows; the first task that comes to its row number 500 fails there, once, and Spark tries it again.

    Executors have no state of ours: a system property of their JVM, set by whoever comes first, tells the others
    (java_method answers what was there before: the word 'null', never NULL).
    """
    already = f"java_method('java.lang.System', 'setProperty', 'stitch.failpoint.{uuid.uuid4().hex}', 'passed')"
    fails = F.expr(f"if({already} = 'null', raise_error('a task failed at a failpoint'), true)")

    def called(rows: DataFrame, *args: Any) -> None:
        place = F.monotonically_increasing_id().bitwiseAND((1 << 33) - 1)  # of the row in its task's partition
        call(rows.where(F.when(place == 500, fails).otherwise(True)), *args)

    return called


POINTS = {
    "before_load": Point("jobs.totals.publishing.compare", instead),  # the run's branch is counted, nothing loaded
    "half_loaded": Point("jobs.totals.loading.upsert_by_member", with_half),
    "before_publish": Point("jobs.totals.loading.load", afterwards),
    "half_written": Point("jobs.streaming_counts.upsert_by_member", with_keys_alone),
    "written": Point("jobs.streaming_counts.upsert_by_member", afterwards),  # and Spark has not committed the batch
    "task_failed": Point("jobs.streaming_counts.upsert_by_member", with_a_task_that_fails),
}


def armed(name: str, die: Die | None = None) -> AbstractContextManager[Any]:
    """While this lasts, a job that comes to the point dies there: by a JobError that names the point, or by `die`."""

    def fail() -> None:
        raise JobError(f"ended at the failpoint {name}")

    point = POINTS[name]
    module, _, function = point.function.rpartition(".")
    real = getattr(importlib.import_module(module), function)
    return mock.patch(point.function, point.replaced(real, die or fail))


def command(settings_file: Path, properties: Path, name: str, job: str, *args: str) -> tuple[list[str], dict[str, str]]:
    """(arguments, environment) of a spark-submit that runs the job and kills it at the point.

    properties: where the file of Spark's properties is put, which must be there as long as the job runs
    """
    text, spark_args = submit.own_properties([])
    properties.write_text(text, "utf-8")
    spark_submit = submit.command(job, args, properties, spark_args)
    at = spark_submit.index(str(PACKAGES / f"jobs/{job}.py"))
    return [*spark_submit[:at], __file__, name, *spark_submit[at:]], submit.environment(str(settings_file))


def main() -> None:
    """Run the job of the command line (the point, the job's file, its arguments) with the point armed."""
    _, name, *sys.argv = sys.argv
    with armed(name, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        run(importlib.import_module(f"jobs.{Path(sys.argv[0]).stem}").main)


if __name__ == "__main__":
    main()
