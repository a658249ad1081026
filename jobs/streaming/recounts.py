"""Ingest windows that the stream is done with, and of which a record comes all the same: they are counted again, whole.

As where partitions were far apart, a transaction was open for long, or brokers' clocks differ: the state of the window
is gone, or never was there, so the stream drops the record. Such windows are noted in the checkpoint and counted as
batches when the stream is started next: at once, but once in an ingest window at most. A stream that fell far behind is
started again, too: jobs.streaming.windows counts then what is over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable

from jobs.process.errors import JobError
from jobs.proof.completeness import STREAMING_JOB, needed_since
from jobs.sources.checkpoint import Batches, Checkpoint, Span
from jobs.sources.topic import first_offsets, stable_ends
from jobs.streaming.queries import end_offsets
from jobs.streaming.windows import FAR, records, stamps_at
from stitch.buckets import EPOCH
from stitch.cutoff import window_start
from stitch.settings import Settings

LOOKED_AT = 10  # of the last micro-batches: by so many a watcher may be behind, which waits for Cassandra meanwhile


def closed(oldest: datetime, watermark: datetime, since: datetime | None, length: timedelta) -> Span | None:
    """The windows, from that of a micro-batch's oldest record on, whose state the stream may not have: those in front
    of the watermark, and of where it began."""
    span = Span(window_start(oldest, length), max(window_start(watermark, length), since or EPOCH))
    return span if span.since < span.until else None


class Recounts:
    """Of one stream. count: to be done for windows, whose rows are written when it returns."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, count: Callable[[Span], None]) -> None:
        self._settings, self._checkpoint, self._count = settings, checkpoint, count
        self._length = settings.streaming.ingest_window
        self._note: dict[str, Any] | None = None  # of the checkpoint
        self._owed, self._settled = checkpoint.owed()
        self._noted = self._owed  # in the checkpoint
        self._late = self._far = False  # since it was started
        self._recounted, self._started = -math.inf, math.inf  # time.monotonic()

    @property
    def settled(self) -> bool:
        """Whether increments hold all that was read."""
        return self._owed is None

    def note(self, progress: dict[str, Any]) -> None:
        """Note what a micro-batch says: it has written its rows."""
        self._started = min(self._started, time.monotonic())
        times = {name: datetime.fromisoformat(at) for name, at in (progress.get("eventTime") or {}).items()}
        if "min" in times:
            self._owe(times["min"], times["watermark"])
        if end := end_offsets(progress):
            unread = records(end, end_offsets(progress, "latestOffset"))
            self._far = unread > FAR * self._settings.streaming.max_offsets_per_trigger

    def due(self) -> bool:
        """Whether the stream is to be started again."""
        before = time.monotonic() - self._length.total_seconds()
        return (self._owed is not None and self._recounted < before) or (self._far and self._started < before)

    def again(self) -> timedelta | None:
        """After how long a stream that has come to its end is started again; None: never."""
        return timedelta(0) if self._late else None

    def settle(self) -> bool:
        """Before the stream starts: count the windows that are noted, and those that its last micro-batches had records
        of, since it may have ended before these were noted. Returns whether there were any, and they are counted."""
        last = self._checkpoint.last_batches(LOOKED_AT)
        if last and last.newest != self._settled:
            self._look_at(last)
        owed, self._late, self._far, self._started, self._note = self._owed, False, False, math.inf, None
        if owed is None:
            return False
        self._recounted = time.monotonic()
        try:
            needed = needed_since(self._settings)
        except (JobError, DriverException, RequestExecutionException, NoHostAvailable) as error:
            print(f"stitch: {error}\nstitch: records came late of ingest windows from {owed.since:%FT%TZ} on: they are "
                  "counted again when the batch layer says from where on they are needed", flush=True)  # fmt: skip
            return False
        span = owed._replace(since=max(owed.since, needed or EPOCH))  # what is before that, the batch counts
        if span.since < span.until:
            print(f"stitch: records came late of ingest windows from {span.since:%FT%TZ} to {span.until:%FT%TZ}: these "
                  "are counted again", flush=True)  # fmt: skip
            self._count(span)
            many, seconds = (span.until - span.since) // self._length, time.monotonic() - self._recounted
            print(f"{STREAMING_JOB} windows={many} until={span.until:%FT%TZ} again=1 seconds={seconds:.1f}", flush=True)
        self._owed = self._noted = None
        self._settled = last.newest if last else -1
        self._checkpoint.write_owed(None, self._settled)
        return True

    def _look_at(self, last: Batches) -> None:
        stamps = list[datetime]()
        for name, view in self._settings.topics_read.items():
            first, ends = first_offsets(view.kafka, last.first.get(name, {})), stable_ends(view.kafka)
            stamps += stamps_at(view.kafka, {p: at for p, at in first.items() if at < ends[p]}, "read_committed")
        if stamps:
            self._owe(min(stamps), last.watermark)

    def _owe(self, oldest: datetime, watermark: datetime) -> None:
        self._note = self._note or self._checkpoint.note() or {}
        since = self._note.get("since")
        if span := closed(oldest, watermark, datetime.fromisoformat(since) if since else None, self._length):
            before, self._late = self._owed or span, True
            owed = Span(min(before.since, span.since), max(before.until, span.until))
            if owed != self._noted:
                self._owed = owed  # at once, for it may be that it cannot be noted
                self._checkpoint.write_owed(owed, self._settled)
                self._noted = owed
