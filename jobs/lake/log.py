"""The table of the event log: whether it is there, what is noted in it, and up to where it holds a topic. At the end
stands what it shares with the table of totals.

Each commit of the archive carries the position that it reaches (topic id, partition → next offset; of a source that
is a table, its snapshot), so log and position are one. A commit of another kind (compaction, a row erased) carries
none, and adds no record: the position is that of the nearest ancestor that has one. Where all of those have expired,
it is what was noted before they did, or what the files' statistics say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, types
from pyspark.sql import functions as F

from jobs.process.errors import JobError
from stitch.lake import changes, create_log
from stitch.runs import Position
from stitch.settings import Settings

POSITION = "stitch.position"  # of a snapshot's summary: {topic id: {partition: next offset}}
TAKEN = "stitch.taken"  # likewise: {source: TABLE@SNAPSHOT, up to which the log holds a table of Iceberg}
NOTE = "stitch."  # how the names of the table's properties begin in which notes stand
REACHED = "reached."  # the note of a position of a topic (id) that the log has reached at least, by which snapshot
LOSSES = "losses"
UNCOUNTED = "uncounted"
TOPICS = "topics"
SEVERAL = "several_topics"  # whether it has been written by settings of several


class Log:
    """The event log of the settings."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark, self.name = spark, settings.lake.events

    def exists(self) -> bool:
        """Whether an archive has begun it."""
        return bool(self.spark.catalog.tableExists(self.name))

    def rows(self) -> DataFrame:
        """All records (stitch.lake.COLUMNS, and `fields`). Raises JobError where there is no log."""
        if not self.exists():
            raise JobError(f"no event log {self.name}: run archive_events first, or set [lake]")
        return self.spark.table(self.name)

    def fields(self) -> dict[str, str]:
        """name → type of what the column `fields` holds."""
        return fields_of(self.spark.table(self.name))

    def decoders(self) -> set[tuple[str, str | None]]:
        """(topic id, by which decoder records of it were decoded), by the files' statistics; None: a file says
        nothing."""
        columns = ("readable_metrics.decoder.lower_bound", "readable_metrics.decoder.upper_bound")
        found = f"SELECT DISTINCT partition.topic_id, {', '.join(columns)} FROM {self.name}.files"
        return {(topic, decoder) for topic, *both in self.spark.sql(found).collect() for decoder in both}

    def topic_ids(self) -> set[str]:
        """The topics (ids), and other sources, of which the log has records."""
        rows = self.spark.sql(f"SELECT DISTINCT partition.topic_id FROM {self.name}.files").collect()
        return {row.topic_id for row in rows}

    def topics(self) -> dict[str, str]:
        """Topic id (or source) → the name of the topic whose records these are, as it was noted."""
        return (self.note(TOPICS) if self.exists() else None) or {}

    def note_topics(self, names: Mapping[str, str]) -> None:
        """Note the topics of these ids (or sources); what was noted before stands."""
        known = self.topics()
        if names.keys() - known.keys():
            self.write_note(TOPICS, {**names, **known})

    def begin(self, fields: Mapping[str, str]) -> None:
        """Create the table where there is none, and give it these fields (name → type)."""
        create_table(self.spark, self.name, create_log(self.name, fields))
        retried(lambda: [self.spark.sql(f"ALTER TABLE {self.name} {c}") for c in changes(self.fields(), fields)])

    def position(self, topic_id: str) -> tuple[int | None, dict[int, int]]:
        """(the table's snapshot, partition → the next offset of that topic that the log lacks): no entry for a
        partition of which nothing was read."""
        if not self.exists():
            return None, {}
        base = None
        for snapshot, positions in self._ancestors():
            base = base or snapshot
            if topic_id in positions:
                return base, by_partition(positions[topic_id])
        noted, held = by_partition(self._reached(topic_id).get("position", {})), self._held(topic_id)
        return base, {at: max(noted.get(at, 0), held.get(at, 0)) for at in {*noted, *held}}

    def taken(self, source: str) -> str | None:
        """TABLE@SNAPSHOT up to which the log holds a source that is a table of Iceberg; None where nothing says it.
        Asked after the position: where others add meanwhile it is then later than that, and never earlier."""
        for _, taken in self._ancestors(TAKEN):
            if source in taken:
                return str(taken[source])
        said = self._reached(source).get("taken")
        return None if said is None else str(said)

    def positions(self) -> dict[tuple[str, int], int]:
        """(topic id, or name of another source; partition) → the next offset that the log lacks, of all that it
        holds."""
        topics = {topic for _, positions in self._ancestors() for topic in positions}
        begin = NOTE + REACHED
        topics |= {name.removeprefix(begin) for name in self._table().properties() if name.startswith(begin)}
        topics |= self.topic_ids()
        return {(topic, at): offset for topic in sorted(topics) for at, offset in self.position(topic)[1].items()}

    def note_positions(self) -> None:
        """Note how far each topic has come, for when the snapshots that say so are gone."""
        positions = self.positions()
        for topic in {topic for topic, _ in positions}:
            self.note_reached(topic, {at: offset for (of, at), offset in positions.items() if of == topic})

    def note_reached(self, topic_id: str, position: Mapping[int, int]) -> None:
        """Note that the log, as it is, has come so far."""
        current = self._table().currentSnapshot()
        snapshot = None if current is None else current.snapshotId()
        reached = {"snapshot": snapshot, "position": dict(position), "taken": self.taken(topic_id)}
        self.write_note(REACHED + topic_id, reached)

    def _reached(self, topic_id: str) -> dict[str, Any]:
        """What was noted of the topic: its position, and what was taken of it; nothing where the snapshot that it was
        noted of was rolled back."""
        noted = self.note(REACHED + topic_id)
        if noted is None:
            return {}
        table, snapshot = self._table(), noted["snapshot"]
        rolled_back = (
            snapshot is not None
            and table.snapshot(snapshot) is not None  # one that has expired was an ancestor
            and snapshot not in {ancestor for ancestor, _ in self._ancestors()}
        )
        return {} if rolled_back else dict(noted)

    def note(self, name: str) -> Any:
        """What was noted in the table under that name; None where nothing was."""
        said = self._table().properties().get(NOTE + name)
        return None if said is None else json.loads(said)

    def write_note(self, name: str, value: Any) -> None:
        """Note something in the table: whole or not at all."""
        self._table().updateProperties().set(NOTE + name, json.dumps(value)).commit()

    def losses(self, topic_id: str | None = None) -> list[dict[str, Any]]:
        """What was noted as lost (of the topic), in the order in which it was: topic_id, partition, first, last
        (offsets; None: unknown), appended_after, appended_before."""
        known = (self.note(LOSSES) if self.exists() else None) or []
        return [loss for loss in known if topic_id in (None, loss["topic_id"])]

    def note_loss(
        self,
        topic_id: str,
        lost: Mapping[int, tuple[int, int | None]],
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        """Keep a record of what the log will never hold of the topic: the batch names the hours, the audit expects the
        gap.

        lost: partition → the first and the last lost offset (None: unknown); since, until: between which instants
        they were appended
        """
        known = self.losses()
        for partition, (first, last) in lost.items():
            loss = {"topic_id": topic_id, "partition": partition, "first": first, "last": last,
                    "appended_after": since.isoformat() if since else None,
                    "appended_before": until.isoformat() if until else None}  # fmt: skip
            known += [loss] if loss not in known else []
        self.write_note(LOSSES, known)

    def uncounted(self) -> list[dict[str, Any]]:
        """Records of which somebody accepted that they do not count: topic_id, partition, first, last (offsets)."""
        return (self.note(UNCOUNTED) if self.exists() else None) or []

    def note_uncounted(self, topic_id: str, partition: int, first: int, last: int) -> None:
        """Keep a record that these do not count, so that the audit does not ask for them again."""
        one, known = {"topic_id": topic_id, "partition": partition, "first": first, "last": last}, self.uncounted()
        self.write_note(UNCOUNTED, [*known, *([] if one in known else [one])])

    def behind_losses(self, topic_id: str, position: Mapping[int, int]) -> dict[int, int]:
        """The position of the topic, moved behind what was accepted as lost: that will not come."""
        at = dict(position)
        for loss in self.losses(topic_id):
            if loss["last"] is not None and loss["first"] == at.get(loss["partition"], 0):
                at[loss["partition"]] = loss["last"] + 1
        return at

    def first_day(self) -> datetime:
        """The earliest day on which an event of the log was appended; now where there is none."""
        day = "SELECT min(partition.timestamp_day) FROM {}.files WHERE partition.verdict = 'accepted'"
        found = self.spark.sql(day.format(self.name)).collect()[0][0]
        return datetime(found.year, found.month, found.day, tzinfo=UTC) if found else datetime.now(UTC)

    def _held(self, topic_id: str) -> dict[int, int]:
        """partition → the offset behind the last record of the topic, by the files' statistics."""
        rows = self.spark.sql(
            "SELECT partition.partition AS partition, max(readable_metrics.offset.upper_bound) AS last "
            f"FROM {self.name}.files WHERE partition.topic_id = :topic GROUP BY 1",
            args={"topic": topic_id},
        )
        return {row.partition: row.last + 1 for row in rows.collect()}

    def _ancestors(self, name: str = POSITION) -> Iterator[tuple[int, dict[str, Any]]]:
        """(id, topic id → what its summary says under the name) of the table's snapshots, from the current one back:
        those that a rollback left are not among them."""
        table = self._table()
        snapshot = table.currentSnapshot()
        while snapshot is not None:
            yield snapshot.snapshotId(), json.loads(snapshot.summary().get(name) or "{}")
            parent = snapshot.parentId()
            snapshot = None if parent is None else table.snapshot(parent)

    def _table(self) -> Any:
        return iceberg_table(self.spark, self.name)


def iceberg_table(spark: SparkSession, name: str) -> Any:
    """Iceberg's own table (org.apache.iceberg.Table), as it is now."""
    return spark._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)


