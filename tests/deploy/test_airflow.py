"""deploy/airflow as it is shipped, in a real Airflow, on the local stack."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, apart, run_in, write_config
from tests.deploy.airflow_parts import DAG, ROOT, Airflow, have_it, standalone
from tests.integration.readers import wait
from tests.steps import count, event, wait_for_the_window_to_end

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not have_it(), reason="Airflow has an environment of its own: make deploy-test"),
]


@pytest.fixture(scope="module")
def night(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack as the nights of this module have it: a guard that a few events make refuse."""
    found = apart(stack, tmp_path_factory.mktemp("night"))
    write_config(found.config_path, base=found.config_path, batch={"min_difference": 10, "max_difference": 0.1})
    return Stack(load_settings(found.config_path), found.config_path)


@pytest.fixture(scope="module")
def airflow(night: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "stitch.cli", "--config", str(night.config_path)]
    with standalone(tmp_path_factory.mktemp("airflow"), command) as started:
        started.ask("POST", "pools", json={"name": "stitch", "slots": 1})
        started.ask("PATCH", f"dags/{DAG}", json={"is_paused": False})
        yield started


def counted(stack: Stack, events: list[dict[str, Any]]) -> str:
    """Produce these, let the real-time layer count them, and wait until their ingest window is over: the cutoff."""
    produce(stack.settings.kafka, events)
    run_in(stack.settings, "streaming_counts")
    return f"{wait_for_the_window_to_end(stack):%Y-%m-%dT%H:%M:%SZ}"


def plays(first: int, last: int) -> list[dict[str, Any]]:
    return [event(f"e{n}", "play", track_id="t1") for n in range(first, last)]


def submitted(stack: Stack, job: str) -> list[psutil.Process]:
    """The `stitch submit` of a job with the stack's settings."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if f"stitch.cli --config {stack.config_path} submit {job}" in line:
            found.append(process)
    return found


def states(airflow: Airflow, run: str) -> dict[str, tuple[str, int]]:
    return {name: (task["state"], task["try_number"]) for name, task in airflow.tasks(run).items()}


def published(airflow: Airflow) -> int:
    """How often the asset was updated."""
    assets = airflow.ask("GET", "assets/events")["asset_events"]
    return len([one for one in assets if one["uri"].startswith("stitch://totals")])


def test_a_night_publishes_a_refused_one_waits_for_a_person_and_a_killed_one_is_tried_again(
    airflow: Airflow, night: Stack, spark: Any, reader: Reader
) -> None:
    client = reader(night.settings)

    def shown() -> list[int]:
        return [count(client, "plays", "t1", layer) for layer in ("batch", "merged")]

    run = airflow.trigger(cutoff=counted(night, plays(0, 50)))
    assert airflow.ends(run) == "success", states(airflow, run)
    assert states(airflow, run) == dict.fromkeys(states(airflow, run), ("success", 1))
    assert (shown(), published(airflow)) == ([50, 50], 1)

    # Fifty events twice: the batch will count them once, and the guard refuses to take so many from readers.
    cutoff = counted(night, plays(50, 100) * 2)
    run = airflow.trigger(cutoff=cutoff)
    assert airflow.ends(run) == "failed"
    found = states(airflow, run)
    assert (found["batch_totals"], found["audit"][0]) == (("failed", 1), "upstream_failed"), found
    assert "a person must look" in airflow.said(run, "batch_totals", 1)
    assert (shown(), published(airflow)) == ([50, 150], 1)

    # Somebody has looked, and says why; the job is killed, and its next try publishes.
    run = airflow.trigger(cutoff=cutoff, accept="the producer sent all of Thursday twice")
    assert wait(lambda: submitted(night, "batch_totals"), 300), states(airflow, run)
    time.sleep(2)
    for process in submitted(night, "batch_totals"):
        process.kill()
    assert airflow.ends(run) == "success", states(airflow, run)
    assert states(airflow, run)["batch_totals"] == ("success", 2)
    assert "exit status -9, which may pass" in airflow.said(run, "batch_totals", 1)
    assert (shown(), published(airflow)) == ([100, 100], 2)
