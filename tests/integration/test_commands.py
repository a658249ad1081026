"""The commands that look at real parts, one after the other over one small history: try, doctor, status, rejected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stitch.cli import main
from stitch_local.producer import produce
from tests.conftest import Stack, submit_command, write_config
from tests.steps import event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}


def asked(stack: Stack, *args: str, status: int = 0) -> Any:
    """The JSON that the command prints, which must end with that status; several lines as a list."""
    result = CliRunner().invoke(main, ["--config", str(stack.config_path), *args, "--json"])
    assert result.exit_code == status, result.output + result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return found[0] if len(found) == 1 else found


def test_what_the_commands_tell_is_what_the_jobs_did(fresh: Stack, run_job: Run) -> None:
    values = [event(f"e{n}", "play", track_id=f"t{n % 3}", **PLAY) for n in range(10)]
    produce(fresh.settings.kafka, [*values, values[0], b"{'a'}"])

    *tried, whole = asked(fresh, "try", "--topic", "-n", "50")
    assert (whole["summary"]["records"], whole["summary"]["events"], whole["summary"]["duplicates"]) == (12, 11, 1)
    assert whole["summary"]["counters"]["plays"] == {"events": 10, "amount": 10, "keys": 3}
    assert [one["reason"] for one in tried if one["outcome"] == "rejected"] == ["not JSON: single quotes"]
    assert len(asked(fresh, "try", "--topic", "-n", "5")) == 6

    found = asked(fresh, "doctor")
    levels = {(one["check"], one["level"]) for one in found}
    assert {
        (check, "ok") for check in ("java", "topic", "groups", "tables", "replication", "clocks", "cutoffs")
    } <= levels
    assert {one["what"] for one in found if one["level"] == "problem"} == set()

    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    told = asked(fresh, "status")
    assert {name: part["up"] for name, part in told["parts"].items()} == dict.fromkeys(
        ("realtime", "batch", "kafka"), True
    )
    (topic,) = told["topics"]
    assert topic["offsets"] == 12
    assert [topic["lag"][job]["offsets"] for job in ("streaming_counts", "archive_events")] == [0, 0]
    assert told["cutoffs"]["plays"] == told["runs"][0]["cutoff"] and told["runs"][0]["state"] == "published"
    assert told["runs"][0]["figures"]["events"] == 10

    env = {**os.environ, "STITCH_RUN_ID": "r1"}
    job = submit_command(fresh, "rejected_records", "--since", "1h", "--log-format", "json")
    done = subprocess.run(job, capture_output=True, text=True, env=env, timeout=120)
    (said,) = [json.loads(line) for line in done.stdout.splitlines() if "has worked for" not in line]
    assert (done.returncode, said["job"], said["run_id"], said["level"]) == (0, "rejected_records", "r1", "INFO")
    assert said["message"].startswith("of 12 records of the last 1h, 1 are no events\nrejected:\n         1  events_")
    assert [json.loads(line)["run_id"] for line in done.stderr.splitlines() if line.startswith("{")] == []


def test_a_condition_that_only_spark_knows_is_decided_by_a_spark_of_this_machine(tmp_path: Path) -> None:
    german = {"name": "german", "key": "track_id", "weights": {"play": 1}, "where": "upper(country) = 'DE'"}
    config = write_config(tmp_path / "stitch.toml", counters=[german])
    sample = tmp_path / "events.jsonl"
    sample.write_bytes(
        b"\n".join(event(f"e{n}", "play", track_id="t1", country=["de", "fr"][n % 2]) for n in range(10))
    )
    command = [sys.executable, "-m", "stitch.cli", "--config", str(config), "try", str(sample), "--summary", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["counters"] == {"german": {"events": 5, "amount": 5, "keys": 1}}
    assert done.stderr.splitlines()[0].startswith("where of german: more than comparisons, so Spark decides it")


@pytest.mark.parametrize(
    ("sections", "check", "level"),
    [
        ({"kafka": {"topic": "nobody_made_it"}}, "topic", "problem"),
        ({"batch": {"keyspace": "nobody_made_it"}}, "tables", "problem"),
        ({"kafka": {"bootstrap_servers": "127.0.0.1:9"}}, "topic", "away"),
        ({"realtime": {"retention": "2d"}}, "tables", "problem"),
    ],
)
def test_the_doctor_finds_what_is_wrong_with_its_mend(
    fresh: Stack, tmp_path: Path, sections: dict[str, Any], check: str, level: str
) -> None:
    config = write_config(tmp_path / "wrong.toml", base=fresh.config_path, **sections)
    found = asked(Stack(fresh.settings, config), "doctor", status=75 if level == "away" else 1)
    bad = [one for one in found if one["level"] in ("problem", "away")]
    assert {(one["check"], one["level"]) for one in bad} == {(check, level)} and all(one["mend"] for one in bad)