def create_table(spark: SparkSession, name: str, statement: str) -> None:
    """Create the table, and its namespace, where there is none."""
    namespace = name.rpartition(".")[0]
    retried(lambda: (spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {namespace}"), spark.sql(statement)))


def retried(work: Callable[[], Any], tries: int = 3) -> Any:
    """What the work returns; done again after a second where it fails, as when two jobs create a table at the same
    moment. Raises Spark's error of the last try."""
    for left in range(tries - 1, -1, -1):
        try:
            return work()
        except (Py4JJavaError, PySparkException):
            if not left:
                raise
            time.sleep(1)


def fields_of(records: DataFrame) -> dict[str, str]:
    """name → type of what the column `fields` of the log's records holds."""
    struct = records.schema["fields"].dataType
    assert isinstance(struct, types.StructType)
    return {field.name: field.dataType.simpleString() for field in struct.fields}


def at_or_behind(position: Position) -> Column:
    """(topic_id, partition, offset): not read by who has come to that position. Of a topic that it does not name
    nothing was. Iceberg knows from these words which files it need not open."""
    behind = F.lit(True)
    for (topic, partition), offset in sorted(position.items()):
        of_it = (F.col("topic_id") == topic) & (F.col("partition") == partition)
        behind = behind & (~of_it | (F.col("offset") >= offset))
    return behind


def by_partition(said: Mapping[str, int]) -> dict[int, int]:
    """A position as JSON has it → partition → offset."""
    return {int(partition): offset for partition, offset in said.items()}


def close_catalog(spark: SparkSession, name: str) -> None:
    """Let go of the catalog that a session has opened: a streaming query has a session of its own, and nobody else
    would close its connections."""
    with suppress(Py4JError):  # a catalog that has nothing to close
        spark._jsparkSession.sessionState().catalogManager().catalog(name).icebergCatalog().close()
