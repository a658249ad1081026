"""What the bench of the reader asks with: a reader as a process, an nginx before it, and wrk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from tests.conftest import free_ports

NGINX = Path(__file__).parents[1] / "deploy/nginx.conf"


@dataclass(frozen=True)
class Size:
    """How much of everything: of what is written, and for how long each case is asked."""

    seconds: int = int(os.environ.get("SECONDS_EACH", "8"))
    workers: int = int(os.environ.get("WORKERS", "2"))  # one for each core here
    threads: int = 8  # of each
    keys: int = 100_000
    members: int = 10_000
    things: int = 200  # keys with days, and keys with members by month, of the mix
    days: int = 365


@dataclass(frozen=True)
class Load:
    """What was measured: requests/s, milliseconds, and CPU milliseconds of a request in the processes that answered."""

    rate: float
    p50: float
    p99: float
    cpu: float
    refused: int = 0


def cpu_of(process: psutil.Process) -> float:
    """The CPU seconds of a process and of those that it started."""
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(one.user + one.system for one in times)


def script(path: str, folder: Path) -> Path:
    """A file for wrk that asks for `path`: an expression in Lua, of a path or of a request."""
    found = folder / f"{abs(hash(path))}.lua"
    asked = path if "wrk.format" in path else f"wrk.format('GET', {path})"
    found.write_text(
        "local n = 0\nfunction setup(thread) n = n + 1; thread:set('id', n) end\n"
        "function init() math.randomseed(os.time() + id * 1000) end\n"
        f"request = function() return {asked} end\n"
        "done = function(summary, latency) io.write(string.format('RESULT %d %d %d %d %d %d\\n', "
        "summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), "
        "summary.errors.status, summary.errors.timeout + summary.errors.read + summary.errors.connect)) end\n"
    )
    return found


def command(address: str, path: str, folder: Path, connections: int, seconds: int) -> list[str]:
    return [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script(path, folder)), address,
    ]  # fmt: skip


def wrk(address: str, path: str, folder: Path, connections: int, seconds: int, serving: psutil.Process) -> Load:
    """Ask for that long, each connection as soon as it has its answer. No request may be lost."""
    began = cpu_of(serving)
    asked = command(address, path, folder, connections, seconds)
    out = subprocess.run(asked, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", out)
    assert found, out
    count, duration, p50, p99, refused, lost = map(int, found.groups())
    assert not lost and count, out
    return Load(count / (duration / 1e6), p50 / 1000, p99 / 1000, 1000 * (cpu_of(serving) - began) / count, refused)


@contextmanager
def reader(config: Path, size: Size) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a reader, and its process."""
    (port,) = free_ports(1)
    env = {**os.environ, "STITCH_SERVING__PORT": str(port), "STITCH_SERVING__THREADS": str(size.threads),
           "STITCH_SERVING__CACHE": "1s", "STITCH_SERVING__WORKERS": str(size.workers),
           "STITCH_SERVING__TRUSTED_PROXIES": "1"}  # fmt: skip
    started = [sys.executable, "-m", "stitch.cli", "--config", str(config), "serve"]
    with running(started, f"http://127.0.0.1:{port}/readyz", env) as process:
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def nginx(address: str, folder: Path, size: Size) -> Iterator[tuple[str, psutil.Process]]:
    """The address of an nginx before the reader, by deploy/nginx.conf without its limits per caller."""
    (port,) = free_ports(1)
    text = NGINX.read_text("utf-8").replace("127.0.0.1:18080", address.removeprefix("http://"))
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace(
        "_processes auto", f"_processes {size.workers}"
    )
    text = re.sub(r"^ *limit_(conn|req) .*$", "", text, flags=re.M)
    folder.mkdir()
    (folder / "nginx.conf").write_text(text, "utf-8")
    who = "user root;" if os.geteuid() == 0 else ""  # else its workers may not look into the folder
    started = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", f"daemon off; {who}"]
    with running(started, f"http://127.0.0.1:{port}/v1/counters") as process:
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def running(started: list[str], ready: str, env: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    process = subprocess.Popen(started, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not answers(ready, lambda: process.poll() is None):
            raise SystemExit(f"did not start: {' '.join(started)}")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str, lives: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while lives() and time.monotonic() < until:
        try:
            if requests.get(url, timeout=5).ok:
                return True
        except requests.RequestException:
            pass
        time.sleep(0.2)
    return False
