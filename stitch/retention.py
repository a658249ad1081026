"""Since when increments are held: rows keep the expiry that they were written with, also when the retention is raised.

`stitch schema apply` records each raise in the table schema_changes, and what may only be done with increments that are
all there asks here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

_RAISED = re.compile(r"realtime\.retention raised from (\d+) s")


def raised_from(seconds: int) -> str:
    """The name under which a raise is recorded."""
    return f"realtime.retention raised from {seconds} s"


def held_since(now: datetime, retention: timedelta, made: Mapping[str, datetime]) -> datetime:
    """Since when no increment has expired. `made`: what schema_changes holds, change → when it was made."""
    since = now - retention
    for change, at in made.items():
        if found := _RAISED.fullmatch(change):  # what was written before then expired, or expires, as it was to
            since = max(since, min(at, now - timedelta(seconds=int(found[1]))))
    return since
