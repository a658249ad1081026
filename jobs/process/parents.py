"""Ends a job when what it runs under has gone: its JVM, or the `stitch submit` that started both.

Nobody tells them: a process that is killed (`kill -9`, out of memory) hands nothing on. A JVM without a driver would
hold its memory for ever; a driver without a JVM might wait as long for a part that is away.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from stitch.errors import ExitStatus
from stitch.submit_args import SUBMITTER

POLL_S = 0.5
JVM_ENDS_WITHIN_S = 10.0
CLOCK_STEP_S = 5.0  # by which an instant of birth may differ when the clock is set between two looks at it


@contextmanager
def watched() -> Iterator[None]:
    """Watch both from a thread of its own, which Python does not end before it has ended an orphaned JVM."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(os.getppid(), _submitter_gone(), over), name="parents").start()
    try:
        yield
    finally:
        over.set()


def _watch(jvm: int, submitter_gone: Callable[[], bool], over: threading.Event) -> None:
    while os.getppid() == jvm and not submitter_gone():
        if over.wait(POLL_S):
            return
    deadline = time.monotonic() + JVM_ENDS_WITHIN_S
    while os.getppid() == jvm:
        with suppress(ProcessLookupError):
            os.kill(jvm, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(POLL_S)
    os._exit(ExitStatus.ENDED)  # whatever the main thread waits for


def _submitter_gone() -> Callable[[], bool]:
    """Asks whether the `stitch submit` above has gone; never, where somebody called spark-submit by hand."""
    told = os.environ.get(SUBMITTER, "").split()
    if not told:
        return lambda: False
    pid, born = int(told[0]), float(told[1])
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < CLOCK_STEP_S
    except psutil.NoSuchProcess:
        same = False
    return (lambda: not lives(process)) if same else (lambda: True)


def lives(process: psutil.Process) -> bool:
    """Whether it still runs: one that was killed and that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
