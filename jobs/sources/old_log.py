"""The event log as releases before 0.2 wrote it: Parquet files in folders (`segment=N`) of one machine's disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from jobs.process.errors import BadOption
from stitch.lake import KAFKA_RECORD
from stitch.notes import read_note

_WAY_OUT = (
    'It says which topic the segment\'s records come from: write {"topic_id": "…"} there, with the id that '
    "`kafka-topics.sh --describe` prints"
)


def segments(spark: SparkSession, folder: str) -> Iterator[tuple[str, DataFrame]]:
    """(topic id, records) of each segment, the oldest first. Raises BadOption where there is none, TornNote.

    Each is read by itself: only so does Spark honour its record of which files count.
    """
    found = sorted(Path(folder).glob("segment=*"), key=lambda path: int(path.name.partition("=")[2]))
    written = [path for path in found if Path(path, "_spark_metadata").is_dir()]
    if not written:
        raise BadOption(f"--import-log {folder}: no log of an earlier release is there (folders segment=1, …)")
    for path in written:
        topic_id = read_note(path / "topic.json", ("topic_id",), _WAY_OUT)["topic_id"]
        yield topic_id, spark.read.schema(KAFKA_RECORD).parquet(str(path))
