"""How far the streaming job has come, for readers and for the other jobs: its rows in the table `progress`.

The job's row has what concerns it whole, and the offsets where there is one topic. Of several topics each has a row of
its own beside it for its offsets (stitch.tables.progress_row): each proves what it says by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session

from connections.cassandra import WRITE
from jobs.sinks.statements import upserting
from stitch.settings import Settings
from stitch.tables import progress_row

TIMEOUT_S = 5


def publish_progress(
    cassandra: Session, settings: Settings, job: str, through: datetime | None, offsets: Mapping[str, Mapping[int, int]]
) -> None:
    """Tell how far the increments have come: the offsets (topic → partition → the first not counted; those that are
    not named stay), and for people an instant, where it is known. Of one that cannot be told a line is printed: the
    next batch tells."""
    try:
        _write_offsets(cassandra, settings, job, offsets)
        if through is not None:
            _write(cassandra, job, realtime_through=through)
    except (DriverException, RequestExecutionException, NoHostAvailable) as error:
        print(f"stitch: progress not published: {error}", flush=True)


def go_back(cassandra: Session, settings: Settings, job: str, offsets: Mapping[str, Mapping[int, int]]) -> None:
    """Tell, before it is read again, that what is behind the offsets (topic → partition → offset; what it does not
    name: all) is not counted yet as it is to be counted now: a rollup would publish a new counter without it. Raises
    the driver's errors."""
    _write_offsets(cassandra, settings, job, {name: offsets.get(name, {}) for name in settings.topics_read})


def claim(
    cassandra: Session,
    settings: Settings,
    job: str,
    counters: Iterable[str],
    offsets: Mapping[str, Mapping[int, int]] | None,
) -> None:
    """Note, before the first increment is written, of which ingest windows and counters all are. Raises the driver's
    errors.

    offsets: as of go_back, behind which nothing is counted yet as it is to be counted now; None: those that are noted
             hold
    """
    if offsets is not None:
        go_back(cassandra, settings, job, offsets)
    seconds = int(settings.streaming.ingest_window.total_seconds())
    _write(cassandra, job, ingest_window=seconds, counters=set(counters))


def _write_offsets(cassandra: Session, settings: Settings, job: str, offsets: Mapping[str, Mapping[int, int]]) -> None:
    for topic, at in offsets.items():
        _write(cassandra, progress_row(job, topic if settings.topics else None), offsets=at)


def _write(cassandra: Session, job: str, **columns: Any) -> None:
    cassandra.execute(*upserting("progress", {"job": job, **columns}), timeout=TIMEOUT_S, execution_profile=WRITE)
