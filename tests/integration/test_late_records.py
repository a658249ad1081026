"""Records of ingest windows that a running stream is done with, on real parts: a transaction was open for that long."""

from __future__ import annotations

import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.sources.checkpoint import Checkpoint, Span
from jobs.streaming.recounts import Recounts
from stitch.cutoff import window_start
from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, submit_command, write_config
from tests.integration.test_far_behind import increments
from tests.integration.test_transactions import transaction
from tests.steps import count, event, wait_until

SECONDS = 120


def plays(name: str, number: int) -> list[bytes]:
    return [event(f"{name}{n}", "play", track_id="t1", creator_id="c1") for n in range(number)]


@pytest.mark.thorough
def test_records_of_windows_that_the_stream_is_done_with_have_these_counted_again(
    fresh: Stack, reader: Reader, cassandra: Any, spark: Any, tmp_path: Path
) -> None:
    config = write_config(fresh.config_path, base=fresh.config_path, streaming={"watermark": "5s"})
    stack, log = Stack(load_settings(config), config), tmp_path / "job.log"
    settings, client = stack.settings, reader(stack.settings)
    length, checkpoint = settings.streaming.ingest_window, Checkpoint(spark, settings.streaming.checkpoint)

    # A transaction stays open in one partition, and the stream goes on in the others.
    produce(settings.kafka, plays("whole", 4))
    open_one = transaction(stack, plays("late", 3), partition=3)
    opened = window_start(datetime.now(UTC), length)  # its records are of this window, or of one before
    with log.open("wb") as out:
        job = subprocess.Popen(submit_command(stack, "streaming_counts"), stdout=out, stderr=out)
    try:
        sent = 4

        def is_done_with_it() -> bool:
            nonlocal sent
            produce(settings.kafka, plays(f"other{sent}", 1))
            sent += 1
            last = checkpoint.last_batches(1)
            return last is not None and last.watermark >= opened + length

        wait_until(is_done_with_it, SECONDS, log.read_text, job)
        assert 0 < count(client, "plays", "t1") <= sent

        # It is committed: its records, and those behind them, are of windows whose state is gone.
        open_one.commit_transaction()
        wait_until(lambda: count(client, "plays", "t1") == sent + 3, SECONDS, log.read_text, job)
        job.send_signal(signal.SIGTERM)
        assert job.wait(SECONDS) == 0
    finally:
        job.kill()
        job.wait()
    said = log.read_text("utf-8")
    assert "stitch: records came late of ingest windows from " in said and " again=1 seconds=" in said
    assert "dropped=0" not in said.splitlines()[-1]

    # Had it ended before it noted them, the next start would have counted them again.
    checkpoint.write_owed(None, -1)
    again: list[Span] = []
    Recounts(settings, checkpoint, again.append).settle()
    [span] = again
    assert span.since <= opened < span.until

    # The rows are those of a stream that reads all of it in order.
    written = increments(cassandra, settings)
    cassandra.execute(f"TRUNCATE {settings.realtime.keyspace}.increments")
    run_in(settings, "streaming_counts", from_cutoff=True)
    assert increments(cassandra, settings) == written
