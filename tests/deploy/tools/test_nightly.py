"""The DAG in Airflow's own environment, without a scheduler. Run there by tests/deploy/test_tools.py."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "deploy/airflow"))
import stitch_nightly as nightly
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

HOURS = [
    ("2026-11-27T01:10:00+00:00", "2026-11-27T01:00:00Z"),
    ("2026-11-27T01:00:59+00:00", "2026-11-27T00:00:00Z"),  # the hour is over, but perhaps not for every broker
    ("2026-11-27T01:01:00+00:00", "2026-11-27T01:00:00Z"),
    ("2026-11-27T00:00:30+00:00", "2026-11-26T23:00:00Z"),
    ("2026-11-27T06:40:00+05:30", "2026-11-27T01:00:00Z"),
]


@pytest.mark.parametrize(("instant", "hour"), HOURS)
def test_the_cutoff_is_the_last_full_hour_that_has_surely_passed(instant: str, hour: str) -> None:
    assert nightly.last_full_hour(datetime.fromisoformat(instant)) == hour


@pytest.mark.parametrize("status", [75, 137, 143, -9, -15])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with pytest.raises(AirflowException) as raised:
        nightly.judge(status, "")
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("status", [1, 2, 3, 126, 127, 255])
def test_what_a_person_must_look_at_fails_without_another_try(status: int) -> None:
    with pytest.raises(AirflowFailException, match=f"exit status {status}: a person must look"):
        nightly.judge(status, "")


def test_the_order_is_archive_totals_audit_and_the_asset_comes_last() -> None:
    below = {task.task_id: task.downstream_task_ids for task in nightly.dag.tasks}
    assert below == {
        "archive_events": {"batch_totals", "maintain_log"},
        "batch_totals": {"audit"},
        "audit": set(),
        "maintain_log": set(),
    }
    assert {task.task_id for task in nightly.dag.tasks if task.outlets} == {"audit"}
    assert nightly.audit.outlets == [Asset("stitch://totals")]  # as a DAG that waits for it writes it


def test_nights_are_not_made_up_for_and_never_run_two_at_a_time() -> None:
    dag = nightly.dag
    assert (dag.catchup, dag.max_active_runs, dag.schedule) == (False, 1, "10 1 * * *")
    assert {(task.pool, task.retries) for task in dag.tasks} == {("stitch", 12)}
    assert DagSerialization.to_dict(dag)  # as the scheduler gets it


ARGUMENTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "of the schedule": ({}, ["--cutoff=2026-11-27T01:00:00Z"]),
    "accepted": ({"accept": "bots of Thursday"}, ["--cutoff=2026-11-27T01:00:00Z", "--accept"]),
    "all again": ({"full": "disk lost"}, ["--cutoff=2026-11-27T01:00:00Z", "--full"]),
    "one counter again": ({"full": "weights", "counter": "plays; ls"}, ["--full", "--counter=plays; ls"]),
    "up to an edge": ({"cutoff": "2026-11-27T00:30:00Z"}, ["--cutoff=2026-11-27T00:30:00Z"]),
}


@pytest.mark.parametrize(("params", "arguments"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_parameters_become_options_of_the_batch(params: dict[str, str], arguments: list[str]) -> None:
    context = {
        "params": {**nightly.dag.params.dump(), **params},
        "dag_run": SimpleNamespace(run_after=datetime(2026, 11, 27, 1, 10, tzinfo=UTC)),
        "last_full_hour": nightly.last_full_hour,
    }
    rendered = nightly.totals.render_template(nightly.totals.arguments, context, nightly.dag.get_template_env())
    assert [argument for argument in rendered if argument] == ["submit", "batch_totals", *arguments]


class Ran:
    """Stands in for the hook: ends with the statuses, one after the other, and notes what it was asked."""

    def __init__(self, *ends: tuple[int, str]) -> None:
        self.ends = list(ends)
        self.commands: list[str] = []

    def run_command(self, command: list[str]) -> Any:
        self.commands.append(" ".join(command[len(nightly.COMMAND) :]))
        status, said = self.ends.pop(0)
        return SimpleNamespace(exit_code=status, output=said)


def execute(task: Any, ran: Ran, tried: int, monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    monkeypatch.setattr(nightly, "SubprocessHook", lambda: ran)
    monkeypatch.setattr(task, "arguments", [a for a in task.arguments if "{{" not in a], raising=False)
    events = {nightly.TOTALS: SimpleNamespace(extra={})}
    task.execute({"ti": SimpleNamespace(try_number=tried), "outlet_events": events})
    return events


def test_a_second_try_of_the_batch_brings_the_log_forward_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran((0, ""), (0, "published"))
    execute(nightly.totals, ran, 2, monkeypatch)
    assert ran.commands == ["submit archive_events --available-now", "submit batch_totals"]


def test_a_night_with_nothing_new_is_skipped_unless_a_try_before_may_have_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "batch_totals nothing to do: the cutoff is published"
    with pytest.raises(AirflowSkipException):
        execute(nightly.totals, Ran((0, said)), 1, monkeypatch)
    execute(nightly.totals, Ran((0, ""), (0, said)), 2, monkeypatch)


def test_the_assets_event_has_what_the_audit_said(monkeypatch: pytest.MonkeyPatch) -> None:
    events = execute(nightly.audit, Ran((0, "the counts are right")), 1, monkeypatch)
    assert events[nightly.TOTALS].extra == {"audited": "the counts are right"}


def test_a_task_that_is_killed_ends_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = nightly.StitchOperator(task_id="alone", arguments=[])
    hook = nightly.SubprocessHook()
    hook.sub_process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    task.hook = hook
    task.on_kill()
    assert hook.sub_process.wait(10) == -15
