"""What takes longer than five seconds says so: a bar on a terminal, plain lines elsewhere, and on stderr."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from jobs.process import progress as of_jobs
from jobs.process.progress import Stage, line, tell
from stitch import submit
from stitch.commands.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def seconds(*at: float) -> Iterator[float]:
    return iter(at)


def test_nothing_is_said_in_the_first_five_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    clock = seconds(0, 1, 4.9)
    with progress("reading", 10, lambda: next(clock)) as step:
        step(1)
        step(9)
    assert capfd.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_a_line_comes_every_five_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    clock = seconds(0, 1, 6, 8, 11)
    with progress("reading", 10, lambda: next(clock)) as step:
        for done in (1, 2, 3, 5):
            step(done)
    assert capfd.readouterr() == ("", "reading: 20 % after 6 s\nreading: 50 % after 11 s\n")


def test_of_an_unknown_whole_the_part_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    clock = seconds(0, 7)
    with progress("reading", 0, lambda: next(clock)) as step:
        step(1234)
    assert capfd.readouterr().err == "reading: 1234 after 7 s\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, clock = Terminal(), seconds(0, 6, 7)
    monkeypatch.setattr("sys.stderr", seen)
    with progress("reading", 10, lambda: next(clock)) as step:
        step(2)
        step(10)
    assert "reading" in seen.getvalue() and "100%" in seen.getvalue()


def test_a_job_tells_of_its_stages_as_they_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    over = threading.Event()
    looks = iter([[], [Stage(3, "count", 1, 40)], [Stage(3, "count", 1, 40)], [Stage(3, "count", 9, 40)]])

    def look() -> list[Stage]:
        found = next(looks, None)
        if found is None:
            over.set()
        return found or []

    tell("batch_totals", look, over, 0.001, 0.001)
    assert [one.partition(": ")[2] for one in capsys.readouterr().out.splitlines()] == [
        "stage 3 (count) 1 of 40 tasks", "stage 3 (count) 9 of 40 tasks",
    ]  # fmt: skip
    assert line([Stage(1, "a", 0, 2), Stage(2, "b", 1, 2)]) == "stage 1 (a) 0 of 2 tasks; stage 2 (b) 1 of 2 tasks"


@pytest.mark.parametrize(("job", "args", "starts"), [
    ("batch_totals", [], True), ("audit_counts", ["--json"], False), ("streaming_counts", [], False),
])  # fmt: skip
def test_jobs_that_have_lines_or_a_report_of_their_own_get_no_others(
    monkeypatch: pytest.MonkeyPatch, job: str, args: list[str], starts: bool
) -> None:
    started = threading.Event()
    monkeypatch.setattr(of_jobs, "tell", lambda *_: started.set())
    with of_jobs.told(job, args):
        assert started.wait(0.5 if starts else 0.05) is starts


def test_spark_shows_its_bar_to_who_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STITCH_LOG_FORMAT", raising=False)
    assert submit.spark_bar("batch_totals") == []
    monkeypatch.setattr("sys.stderr", Terminal())
    assert submit.spark_bar("batch_totals") == ["--conf", "spark.ui.showConsoleProgress=true"]
    assert submit.spark_bar("streaming_counts") == []
    monkeypatch.setenv("STITCH_LOG_FORMAT", "json")
    assert submit.spark_bar("batch_totals") == []
