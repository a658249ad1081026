"""Records into the event log, each once, whatever is replayed and whoever else writes.

An append is conditional: it commits only if since the snapshot that its position was read from nobody has added records
at or behind that position. So of two writers of the same records one is refused, looks again and adds what is then
missing; a micro-batch that is replayed, or that begins in front of the position, is cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.lake.log import POSITION, TAKEN, Log, at_or_behind, fields_of
from jobs.process.causes import cause_of
from jobs.process.errors import JobError, NotYet
from jobs.process.figures import put
from stitch.figures import RETRIES
from stitch.lake import COLUMNS

TRIES = 5
# What Iceberg says where another commit was first: at the commit, or of rows to be rewritten, while they are planned.
REFUSED = ("ValidationException", "CommitFailedException", "the table has been concurrently modified")


def append(
    log: Log, rows: DataFrame, topic_id: str, ends: Mapping[int, int], starts: Mapping[int, int] | None = None
) -> None:
    """Add those of the rows (COLUMNS and fields, of that topic) that the log lacks; from then on it holds the topic up
    to `ends` (partition → next offset). Raises NotYet where others write all the time, or where the log has gone back
    (a rollback) to before `starts`, where the rows begin.
    """
    for _ in range(TRIES):
        base, held = log.position(topic_id)
        if behind := {at for at, start in (starts or {}).items() if start > held.get(at, 0)}:
            raise NotYet(f"{log.name} was rolled back, partitions {sorted(behind)}: reading again from its position")
        at = {partition: held.get(partition, 0) for partition in {*held, *ends}}
        reached = {partition: max(offset, ends.get(partition, 0)) for partition, offset in at.items()}
        if reached == held or commit(log, rows.where(_lacking(topic_id, at)), topic_id, base, at, reached):
            return
    raise others_first(log)


def commit(
    log: Log,
    rows: DataFrame,
    topic_id: str,
    base: int | None,
    held: Mapping[int, int],
    reached: Mapping[int, int],
    distribution: str = "none",
    taken: str | None = None,
) -> bool:
    """Add the rows, all of which are behind the position `held` of the snapshot `base`; False where somebody else has
    added such since. `reached` is the position from then on, `taken` what Log.taken says."""
    writer = (
        fitted(log, rows).writeTo(log.name)
        .option("isolation-level", "serializable")
        .option("distribution-mode", distribution)
        .option(f"snapshot-property.{POSITION}", json.dumps({topic_id: reached}))
    )  # fmt: skip
    if taken is not None:
        writer = writer.option(f"snapshot-property.{TAKEN}", json.dumps({topic_id: taken}))
    if base is not None:
        writer = writer.option("validate-from-snapshot-id", str(base))
    try:
        writer.overwrite(_lacking(topic_id, held))
    except (Py4JJavaError, PySparkException) as error:
        if not any(name in str(error) for name in REFUSED):
            raise
        said = cause_of(error)
        put(RETRIES, 1, "commit")
        print(f"stitch: another writer added to {log.name} meanwhile ({said}): looking again what it lacks", flush=True)
        return False
    return True


def others_first(log: Log) -> NotYet:
    """The error after too many tries."""
    return NotYet(f"{log.name}: {TRIES} times others added first; are several archives running?")


def fitted(log: Log, rows: DataFrame) -> DataFrame:
    """The rows with the columns of the table: of `fields` also those that the settings no longer say, empty."""
    given, table = fields_of(rows), log.fields()
    if unlike := sorted(name for name, kind in given.items() if table.get(name) != kind):
        raise JobError(
            f"{log.name}: the fields {', '.join(unlike)} have other types than these settings say: another "
            "archive_events has been started with other settings. Start this one again with the same"
        )
    fields = [
        (F.col(f"fields.`{name}`") if name in given else F.lit(None).cast(kind)).alias(name)
        for name, kind in table.items()
    ]
    return rows.select(*COLUMNS, F.struct(*fields).alias("fields"))


def _lacking(topic_id: str, position: Mapping[int, int]) -> Column:
    """Records of the topic at or behind its position."""
    return (F.col("topic_id") == topic_id) & at_or_behind({(topic_id, at): offset for at, offset in position.items()})
