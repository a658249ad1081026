"""What a command ends with: each kind of error a message and a status of its own, and never a stack trace."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from connections.refusals import NoAnswer, Refused
from connections.tls import BadCertificate
from jobs.process.errors import BadOption, JobError, NotYet, Unreachable, may_pass
from stitch import exits
from stitch.errors import ExitStatus
from stitch.exclusions import ExclusionError
from stitch.notes import TornNote
from stitch.runs import PlanError
from stitch.settings import SettingsError

ROOT = Path(__file__).parents[2]


def raising(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("fail", callback=fail, params=[click.Option(["--cutoff"], type=int, expose_value=False)])


ENDS = {
    "a person must look": (JobError("the guard"), 1, "stitch: the guard\n"),
    "a torn note": (TornNote("x is not whole"), 1, "stitch: x is not whole\n"),
    "settings": (SettingsError("kafka.topic: no"), 2, "stitch: kafka.topic: no\n"),
    "exclusions": (ExclusionError("line 1"), 2, "stitch: line 1\n"),
    "an option that cannot be": (BadOption("--cutoff"), 2, "stitch: --cutoff\n"),
    "a run that cannot be planned": (PlanError("back"), 2, "stitch: back\n"),
    "what has not come yet": (NotYet("catch up"), 75, "stitch: catch up\n"),
    "a part that is away": (Unreachable("no Kafka"), 75, "stitch: no Kafka\n"),
    "a cluster that does not answer": (NoAnswer("no Cassandra"), 75, "stitch: no Cassandra\n"),
    "a cluster that refuses": (Refused("the password"), 1, "stitch: the password\n"),
    "a certificate": (BadCertificate("ca_file"), 2, "stitch: ca_file\n"),
    "a status of its own": (click.exceptions.Exit(3), 3, ""),
    "an interrupt": (KeyboardInterrupt(), 130, "stitch: interrupted\n"),
    "a disk": (OSError(28, "No space left on device", "/x/y"), 1, "stitch: /x/y: No space left on device\n"),
    "an option that is wrong": (click.BadParameter("no instant"), 2, "Error: Invalid value: no instant\n"),
}


@pytest.mark.parametrize(("error", "status", "message"), ENDS.values(), ids=ENDS.keys())
def test_an_error_ends_in_its_status_and_message(
    error: BaseException, status: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exits.run(raising(error), [], "stitch fail") == status
    out, err = capfd.readouterr()
    assert (out, err.endswith(message), "Traceback" in err) == ("", True, False)


def test_an_unknown_option_is_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert exits.run(raising(JobError()), ["--nothing"], "stitch fail") == 2
    assert "Usage: stitch fail" in capfd.readouterr().err


def test_an_error_without_a_name_is_a_line_with_its_cause_and_a_file_with_its_trace(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ValueError("first line\nsecond line")
    assert exits.run(raising(error), [], "stitch fail", cause_of=lambda e: f"because {type(e).__name__}") == 1
    said = capfd.readouterr().err
    assert said.startswith("stitch: internal or unexpected: because ValueError\n") and "Traceback" not in said
    (named,) = re.findall(r"The whole trace is in (\S+\.trace);", said)
    assert "ValueError: first line\nsecond line" in Path(named).read_text("utf-8")
    assert Path(named).stat().st_mode & 0o077 == 0
    Path(named).unlink()
    monkeypatch.setenv("STITCH_DEBUG", "1")
    assert exits.run(raising(error), [], "stitch fail") == 1
    said = capfd.readouterr().err
    assert "Traceback" in said and "internal or unexpected: ValueError: first line\n" in said


def test_a_server_that_was_away_in_the_middle_of_a_job_is_worth_another_try(capfd: pytest.CaptureFixture[str]) -> None:
    away = RuntimeError("An error occurred while calling o1.save: com.datastax…AllNodesFailedException: 1 node tried")
    assert exits.run(raising(away), [], "stitch fail", may_pass=may_pass) == 75
    said = capfd.readouterr().err
    assert "It may pass: run it again" in said and "internal" not in said
    assert not may_pass(KeyError("plays"))


def test_a_closed_pipe_ends_quietly(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_discard_output", lambda: None)
    assert exits.run(raising(BrokenPipeError()), [], "stitch fail") == 141
    assert capfd.readouterr() == ("", "")


def test_every_status_stands_in_the_page_of_commands() -> None:
    table = re.findall(r"^\| (\d+) \| ", (ROOT / "docs/commands.md").read_text("utf-8"), re.MULTILINE)
    assert [int(status) for status in table] == sorted(ExitStatus)
