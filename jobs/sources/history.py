"""What a source of other origin hands over: records for the log, of rows of whatever kind.

`ingest_time` says when a record was appended. A record's text is what was read: of a row with columns the JSON of it.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.lake.log import Log
from jobs.process.errors import JobError
from stitch.sections import SourceSettings

# As Spark would write it anyway, but to the microsecond.
_INSTANTS = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


class New(NamedTuple):
    """What the log lacks of a source.

    records:  (file, timestamp, timestamp_type: null, value)
    told:     how much it is, for people
    taken:    what the log then says of it (Log.taken)
    """

    records: DataFrame
    told: str
    taken: str | None = None


def as_records(
    rows: DataFrame, source: SourceSettings, file: Column, text: Column | None = None, appended: Column | None = None
) -> DataFrame:
    """Rows → (file, timestamp, timestamp_type: null, value). Raises JobError where they lack what is asked for.

    text:      the record's; of none, the JSON of the row
    appended:  when; of none, what the column of `ingest_time` says
    """
    first, *inner = source.ingest_time.partition(":")[2].split(".")
    try:
        return rows.select(
            file.alias("file"),
            (reduce(lambda field, part: field[part], inner, F.col(first)) if appended is None else appended)
            .cast("timestamp").alias("timestamp"),
            F.lit(None).cast("int").alias("timestamp_type"),
            (F.to_json(F.struct("*"), _INSTANTS) if text is None else text).cast("binary").alias("value"),
        )  # fmt: skip
    except AnalysisException as error:
        raise JobError(f"sources.{source.name}: ingest_time={source.ingest_time!r}: {reason(error)}") from None


def reason(error: AnalysisException) -> str:
    """What Spark says, without its plan."""
    return str(error).strip().partition("\n")[0].rstrip(";")


def take_again(log: Log, source: SourceSettings) -> str:
    """How to go on where a table does not say what of it is new, behind the word "take"."""
    return (
        f"the whole table in again: DELETE FROM {log.name} WHERE topic_id = '{source.name}', give the source another "
        "name, run archive_events, then batch_totals --full"
    )
