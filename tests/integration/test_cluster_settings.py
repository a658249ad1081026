"""What may be changed of Spark's configuration under a checkpoint: what has no effect is told, with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from stitch_local.producer import produce
from tests.conftest import Reader, Stack
from tests.steps import count, event

PARTITIONS = "spark.sql.shuffle.partitions"


@pytest.fixture
def partitions(spark: SparkSession) -> Iterator[Callable[[int], None]]:
    """partitions(3) sets the session's shuffle partitions; they are set back."""
    before = spark.conf.get(PARTITIONS)
    yield lambda number: spark.conf.set(PARTITIONS, number)
    spark.conf.set(PARTITIONS, before)


@pytest.mark.thorough
def test_shuffle_partitions_under_a_checkpoint_are_told_to_stay_and_change_from_the_cutoff(
    fresh: Stack, reader: Reader, run_job: Callable[..., Any], partitions: Callable[[int], None],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoint = Path(fresh.settings.streaming.checkpoint)
    client = reader(fresh.settings)

    def counted(begin: str, **asked: Any) -> tuple[str, int, int]:
        """(what was printed, how many partitions the state has, the count of plays) after ten more events."""
        produce(fresh.settings.kafka, [event(f"{begin}{n}", "play", track_id="t1") for n in range(10)])
        run_job("streaming_counts", **asked)
        state = len([path for path in (checkpoint / "state/0").iterdir() if path.name.isdigit()])
        return capfd.readouterr().out, state, count(client, "plays", "t1")

    partitions(3)
    said, state, plays = counted("a")
    assert ("no effect" not in said, state, plays) == (True, 3, 10)
    partitions(5)
    said, state, plays = counted("b")
    told = f"stitch: {PARTITIONS} = 5 has no effect: the state in {checkpoint} was begun with 3, and Spark goes on"
    assert (said.count(told), state, plays) == (1, 3, 20)
    said, state, plays = counted("c", from_cutoff=True)
    assert ("no effect" not in said, state, plays) == (True, 5, 30)
