"""Places where a test makes a job die on purpose: STITCH_FAILPOINT names the one that is armed, as in `half_loaded`.

`NAME:kill` ends the process by SIGKILL in place of an error: nothing is caught, nothing is cleaned up.
"""

from __future__ import annotations

import os
import signal

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
