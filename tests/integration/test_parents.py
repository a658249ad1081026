"""A driver that outlives what it runs under ends, and takes an orphaned JVM with it: with processes that stand for the
real ones (test_operator.py has these)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobs.process.parents import lives

ROOT = Path(__file__).parents[2]
DRIVER = """
import pathlib, os, time
from jobs.process import parents
parents.POLL_S, parents.JVM_ENDS_WITHIN_S = 0.05, 0.5
with parents.watched():
    pathlib.Path({folder!r}, "driver").write_text(str(os.getpid()))
    time.sleep(60)
"""
JVM = """
import os, pathlib, signal, subprocess, sys, time
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({folder!r}, "jvm").write_text(str(os.getpid()))
subprocess.Popen([sys.executable, "-c", {driver!r}])
time.sleep(60)
"""
SUBMIT = """
import os, psutil, subprocess, sys, time
me = psutil.Process()
env = dict(os.environ, STITCH_SUBMITTER=f"{{me.pid}} {{me.create_time()}}")
subprocess.Popen([sys.executable, "-c", {jvm!r}], env=env, start_new_session=True)
time.sleep(60)
"""
Tree = dict[str, psutil.Process]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[[bool], Tree]]:
    """tree(deaf) is a submit, a JVM below it (which may be deaf to SIGTERM) and a driver below that."""
    found: Tree = {}

    def start(deaf: bool) -> Tree:
        driver = DRIVER.format(folder=str(tmp_path))
        jvm = JVM.format(folder=str(tmp_path), deaf=deaf, driver=driver)
        submit = subprocess.Popen([sys.executable, "-c", SUBMIT.format(jvm=jvm)], cwd=ROOT)
        found["submit"] = psutil.Process(submit.pid)
        deadline = time.monotonic() + 60
        for name in ("jvm", "driver"):
            while not (text := read(tmp_path / name)):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            found[name] = psutil.Process(int(text))
        return found

    yield start
    for process in found.values():
        if lives(process):
            process.kill()


def read(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


def ends(process: psutil.Process) -> bool:
    deadline = time.monotonic() + 20
    while lives(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not lives(process)


@pytest.mark.parametrize("deaf", [False, True], ids=["a JVM that ends when asked", "a JVM that does not"])
def test_a_killed_submit_ends_jvm_and_driver(tree: Callable[[bool], Tree], deaf: bool) -> None:
    started = tree(deaf)
    os.kill(started["submit"].pid, signal.SIGKILL)
    assert ends(started["jvm"]) and ends(started["driver"])


def test_a_killed_jvm_ends_its_driver_and_nothing_else(tree: Callable[[bool], Tree]) -> None:
    started = tree(False)
    started["jvm"].kill()
    assert ends(started["driver"]) and lives(started["submit"])


def test_while_all_live_nothing_ends(tree: Callable[[bool], Tree]) -> None:
    started = tree(False)
    time.sleep(0.5)
    assert all(lives(process) for process in started.values())
