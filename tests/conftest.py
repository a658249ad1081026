"""The real Kafka and Cassandra for the tests that ask for them, started once, on ports and in a folder of their own.

Unit tests ask for none of this, so nothing is started for them.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from stitch.settings import Settings, load_settings

# How long an example takes is the machine's affair; how many are tried is a setting: `make unit` tries fewer.
hypothesis.settings.register_profile("stitch", deadline=None, max_examples=int(os.environ.get("STITCH_EXAMPLES", 100)))
hypothesis.settings.load_profile("stitch")

BASE_CONFIG = Path(__file__).parents[1] / "conf/stitch.toml"


Reader = Callable[[Settings], Any]  # settings → a client of the reader


@dataclass(frozen=True)
class Stack:
    """A stack that runs: its settings, and the file they were read from (for --config)."""

    settings: Settings
    config_path: Path


def write_config(path: Path, base: Path = BASE_CONFIG, **overrides: Any) -> Path:
    """Write conf/stitch.toml to `path` with sections changed: write_config(path, kafka={"topic": "t"}).

    A section is merged into the file's, and what is None in it taken out; anything else (`counters=[…]`) replaces it.
    """
    document = tomllib.loads(base.read_text("utf-8"))
    for name, value in overrides.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    lines: list[str] = []
    for name, value in document.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            lines += [f"{key} = {toml(entry)}" for key, entry in table.items() if entry is not None]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def submit_command(stack: Stack, *args: str) -> list[str]:
    """`stitch submit` with the stack's settings, as a process of its own."""
    return [sys.executable, "-m", "stitch.cli", "--config", str(stack.config_path), "submit", *args]


def toml(value: Any) -> str:
    """A value as inline TOML: JSON but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    return json.dumps(value)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def stack_config(folder: Path) -> Path:
    """The settings file of a stack of its own: free ports, and everything it keeps below `folder`."""
    kafka, controller, cassandra, storage = free_ports(4)
    return write_config(
        folder / "stitch.toml",
        kafka={"bootstrap_servers": f"127.0.0.1:{kafka}"},
        realtime={"port": cassandra, "retention": "1d"},
        serving={
            "cache": "0s"
        },  # what a test just changed it sees at once; tests/integration/test_reader.py has caches
        batch={"port": cassandra},
        streaming={
            "ingest_window": "5s",
            "retry_for": "60s",
            "checkpoint": str(folder / "checkpoints/streaming_counts"),
        },
        log={"grace": "1s", "trigger": "1s"},
        lake={"catalog": "test_lake", "warehouse": str(folder / "lake")},
        local={
            "folder": str(folder / "local"),
            "kafka_port": kafka,
            "kafka_controller_port": controller,
            "cassandra_port": cassandra,
            "cassandra_storage_port": storage,
        },
    )


def needs(program: str) -> str:
    """The path of a program from Debian's packages; without it the test fails in CI, and is skipped elsewhere."""
    found = shutil.which(program)
    if not found:
        how = f"{program} is not installed: run tests/debian.sh, or `sudo apt-get install {program}`"
        pytest.fail(how) if os.environ.get("CI") else pytest.skip(how)
    return found


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those of tests, and of processes that they kill, are in pytest's folder, which it empties by and by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_jvms() -> Iterator[None]:
    """A JVM of a test lives for seconds, in which what compiles quickly (C1) is enough: a job costs two thirds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_SUBMIT_OPTS", "SPARK_LAUNCHER_OPTS"):
            patch.setenv(name, f"{os.environ.get(name, '')} -XX:TieredStopAtLevel=1".strip())
        yield


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest) -> Any:
    """pytest-spark's session with the jars and settings that `stitch submit` gives to jobs. One JVM for the whole
    run, for a job that starts cold spends twenty seconds on warming up."""
    from stitch.submit import JVM_OPTIONS, environment, own_properties

    properties = request.getfixturevalue("tmp_path_factory").mktemp("spark") / "spark.conf"
    properties.write_text(own_properties([])[0], "utf-8")
    of_jobs = environment(None)
    os.environ |= {name: of_jobs[name] for name in ("JAVA_HOME", "PYSPARK_PYTHON")}
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--properties-file {properties} pyspark-shell"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(JVM_OPTIONS, of_jobs[JVM_OPTIONS])
        return request.getfixturevalue("spark_session")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The real stack of this test session. Taken down at its end, and at exit should pytest itself fail."""
    from stitch_local import stack as local_stack

    config = stack_config(tmp_path_factory.mktemp("stack"))
    settings = load_settings(config)

    def take_down() -> None:
        local_stack.down(settings, say=lambda _: None)

    atexit.register(take_down)
    signal.signal(
        signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", 143)
    )  # an end by SIGTERM takes it down too
    try:
        local_stack.up(settings)
        yield Stack(settings, config)
    finally:
        take_down()
        atexit.unregister(take_down)
        for part in ("kafka", "cassandra"):
            shutil.rmtree(Path(settings.local.folder) / part, ignore_errors=True)


