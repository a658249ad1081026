"""The local stack as a whole: look before starting, start both, wait until they answer, make topic and tables.

Whatever would make the start fail later is looked for first and told all at once, each with what to do about it.
Nothing is left half-started: where one of the two does not come up, the one that did is stopped again.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from stitch.jars.fetch import fetch_missing
from stitch.jars.sets import CASSANDRA, KAFKA
from stitch.java import JavaError, java_home
from stitch.settings import Settings
from stitch_local import cassandra, kafka
from stitch_local.errors import StackError
from stitch_local.process import Service, last_lines, local_folder, port_taken, running, start, stop
from stitch_local.schema import apply_schema
from stitch_local.topic import create_topics

START_SECONDS = 120.0
MEMORY_NEEDED = 2 * 1024**3
DISK_NEEDED = 1024**3
MADE_BY_US = ("kafka", "cassandra", "logs", "run", "checkpoints", "lake")

Say = Callable[[str], object]


@dataclass(frozen=True)
class Status:
    """What is known of one service: `state` is running, starting (it does not answer yet) or down."""

    name: str
    state: str
    pid: int | None
    ports: dict[str, int]
    log: Path


def services(settings: Settings) -> list[Service]:
    """Both, the slower to start first."""
    return [cassandra.service(settings), kafka.service(settings)]


def up(settings: Settings, say: Say = print) -> None:
    """Start what is not running and wait until it answers; harmless when all is up. Raises StackError."""
    with only_one(settings):
        missing = [service for service in services(settings) if running(service.pid_file) is None]
        problems = preflight(settings, missing)
        if problems:
            raise StackError("\n  ".join(["the local stack was not started:", *problems]))
        if missing:
            fetch_missing([KAFKA, CASSANDRA])
        began = time.monotonic()
        try:
            for service in missing:
                say(f"starting {service.name} on port {next(iter(service.ports.values()))} (log: {service.log})")
                start(service)
            wait_until_all_answer(services(settings), say)
        except BaseException:
            for service in missing:
                stop(service.pid_file)
            raise
        create_topics(settings)
        apply_schema(settings)
        say(
            f"the stack is up ({time.monotonic() - began:.0f} s): topic {', '.join(settings.topics_read)}, keyspaces "
            f"{settings.realtime.keyspace} and {settings.batch.keyspace}"
        )


def preflight(settings: Settings, missing: Sequence[Service]) -> list[str]:
    """Everything that would make starting these services fail, one message each."""
    problems = unreachable(settings)
    if not missing:
        return problems
    try:
        java_home()
    except JavaError as error:
        problems.append(str(error))
    for service in missing:
        for setting, port in service.ports.items():
            if port_taken(port):
                problems.append(
                    f"port {port} is in use by another process: stop it, or set {setting} "
                    f"({variable(setting)}) and the connections that name it to a free one"
                )
    memory = psutil.virtual_memory().available
    if memory < MEMORY_NEEDED:
        problems.append(
            f"{memory >> 20} MiB of memory are free; Kafka and Cassandra need {MEMORY_NEEDED >> 20} MiB: "
            "end other programs, or lower local.kafka_heap and local.cassandra_heap"
        )
    folder = local_folder(settings)
    disk = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    if disk < DISK_NEEDED:
        problems.append(
            f"{disk >> 20} MiB are free on the disk of {folder}; {DISK_NEEDED >> 20} MiB are needed: "
            "free some, or set local.folder (STITCH_LOCAL__FOLDER) to another disk"
        )
    return problems


def unreachable(settings: Settings) -> list[str]:
    """A port of the stack was changed, but not the connection to it: the tables would be made elsewhere."""
    problems = []
    port = settings.local.kafka_port
    if not settings.kafka.bootstrap_servers.endswith(f":{port}"):
        problems.append(
            f"local.kafka_port is {port}, but kafka.bootstrap_servers is "
            f"{settings.kafka.bootstrap_servers}: set STITCH_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:{port}"
        )
    port = settings.local.cassandra_port
    if port not in (settings.realtime.port, settings.batch.port):
        problems.append(
            f"local.cassandra_port is {port}, but neither realtime.port nor batch.port is: "
            f"set STITCH_REALTIME__PORT={port} and STITCH_BATCH__PORT={port}"
        )
    return problems


def variable(setting: str) -> str:
    """The environment variable that overrides a setting: local.kafka_port → STITCH_LOCAL__KAFKA_PORT."""
    return "STITCH_" + setting.replace(".", "__").upper()


def wait_until_all_answer(waited_for: Sequence[Service], say: Say, patience: float = START_SECONDS) -> None:
    """Return once each answers. Raises StackError with the end of its log where one dies or takes too long."""
    pending = list(waited_for)
    deadline = time.monotonic() + patience
    while pending:
        for service in list(pending):
            if running(service.pid_file) is None:
                raise StackError(
                    f"{service.name} ended while starting; the end of {service.log}:\n{last_lines(service.log)}"
                )
            if service.answers():
                say(f"{service.name} answers")
                pending.remove(service)
        if pending and time.monotonic() > deadline:
            slow = pending[0]
            raise StackError(
                f"{slow.name} did not answer within {patience:.0f} s; the end of {slow.log}:\n{last_lines(slow.log)}"
            )
        if pending:
            time.sleep(0.2)


def down(settings: Settings, say: Say = print) -> None:
    """Stop both; only processes that `up` started are signalled."""
    with only_one(settings):
        for service in reversed(services(settings)):
            say(f"{service.name}: {stop(service.pid_file)}")


def status(settings: Settings) -> list[Status]:
    """One row per service, asked now."""
    rows = []
    for service in services(settings):
        process = running(service.pid_file)
        state = "down" if process is None else "running" if service.answers() else "starting"
        rows.append(Status(service.name, state, process.pid if process else None, service.ports, service.log))
    return rows


def reset(settings: Settings, say: Say = print) -> None:
    """Stop both and remove what the stack and the jobs keep below local.folder, and nothing else there."""
    down(settings, say)
    for name in MADE_BY_US:
        shutil.rmtree(local_folder(settings) / name, ignore_errors=True)
    say(f"removed {', '.join(MADE_BY_US)} in {local_folder(settings)}")


def logs_path(settings: Settings) -> Path:
    """Where the services write their logs."""
    return local_folder(settings) / "logs"


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Two `up` at the same moment would start everything twice: the second waits for the first."""
    folder = local_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
