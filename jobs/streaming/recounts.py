"""Ingest windows that the stream is done with, and of which a record comes all the same: they are counted again, whole.

As where partitions were far apart, a transaction was open for long, or brokers' clocks differ: the state of the window
is gone, so Spark drops the record, or has a row of it alone, which overwrites nothing. Such windows are noted in the
checkpoint and counted as batches when the stream is started next: at once, but once in an ingest window at most. A
stream that fell far behind is started again, too: jobs.streaming.windows counts then what is over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.process.errors import Unreachable
from jobs.proof.completeness import needed_since
from jobs.sources.checkpoint import Checkpoint, Span
from jobs.sources.topic import first_offsets
from jobs.streaming.queries import end_offsets
from jobs.streaming.windows import FAR, ends_of, records, stamps_at
from stitch.buckets import EPOCH
from stitch.cutoff import window_start
from stitch.settings import Settings


def closed(
    oldest: datetime, watermark: datetime, since: datetime | None, now: datetime, length: timedelta
) -> Span | None:
    """The windows, from that of a micro-batch's oldest record on, whose state the stream may not have: those in front
    of the watermark, and of where it began. A watermark from the future, which a producer stamped, ends with now's
    window."""
    until = min(max(window_start(watermark, length), since or EPOCH), window_start(now, length) + length)
    span = Span(window_start(oldest, length), until)
    return span if span.since < span.until else None


class Recounts:
    """Of one stream. count: to be done for windows, whose rows are written when it returns."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, count: Callable[[Span], None]) -> None:
        self._settings, self._checkpoint, self._count = settings, checkpoint, count
        self._length = settings.streaming.ingest_window
        self._note: dict[str, Any] | None = None  # of the checkpoint
        self.settled = True  # whether increments hold all that was read
        self._owes = self._far = False
        self._recounted, self._started = -math.inf, math.inf  # time.monotonic()

    def note(self, progress: dict[str, Any]) -> None:
        """Note what a micro-batch says: it has written its rows."""
        times = {name: datetime.fromisoformat(at) for name, at in (progress.get("eventTime") or {}).items()}
        if "min" in times:
            self._owe(times["min"], times["watermark"])
        if end := end_offsets(progress):
            unread = records(end, end_offsets(progress, "latestOffset"))
            self._far = unread > FAR * self._settings.streaming.max_offsets_per_trigger

    def due(self) -> bool:
        """Whether the stream is to be started again."""
        before = time.monotonic() - self._length.total_seconds()
        return (self._owes and self._recounted < before) or (self._far and self._started < before)

    def again(self) -> timedelta | None:
        """After how long a stream that has come to its end is started again; None: never."""
        return timedelta(0) if self._owes else None

    def settle(self) -> None:
        """Before the stream starts: count the windows that are noted, and those that its last micro-batch had records
        of, since it may have ended before they were."""
        self._look_at_the_last()
        owed, self._owes, self._far, self._started = self._checkpoint.owed(), False, False, time.monotonic()
        if owed:
            self._recount(owed)
            self._recounted = time.monotonic()
        self.settled = self._checkpoint.owed() is None
        self._note = None  # another may be written now

    def _recount(self, owed: Span) -> None:
        try:
            needed = needed_since(self._settings)
        except Unreachable as error:
            print(f"stitch: {error}\nstitch: records came late of ingest windows from {owed.since:%FT%TZ} on: they are "
                  "counted again at a later start", flush=True)  # fmt: skip
            return
        span = owed._replace(since=max(owed.since, needed or EPOCH))  # what is before that, the batch counts
        if span.since < span.until:
            print(f"stitch: records came late of ingest windows from {span.since:%FT%TZ} to {span.until:%FT%TZ}: these "
                  "are counted again", flush=True)  # fmt: skip
            self._count(span)
        self._checkpoint.owe_nothing()

    def _look_at_the_last(self) -> None:
        batch = self._checkpoint.last_batch()
        if batch is None:
            return
        stamps, ends = list[datetime](), ends_of(self._settings)
        for name, view in self._settings.topics_read.items():
            first = first_offsets(view.kafka, batch.first.get(name, {}))
            stamps += stamps_at(view.kafka, {p: at for p, at in first.items() if at < ends[name][p]}, "read_committed")
        if stamps:
            self._owe(min(stamps), batch.watermark)

    def _owe(self, oldest: datetime, watermark: datetime) -> None:
        self._note = self._note or self._checkpoint.note() or {}
        since = self._note.get("since")
        began = datetime.fromisoformat(since) if since else None
        if span := closed(oldest, watermark, began, datetime.now(UTC), self._length):
            self._checkpoint.owe(span)
            self._owes, self.settled = True, False