@pytest.fixture
def fresh(stack: Stack, tmp_path: Path) -> Stack:
    """The session's stack with a topic, keyspaces, checkpoints, log and totals that no other test sees."""
    return apart(stack, tmp_path)


def apart(stack: Stack, folder: Path, **sections: Any) -> Stack:
    """The stack with a topic, keyspaces and folders of its own; `sections` of the settings beside (write_config)."""
    from stitch_local.schema import apply_schema
    from stitch_local.topic import create_topics

    mine = uuid.uuid4().hex[:12]
    config = write_config(
        folder / "stitch.toml",
        base=stack.config_path,
        kafka={"topic": f"events_{mine}"},
        realtime={"keyspace": f"realtime_{mine}"},
        batch={"keyspace": f"batch_{mine}"},
        streaming={"checkpoint": str(folder / "checkpoints/streaming_counts")},
        lake={"namespace": f"lake_{mine}"},
        **sections,
    )
    settings = load_settings(config)
    create_topics(settings)
    apply_schema(settings)
    return Stack(settings, config)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """reader(settings) is a client of the reader over the real layers; their connections are closed with the test."""
    from serving.app import create_app
    from serving.layers.cassandra import CassandraLayers

    opened: list[CassandraLayers] = []

    def client(settings: Settings) -> Any:
        opened.append(CassandraLayers(settings))
        return create_app(settings, opened[-1]).test_client()

    yield client
    for layers in opened:
        layers.close()


@pytest.fixture
def run_job(spark: Any, fresh: Stack) -> Callable[..., Any]:
    """Runs a job of the fresh stack to its end, in the test run's own Spark: run_job("batch_totals", full=True)."""
    return partial(run_in, fresh.settings)


def run_in(settings: Settings, job: str, **asked: Any) -> Any:
    """Run a job to its end in this process; it may raise JobError. `asked`: the options of its command line."""
    from jobs.archive_events import archive
    from jobs.audit_counts import audit
    from jobs.batch_totals import Ask, total_log
    from jobs.erase_key import erase_key
    from jobs.restore_counts import restore_counts
    from jobs.rollup_increments import roll_up
    from jobs.streaming.queries import Stop
    from jobs.streaming_counts import count_topic

    now = datetime.now(UTC)
    return {
        "streaming_counts": lambda: count_topic(settings, True, Stop(), **asked),
        "archive_events": lambda: archive(settings, True, Stop(), **asked),
        "batch_totals": lambda: total_log(settings, Ask(**asked), now),
        "rollup_increments": lambda: roll_up(settings, asked.get("cutoff"), now),
        "restore_counts": lambda: restore_counts(
            settings, asked.get("since"), asked.get("until"), asked.get("apply", False), 50, now
        ),
        "erase_key": lambda: erase_key(settings, asked["field"], asked["value"], now),
        "audit_counts": lambda: audit(settings, asked.get("sample", 1.0), asked.get("now", now)),
    }[job]()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's chromium, headless, through Playwright: one for the whole run, for Playwright has an event loop, and a
    thread can have but one."""
    from tests.browser import launched

    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def cassandra(stack: Stack) -> Iterator[Any]:
    """A driver session on the stack's Cassandra, in no keyspace."""
    from stitch_local.schema import connected

    with connected(stack.settings.realtime) as session:
        yield session
