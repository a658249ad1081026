"""`make bench-top`: the first ten of a key with a million members, by lists of members and by reading all of them.

A stack of its own is filled by the driver: the member totals of the key, of all time and of yesterday, each with its
list, and some thousand live increments, a few of which lift a member that is in no list into the first ten. The reader
answers in this process, without HTTP's transport, and remembers nothing (`serving.cache = "0s"`), so each time it reads
cutoffs, progress, totals, the list, increments, and the totals of those members by name. Then the publication is made
one of an earlier version, which has no lists, and it reads all members.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType

from serving.app import create_app
from serving.layers.cassandra import CassandraLayers
from stitch.buckets import ALL, Bucket, bucket_of, floor
from stitch.cutoff import Published
from stitch.settings import Settings, load_settings
from stitch.tables import RANKED_MEMBERS
from stitch_local import stack
from stitch_local.schema import connected
from tests.conftest import stack_config

COUNTER, KEY = "creator_plays", "big"
FIRST = 10  # are asked for
RISING = 5  # members that are in no list, and come into the first ten by what they gained
BATCH = 200  # rows that are written at once
IN_FLIGHT = 16


@dataclass(frozen=True)
class Size:
    """asks: times by lists; reads: times by all members"""

    members: int = int(os.environ.get("MEMBERS", "1000000"))
    live: int = 3_000
    asks: int = 100
    reads: int = 2


@dataclass(frozen=True)
class Took:
    """Milliseconds of each time, the shortest first."""

    times: Sequence[float]

    def of(self, share: float) -> float:
        return self.times[min(len(self.times) - 1, int(len(self.times) * share))]


@dataclass(frozen=True)
class Filled:
    """What was written: as of when, and what each member counts in a bucket since."""

    at: Published
    yesterday: Bucket
    of: dict[Bucket, Tally[str]]


def member(n: int) -> str:
    return f"m{n:07}"


def fill(settings: Settings, session: Session, size: Size, now: datetime) -> Filled:
    """Rows as the jobs leave them. The n-th member counted members / n times, and once more."""
    at, yesterday = Published(floor(now, "hour"), 1), bucket_of(now - timedelta(days=1), "day")
    batch, of = settings.batch.keyspace, "(counter, key, granularity, bucket"
    counts = {member(n): size.members // (n + 1) + 1 for n in range(size.members)}
    totals = session.prepare(f"INSERT INTO {batch}.member_totals {of}, member, count, cutoff) VALUES (?,?,?,?,?,?,?)")
    first = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:RANKED_MEMBERS]
    names, most = [name for name, _ in first], [count for _, count in first]
    for bucket in (ALL, yesterday):
        row = (COUNTER, KEY, bucket.granularity, bucket.start)
        write(session, totals, [(*row, name, count, at.cutoff) for name, count in counts.items()])
        session.execute(
            f"INSERT INTO {batch}.ranked_members {of}, members, counts, cutoff) VALUES (%s,%s,%s,%s,%s,%s,%s)",
            (*row, names, most, at.cutoff),
        )
        session.execute(
            f"INSERT INTO {batch}.totals {of}, count, cutoff) VALUES (%s,%s,%s,%s,%s,%s)",
            (*row, sum(counts.values()), at.cutoff),
        )
    session.execute(
        f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision, ranked) VALUES (%s, %s, %s, %s)",
        (COUNTER, at.cutoff, at.revision, at.write_time),
    )
    gains = gain(settings, session, size, at, yesterday)
    return Filled(at, yesterday, {ALL: Tally(counts) + gains, yesterday: Tally(counts) + gains})


def gain(settings: Settings, session: Session, size: Size, at: Published, yesterday: Bucket) -> Tally[str]:
    """Increments since the cutoff, of events that occurred yesterday, and so count in both buckets."""
    realtime, rng = settings.realtime.keyspace, random.Random(1)
    gains = Tally({member(rng.randrange(size.members)): 1 for _ in range(size.live)})
    gains.update({member(size.members - 1 - n): size.members // (n + 3) for n in range(RISING)})
    rows = f"INSERT INTO {realtime}.{{}} (counter, key, ingest_date, ingest_window, bucket, {{}}count) VALUES ({{}})"
    live = session.prepare(rows.format("member_increments", "member, ", "?,?,?,?,?,?,?"))
    row = (COUNTER, KEY, at.cutoff.date(), at.cutoff, yesterday.start)
    write(session, live, [(*row, name, count) for name, count in gains.items()])
    session.execute(rows.format("increments", "", "%s,%s,%s,%s,%s,%s"), (*row, gains.total()))
    session.execute(
        f"INSERT INTO {realtime}.progress (job, realtime_through) VALUES ('streaming_counts', %s)", [at.cutoff]
    )
    return gains


def write(session: Session, statement: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows of one partition, many at once."""

    def batches() -> Iterator[tuple[BatchStatement, tuple[()]]]:
        for first in range(0, len(rows), BATCH):
            batch = BatchStatement(BatchType.UNLOGGED)
            for row in rows[first : first + BATCH]:
                batch.add(statement, row)
            yield batch, ()

    execute_concurrent(session, batches(), concurrency=IN_FLIGHT)


def asked(settings: Settings, filled: Filled, bucket: Bucket, times: int) -> Took:
    """How long the first ten of the bucket took, each time right."""
    layers = CassandraLayers(settings)
    client = create_app(settings, layers).test_client()
    span = {} if bucket is ALL else {"start": bucket.start.isoformat(), "end": bucket.end.isoformat()}
    expected = sorted(filled.of[bucket].items(), key=lambda row: (-row[1], row[0]))[:FIRST]
    took = []
    try:
        client.get("/v1/totals", query_string={"counters": COUNTER, "key": "another"})  # it connects
        for _ in range(times):
            began = time.monotonic()
            answer = client.get("/v1/top", query_string={"counter": COUNTER, "key": KEY, "limit": FIRST, **span})
            took.append(1000 * (time.monotonic() - began))
            assert answer.status_code == 200, answer.text
            assert [(row["member"], row["count"]) for row in answer.get_json()["members"]] == expected
    finally:
        layers.close()
    return Took(sorted(took))


def measure(
    settings: Settings, session: Session, size: Size, tell: Callable[[str], None] = print
) -> dict[tuple[str, str], Took]:
    """(bucket, how it was read) → how long it took."""
    began = time.monotonic()
    filled = fill(settings, session, size, datetime.now(UTC))
    tell(f"filled in {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
    long = {"max_rows": max(4000, 10 * size.members), "timeout": timedelta(minutes=10)}
    patient = settings.model_copy(update={"serving": settings.serving.model_copy(update=long)})
    found = {}
    buckets = {"all time": ALL, "yesterday": filled.yesterday}
    for name, bucket in buckets.items():
        found[name, "by its list"] = asked(settings, filled, bucket, size.asks)
    session.execute(f"UPDATE {settings.batch.keyspace}.cutoffs SET ranked = null WHERE counter = %s", [COUNTER])
    for name, bucket in buckets.items():
        found[name, "all members"] = asked(patient, filled, bucket, size.reads)
    for (name, how), took in found.items():
        tell(f"{name:<10} {how:<12} {len(took.times):4} × p50 {took.of(0.5):9.1f} p99 {took.of(0.99):9.1f} ms")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stitch-bench-") as name:
        settings = load_settings(stack_config(Path(name)))
        try:
            stack.up(settings)
            with connected(settings.batch) as session:
                measure(settings, session, Size(), lambda line: print(line, flush=True))
        finally:
            stack.down(settings)


if __name__ == "__main__":
    main()
