"""Does the log lack records between those it holds? A gap in its offsets is asked of the broker while that holds the
topic.

Offsets alone do not tell: markers and aborted records of transactions take some, and so does what compaction removed.
So where the log's offsets have gaps, the committed records of the topic are read there and compared. That answer is
noted in the log, for the broker forgets (its retention), and the gaps of old transactions would be a riddle to
every audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.frames.audits import gaps
from jobs.lake.log import Log, at_or_behind
from jobs.process.errors import Unreachable
from jobs.sources.topic import edges, read_range
from stitch.settings import Settings

BROKER = 1  # timestamp_type of a record that the broker stamped; others do not count, and may be missing
NEVER = 2**62
CHECKED = "checked"  # the note of the log


class Checked(NamedTuple):
    """Of a partition, up to `upto` every gap was asked of the broker: `unreadable` offsets of them hold no record."""

    upto: int = 0
    unreadable: int = 0


class Gaps(NamedTuple):
    """The gaps of one partition of the log, in offsets.

    missing:  all that are not in the log; `accepted`: of those, what was noted as lost
    lacking:  of those, records that the topic holds: how many, the first and the last offset; None where there are none
    unknown:  of those, what nobody asked before the broker removed it; `unknown_from`: the first such
    new:      how many there are more than when the gaps up to there were asked
    """

    topic_id: str
    partition: int
    missing: int
    accepted: int
    lacking: tuple[int, int, int] | None
    unknown: int
    unknown_from: int | None
    new: int

    @property
    def unreadable(self) -> int:
        """Offsets that hold no committed record stamped by the broker."""
        return self.missing - self.accepted - self.unknown - (self.lacking[0] if self.lacking else 0)


def find_gaps(
    spark: SparkSession,
    topics: Mapping[str, Settings],
    offsets: DataFrame,
    checked: Mapping[tuple[str, int], Checked],
) -> list[Gaps]:
    """The partitions of the log that have gaps, and what is in them.

    topics:   id → the settings of the topic, of those whose brokers can be asked
    offsets:  (topic_id, partition, offset) of the log
    """
    low = {(of, p): first for of, view in topics.items() for p, (first, _) in edges(view.kafka).items()}
    known = ended(Log(spark, next(iter(topics.values()))).losses())
    rows = _by_kind(gaps(offsets), low, {at: one.upto for at, one in checked.items()}, known)
    lacking: dict[tuple[str, int], tuple[int, int, int]] = {}
    for of, view in topics.items():
        asked = [row for row in rows if row.topic_id == of and row.asked_from is not None]
        ranges = {row.partition: (row.asked_from, row.asked_to + 1) for row in asked}
        there = records_lacking(spark, view, offsets, of, ranges, known)
        lacking |= {(of, partition): one for partition, one in there.items()}
    return [
        Gaps(
            row.topic_id,
            row.partition,
            row.missing,
            row.accepted,
            lacking.get((row.topic_id, row.partition)),
            row.unknown,
            row.unknown_from,
            max(0, row.told - checked.get((row.topic_id, row.partition), Checked()).unreadable),
        )
        for row in rows
    ]


def _by_kind(
    found: DataFrame,
    low: Mapping[tuple[str, int], int],
    checked: Mapping[tuple[str, int], int],
    known: list[dict[str, Any]],
) -> list[Row]:
    """The gaps summed by partition: how much of them the broker can be asked about, was asked about, or no longer
    can."""
    first, last = F.col("first"), F.col("last")
    asked_from = F.greatest(first, _by_partition(low, NEVER))
    upto = _by_partition(checked, 0)
    untold_from = F.greatest(first, upto)
    untold_to = F.least(last, asked_from - 1)  # before that the broker removed what it held
    told_to = F.least(last, upto - 1)
    told = F.greatest(told_to - first + 1, F.lit(0)) - lost_among(known, first, told_to)
    untold = F.greatest(untold_to - untold_from + 1, F.lit(0)) - lost_among(known, untold_from, untold_to)
    sums = found.groupBy("topic_id", "partition").agg(
        F.sum(last - first + 1).alias("missing"),
        F.sum(lost_among(known, first, last)).alias("accepted"),
        F.sum(told).alias("told"),
        F.sum(untold).alias("unknown"),
        F.min(F.when(untold > 0, untold_from)).alias("unknown_from"),
        F.min(F.when(asked_from <= last, asked_from)).alias("asked_from"),
        F.max(last).alias("asked_to"),
    )
    return sums.orderBy("topic_id", "partition").collect()


def unchecked(checked: Mapping[tuple[str, int], Checked]) -> Column:
    """(topic_id, partition, offset): whether a gap behind the offset is still to be looked into."""
    return at_or_behind({of: one.upto - 1 for of, one in checked.items()})


def untold(one: Gaps) -> str:
    """The sentence for gaps that nobody can look into any more."""
    return (
        f"the log has gaps of {one.unknown} offsets in partition {one.partition}, from offset {one.unknown_from}, "
        "where the broker no longer holds the topic: markers of transactions, or records that are missing"
    )


def records_lacking(
    spark: SparkSession,
    settings: Settings,
    offsets: DataFrame,
    topic: str,
    ranges: Mapping[int, tuple[int, int]],
    accepted: Sequence[Mapping[str, Any]],
) -> dict[int, tuple[int, int, int]]:
    """partition → how many records of the topic (the one of the settings, and its id) that the broker stamped the log
    (offsets: as for find_gaps) lacks in the range, the first and the last of them."""
    if not ranges:
        return {}
    there = read_range(spark, settings.kafka, ranges).where(F.col("timestamp_type") == BROKER)
    there = there.withColumn("topic_id", F.lit(topic))
    there = there.where(lost_among(accepted, F.col("offset"), F.col("offset")) == 0)
    rows = (
        there.join(offsets, ["topic_id", "partition", "offset"], "left_anti")
        .groupBy("partition")
        .agg(F.count(F.lit(1)).alias("records"), F.min("offset").alias("first"), F.max("offset").alias("last"))
    )
    try:
        return {row.partition: (row.records, row.first, row.last) for row in rows.collect()}
    except PySparkException as error:
        raise Unreachable(
            f"the topic {settings.kafka.topic!r} could not be read to look into gaps of the log: {str(error)[:300]}"
        ) from None


def read_checked(log: Log) -> dict[tuple[str, int], Checked]:
    """(topic id, partition) → how far gaps were asked of the broker."""
    known = log.note(CHECKED) if log.exists() else None
    return {(topic, int(at)): Checked(*one) for topic, of in (known or {}).items() for at, one in of.items()}


def write_checked(log: Log, checked: Mapping[tuple[str, int], Checked]) -> None:
    """Note it in the log."""
    document: dict[str, dict[int, Checked]] = {}
    for (topic, partition), one in sorted(checked.items()):
        document.setdefault(topic, {})[partition] = one
    log.write_note(CHECKED, document)


def _by_partition(values: Mapping[tuple[str, int], int], otherwise: int) -> Column:
    column = F.lit(otherwise)
    for (topic, partition), value in values.items():
        column = F.when((F.col("topic_id") == topic) & (F.col("partition") == partition), value).otherwise(column)
    return column


def lost_among(accepted: Sequence[Mapping[str, Any]], first: Column, last: Column) -> Column:
    """(topic_id, partition): how many offsets from first to last were noted as lost (Log.losses)."""
    total = F.lit(0)
    for loss in accepted:
        within = F.least(last, F.lit(loss["last"])) - F.greatest(first, F.lit(loss["first"])) + 1
        of_it = (F.col("topic_id") == loss["topic_id"]) & (F.col("partition") == loss["partition"])
        total = total + F.when(of_it, F.greatest(within, F.lit(0))).otherwise(0)
    return total


def ended(losses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The losses of which it is known where they end."""
    return [loss for loss in losses if loss["last"] is not None]
