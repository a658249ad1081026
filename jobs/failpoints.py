"""Places where a test makes a job die on purpose: STITCH_FAILPOINT names the one that is armed, as in `half_loaded`.

`NAME:kill` ends the process by SIGKILL in place of an error: nothing is caught, nothing is cleaned up.
"""

from __future__ import annotations

import os
import signal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import JobError


def armed(name: str) -> bool:
    """Whether the job is to die at this place."""
    return os.environ.get("STITCH_FAILPOINT", "").partition(":")[0] == name


def die(name: str) -> None:
    """Raises JobError where the failpoint is armed, or kills the process."""
    if armed(name):
        if os.environ["STITCH_FAILPOINT"].endswith(":kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise JobError(f"ended at the failpoint {name}")


def fail_one_task(rows: DataFrame) -> DataFrame:
    """The rows, of which the fourth of some task fails that task, once: a property of the JVM remembers that it did."""
    once = F.expr("reflect('java.lang.System', 'setProperty', 'stitch.task_failed', 'yes') IS NULL")
    fourth = F.monotonically_increasing_id() % F.lit(1 << 33) == 3
    failing = F.when(fourth & once, F.raise_error(F.lit("failed at the failpoint task_failed")).cast("bigint"))
    return rows.withColumn("count", failing.otherwise(F.col("count")))


def task_has_failed(rows: DataFrame) -> bool:
    """Whether one did, and so was tried again, for the rows are written."""
    return bool(rows.sparkSession._jvm.System.getProperty("stitch.task_failed"))
