"""Topic → event log: every record, valid or not, exactly once, in Parquet by ingest date and hour.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now]

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
go beside the others, in verdict=rejected, with the reason; nothing is thrown away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import JobError, run
from jobs.frames.events import DECODED, DECODER, decode
from jobs.queries import Stop, print_progress, watch
from jobs.sources.topic import check_topic, read_topic
from jobs.spark import session
from stitch.settings import Settings, load_settings

JOB = "archive_events"


def log_rows(decoded: DataFrame, decoder: str) -> DataFrame:
    """Decoded records → the log's columns; the last four name the folders.

    The payload is the truth; what it was decoded into stands beside it, under the decoder's name, to spare the batch
    from parsing it again while the decoder is the same.
    """
    return decoded.select(
        *DECODED,
        "key",
        "value",
        F.lit(decoder).alias("decoder"),
        F.when(F.col("reject_reason").isNull(), "accepted").otherwise("rejected").alias("verdict"),
        F.to_date("timestamp").alias("ingest_date"),
        F.hour("timestamp").alias("ingest_hour"),
    )


def check_checkpoint(settings: Settings) -> None:
    """A log without its checkpoint must not be written on: the new query's batches would be taken for old ones."""
    if Path(settings.log.path, "_spark_metadata").is_dir() and not Path(settings.log.checkpoint, "offsets").is_dir():
        raise JobError(
            f"the event log {settings.log.path} exists but its checkpoint {settings.log.checkpoint} does not: restore the "
            "checkpoint, or set log.path to a new folder (the topic is then archived from its earliest offset)"
        )


def archive_topic(settings: Settings, available_now: bool, stop: Stop) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topic(settings.kafka)
    check_checkpoint(settings)
    with session(JOB) as spark:
        records = read_topic(spark, settings.kafka, settings.streaming)
        rows = log_rows(decode(records, settings), settings.decoder(DECODER))
        trigger: dict[str, Any] = (
            {"availableNow": True} if available_now
            else {"processingTime": f"{settings.log.trigger.total_seconds()} seconds"}
        )  # fmt: skip
        query = (
            rows.writeStream.queryName(JOB)
            .format("parquet")
            .option("path", settings.log.path)
            .option("checkpointLocation", settings.log.checkpoint)
            .partitionBy("decoder", "verdict", "ingest_date", "ingest_hour")
            .trigger(**trigger)
            .start()
        )
        print(f"{JOB} writes {settings.kafka.topic} into {settings.log.path}", flush=True)
        watch(query, stop, lambda progress: print_progress(JOB, progress))


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
def main(config: str | None, available_now: bool) -> None:
    """Topic → event log."""
    archive_topic(load_settings(config), available_now, Stop.on_signals())


if __name__ == "__main__":
    run(lambda: main(standalone_mode=False))
