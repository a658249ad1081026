"""Records → rows of the event log (stitch.lake): what the archive appends."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.events import DECODED, decode, observed
from stitch.settings import Settings

RECORD = ["partition", "offset", "file", "timestamp", "timestamp_type", "key", "value"]


def topic_rows(records: DataFrame, settings: Settings, topic_id: str) -> DataFrame:
    """Records of the topic → the log's columns, with the observation of frames.events.observed."""
    decoded = decode(records.withColumn("file", F.lit(None).cast("string")), settings, RECORD)
    return log_rows(observed(decoded, settings), settings.decoder, topic_id)


def log_rows(decoded: DataFrame, decoder: str, topic: str) -> DataFrame:
    """Decoded records → the log's columns (stitch.lake).

    The payload is the truth; what it was decoded into stands beside it, under the decoder's name, to spare the batch
    from parsing it again while the decoder is the same.
    """
    return decoded.select(
        F.lit(topic).alias("topic_id"),
        *DECODED,
        "timestamp_type",
        "key",
        "value",
        "file",
        F.lit(decoder).alias("decoder"),
        F.when(F.col("reject_reason").isNull(), "accepted").otherwise("rejected").alias("verdict"),
    )
