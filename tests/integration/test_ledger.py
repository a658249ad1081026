"""The ledger of runs on real parts: what a run that died has left is found and mended, and every run is told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.ledger.runs import noted_runs
from jobs.process.errors import JobError
from stitch.cli import main
from stitch.runs import State
from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, write_config
from tests.faults.failpoints import armed
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}


@pytest.mark.thorough
def test_what_a_run_loaded_before_it_died_is_taken_back_when_it_is_excluded_before_the_next(
    fresh: Stack, reader: Reader, run_job: Run, cassandra: Any, tmp_path: Path
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t0", **PLAY) for n in range(10)])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")

    produce(
        fresh.settings.kafka, [event("spam", "play", track_id="t9", **PLAY), event("x", "play", track_id="t0", **PLAY)]
    )
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    with armed("before_publish"), pytest.raises(JobError, match="before_publish"):
        run_job("batch_totals")
    assert (count(client, "plays", "t9"), count(client, "plays", "t0")) == (1, 11)

    spam = tmp_path / "spam.jsonl"
    spam.write_text('{"event_id": "spam"}\n')
    strict = load_settings(write_config(tmp_path / "strict.toml", base=fresh.config_path, batch={"min_difference": 0}))
    with pytest.raises(JobError, match="plays: 1 of 2 counted events differ"):
        run_in(strict, "batch_totals", exclude=str(spam))
    run_in(strict, "batch_totals", accept=True)
    assert (count(client, "plays", "t9"), count(client, "plays", "t0")) == (0, 11)
    assert (count(client, "plays", "t9", "batch"), count(client, "creator_plays", "c1", "batch")) == (0, 11)
    run_job("batch_totals", full=True, accept=True)
    assert (count(client, "plays", "t9"), count(client, "plays", "t0")) == (0, 11)

    cassandra.set_keyspace(fresh.settings.batch.keyspace)
    full, accepted, refused, died, first = noted_runs(cassandra)
    states = [run.state for run in (first, died, refused, accepted, full)]
    assert states == [State.PUBLISHED, State.LOADING, State.REFUSED, State.PUBLISHED, State.PUBLISHED]
    assert [run.kind for run in (first, died, refused, accepted, full)] == ["full", *["incremental"] * 3, "full"]
    assert len({run.at.write_time for run in (first, died, refused, accepted, full)}) == 5
    assert "plays: 1 of 2 " in (refused.reason or "") and (accepted.reason or "").startswith("accepted, since readers")
    assert first.position and sum(first.position.values()) < sum(full.position.values())  # records read
    assert (accepted.figures["excluded"], accepted.figures["events"]) == (1, 1)

    said = CliRunner().invoke(main, ["--config", str(fresh.config_path), "status", "--last", "2"])
    lines = said.output.partition("last runs:\n")[2].splitlines()
    assert said.exit_code == 0 and " full published " in lines[0] and " incremental published " in said.output
    assert "rows_written=" in lines[0] and "refused" not in said.output
