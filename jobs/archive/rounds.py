"""The rounds in which the archive reads its topics, one after the other: each begins where the log ends, and goes to
the end of the topic."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.log import SEVERAL, Log, close_catalog
from jobs.sinks.event_log import append
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.event_log import last_appended
from jobs.sources.readable import first_stamped
from jobs.sources.topic import check_topic, edges, topic_id
from jobs.streaming.continuity import check_offsets, recreated
from stitch.cutoff import removed_offsets
from stitch.settings import Settings

JOB = "archive_events"


class Rounds:
    """One round of a topic after the other. settings: those of the topic (Settings.by_topic); folder: its own

    topic:             the id of the topic that the round reads
    checkpoint:        a URI that a streaming query needs; it lasts as long as the round, for the log says how far it is
    accept_data_loss:  whether the round goes on behind records that are gone: the first one alone may, for what goes
                       later nobody has accepted
    """

    def __init__(self, spark: SparkSession, log: Log, settings: Settings, folder: str, accept_data_loss: bool) -> None:
        self._spark, self._log, self.settings, self._folder = spark, log, settings, folder
        self.accept_data_loss, self._accept_next = False, accept_data_loss
        self._read: dict[int, int] = {}  # partition → the offset that the round has appended up to
        self._session: SparkSession | None = None  # of the round's query
        self.topic, self.checkpoint = "", f"file://{folder}/checkpoint"
        self._planned = Checkpoint(spark, self.checkpoint)

    def begin(self) -> dict[int, int]:
        """End the round before; returns partition → the offset to read from. Raises JobError where the topic cannot
        be read, or where records are gone that the log lacks, unless that is accepted."""
        self.end()
        self.accept_data_loss, self._accept_next = self._accept_next, False
        check_topic(self.settings.kafka)
        self.topic = current_topic(self._spark, self._log, self.settings, self.accept_data_loss)
        _, self._read = self._log.position(self.topic)
        following = self._log.behind_losses(self.topic, self._read)
        check_held(self._spark, self._log, self.settings, self.topic, following, self.accept_data_loss)
        shutil.rmtree(f"{self._folder}/checkpoint", ignore_errors=True)
        return following

    def append(self, rows: DataFrame, number: int) -> None:
        """Add a micro-batch (the log's columns) to the log, with the offsets that Spark planned for it."""
        ends = self._planned.planned_offsets(number).get(self.settings.kafka.topic, {})
        append(self._log, rows, self.topic, ends, self._read)
        self._read.update(ends)
        self._session = rows.sparkSession

    def end(self) -> None:
        """Let go of what the round's query has opened."""
        if self._session:
            close_catalog(self._session, self.settings.lake.catalog)
        self._session = None


class Turns:
    """The topics' rounds in turn: all of them, and again after so long (None: once)."""

    def __init__(self, rounds: Sequence[Rounds], again: timedelta | None) -> None:
        self._rounds, self._again, self._at = rounds, again, 0

    @property
    def current(self) -> Rounds:
        """The rounds of the topic whose turn it is; of the same one, until it has come to its end."""
        return self._rounds[self._at]

    @property
    def begins(self) -> bool:
        """Whether it is the first one's turn."""
        return self._at == 0

    def next(self) -> timedelta | None:
        """It is the next one's turn; returns after how long, None where all had theirs."""
        self._at = (self._at + 1) % len(self._rounds)
        return self._again if self._at == 0 else timedelta(0)


@contextmanager
def rounds_of(spark: SparkSession, log: Log, settings: Settings, accept_data_loss: bool) -> Iterator[list[Rounds]]:
    """Rounds of each topic that is read, in temporary folders; the last ones are ended."""
    views = settings.topics_read.values()
    with tempfile.TemporaryDirectory(prefix="stitch-archive-") as folder:
        rounds = [Rounds(spark, log, view, f"{folder}/{at}", accept_data_loss) for at, view in enumerate(views)]
        try:
            yield rounds
        finally:
            for one in rounds:
                one.end()


def note_topics(log: Log, settings: Settings) -> None:
    """Note whose records the log holds, while that is known: where there is one topic, all are read as its. For when
    there are several."""
    if not settings.topics:
        log.note_topics(dict.fromkeys(log.topic_ids(), settings.kafka.topic))
    elif not log.note(SEVERAL):
        log.write_note(SEVERAL, True)


def current_topic(spark: SparkSession, log: Log, settings: Settings, accept_data_loss: bool) -> str:
    """The id of the topic, noted in the log with the offsets at which it begins when it is read for the first time."""
    name, topic = f"topic.{settings.kafka.topic}", topic_id(settings.kafka)
    before = log.note(name)
    log.note_topics({of: settings.kafka.topic for of in (before, topic) if of})
    if before == topic:
        return topic
    if before is not None:
        if not accept_data_loss:
            raise recreated(JOB, settings, "Start once with --accept-data-loss: the log goes on with the new topic")
        _, ends = log.position(before)
        log.note_loss(before, {p: (at, None) for p, at in ends.items()}, last_appended(spark, settings, before), None)
    log.note_reached(topic, {partition: low for partition, (low, _) in edges(settings.kafka).items()})
    log.write_note(name, topic)
    return topic


def check_held(
    spark: SparkSession, log: Log, settings: Settings, topic: str, following: dict[int, int], accept: bool
) -> None:
    """Raises JobError where records are gone that the log should hold; notes them where that is accepted."""
    held = edges(settings.kafka)
    check_offsets(JOB, settings, following, held, accept)
    for partition, at in following.items():
        if partition in held and at > (end := held[partition][1]):
            print(f"stitch: partition {partition} of the topic {settings.kafka.topic!r} ends at {end}, and the log "
                  f"holds it up to {at}: records that get the offsets between are not archived: the log has others "
                  "there", flush=True)  # fmt: skip
    lost = removed_offsets(following, {partition: low for partition, (low, _) in held.items()})
    for partition, (first, last) in lost.items():
        until = first_stamped(settings.kafka, {partition: last}, "read_committed")[partition].appended
        since = last_appended(spark, settings, topic, partition)
        log.note_loss(topic, {partition: (first, last - 1)}, since, until)
        print(f"stitch: lost: topic {settings.kafka.topic!r}, partition {partition}, offsets {first} to {last - 1}, "
              f"appended after {since} and before {until}", flush=True)  # fmt: skip
