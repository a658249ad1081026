"""What jobs say as lines of JSON, each with the run's id, where that is asked for; and as people read it elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from jobs.process.errors import JobError
from jobs.process.log_lines import told_as_asked
from stitch import exits, submit
from stitch.cli import main
from stitch.commands.submit import log_format_taken
from stitch.jars import sets as jars
from stitch.properties import parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STITCH_LOG_FORMAT", "STITCH_RUN_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def say() -> None:
    print("batch_totals published cutoff=2026-11-27T02:00:00Z events=7 seconds=1.5 wörter=ja", flush=True)
    print("stitch: a notice with a=1", "and\nmore lines", flush=True)
    print("", flush=True)
    sys.stderr.write("a line that ends")
    sys.stderr.write(" later\n")
    sys.stderr.write("no end")


def test_every_message_is_a_line_with_time_level_job_and_run_id(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    monkeypatch.setenv("STITCH_RUN_ID", "r1")
    with told_as_asked("batch_totals", []):
        say()
    out, err = (lines(text) for text in capfd.readouterr())
    assert {(one["job"], one["run_id"], len(one["time"])) for one in (*out, *err)} == {("batch_totals", "r1", 24)}
    assert [(one["level"], one["message"].partition("\n")[0]) for one in (*out, *err)] == [
        ("INFO", "batch_totals published cutoff=2026-11-27T02:00:00Z events=7 seconds=1.5 wörter=ja"),
        ("INFO", "stitch: a notice with a=1 and"),
        ("ERROR", "a line that ends later"),
        ("ERROR", "no end"),
    ]
    assert out[0]["figures"] == {"cutoff": "2026-11-27T02:00:00Z", "events": 7, "seconds": 1.5, "wörter": "ja"}
    assert "figures" not in out[1] and out[1]["message"].endswith("\nmore lines")


def test_a_run_that_nobody_named_gets_an_id(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    with told_as_asked("batch_totals", []):
        print("one")
        print("two", file=sys.stderr)
    out, err = capfd.readouterr()
    (one,), (two,) = lines(out), lines(err)
    assert one["run_id"] == two["run_id"] == os.environ["STITCH_RUN_ID"] and len(one["run_id"]) == 12


def test_a_report_that_was_asked_for_stays_as_it_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    with told_as_asked("audit_counts", ["--json"]):
        print('{"right": true}')
        print("stitch: a notice", file=sys.stderr)
    out, err = capfd.readouterr()
    assert out == '{"right": true}\n' and lines(err)[0]["message"] == "stitch: a notice"


def test_an_error_is_one_line_and_its_status_stays(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise JobError("the guard:\n  plays differ")

    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    with told_as_asked("batch_totals", []):
        assert exits.run(click.Command("fail", callback=fail), [], "stitch fail") == 1
    assert [one["message"] for one in lines(capfd.readouterr().err)] == ["stitch: the guard:\n  plays differ"]


def test_without_the_format_people_get_text(capfd: pytest.CaptureFixture[str]) -> None:
    with told_as_asked("batch_totals", []):
        print("batch_totals events=7")
    assert capfd.readouterr().out == "batch_totals events=7\n"


@pytest.mark.parametrize("args", [["--log-format", "json", "--full"], ["--full", "--log-format=json"]])
def test_the_format_may_stand_among_the_jobs_options(args: list[str]) -> None:
    assert log_format_taken(args) == ["--full"] and os.environ["STITCH_LOG_FORMAT"] == "json"


@pytest.mark.parametrize("args", [["--log-format", "xml"], ["--log-format"]])
def test_a_format_that_is_none_is_usage(args: list[str]) -> None:
    result = CliRunner().invoke(main, ["submit", "batch_totals", *args])
    assert result.exit_code == 2 and "text or json" in result.stderr
    assert CliRunner().invoke(main, ["--log-format", "xml", "submit"]).exit_code == 2


def test_spark_gets_the_format_and_the_id_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "java_home", lambda: Path("/java"))
    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    said = parse(submit.properties("spark.master local", jars.SPARK))
    (file,) = (part.partition("file://")[2].strip('"') for part in said["spark.driver.extraJavaOptions"].split())
    pattern = parse(Path(file).read_text("utf-8"))["appender.stderr.layout.pattern"]
    shown = pattern.replace("%n", "").replace("%enc{%m}{JSON}", "m").replace("%enc{%ex}{JSON}", "e")
    assert json.loads(shown.replace("${env:STITCH_RUN_ID:-}", "r1"))["run_id"] == "r1"
    assert len(submit.environment(None)["STITCH_RUN_ID"]) == 12
    monkeypatch.setenv("STITCH_RUN_ID", "mine")
    assert submit.environment(None)["STITCH_RUN_ID"] == "mine"
