"""How far the streaming job has come, for readers and for the other jobs: its row in the table `progress`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session

from connections.cassandra import WRITE
from jobs.sinks.statements import upserting

TIMEOUT_S = 5


def publish_progress(cassandra: Session, job: str, through: datetime | None, offsets: Mapping[int, int]) -> None:
    """Tell how far the increments have come: the offsets (partition → the first not counted), and for people an
    instant; nothing where that is not known. Of one that cannot be told a line is printed: the next batch tells."""
    if through is None:
        return
    try:
        _write(cassandra, job, realtime_through=through, offsets=offsets)
    except (DriverException, RequestExecutionException, NoHostAvailable) as error:
        print(f"stitch: progress not published: {error}", flush=True)


def go_back(cassandra: Session, job: str, offsets: Mapping[int, int]) -> None:
    """Tell, before it is read again, that what is behind the offsets is not counted yet as it is to be counted now: a
    rollup would publish a new counter without it. Raises the driver's errors."""
    _write(cassandra, job, offsets=offsets)


def claim(
    cassandra: Session, job: str, ingest_window: timedelta, counters: Iterable[str], offsets: Mapping[int, int] | None
) -> None:
    """Note, before the first increment is written, of which ingest windows and counters all are. Raises the driver's
    errors.

    offsets: behind which nothing is counted yet as it is to be counted now; None: those that are noted hold
    """
    columns: dict[str, Any] = {} if offsets is None else {"offsets": offsets}
    _write(cassandra, job, ingest_window=int(ingest_window.total_seconds()), counters=set(counters), **columns)


def _write(cassandra: Session, job: str, **columns: Any) -> None:
    cassandra.execute(*upserting("progress", {"job": job, **columns}), timeout=TIMEOUT_S, execution_profile=WRITE)
