"""The length of ingest windows: jobs with another than the increments' refuse, and the way to change it is exact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.process.errors import JobError
from stitch.settings import load_settings
from stitch_local.producer import produce
from stitch_local.schema import apply_schema
from tests.conftest import Reader, Stack, run_in, write_config
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.slow
def test_jobs_with_another_ingest_window_refuse_and_another_keyspace_changes_it(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path
) -> None:
    client = reader(fresh.settings)
    longer = {"ingest_window": "10s", "checkpoint": str(tmp_path / "checkpoints/longer")}
    config = write_config(tmp_path / "longer.toml", base=fresh.config_path, streaming=longer)
    changed = load_settings(config)

    def night(name: str) -> None:
        produce(fresh.settings.kafka, [event(f"{name}{n}", "play", track_id="t1") for n in range(10)])
        run_job("streaming_counts")
        run_job("archive_events")
        wait_for_the_window_to_end(fresh)

    night("a")
    edge = wait_for_the_window_to_end(fresh)
    if (edge - EPOCH) % timedelta(seconds=10):
        edge -= timedelta(seconds=5)
    run_job("batch_totals", cutoff=edge)
    produce(fresh.settings.kafka, [event(f"b{n}", "play", track_id="t1") for n in range(5)])
    run_job("streaming_counts")
    for job in ("streaming_counts", "batch_totals", "rollup_increments", "restore_counts", "audit_counts"):
        with pytest.raises(JobError, match=r"are of ingest windows of 0:00:05, and streaming.ingest_window is 0:00:10"):
            run_in(changed, job)
    assert count(client, "plays", "t1") == 15

    live = {"keyspace": f"{fresh.settings.realtime.keyspace}_longer"}
    changed = load_settings(write_config(tmp_path / "changed.toml", base=config, realtime=live))
    apply_schema(changed)
    other = reader(changed)
    run_in(changed, "streaming_counts", from_cutoff=True)
    assert (count(client, "plays", "t1"), count(other, "plays", "t1")) == (15, 15)
    run_in(changed, "archive_events")
    wait_for_the_window_to_end(Stack(changed, config))
    run_in(changed, "batch_totals")
    assert (count(other, "plays", "t1"), count(other, "plays", "t1", "batch")) == (15, 15)
    assert run_in(changed, "audit_counts")["right"]


@pytest.mark.thorough
def test_a_published_cutoff_that_cuts_a_longer_window_in_two_is_refused(
    fresh: Stack, run_job: Run, tmp_path: Path
) -> None:
    produce(fresh.settings.kafka, [event("a", "play", track_id="t1")])
    run_job("streaming_counts")
    run_job("archive_events")
    edge = wait_for_the_window_to_end(fresh)
    if not (edge - EPOCH) % timedelta(seconds=10):
        edge = wait_for_the_window_to_end(fresh)
    run_job("batch_totals", cutoff=edge)
    longer = {"ingest_window": "10s", "checkpoint": str(tmp_path / "checkpoints/longer")}
    live = {"keyspace": f"{fresh.settings.realtime.keyspace}_longer"}
    changed = load_settings(
        write_config(tmp_path / "longer.toml", base=fresh.config_path, streaming=longer, realtime=live)
    )
    apply_schema(changed)
    for asked in (("streaming_counts", {"from_cutoff": True}), ("batch_totals", {})):
        with pytest.raises(JobError, match=r"is not the edge of an ingest window of 0:00:10 .* at a full hour"):
            run_in(changed, asked[0], **asked[1])
