"""A streaming job's checkpoint: how far it has come, and a note of what it was counting when it did.

Reached by Hadoop's file systems, since a checkpoint may lie on any of them. Spark's own files in it are only read.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pyspark.sql import SparkSession

from jobs.lake.log import by_partition
from jobs.process.schemes import check_scheme
from jobs.sources.topic import Offsets
from stitch.buckets import EPOCH
from stitch.notes import parse_note

NOTE, OWED = "stitch.json", "owed.json"
_SPARKS_OWN = "It is a file of Spark's: start once with streaming_counts --from-cutoff, which goes on without it"
_OWED_WINDOWS = (
    "It says which ingest windows are to be counted again: remove it, and start once with --from-cutoff, which counts "
    "all since the published cutoff"
)
_UNKNOWN_COUNTERS = (
    "It says what the increments behind the checkpoint were counted by: start once with --from-cutoff, which reads "
    "again since the published cutoff (twice counts once)"
)


class Span(NamedTuple):
    """Whole ingest windows: `[since, until)`."""

    since: datetime
    until: datetime


class Beginning(NamedTuple):
    """Where a query begins that has no checkpoint: topic → partition → offset; of `since` and later, it has all."""

    offsets: Offsets
    since: datetime


class Batches(NamedTuple):
    """The last micro-batches: id and watermark of the newest, and topic → partition → where the oldest began."""

    newest: int
    watermark: datetime
    first: Offsets


class Checkpoint:
    """One folder. Raises BadOption for a scheme that Hadoop does not know."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        check_scheme(spark, "streaming.checkpoint", path)
        self.spark, self._jvm = spark, spark._jvm
        self._gateway: Any = spark.sparkContext._gateway
        self.path = path
        self._fs = self._at().getFileSystem(spark._jsc.hadoopConfiguration())

    def exists(self) -> bool:
        """Whether a query ever planned a micro-batch here."""
        return bool(self._batches("offsets"))

    def next_offsets(self) -> Offsets:
        """topic → partition → the first offset behind the last committed micro-batch; empty before the first
        commit."""
        committed = self._committed()
        return self.planned_offsets(committed[-1]) if committed else {}

    def last_batches(self, most: int) -> Batches | None:
        """At most so many of those that were committed, without the first of all; None where there is no other."""
        committed = self._committed()[-most - 1 :]
        if len(committed) < 2:
            return None
        watermark = EPOCH + timedelta(milliseconds=self._planned(committed[-1], "batchWatermarkMs"))
        return Batches(committed[-1], watermark, self.planned_offsets(committed[0]))

    def planned_offsets(self, batch: int) -> Offsets:
        """topic → partition → the first offset behind a micro-batch: Spark writes them down before it runs."""
        name = f"offsets/{batch}"
        last_line = self._read(name).strip().rpartition("\n")[2]
        said = parse_note(last_line, (), f"{self.path}/{name}", _SPARKS_OWN)
        return {topic: by_partition(at) for topic, at in said.items()}

    def kept_settings(self) -> dict[str, tuple[str, str]]:
        """name → (the value here, the session's) of Spark's settings that have no effect in this session: its query
        goes on with those that the state was begun with. Empty before the first micro-batch."""
        planned = self._batches("offsets")
        if not planned:
            return {}
        kept = self._planned(planned[-1], "conf")
        both = {of: (value, str(self.spark.conf.get(of))) for of, value in kept.items()}
        return {of: values for of, values in both.items() if values[0] != values[1]}

    def note(self) -> dict[str, Any] | None:
        """What was noted when the query began; None where nothing was."""
        if not self._fs.exists(self._at(NOTE)):
            return None
        keys = ("ingest_window_seconds", "deduplicate", "counters")
        return parse_note(self._read(NOTE), keys, f"{self.path}/{NOTE}", _UNKNOWN_COUNTERS)

    def counters(self) -> dict[str, Any]:
        """stored name → its definition, of the counters that were counted when the query began."""
        note = self.note() if self.exists() else None
        return dict(note["counters"]) if note else {}

    def write_note(self, note: dict[str, Any]) -> None:
        """Note what the query counts, for its next start: whole or not at all."""
        self._write(NOTE, note)

    def owed(self) -> tuple[Span | None, int]:
        """The ingest windows that are to be counted again, and up to which micro-batch those are that were."""
        if not self._fs.exists(self._at(OWED)):
            return None, -1
        said = parse_note(self._read(OWED), ("windows", "settled"), f"{self.path}/{OWED}", _OWED_WINDOWS)
        return Span(*map(datetime.fromisoformat, said["windows"])) if said["windows"] else None, said["settled"]

    def write_owed(self, span: Span | None, settled: int) -> None:
        """Note what `owed` tells, in place of what was noted before."""
        self._write(OWED, {"windows": [at.isoformat() for at in span] if span else None, "settled": settled})

    def _write(self, name: str, note: dict[str, Any]) -> None:
        half = self._at(f".{name}.half")
        out = self._fs.create(half, True)
        try:
            out.write(bytearray(json.dumps(note, sort_keys=True).encode()))
            out.hsync()
        finally:
            out.close()
        self._replace(half, self._at(name))

    def _planned(self, batch: int, key: str) -> Any:
        """What Spark wrote down before the micro-batch: a version, this, then a line for each source."""
        name = f"offsets/{batch}"
        second = self._read(name).partition("\n")[2].partition("\n")[0]
        return parse_note(second, (key,), f"{self.path}/{name}", _SPARKS_OWN)[key]

    def _replace(self, source: Any, target: Any) -> None:
        """Rename over what is there, as Spark does with its files: FileSystem.rename would refuse, or not be atomic."""
        hadoop = self._jvm.org.apache.hadoop.fs
        how = self._gateway.new_array(getattr(hadoop, "Options$Rename"), 1)
        how[0] = getattr(hadoop, "Options$Rename").OVERWRITE
        hadoop.FileContext.getFileContext(self._fs.getUri(), self._fs.getConf()).rename(source, target, how)

    def move_away(self, now: datetime) -> str:
        """Rename the folder, so that the next query starts without one; returns its new path."""
        moved = f"{self.path}.until-{now:%Y%m%dT%H%M%S}"
        self._fs.rename(self._at(), self._jvm.org.apache.hadoop.fs.Path(moved))
        return moved

    def remove(self, now: datetime) -> None:
        """As move_away, and only which windows are to be counted again is kept: all else is counted otherwise."""
        if self.exists():
            owed, _ = self.owed()
            moved = self._jvm.org.apache.hadoop.fs.Path(self.move_away(now))
            if owed:
                self.write_owed(owed, -1)
            self._fs.delete(moved, True)

    def _committed(self) -> list[int]:
        """The micro-batches that were, as far as Spark still keeps what it planned."""
        return sorted(set(self._batches("commits")) & set(self._batches("offsets")))

    def _batches(self, folder: str) -> list[int]:
        if not self._fs.exists(self._at(folder)):
            return []
        names = [status.getPath().getName() for status in self._fs.listStatus(self._at(folder))]
        return sorted(int(name) for name in names if name.isdigit())

    def _at(self, part: str = "") -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.path}/{part}" if part else self.path)

    def _read(self, part: str) -> str:
        stream = self._fs.open(self._at(part))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()
