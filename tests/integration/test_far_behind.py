"""A stream that is far behind, on real parts: ingest windows that are over are counted at once, the rest as ever."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.sources.checkpoint import Checkpoint
from stitch.settings import Settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in
from tests.faults.failpoints import armed
from tests.steps import count, event, wait_for_the_window_to_end

AT_ONCE = 10  # records of a micro-batch: of more than a hundred, windows are counted at once
BY_HAND = "are counted as batches first"
Increments = list[tuple[Any, ...]]


def plays(first: int, events: int) -> list[bytes]:
    return [event(f"e{n}", "play", track_id=f"t{n % 7}", creator_id="c1") for n in range(first, first + events)]


def increments(cassandra: Any, settings: Settings) -> Increments:
    columns = "counter, key, ingest_window, bucket, count, writetime(count)"
    rows = cassandra.execute(f"SELECT {columns} FROM {settings.realtime.keyspace}.increments")
    return sorted(map(tuple, rows))


@pytest.mark.thorough
def test_windows_that_are_over_are_counted_at_once_and_their_rows_are_those_of_the_stream(
    fresh: Stack, reader: Reader, cassandra: Any, spark: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = fresh.settings
    few = slow.streaming.model_copy(update={"max_offsets_per_trigger": AT_ONCE})
    far = slow.model_copy(update={"streaming": few})
    client, checkpoint = reader(slow), Path(slow.streaming.checkpoint)

    # A stream that has begun, and is then away for some windows.
    produce(slow.kafka, plays(0, 14))
    run_in(far, "streaming_counts")
    assert BY_HAND not in capfd.readouterr().out and count(client, "creator_plays", "c1") == 14
    for first in (14, 84):
        produce(slow.kafka, plays(first, 70))
        wait_for_the_window_to_end(fresh)
    produce(slow.kafka, plays(154, 7))

    # It dies between the rows of these windows and its own beginning: the next start counts them again.
    with pytest.raises(Exception, match="ended at the failpoint"), armed("written"):
        run_in(far, "streaming_counts")
    said = capfd.readouterr().out
    assert BY_HAND in said and "streaming_counts windows=" not in said
    run_in(far, "streaming_counts")
    said = capfd.readouterr().out
    assert BY_HAND in said and "streaming_counts windows=" in said and not list(checkpoint.parent.glob("*.until-*"))
    assert [count(client, "plays", f"t{n}") for n in range(7)] == [23] * 7
    assert count(client, "creator_plays", "c1") == 161

    # It goes on from there, with nothing to be counted at once.
    produce(slow.kafka, plays(161, 7))
    run_in(far, "streaming_counts")
    assert BY_HAND not in capfd.readouterr().out and count(client, "creator_plays", "c1") == 168
    written = increments(cassandra, slow)

    # A stream that reads all of it writes the same rows.
    shutil.rmtree(checkpoint)
    run_in(slow, "streaming_counts")
    assert BY_HAND not in capfd.readouterr().out
    assert increments(cassandra, slow) == written
    cassandra.execute(f"TRUNCATE {slow.realtime.keyspace}.increments")
    run_in(slow, "streaming_counts", from_cutoff=True)
    assert increments(cassandra, slow) == written

    # After a night it begins at the published cutoff, where it has no checkpoint.
    run_in(slow, "archive_events")
    wait_for_the_window_to_end(fresh)
    run_in(slow, "batch_totals")
    shutil.rmtree(checkpoint)
    produce(slow.kafka, plays(168, 7))
    run_in(slow, "streaming_counts")
    assert count(client, "creator_plays", "c1") == 175
    read = Checkpoint(spark, slow.streaming.checkpoint).next_offsets()
    assert sum(read[slow.kafka.topic].values()) == 175
    found = run_in(slow, "audit_counts")
    assert found["right"], found
