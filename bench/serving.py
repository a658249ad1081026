"""The reader beside the raw driver doing the same reads, in one run on this machine: `make bench-serving`.

A stack of its own is started and filled by the driver: 100,000 cold keys, a hot one, a key with 30 days of hours, a key
with 10,000 members, and a mix as the nearest public twin has it (Wikimedia's analytics: 77 % series of a key, 22 % top
lists, nine of ten ranges at most 50 days). wrk asks the reader over loopback, one connection per thread of it; the raw
driver is a Python process with as many threads that does the same reads (cutoffs, progress, totals, increments) and
nothing else. At last the reader is attacked (bench.attacks). Bounded: some seconds a case.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from bench.attacks import attacked, told
from bench.load import Load, Size, nginx, reader, wrk
from serving.layers.cassandra import CassandraLayers
from serving.layers.interface import IncrementsSince, MembersOf, TotalsRange
from stitch.buckets import ALL, Bucket, floor
from stitch.cutoff import Published
from stitch.settings import Settings, load_settings
from stitch_local import stack
from stitch_local.schema import connected
from tests.conftest import stack_config

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC)
CUTOFF = floor(NOW, "hour")
TODAY = floor(NOW, "day")
THIS_MONTH = floor(NOW, "month")
LAST_MONTH = floor(THIS_MONTH - DAY, "month")


def fill(settings: Settings, session: Session, size: Size) -> None:
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
    cold = [f"k{n}" for n in range(size.keys)]
    things = range(size.things)
    days = [TODAY - n * DAY for n in range(1, size.days)]
    write(session, totals, [("plays", key, "all", ALL.start, 5, CUTOFF) for key in [*cold, "hot", "hours"]])
    write(session, live, [("plays", key, CUTOFF.date(), CUTOFF, CUTOFF, 1) for key in [*cold, "hot", "hours"]])
    write(session, totals, [("plays", "hours", "hour", CUTOFF - n * HOUR, n, CUTOFF) for n in range(1, 24 * 31)])
    write(session, totals, [("plays", f"s{n}", "day", day, 3, CUTOFF) for n in things for day in days])
    everything, month = ("all", ALL.start), ("month", LAST_MONTH)
    of = [("big", everything, size.members), *((f"c{n}", month, 50) for n in things)]
    write(session, totals, [("creator_plays", key, *bucket, count, CUTOFF) for key, bucket, count in of])
    ranked = [(key, *bucket, f"m{n}", n + 1) for key, bucket, count in of for n in range(count)]
    write(session, members, [("creator_plays", *row, CUTOFF) for row in ranked])


def write(session: Session, statement: Any, rows: list[tuple[Any, ...]]) -> None:
    execute_concurrent_with_args(session, statement, rows, concurrency=128)


Ask = Callable[[CassandraLayers, random.Random, Size], None]
AT = Published(CUTOFF, 0)


def all_time(layers: CassandraLayers, keys: list[str]) -> None:
    """The reads of /v1/totals of all time."""
    before = (layers.cutoffs(), layers.realtime_through())
    _ = [one() for one in before]
    sent = (
        layers.totals([TotalsRange("plays", key, "all", ALL.start, ALL.end, AT) for key in keys]),
        layers.increments([IncrementsSince("plays", key, CUTOFF.date(), CUTOFF) for key in keys]),
    )
    _ = [one() for one in sent]


def hot(layers: CassandraLayers, _: random.Random, __: Size) -> None:
    all_time(layers, ["hot"])


def cold(layers: CassandraLayers, rng: random.Random, size: Size, count: int = 1) -> None:
    all_time(layers, [f"k{rng.randrange(size.keys)}" for _ in range(count)])


def series(layers: CassandraLayers, key: str, granularity: str, first: datetime, last: datetime) -> None:
    layers.cutoffs()()
    layers.realtime_through()()
    sent = (
        layers.totals([TotalsRange("plays", key, granularity, first, last, AT)]),
        layers.increments([IncrementsSince("plays", key, CUTOFF.date(), CUTOFF)]),
    )
    _ = [one() for one in sent]


def hours(layers: CassandraLayers, _: random.Random, __: Size) -> None:
    series(layers, "hours", "hour", CUTOFF - 719 * HOUR, CUTOFF + HOUR)


def top_of(layers: CassandraLayers, key: str, bucket: Bucket) -> None:
    layers.cutoffs()()
    layers.realtime_through()()
    since = [IncrementsSince("creator_plays", key, CUTOFF.date(), CUTOFF)]
    sent = (
        layers.totals([TotalsRange("creator_plays", key, bucket.granularity, bucket.start, bucket.end, AT)]),
        layers.member_totals([MembersOf("creator_plays", key, bucket, AT)]),
        layers.increments(since),
        layers.member_increments(since),
    )
    _ = [one() for one in sent]


def top(layers: CassandraLayers, _: random.Random, __: Size) -> None:
    top_of(layers, "big", ALL)


def mix(layers: CassandraLayers, rng: random.Random, size: Size) -> None:
    what = rng.random()
    if what < 0.77:
        days = rng.randint(1, 50) if rng.random() < 0.9 else rng.randint(51, size.days)
        series(layers, f"s{rng.randrange(size.things)}", "day", TODAY - days * DAY, TODAY)
    elif what < 0.99:
        top_of(layers, f"c{rng.randrange(size.things)}", Bucket("month", LAST_MONTH, THIS_MONTH))
    else:
        cold(layers, rng, size)


def cases(size: Size) -> dict[str, tuple[str, Ask]]:
    """What wrk asks, as Lua, and the same reads by the raw driver."""
    one = f'"/v1/totals?counters=plays&key=k" .. math.random(0, {size.keys - 1})'
    fifty = f"""(function() local q = {{}} for i = 1, 50 do q[i] = "key=k" .. math.random(0, {size.keys - 1}) end
      return "/v1/totals?counters=plays&" .. table.concat(q, "&") end)()"""
    by_hour = f"start={CUTOFF - 719 * HOUR:%FT%TZ}&end={CUTOFF + HOUR:%FT%TZ}"
    month = f"start={LAST_MONTH:%FT%TZ}&end={THIS_MONTH:%FT%TZ}"
    mixed = f"""(function() local what, thing = math.random(), math.random(0, {size.things - 1})
      local days = math.random() < 0.9 and math.random(1, 50) or math.random(51, {size.days})
      if what < 0.77 then return "/v1/series?counters=plays&granularity=day&key=s" .. thing ..
        "&end={TODAY:%F}&start=" .. os.date("!%Y-%m-%d", {int(TODAY.timestamp())} - days * 86400) end
      if what < 0.99 then return "/v1/top?counter=creator_plays&limit=10&{month}&key=c" .. thing end
      return {one} end)()"""
    return {
        "hot key": ('"/v1/totals?counters=plays&key=hot"', hot),
        "cold keys": (one, cold),
        "the mix": (mixed, mix),
        "30 days by hour": (f'"/v1/series?counters=plays&key=hours&granularity=hour&{by_hour}"', hours),
        f"top 10 of {size.members:,}": ('"/v1/top?counter=creator_plays&key=big&limit=10"', top),
        "50 cold keys": (fifty, partial(cold, count=50)),
    }


def raw(config: Path, name: str, size: Size) -> Load:
    """The driver alone, by as many processes and threads as the reader has."""
    with ProcessPoolExecutor(size.workers, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(partial(raw_process, str(config), name), [size] * size.workers))
    took = sorted(one for process, _ in found for one in process)
    return Load(
        len(took) / size.seconds,
        1000 * took[len(took) // 2],
        1000 * took[int(len(took) * 0.99)],
        1000 * sum(cpu for _, cpu in found) / len(took),
    )


def raw_process(config: str, name: str, size: Size) -> tuple[list[float], float]:
    """One process of it: the seconds that each request took, and the CPU seconds of all."""
    _, ask = cases(size)[name]
    layers = CassandraLayers(load_settings(config))
    layers.cutoffs()()
    took: list[float] = []
    before, until = used(), time.monotonic() + size.seconds

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while (began := time.monotonic()) < until:
            ask(layers, rng, size)
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(size.threads) as pool:
        list(pool.map(work, range(size.threads)))
    cpu = used() - before
    layers.close()
    return took, cpu


def used() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def measure(config: Path, folder: Path, size: Size, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """case → by whom → what was measured; and the attacks."""
    found: dict[str, Any] = {}
    asked, connections = cases(size), size.workers * size.threads
    with reader(config, size) as (address, process):
        for name, (path, _) in asked.items():
            loads = {"reader": wrk(address, path, folder, connections, size.seconds, process)}
            if name == "hot key" and shutil.which("nginx"):
                with nginx(address, folder / "nginx", size) as (before, itself):
                    loads["nginx"] = wrk(before, path, folder, connections, size.seconds, itself)
            loads["raw driver"] = raw(config, name, size)
            assert not any(load.refused for load in loads.values()), (name, loads)
            found[name] = {who: asdict(load) for who, load in loads.items()}
            for who, load in loads.items():
                tell(line(name, who, load, loads["raw driver"]))
        attacks = attacked(address, process, folder, size, {name: asked[name][0] for name in ("hot key", "cold keys")})
        for said in told(attacks):
            tell(said)
    return found | {name: {who: asdict(load) for who, load in loads.items()} for name, loads in attacks.items()}


def line(name: str, who: str, load: Load, beside: Load) -> str:
    return (
        f"{name:<18} {who:<10} {load.rate:8.0f}/s p50 {load.p50:7.1f} p99 {load.p99:8.1f} ms  CPU {load.cpu:7.3f} ms   "
        f"rate ×{load.rate / beside.rate:.2f}, p99 ×{load.p99 / beside.p99:.2f}, CPU ×{load.cpu / beside.cpu:.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stitch-bench-") as name:
        folder = Path(name)
        config = stack_config(folder)
        settings = load_settings(config)
        try:
            stack.up(settings)
            with connected(settings.batch) as session:
                began = time.monotonic()
                fill(settings, session, Size())
                print(f"filled in {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}", flush=True)
            print(json.dumps(measure(config, folder, Size(), partial(print, flush=True))))
        finally:
            stack.down(settings)


if __name__ == "__main__":
    main()
