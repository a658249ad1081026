"""Does the log lack records where no gap in its offsets shows it: in front of its first record of a partition, or
behind its last one? And has compaction been at the topic? The audit asks; jobs.proof.contiguity looks into gaps for
batch and audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import Log
from jobs.proof.contiguity import Checked, ended, records_lacking
from jobs.sources.topic import edges, read_range
from stitch.settings import Settings

STRAY = 16  # markers of transactions without a record in the partition


class Cut(NamedTuple):
    """What the log lacks of a partition in front of its first record or behind its last one, where no gap shows it.

    lacking: records that the topic holds: how many, the first and the last offset; None where there are none
    gone:    offsets at its end that were in the log when a batch checked it, and that the broker holds no more
    compacted: so many records at least were removed between those that the topic holds
    """

    partition: int
    lacking: tuple[int, int, int] | None
    gone: int
    compacted: int


def find_cuts(
    spark: SparkSession,
    settings: Settings,
    offsets: DataFrame,
    topic: str,
    held: Mapping[int, Row],
    checked: Mapping[tuple[str, int], Checked],
) -> list[Cut]:
    """The partitions of the topic (the one of the settings, and its id) of which the log lacks records at either end,
    up to the position that it has come to, or which compaction must have been at.

    offsets: as for find_gaps; held: partition → its row of frames.audits.stretches; none where it has no record
    """
    log, broker = Log(spark, settings), edges(settings.kafka)
    _, position = log.position(topic)
    aged = settings.log.retention is not None  # then days are missing at the beginning, and that is as it should be
    known = ended(log.losses(topic))
    heads, tails, sparse, gone = {}, {}, {}, {}
    for partition, (low, high) in broker.items():
        row = held.get(partition)
        first, last, records = (row.first, row.last, row.distinct) if row else (None, -1, 0)
        end = min(position.get(partition, 0), high)
        if first is not None and low < first and not aged:
            heads[partition] = (low, first)
        if max(low, last + 1) < end and not (aged and first is None):
            tails[partition] = (max(low, last + 1), end)
        if end - low > 2 * records:
            sparse[partition] = (low, end)
        upto = min(checked.get((topic, partition), Checked()).upto, position.get(partition, 0), low)
        gone[partition] = 0 if aged else max(0, upto - last - 1 - _accepted(known, partition, last + 1, upto - 1))
    found = [records_lacking(spark, settings, offsets, topic, ranges, known) for ranges in (heads, tails)]
    compacted = compacted_away(spark, settings, sparse, known)
    cuts = [
        Cut(p, _together([one[p] for one in found if p in one]), gone[p], compacted.get(p, 0)) for p in sorted(broker)
    ]
    return [cut for cut in cuts if cut.lacking or cut.gone or cut.compacted]


def compacted_away(
    spark: SparkSession, settings: Settings, ranges: Mapping[int, tuple[int, int]], accepted: list[dict[str, int]]
) -> dict[int, int]:
    """partition → how many records at least were removed from the half-open range of its offsets.

    A transaction takes one offset of a partition for its marker, and has put a record there: aborted ones are read,
    too. So where more offsets hold nothing than hold a record, the rest were records that compaction removed. Of a few
    markers (STRAY) the records may have been in front of the range, or never come.
    """
    if not ranges:
        return {}
    there = read_range(spark, settings.kafka, ranges, "read_uncommitted")
    rows = there.groupBy("partition").agg(F.count(F.lit(1)).alias("records")).collect()
    records = {row.partition: row.records for row in rows}
    removed = {
        p: end - first - 2 * records.get(p, 0) - _accepted(accepted, p, first, end - 1)
        for p, (first, end) in ranges.items()
    }
    return {p: number for p, number in removed.items() if number > STRAY}


def _together(lacking: list[tuple[int, int, int]]) -> tuple[int, int, int] | None:
    if not lacking:
        return None
    return sum(n for n, _, _ in lacking), min(first for _, first, _ in lacking), max(last for _, _, last in lacking)


def _accepted(known: list[dict[str, int]], partition: int, first: int, last: int) -> int:
    """How many of the partition's offsets from first to last were noted as lost."""
    within = [
        min(last, loss["last"]) - max(first, loss["first"]) + 1 for loss in known if loss["partition"] == partition
    ]
    return sum(max(0, offsets) for offsets in within)
