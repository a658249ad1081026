"""What goes before each start of the stream: its checkpoint is looked at, and windows that the stream will not count
(those a record came late of, those it is far behind of) are counted as batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cassandra.cluster import Session
from pyspark.sql import DataFrame

from jobs.proof.completeness import STREAMING_JOB
from jobs.sinks.cassandra import forget_connections
from jobs.sinks.progress import publish_progress
from jobs.sources.checkpoint import Beginning, Checkpoint, Span
from jobs.sources.topic import Offsets, check_topics, read_between, read_topics
from jobs.streaming.continuity import check_continuity
from jobs.streaming.queries import Stop
from jobs.streaming.recounts import Recounts
from jobs.streaming.windows import catch_up, ends_of, offsets_of
from stitch.settings import Settings


@dataclass
class Starts:
    """Of one stream.

    counting: the settings with what is counted live; beginning: where there is no checkpoint; count: to be done for the
    records that have those of some windows among them, whose rows are written when it returns
    """

    settings: Settings
    counting: Settings
    checkpoint: Checkpoint
    cassandra: Session
    beginning: Beginning | None
    count: Callable[[DataFrame, Span], None]
    accept_data_loss: bool
    stop: Stop
    recounts: Recounts = field(init=False)

    def __post_init__(self) -> None:
        self.recounts = Recounts(self.settings, self.checkpoint, lambda span: self._count(span, ends_of(self.settings)))

    def next(self) -> tuple[DataFrame, datetime | None]:
        """(the stream's records, the instant from which on it has all of them; None: the earliest). Raises JobError
        where counting on would not be exact."""
        spark = self.checkpoint.spark
        forget_connections(spark)
        check_topics(self.settings)
        since = self._checked()
        if self.recounts.settle():
            publish_progress(self.cassandra, self.settings, STREAMING_JOB, None, self.checkpoint.next_offsets())
        now = datetime.now(UTC)
        if begun := catch_up(self.settings, self.checkpoint, self.beginning, now, self._count_lot, self.stop):
            self.beginning = begun
            since = self._checked()
        offsets = self.beginning and self.beginning.offsets
        return read_topics(spark, self.settings.topics_read, offsets, self.accept_data_loss), since

    def publish(self, through: datetime | None, offsets: Offsets) -> None:
        """Say what increments hold. While windows are to be counted again, up to which offsets stays as it was."""
        settled = offsets if self.recounts.settled else {}
        publish_progress(self.cassandra, self.settings, STREAMING_JOB, through, settled)

    def _checked(self) -> datetime | None:
        return check_continuity(self.checkpoint, self.counting, self.beginning, self.accept_data_loss)

    def _count(self, span: Span, until: Offsets) -> None:
        first = offsets_of(self.settings)(span.since)
        self.count(read_between(self.checkpoint.spark, self.settings.topics_read, first, until), span)

    def _count_lot(self, lot: Span) -> None:
        at = offsets_of(self.settings)
        behind = at(lot.until)  # asked before: what comes meanwhile is not said to be counted
        self._count(lot, at(lot.until + self.settings.log.grace))
        self.publish(lot.until, behind)
