"""Places where a test makes a job die on purpose: STITCH_FAILPOINT names the one that is armed."""

from __future__ import annotations

import os

from jobs.errors import JobError


def armed(name: str) -> bool:
    """Whether the job is to die at this place."""
    return os.environ.get("STITCH_FAILPOINT") == name


def die(name: str) -> None:
    """Raises JobError where the failpoint is armed."""
    if armed(name):
        raise JobError(f"ended at the failpoint {name}")
