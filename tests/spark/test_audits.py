"""What the audit asks of a log's offsets."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from jobs.frames.audits import gaps, stretches

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
