"""Starts, recognises and stops the processes of the local stack by pid files that cannot be fooled by a reused pid.

A pid file holds the pid and when that process was created: after a crash or a reboot the number may belong to somebody
else, and the pair never does. So only a process that Stitch started is ever signalled. When is counted from the
machine's start, since the instant that psutil tells moves with every correction of the clock.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stitch.notes import write_note
from stitch.settings import Settings

SIGTERM_SECONDS = 30.0
BIRTH_S = 0.05  # by which two looks at the birth of one process may differ
CLOCK_S = 3600.0  # by which a clock may have been corrected meanwhile; a start of the machine before is told by it


@dataclass(frozen=True)
class Service:
    """One process of the stack. `ports` maps the setting that chooses a port to the port."""

    name: str
    folder: Path
    ports: dict[str, int]
    prepare: Callable[[], Sequence[str]]  # writes what the service reads, and answers its command line
    answers: Callable[[], bool]
    cwd: Path | None = None  # where it runs; else in its folder

    @property
    def pid_file(self) -> Path:
        return self.folder / f"run/{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.folder / f"logs/{self.name}.log"


def local_folder(settings: Settings) -> Path:
    """`local.folder`: two checkouts have two."""
    return Path(settings.local.folder).absolute()


def running(pid_file: Path) -> psutil.Process | None:
    """The process of the pid file, where it still is the one that Stitch started; else None."""
    try:
        written = json.loads(pid_file.read_text("utf-8"))
        process, created = psutil.Process(int(written["pid"])), float(written["created"])
        born = float(written.get("since_boot", created - psutil.boot_time()))  # files before 0.2 have no since_boot
        same = abs(since_boot(process) - born) < BIRTH_S and abs(process.create_time() - created) < CLOCK_S
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return None


def start(service: Service) -> psutil.Process:
    """Start the service detached, its output in its log, its pid in its pid file."""
    for folder in (service.pid_file.parent, service.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    command = list(service.prepare())
    environment = {name: value for name, value in os.environ.items() if name not in ("JAVA_TOOL_OPTIONS", "CLASSPATH")}
    with service.log.open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=service.cwd or service.folder,
            env=environment,
        )
    process = psutil.Process(child.pid)
    write_pid(service.pid_file, process)
    return process


def write_pid(pid_file: Path, process: psutil.Process) -> None:
    """Note the pid and the birth of the process."""
    born = {"created": process.create_time(), "since_boot": since_boot(process)}
    write_note(pid_file, json.dumps({"pid": process.pid, **born}))


def since_boot(process: psutil.Process) -> float:
    """When the process was created, in seconds since the machine's start."""
    return psutil.Process(process.pid).create_time() - psutil.boot_time()


def stop(pid_file: Path, patience: float = SIGTERM_SECONDS) -> str:
    """SIGTERM, wait, then SIGKILL; answers what happened. A stale pid file is removed, nobody is signalled."""
    process = running(pid_file)
    outcome = "not running"
    if process is not None:
        outcome = "stopped"
        try:
            process.terminate()
            process.wait(patience)
        except psutil.TimeoutExpired:
            outcome = f"killed: it did not stop within {patience:.0f} s"
            process.kill()
            process.wait(10)
        except psutil.NoSuchProcess:
            pass
    pid_file.unlink(missing_ok=True)
    return outcome


def port_taken(port: int) -> bool:
    """Does somebody listen on this port of 127.0.0.1? Connections that only linger do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Does the port accept a connection? Asked before a client is made, since clients are noisy when refused."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for the message that says why its process died."""
    if not log.exists():
        return "(no log was written)"
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-count:])
