"""What the audit asks of a log's offsets and of its records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.audits import KINDS, by_window, conserved, gaps, stretches, unbalanced

SCHEMA = "topic_id string, partition int, offset bigint"
OFFSETS = [("a", 0, at) for at in (3, 4, 4, 7, 9)] + [("a", 1, 0), ("b", 0, 0), ("b", 0, 1)]


@pytest.fixture
def offsets(spark: SparkSession):  # type: ignore[no-untyped-def]
    return spark.createDataFrame(OFFSETS, SCHEMA)


def test_a_stretch_says_how_many_records_a_partition_has_and_between_which_offsets(offsets) -> None:  # type: ignore[no-untyped-def]
    assert [tuple(row) for row in stretches(offsets).collect()] == [
        ("a", 0, 5, 4, 3, 9, 4),
        ("a", 1, 1, 1, 0, 0, None),
        ("b", 0, 2, 2, 0, 1, None),
    ]


def test_a_gap_is_what_lies_between_two_offsets_and_not_before_the_first(offsets) -> None:  # type: ignore[no-untyped-def]
    assert sorted(tuple(row) for row in gaps(offsets).collect()) == [("a", 0, 5, 6), ("a", 0, 8, 8)]


EVENTS = "timestamp timestamp, topic_id string, partition int, offset bigint, event_id string, type string, "
EVENTS += "occurred_at timestamp, fields struct<track: string, country: string>, verdict string"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
# window, offset, event_id, fields (track, country), verdict: all of one topic and partition
RECORDS = [
    (0, 0, "a", ("t1", None), "wanted"),
    (0, 1, "a", ("t1", None), "wanted"),  # the same again
    (0, 2, "a", (None, "t1"), "wanted"),  # another event, whose one text stands in another field
    (0, 3, "b", ("t2", "DE"), "wanted"),
    (1, 4, "b", ("t2", "FR"), "wanted"),
    (1, 5, "c", ("t3", "FR"), "excluded"),
    (1, 6, "c", ("t4", "FR"), "excluded"),  # an excluded event counts nowhere, whatever it says
    (1, 7, None, (None, None), "rejected"),
    (1, 7, None, (None, None), "rejected"),  # in the log twice
]


@pytest.fixture
def records(spark: SparkSession) -> DataFrame:
    rows = [
        (NOON + timedelta(seconds=5 * window), "a", 0, offset, event_id, "play", NOON, fields, verdict)
        for window, offset, event_id, fields, verdict in RECORDS
    ]
    return spark.createDataFrame(rows, EVENTS)


def test_each_record_of_a_window_is_somewhere_and_duplicates_that_say_otherwise_are_told(records: DataFrame) -> None:
    parts = conserved(records, timedelta(seconds=5), ["event_id"]).orderBy("ingest_window").collect()
    assert [[row[name] for name in KINDS] for row in parts] == [[4, 2, 2, 0, 0], [4, 0, 1, 2, 2]]
    differing = ("differing", "differing_first", "differing_last", "differing_as")
    assert [[row[name] for name in differing] for row in parts] == [[1, 2, 2, "a"], [1, 4, 4, "b"]]


def test_a_duplicate_whose_loss_was_accepted_is_not_told(records: DataFrame) -> None:
    parts = conserved(records, timedelta(seconds=5), ["event_id"], F.col("offset") == 4).orderBy("ingest_window")
    assert [row.differing for row in parts.collect()] == [1, 0]


def test_a_window_with_a_record_that_is_there_twice_is_not_balanced(records: DataFrame) -> None:
    windows = by_window(conserved(records, timedelta(seconds=5), ["event_id"]))
    found = {
        row.ingest_window: row.wrong for row in windows.select("ingest_window", unbalanced().alias("wrong")).collect()
    }
    assert [found[at] for at in sorted(found)] == [False, True]
    (parts,) = {tuple(map(tuple, row.parts)) for row in windows.orderBy("ingest_window").limit(1).collect()}
    assert parts == (("a", 0, 0),)
