"""The figures of jobs on real parts: what they say of records that are known, and the way of a probe from the topic to
the reader."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from jobs.process import figures
from serving.app import create_app
from serving.layers.cassandra import CassandraLayers
from stitch.probe import Probe, probe
from stitch.sections import MetricsSettings
from stitch.submit import submit
from stitch_local.producer import produce
from tests.conftest import Stack, apart, free_ports, submit_command
from tests.integration.readers import wait
from tests.steps import event, wait_for_the_window_to_end
from tests.unit.test_figures import exported, samples

SENT = [
    event("e1", "play", track_id="t1", creator_id="c1", duration_s=31),
    event("e1", "play", track_id="t1", creator_id="c1", duration_s=31),  # a duplicate: the batch removes it
    event("e2", "play", track_id="t1", creator_id="c1", duration_s="long"),
    event("e3", "like", track_id="t2", creator_id="c1"),
    b"{broken",
    None,
]


def test_jobs_tell_what_they_read_and_write_and_what_they_leave_out(
    fresh: Stack, run_job: Callable[..., Any], spark: Any
) -> None:
    def told(job: str, **asked: Any) -> dict[str, float]:
        figures.begin(job, MetricsSettings())
        run_job(job, **asked)
        return exported()

    produce(fresh.settings.kafka, SENT)
    live = told("streaming_counts")
    left_out = {
        'records_rejected_total{reason="not_json"}': 1,
        'records_rejected_total{reason="no_value"}': 1,
        'records_rejected_total{reason="missing"}': 0,
        'fields_absent_total{field="duration_s"}': 1,
    }
    assert {name: live[name] for name in left_out} == left_out
    assert (live["records_read_total"], live["rows_dropped_total"]) == (6, 0)
    topic = fresh.settings.kafka.topic
    lag = {name: behind for name, behind in live.items() if name.startswith("lag_records")}
    assert lag and set(lag.values()) == {0} and all(f'topic="{topic}"' in name for name in lag)
    assert live["rows_written_total"] == live['state_rows{operator="stateStoreSave"}'] > 0
    assert live['state_bytes{operator="stateStoreSave",place="disk"}'] >= 0
    phases = {name for name in live if name.startswith("micro_batch_seconds_count")}
    assert len(phases) == 7

    archived = told("archive_events")
    assert {name: archived[name] for name in left_out} == left_out
    assert (archived["records_read_total"], archived['table_rows{table="events"}']) == (6, 6)
    assert archived['table_files{table="events"}'] >= 1 and archived['table_bytes{table="events"}'] > 1000
    assert archived["job_through_timestamp_seconds"] >= live["job_through_timestamp_seconds"] - 60

    end = wait_for_the_window_to_end(fresh)
    batch = told("batch_totals")
    assert (batch["records_read_total"], batch["duplicates_total"], batch["records_excluded_total"]) == (6, 1, 0)
    assert batch["job_cutoff_timestamp_seconds"] == pytest.approx(end.timestamp(), abs=10)
    assert batch["rows_written_total"] > 5 and batch['table_rows{table="totals"}'] > 5
    assert batch['corrections_total{counter="plays"}'] == 1
    refused = {name: value for name, value in batch.items() if name.startswith("guard_refused")}
    assert set(refused.values()) == {0} and 'guard_refused{counter="plays"}' in refused


@pytest.fixture
def streaming(stack: Stack, tmp_path: Path) -> Iterator[tuple[Stack, int, int]]:
    """A stack of its own whose streaming job runs, with the ports of the job's figures and of a reader."""
    port, reader = free_ports(2)
    own = apart(stack, tmp_path, metrics={"streaming_port": port, "folder": str(tmp_path / "figures")},
                serving={"port": reader})  # fmt: skip
    layers = CassandraLayers(own.settings)
    server = make_server("127.0.0.1", reader, create_app(own.settings, layers), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with (tmp_path / "streaming.log").open("wb") as out:
        job = subprocess.Popen(submit_command(own, "streaming_counts"), stdout=out, stderr=out)
    yield own, port, job.pid
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 0, (tmp_path / "streaming.log").read_text("utf-8")
    server.shutdown()
    layers.close()


@pytest.mark.thorough
def test_a_probe_goes_from_the_topic_to_the_reader_while_the_job_has_its_figures_at_a_port(
    streaming: tuple[Stack, int, int], tmp_path: Path
) -> None:
    own, port, _ = streaming
    said: list[str] = []
    for within in (120, 30):  # the first waits for the job to start
        probe(own.settings, lambda: Probe(own.settings, "plays", "stitch-probe", {}, None, None),
              timedelta(seconds=within), None, said.append)  # fmt: skip
    first, second = (float(line.removeprefix("probe seconds=")) for line in said)
    assert 0 < second < 15 and first < 120
    found = samples((tmp_path / "figures/stitch_probe.prom").read_text("utf-8"))
    assert found["freshness_seconds"] == pytest.approx(second, abs=0.01)

    def live() -> dict[str, float]:
        return samples(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text)

    assert wait(lambda: live().get("records_read_total") == 2, 20), live()
    assert live()["job_through_timestamp_seconds"] > found["probe_last_success_timestamp_seconds"] - 60


@pytest.mark.thorough
def test_a_job_that_ends_leaves_a_file_whatever_its_exit_status(stack: Stack, tmp_path: Path) -> None:
    own = apart(stack, tmp_path, metrics={"folder": str(tmp_path / "figures")})
    file = tmp_path / "figures/stitch_maintain_log.prom"
    statuses = []
    for job in ("maintain_log", "archive_events", "maintain_log"):  # the first finds no log
        options = ["--available-now"] if job == "archive_events" else []
        statuses.append(submit(job, options, str(own.config_path)))
        found = samples(file.read_text("utf-8"))
        assert ("job_last_success_timestamp_seconds" in found) is (len(statuses) == 3)
    assert statuses == [1, 0, 0] and found["job_last_exit_status"] == 0
    assert re.search(r'^stitch_table_files\{.*table="events".*\} \d', file.read_text("utf-8"), re.MULTILINE)
    assert samples((tmp_path / "figures/stitch_archive_events.prom").read_text("utf-8"))["job_last_exit_status"] == 0
