"""Places where a test makes a job die on purpose: STITCH_FAILPOINT names the one that is armed, as in `half_loaded`.

`NAME:kill` ends the process by SIGKILL in place of an error: nothing is caught, nothing is cleaned up. `fail_once` is
for what Spark repairs by itself: a task that fails in the middle of its rows and is tried again.
"""

from __future__ import annotations

import os
import signal
import uuid

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


def fail_once(name: str, rows: DataFrame, after: int) -> DataFrame:
    """The rows; where the failpoint is armed, the first task that comes to its row number `after` fails there, once.

    Executors have no state of ours: a system property of their JVM, set by whoever comes first, tells the others
    (java_method answers what was there before: the word 'null', never NULL).
    """
    if not armed(name):
        return rows
    place = F.monotonically_increasing_id().bitwiseAND((1 << 33) - 1)  # of the row in its task's partition
    already = f"java_method('java.lang.System', 'setProperty', 'stitch.failpoint.{uuid.uuid4().hex}', 'passed')"
    fails = F.expr(f"if({already} = 'null', raise_error('a task failed at the failpoint {name}'), true)")
    return rows.where(F.when(place == after, fails).otherwise(True))
