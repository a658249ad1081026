"""Event logs of tests without Kafka: settings of a lake of their own, and records appended as the archive does it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.archive_events import archive
from jobs.frames.log_rows import topic_rows
from jobs.lake.log import Log
from jobs.process.spark import session
from jobs.sinks.event_log import append
from jobs.sinks.totals_table import TotalsTable
from jobs.streaming.queries import Stop
from stitch.cutoff import Published
from stitch.lake import KAFKA_RECORD, field_types
from stitch.settings import Settings

PLAYS = {"name": "plays", "key": "track_id", "weights": {"play": 1}}
TOPIC = "a-topic"

Record = tuple[int, int, datetime, bytes]


def lake(folder: Path) -> dict[str, str]:
    """The section [lake] of a test: a catalog's name of its own, since a session keeps a catalog that it has opened."""
    return {"catalog": f"lake_{uuid.uuid4().hex[:12]}", "warehouse": str(folder / "lake")}


def log_settings(folder: Path, **sections: Any) -> Settings:
    """Settings of a log in the folder; `sections` beside."""
    return Settings.model_validate({"counters": [PLAYS], "lake": lake(folder), **sections})


def begun(spark: SparkSession, settings: Settings) -> Log:
    """The log, its table made or brought to the settings' fields."""
    log = Log(spark, settings)
    log.begin(field_types(settings.rules))
    return log


def append_records(spark: SparkSession, settings: Settings, records: Sequence[Record], ends: dict[int, int]) -> Log:
    """Append records (partition, offset, timestamp, payload) of the topic TOPIC; `ends`: the position reached."""
    log = begun(spark, settings)
    rows = [(partition, offset, at, 1, None, bytearray(value)) for partition, offset, at, value in records]
    append(log, topic_rows(spark.createDataFrame(rows, KAFKA_RECORD), settings, TOPIC), TOPIC, ends)
    return log


def kept_totals(settings: Settings) -> list[Published]:
    """The published runs whose totals are kept, in their order."""
    with session("test", settings) as spark:
        return TotalsTable(spark, settings).kept()


def bring_sources(settings: Settings) -> None:
    """What archive_events does where no topic goes into the log."""
    archive(settings, True, Stop())
