"""The topics into the log: each of them to its end, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from jobs.archive.importing import Sources
from jobs.archive.rounds import JOB, Turns
from jobs.frames.log_rows import topic_rows
from jobs.lake.figures import note_table
from jobs.sinks.lag import LagReport
from jobs.sources.topic import read_topics
from jobs.streaming.figures import note_progress, note_through
from jobs.streaming.queries import Stop, end_offsets, keep_running, print_progress
from stitch.settings import Settings


def archive_topics(spark: SparkSession, settings: Settings, turns: Turns, sources: Sources, stop: Stop) -> None:
    """Each topic to its end, and the sources before them; until all had their turns, or until asked to stop."""
    began = datetime.now(UTC)
    with LagReport(settings.kafka, JOB) as lag:

        def start() -> StreamingQuery:
            nonlocal began
            if turns.begins:
                began = datetime.now(UTC)
                sources.bring()
            rounds = turns.current
            following = rounds.begin()  # partition → the first offset that the log lacks
            of_topic = {rounds.settings.kafka.topic: rounds.settings}
            records = read_topics(spark, of_topic, dict.fromkeys(of_topic, following), rounds.accept_data_loss)
            return (
                topic_rows(records, rounds.settings, rounds.topic)  # the log's columns: decoded, or rejected
                .writeStream.queryName(JOB)
                .foreachBatch(rounds.append)
                .option("checkpointLocation", rounds.checkpoint)
                .trigger(availableNow=True)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            note_progress(progress)
            lag.report(end_offsets(progress))

        def turn() -> timedelta | None:
            after = turns.next()
            if turns.begins and not stop.asked:  # all came to their ends
                note_through(began)
                note_table(spark, settings.lake.events)
            return after

        keep_running(start, stop, report, settings.streaming.retry_for, turn)
