"""What an operator meets at night: cron's directory, signals at any moment, a killed parent, a mistyped option."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, submit_command, write_config
from tests.steps import count, event, wait_for_the_window_to_end, wait_until

Submit = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the submitted job prints."""
    return tmp_path / "job.log"


@pytest.fixture
def submitted(fresh: Stack, log: Path) -> Iterator[Submit]:
    """submitted("streaming_counts") is a running `stitch submit`; what is left of it is killed at the end."""

    def start(*args: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(submit_command(fresh, *args), stdout=out, stderr=out)

    yield start
    for process in processes_of(fresh):
        process.kill()


def processes_of(stack: Stack) -> list[psutil.Process]:
    """The JVM, the driver and the workers of jobs with this stack's settings."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STITCH_CONFIG") == str(stack.config_path):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def drivers(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those of the processes that are Python's and as old."""
    return [one for one in processes if "python" in one.name() and time.time() - one.create_time() > seconds]


MOMENTS = {
    "before there is a child": lambda _: True,
    "while the JVM starts": lambda processes: processes,
    "when the driver is there": lambda processes: drivers(processes, 0),
    "while Spark starts": lambda processes: drivers(processes, 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_sigterm_in_the_first_seconds_ends_the_job_and_all_of_it(
    fresh: Stack, submitted: Submit, log: Path, moment: Callable[[list[psutil.Process]], Any]
) -> None:
    job = submitted("streaming_counts")
    wait_until(lambda: moment(processes_of(fresh)), 120, log.read_text)
    job.send_signal(signal.SIGTERM)
    status, said = job.wait(15), log.read_text("utf-8")
    # -SIGTERM before Python runs a line of ours; 0 where the job had begun, and ended after its micro-batch.
    assert status in (143, -signal.SIGTERM) or (status == 0 and "streaming_counts counts" in said), (status, said)
    wait_until(lambda: not processes_of(fresh), 5, lambda: str(processes_of(fresh)))
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.slow
def test_a_killed_stitch_submit_leaves_no_spark_behind_and_no_count_wrong(
    fresh: Stack, submitted: Submit, log: Path, reader: Reader, run_job: Callable[..., None]
) -> None:
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1") for n in range(10)])
    job = submitted("streaming_counts")
    planned = Path(fresh.settings.streaming.checkpoint, "offsets/0")
    wait_until(planned.exists, 300, log.read_text)  # in the middle of its first micro-batch
    assert len(processes_of(fresh)) >= 2
    job.kill()
    job.wait(10)
    wait_until(lambda: not processes_of(fresh), 20, lambda: str(processes_of(fresh)))
    produce(fresh.settings.kafka, [event(f"f{n}", "play", track_id="t1") for n in range(10)])
    run_job("streaming_counts")
    assert count(reader(fresh.settings), "plays", "t1") == 20


@pytest.mark.slow
def test_a_killed_jvm_takes_its_driver_with_it(fresh: Stack, submitted: Submit, log: Path) -> None:
    job = submitted("streaming_counts")
    wait_until(lambda: "streaming_counts counts" in log.read_text("utf-8"), 180, log.read_text)
    (jvm,) = [process for process in processes_of(fresh) if process.name() == "java"]
    jvm.kill()
    assert job.wait(15) == 137
    wait_until(lambda: not processes_of(fresh), 10, lambda: str(processes_of(fresh)))


def test_a_mistyped_option_ends_a_job_with_status_2_and_no_stack_trace(submitted: Submit, log: Path) -> None:
    assert submitted("batch_totals", "--cutoff", "yesterday").wait(120) == 2
    said = log.read_text("utf-8")
    assert "Invalid value for '--cutoff': 'yesterday' is not an ISO-8601 instant" in said
    assert "Traceback" not in said and "Exception" not in said


@pytest.mark.slow
def test_jobs_from_any_directory_use_the_same_log_exclusions_and_totals(
    fresh: Stack, spark: Any, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    mine = {"catalog": "operators_lake", "warehouse": "../data/lake"}
    config = write_config(tmp_path / "etc/stitch.toml", base=fresh.config_path, lake=mine)
    client = reader(fresh.settings)

    def night(directory: Path, named: str, **asked: Any) -> None:
        directory.mkdir(exist_ok=True)
        monkeypatch.chdir(directory)
        settings = load_settings(named)
        run_in(settings, "archive_events")
        wait_for_the_window_to_end(fresh)
        run_in(settings, "batch_totals", full=True, accept=True, **asked)

    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1", creator_id="spammer") for n in range(5)])
    produce(fresh.settings.kafka, [event("e5", "play", track_id="t1", creator_id="c1")])
    (tmp_path / "spam.jsonl").write_text(json.dumps({"creator_id": "spammer"}) + "\n", "utf-8")
    night(tmp_path, "etc/stitch.toml", exclude="spam.jsonl")
    assert count(client, "plays", "t1", "batch") == 1
    produce(fresh.settings.kafka, [event("e6", "play", track_id="t1", creator_id="c1")])
    night(tmp_path / "home", str(config))
    assert count(client, "plays", "t1", "batch") == 2
    assert (tmp_path / "data/lake/catalog.db").exists()
    assert list((tmp_path / "home").iterdir()) == []
