"""The reader beside the raw driver doing the same reads, in one run on this machine: `make bench-serving`.

A stack of its own is started and filled by the driver: 100,000 cold keys, a hot one, a key with 30 days of hours, a
key with 10,000 members. wrk asks the reader over loopback, one connection per thread of it; the raw driver is a Python
process with as many threads that does the same reads (cutoffs, progress, totals, increments) and nothing else.
Bounded: some seconds a case.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import requests
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from serving.layers.cassandra import CassandraLayers
from serving.layers.interface import IncrementsSince, MembersOf, TotalsRange
from stitch.buckets import ALL, floor
from stitch.cutoff import Published
from stitch.local import stack
from stitch.local.schema import connected
from stitch.settings import Settings, load_settings
from tests.conftest import free_ports, stack_config

SECONDS = int(os.environ.get("SECONDS_EACH", "8"))
WORKERS = int(os.environ.get("WORKERS", "2"))  # one for each core here
THREADS = 8  # of each
KEYS = 100_000
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
CUTOFF = floor(NOW, "hour")
MEMBERS = 10_000


def fill(settings: Settings, session: Session) -> None:
    """Rows as the jobs leave them: totals up to the cutoff, increments of the present hour."""
    batch, realtime = settings.batch.keyspace, settings.realtime.keyspace
    session.execute(f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision) VALUES ('plays', %s, 0)", [CUTOFF])
    session.execute(
        f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision) VALUES ('creator_plays', %s, 0)", [CUTOFF]
    )
    session.execute(f"INSERT INTO {realtime}.progress (job, realtime_through) VALUES ('streaming_counts', %s)", [NOW])
    totals = session.prepare(
        f"INSERT INTO {batch}.totals (counter, key, granularity, bucket, count, cutoff) VALUES (?,?,?,?,?,?)"
    )
    live = session.prepare(
        f"INSERT INTO {realtime}.increments (counter, key, ingest_date, ingest_window, bucket, count) "
        "VALUES (?,?,?,?,?,?)"
    )
    members = session.prepare(
        f"INSERT INTO {batch}.member_totals (counter, key, granularity, bucket, member, count, cutoff) "
        "VALUES (?,?,?,?,?,?,?)"
    )
    cold = [f"k{n}" for n in range(KEYS)]
    write(session, totals, [("plays", key, "all", ALL.start, 5, CUTOFF) for key in [*cold, "hot", "hours"]])
    write(session, live, [("plays", key, CUTOFF.date(), CUTOFF, CUTOFF, 1) for key in [*cold, "hot", "hours"]])
    write(session, totals, [("plays", "hours", "hour", CUTOFF - n * HOUR, n, CUTOFF) for n in range(1, 24 * 31)])
    write(session, totals, [("creator_plays", "big", "all", ALL.start, MEMBERS, CUTOFF)])
    write(
        session, members, [("creator_plays", "big", "all", ALL.start, f"m{n}", n + 1, CUTOFF) for n in range(MEMBERS)]
    )


def write(session: Session, statement: Any, rows: list[tuple[Any, ...]]) -> None:
    execute_concurrent_with_args(session, statement, rows, concurrency=128)


Ask = Callable[[CassandraLayers, random.Random], None]
AT = Published(CUTOFF, 0)


def totals_of(keys: list[str]) -> Ask:
    """The reads of /v1/totals of all time."""

    def ask(layers: CassandraLayers, rng: random.Random) -> None:
        chosen = keys or [f"k{rng.randrange(KEYS)}"]
        before = (layers.cutoffs(), layers.realtime_through())
        _ = [one() for one in before]
        sent = (
            layers.totals([TotalsRange("plays", key, "all", ALL.start, ALL.end, AT) for key in chosen]),
            layers.increments([IncrementsSince("plays", key, CUTOFF.date(), CUTOFF) for key in chosen]),
        )
        _ = [one() for one in sent]

    return ask


def fifty(layers: CassandraLayers, rng: random.Random) -> None:
    totals_of([f"k{rng.randrange(KEYS)}" for _ in range(50)])(layers, rng)


def hours(layers: CassandraLayers, _: random.Random) -> None:
    layers.cutoffs()()
    layers.realtime_through()()
    end = CUTOFF + HOUR
    sent = (
        layers.totals([TotalsRange("plays", "hours", "hour", end - 720 * HOUR, end, AT)]),
        layers.increments([IncrementsSince("plays", "hours", CUTOFF.date(), CUTOFF)]),
    )
    _ = [one() for one in sent]


def top(layers: CassandraLayers, _: random.Random) -> None:
    layers.cutoffs()()
    layers.realtime_through()()
    since = [IncrementsSince("creator_plays", "big", CUTOFF.date(), CUTOFF)]
    sent = (
        layers.totals([TotalsRange("creator_plays", "big", "all", ALL.start, ALL.end, AT)]),
        layers.member_totals([MembersOf("creator_plays", "big", ALL, AT)]),
        layers.increments(since),
        layers.member_increments(since),
    )
    _ = [one() for one in sent]


HOURS = f"start={CUTOFF + HOUR - 720 * HOUR:%FT%TZ}&end={CUTOFF + HOUR:%FT%TZ}"
RANDOM_KEY = '"/v1/totals?counters=plays&key=k" .. math.random(0, 99999)'
FIFTY = f"""(function() local q = {{}} for i = 1, 50 do q[i] = "key=k" .. math.random(0, {KEYS - 1}) end
  return "/v1/totals?counters=plays&" .. table.concat(q, "&") end)()"""
CASES: dict[str, tuple[str, Ask]] = {  # what wrk asks, as Lua; the same reads by the raw driver
    "hot key": ('"/v1/totals?counters=plays&key=hot"', totals_of(["hot"])),
    "cold keys": (RANDOM_KEY, totals_of([])),
    "30 days by hour": (f'"/v1/series?counters=plays&key=hours&granularity=hour&{HOURS}"', hours),
    "top 10 of 10,000": ('"/v1/top?counter=creator_plays&key=big&limit=10"', top),
    "50 cold keys": (FIFTY, fifty),
}


def raw(config: Path, name: str) -> tuple[float, float, float]:
    """Requests/s, p50 and p99 in ms of the driver alone, by as many processes and threads as the reader has."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        took = sorted(
            one for found in pool.map(raw_process, [str(config)] * WORKERS, [name] * WORKERS) for one in found
        )
    return len(took) / SECONDS, 1000 * took[len(took) // 2], 1000 * took[int(len(took) * 0.99)]


def raw_process(config: str, name: str) -> list[float]:
    """One process of it: the seconds that each request took."""
    _, ask = CASES[name]
    layers = CassandraLayers(load_settings(config))
    layers.cutoffs()()
    took: list[float] = []
    until = time.monotonic() + SECONDS

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while (began := time.monotonic()) < until:
            ask(layers, rng)
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    layers.close()
    return took


def wrk(address: str, path: str, folder: Path) -> tuple[float, float, float]:
    """The same of the reader, over HTTP."""
    script = folder / "case.lua"
    script.write_text(
        "local n = 0\nfunction setup(thread) n = n + 1; thread:set('id', n) end\n"
        "function init() math.randomseed(os.time() + id * 1000) end\n"
        f"request = function() return wrk.format('GET', {path}) end\n"
        "done = function(summary, latency) io.write(string.format('RESULT %d %d %d %d %d\\n', "
        "summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), "
        "summary.errors.status + summary.errors.timeout + summary.errors.read)) end\n"
    )
    command = ["wrk", "-t1", f"-c{WORKERS * THREADS}", f"-d{SECONDS}s", "--timeout", "10s", "-s", str(script), address]
    out = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 30, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", out)
    assert found, out
    requests_, duration, p50, p99, errors = map(int, found.groups())
    assert not errors, out
    return requests_ / (duration / 1e6), p50 / 1000, p99 / 1000


def reader(config: Path, port: int) -> subprocess.Popen[bytes]:
    env = {**os.environ, "STITCH_SERVING__PORT": str(port), "STITCH_SERVING__THREADS": str(THREADS),
           "STITCH_SERVING__CACHE": "1s", "STITCH_SERVING__WORKERS": str(WORKERS)}  # fmt: skip
    command = [sys.executable, "-m", "stitch.cli", "--config", str(config), "serve"]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(address: str) -> None:
    for _ in range(150):
        try:
            if requests.get(f"{address}/readyz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise SystemExit("the reader did not start")


def measure(config: Path, folder: Path) -> dict[str, dict[str, list[float]]]:
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    process = reader(config, port)
    try:
        wait(address)
        found = {}
        for name, (path, _) in CASES.items():
            wrk_, raw_ = wrk(address, path, folder), raw(config, name)
            found[name] = {"reader": list(wrk_), "raw driver": list(raw_)}
            print(
                f"{name:<18} reader {wrk_[0]:8.0f}/s p50 {wrk_[1]:6.1f} p99 {wrk_[2]:7.1f} ms   "
                f"raw {raw_[0]:8.0f}/s p50 {raw_[1]:6.1f} p99 {raw_[2]:7.1f} ms   rate ×{wrk_[0] / raw_[0]:.2f}, "
                f"p99 ×{wrk_[2] / raw_[2]:.2f}",
                flush=True,
            )
        return found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stitch-bench-") as name:
        folder = Path(name)
        config = stack_config(folder)
        settings = load_settings(config)
        try:
            stack.up(settings)
            with connected(settings.batch) as session:
                began = time.monotonic()
                fill(settings, session)
                print(f"filled in {time.monotonic() - began:.0f} s; {threading.active_count()} threads", flush=True)
            print(json.dumps(measure(config, folder)))
        finally:
            stack.down(settings)


if __name__ == "__main__":
    main()
