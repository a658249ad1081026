"""What Spark says of a micro-batch, as figures (stitch.figures): the same that print_progress prints, and more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jobs.frames.events import ABSENT as ABSENT_OF
from jobs.frames.events import by_kind
from jobs.process.figures import harmless, put
from stitch.figures import (
    ABSENT,
    DROPPED,
    DUPLICATES,
    LAG,
    PHASES,
    READ,
    REJECTED,
    RETRIES,
    STATE_BYTES,
    STATE_ROWS,
    THROUGH,
    WRITTEN,
    Figure,
)

Value = tuple[Figure, float, tuple[object, ...]]
# Spark's names of a micro-batch's phases → ours
PHASE = {
    "latestOffset": "offsets", "queryPlanning": "plan", "getBatch": "source", "walCommit": "begin_commit",
    "addBatch": "write", "commitOffsets": "commit", "triggerExecution": "all",
}  # fmt: skip
_SST = "rocksdbSstFileSize"


@harmless
def note_progress(progress: dict[str, Any], through: datetime | None = None) -> None:
    """Note what a micro-batch did, and up to which instant all is read and written."""
    for figure, value, labels in (*of_progress(progress), *of_observed(_observed(progress))):
        put(figure, value, *labels)
    if through is not None:
        note_through(through)


@harmless
def note_through(through: datetime) -> None:
    """Note the instant up to which all is read and written."""
    put(THROUGH, through.timestamp())


@harmless
def note_observed(found: dict[str, Any], records: int) -> None:
    """Note what a source brought: the observation frames.events.not_taken."""
    put(READ, records)
    for figure, value, labels in of_observed(found):
        put(figure, value, *labels)


def of_progress(progress: dict[str, Any]) -> Iterator[Value]:
    """The figures of a batch; of an idle query, which reports too, all but the batch's own."""
    for source in progress["sources"]:
        for place, behind in _lag(source):
            yield LAG, behind, place
    operators = progress.get("stateOperators") or []
    for operator in operators:
        name = operator["operatorName"]
        yield STATE_ROWS, operator["numRowsTotal"], (name,)
        yield STATE_BYTES, operator["memoryUsedBytes"], (name, "memory")
        if _SST in operator.get("customMetrics", {}):
            yield STATE_BYTES, operator["customMetrics"][_SST], (name, "disk")
    yield RETRIES, 0, ("query",)
    rows = progress["numInputRows"]
    yield READ, rows, ()
    if operators:  # the first operator is the last of the plan
        yield WRITTEN, operators[0]["numRowsUpdated"] if rows else 0, ()
        yield DROPPED, sum(one["numRowsDroppedByWatermark"] for one in operators) if rows else 0, ()
        again = sum(one.get("customMetrics", {}).get("numDroppedDuplicateRows", 0) for one in operators)
        yield DUPLICATES, again if rows else 0, ()
    if rows:
        for phase, milliseconds in progress["durationMs"].items():
            if phase in PHASE:
                yield PHASES, milliseconds / 1000, (PHASE[phase],)


def of_observed(found: dict[str, Any]) -> Iterator[Value]:
    """Records that are no events by kind of reason, and absent fields by name."""
    for kind, count in by_kind(found).items() if found else ():
        yield REJECTED, count, (kind,)
    for name, count in found.items():
        if name.startswith(ABSENT_OF):
            yield ABSENT, count, (name.removeprefix(ABSENT_OF),)


def _observed(progress: dict[str, Any]) -> dict[str, Any]:
    return (progress.get("observedMetrics") or {}).get("decoded") or {}


def _lag(source: dict[str, Any]) -> Iterator[tuple[tuple[str, str], int]]:
    """((topic, partition), offsets that the batch left unread)."""
    end, latest = (_offsets(source.get(name)) for name in ("endOffset", "latestOffset"))
    for topic, partitions in latest.items():
        for partition, offset in partitions.items():
            if partition in end.get(topic, {}):
                yield (topic, partition), max(0, offset - end[topic][partition])


def _offsets(said: Any) -> dict[str, dict[str, int]]:
    return json.loads(said) if isinstance(said, str) else said or {}
