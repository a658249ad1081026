"""What the fault tests share: a reader over HTTP, jobs as processes of their own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from serving.app import create_app
from serving.layers.cassandra import CassandraLayers
from stitch.settings import Settings, load_settings
from stitch_local.process import running, start
from stitch_local.stack import services, wait_until_all_answer
from tests.conftest import Stack, submit_command, write_config
from tests.faults import failpoints
from tests.faults.oracle import Eyes, Feed, served
from tests.faults.proxy import Proxy
from tests.steps import send


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, for `make faults`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("fault")


class Job:
    """A job by `stitch submit`, in a process tree of its own; with `dies_at` by spark-submit, and killed there."""

    def __init__(self, stack: Stack, log: Path, job: str, *args: str, dies_at: str | None = None, **env: str) -> None:
        self.log = log
        call, own = submit_command(stack, job, *args), dict(os.environ)
        if dies_at:
            call, own = failpoints.command(stack.config_path, log.with_suffix(".conf"), dies_at, job, *args)
        with log.open("ab") as out:
            self._process = subprocess.Popen(call, stdout=out, stderr=out, env={**own, **env})

    def lines(self, start: str = "") -> list[str]:
        return [line for line in self.log.read_text("utf-8", errors="replace").splitlines() if line.startswith(start)]

    def wait_for_line(self, start: str, times: int = 1, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while len(self.lines(start)) < times:
            assert time.monotonic() < deadline and self._process.poll() is None, self.log.read_text("utf-8")[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL the whole tree at once: driver, JVM, workers."""
        tree = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(tree, timeout=30)
        self._process.wait(30)

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(150)

    def wait(self, seconds: float = 240) -> int:
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        return self._process.poll() is None


@pytest.fixture
def start_job(fresh: Stack, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """start_job("streaming_counts", "--from-cutoff", STITCH_STREAMING__TRIGGER="1s") is a running Job.

    dies_at: the name of the failpoint at which it is killed (tests.faults.failpoints)
    """
    started: list[Job] = []

    def begin(job: str, *args: str, dies_at: str | None = None, **env: str) -> Job:
        started.append(Job(fresh, tmp_path / f"{job}-{len(started)}.log", job, *args, dies_at=dies_at, **env))
        return started[-1]

    yield begin
    for job in started:
        if job.running:
            job.kill()


@pytest.fixture
def feed(fresh: Stack) -> Feed:
    seed = int(os.environ.get("STITCH_SEED", time.time()))
    print(f"seed {seed} (STITCH_SEED={seed} repeats it)")
    return Feed(fresh.settings.kafka, seed)


@pytest.fixture
def eyes(fresh: Stack, feed: Feed) -> Iterator[Eyes]:
    """Polls the reader while the test runs; what it saw wrong fails the test at its end."""
    with watching(fresh.settings, feed) as eyes:
        yield eyes
    assert eyes.wrong == []


@contextmanager
def watching(settings: Settings, feed: Feed) -> Iterator[Eyes]:
    """Eyes on a reader of these settings."""
    layers = CassandraLayers(settings)
    try:
        with served(create_app(settings, layers)) as url, Eyes(url, feed) as eyes:
            yield eyes
    finally:
        layers.close()


@contextmanager
def away(settings: Settings, name: str, how: int) -> Iterator[None]:
    """A part of the local stack paused (SIGSTOP), stopped (SIGTERM) or killed (SIGKILL), and back at the end."""
    service = next(one for one in services(settings) if one.name == name)
    process = running(service.pid_file)
    assert process, f"{name} is not running"
    send(process, how)
    if how != signal.SIGSTOP:
        process.wait(60)
    try:
        yield
    finally:
        if how == signal.SIGSTOP:
            process.send_signal(signal.SIGCONT)
        else:
            start(service)
            wait_until_all_answer([service], lambda _: None)


@pytest.fixture
def proxied(fresh: Stack, tmp_path: Path) -> Iterator[tuple[Stack, Proxy]]:
    """The fresh stack with the real-time layer behind a proxy that can lose answers."""
    with Proxy(fresh.settings.realtime.port) as proxy:
        config = write_config(tmp_path / "proxied.toml", base=fresh.config_path, realtime={"port": proxy.port})
        yield Stack(load_settings(config), config), proxy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; it takes root to mount one."""
    if os.geteuid():
        pytest.skip("only root may mount a small tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
