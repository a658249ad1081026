"""`make bench`: the jobs over a backlog of synthetic events, beside the plain ways to do the same in the same run.

- streaming_counts over the backlog, beside a consumer that does one Cassandra counter update per event (as the original
  Stitch did);
- batch_totals --full over the archived log, beside DuckDB doing its deduplicate-and-count over the same Parquet.

Each job runs by spark-submit in a process of its own; its memory is the largest resident size of that tree of
processes.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import psutil
from cassandra.concurrent import execute_concurrent_with_args
from confluent_kafka import Consumer
from pyiceberg.catalog.sql import SqlCatalog

from connections.kafka import librdkafka_consumer
from stitch.cutoff import window_start
from stitch.settings import Settings, load_settings
from stitch.submit import submit
from stitch_local import stack
from stitch_local.music import MusicService
from stitch_local.producer import produce
from stitch_local.schema import connected

CONFIG = Path(__file__).with_name("bench.toml")


@dataclass
class Measured:
    """Seconds, seconds of CPU, and the largest resident memory (bytes) of the processes started meanwhile."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0


@contextmanager
def measured() -> Iterator[Measured]:
    found, over = Measured(), threading.Event()
    cpu: dict[int, float] = {}  # of each process, the last that was seen: the Python workers come and go
    before = {child.pid for child in psutil.Process().children(recursive=True)}  # Kafka and Cassandra

    def watch() -> None:
        while not over.wait(0.5):
            sizes = []
            for child in psutil.Process().children(recursive=True):
                if child.pid in before:
                    continue
                try:
                    sizes.append(child.memory_info().rss)
                    cpu[child.pid] = sum(child.cpu_times()[:2])
                except psutil.Error:
                    continue
            found.memory = max(found.memory, sum(sizes))
            found.cpu = sum(cpu.values())

    watcher = threading.Thread(target=watch)
    began = time.monotonic()
    watcher.start()
    try:
        yield found
    finally:
        found.seconds = time.monotonic() - began
        over.set()
        watcher.join()


def backlog(events: int) -> Iterator[bytes]:
    service, now = MusicService(seed=1), time.time()
    for second in range(events // 10_000):
        yield from service.events(10_000, now - second)


def run_job(job: str, *args: str) -> Measured:
    with measured() as found:
        status = submit(job, args, str(CONFIG))
    if status:
        raise click.ClickException(f"{job} ended with status {status}; its message stands above")
    return found


def next_edge(settings: Settings) -> datetime:
    """The end of the ingest window that is open now."""
    return window_start(datetime.now(UTC), settings.streaming.ingest_window) + settings.streaming.ingest_window


def wait_until_complete(settings: Settings, cutoff: datetime) -> None:
    """Until a batch run to that cutoff may begin."""
    time.sleep(max(0.0, (cutoff + settings.log.grace + timedelta(seconds=1) - datetime.now(UTC)).total_seconds()))


def counter_updates(settings: Settings, events: int) -> float:
    """Events/s of a consumer that adds each event to its counters, one update per counter, 128 in flight."""
    keyspace = settings.realtime.keyspace
    own = {"auto.offset.reset": "earliest", "enable.auto.commit": True}
    consumer = Consumer(librdkafka_consumer(settings.kafka, f"bench-{os.getpid()}") | own)
    consumer.subscribe([settings.kafka.topic])
    with connected(settings.realtime) as session:
        table = f"{keyspace}.plain_counters"
        session.execute(f"CREATE TABLE IF NOT EXISTS {table} (name text, key text, bucket text, n counter, "
                        "PRIMARY KEY ((name, key), bucket))")  # fmt: skip
        statement = session.prepare(f"UPDATE {table} SET n = n + ? WHERE name = ? AND key = ? AND bucket = ?")
        consumer.consume(1, timeout=30)  # the group is joined: not part of the measure
        began, done = time.monotonic(), 0
        while done < events:
            batch = [json.loads(m.value()) for m in consumer.consume(2_000, timeout=10) if not m.error()]
            updates = [(1, "plays", e["track_id"], e["occurred_at"][:13]) for e in batch]
            execute_concurrent_with_args(session, statement, updates, concurrency=128)
            done += len(batch)
        seconds = time.monotonic() - began
    consumer.close()
    return done / seconds


def duckdb_seconds(settings: Settings) -> tuple[float, int]:
    """Deduplicate and count the same files into the same ten counters' hours, days, months and all-time."""
    selects = []
    for counter in settings.counters:
        cases = " ".join(f"WHEN '{t}' THEN {w}" for t, w in counter.weights.items())
        types = ", ".join(map(repr, counter.weights))
        for member in (None, counter.member) if counter.member else (None,):
            selects.append(
                f"SELECT '{counter.name}' AS counter, {counter.key} AS key, {member or 'NULL'} AS member, hour, "
                f"sum(CASE type {cases} END) AS n FROM events WHERE type IN ({types}) GROUP BY ALL"
            )
    catalog = SqlCatalog(
        settings.lake.catalog, uri=f"sqlite:///{settings.lake.warehouse}/catalog.db", warehouse=settings.lake.warehouse
    )
    log = catalog.load_table(f"{settings.lake.namespace}.events")
    files = [task.file.file_path for task in log.scan(row_filter="verdict = 'accepted'").plan_files()]
    began = time.monotonic()
    con = duckdb.connect()
    con.execute("SET threads = 2; SET TimeZone = 'UTC'")
    con.execute(f"""
        CREATE TABLE events AS SELECT type, unnest(fields), date_trunc('hour', occurred_at) AS hour
        FROM read_parquet({files})
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY timestamp, partition, "offset") = 1""")
    con.execute("CREATE TABLE hours AS " + " UNION ALL ".join(selects))
    rows: Any = con.execute("""
        SELECT count(*) FROM (
          SELECT counter, key, member, 'hour', hour, n FROM hours
          UNION ALL SELECT counter, key, member, 'day', date_trunc('day', hour) AS b, sum(n) FROM hours GROUP BY ALL
          UNION ALL SELECT counter, key, member, 'month', date_trunc('month', hour) AS b, sum(n) FROM hours GROUP BY ALL
          UNION ALL SELECT counter, key, member, 'all', NULL, sum(n) FROM hours GROUP BY ALL)""").fetchone()
    return time.monotonic() - began, int(rows[0])


@click.command()
@click.option("--events", default=2_000_000, show_default=True)
@click.option("--updates", default=40_000, show_default=True, help="events of the plain consumer")
def main(events: int, updates: int) -> None:
    """Measure, and print the table of bench/README.md."""
    settings = load_settings(CONFIG)
    stack.reset(settings, lambda _: None)
    stack.up(settings)
    try:
        sent = produce(settings.kafka, backlog(events))
        print(f"backlog: {sent} events")
        plain = counter_updates(settings, updates)
        streaming = run_job("streaming_counts", "--available-now")
        archive = run_job("archive_events", "--available-now")
        cutoff = next_edge(settings)
        wait_until_complete(settings, cutoff)
        batch = run_job("batch_totals", "--full", "--cutoff", cutoff.isoformat())
        duck, duck_rows = duckdb_seconds(settings)
    finally:
        stack.down(settings)
    rows = [
        ("streaming_counts, whole process", sent / streaming.seconds, streaming),
        ("archive_events, whole process", sent / archive.seconds, archive),
        ("batch_totals --full, whole process, rows written included", sent / batch.seconds, batch),
    ]
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {sent} events\n")
    print("| what | events/s | seconds | CPU seconds | memory |\n| --- | --- | --- | --- | --- |")
    for name, rate, found in rows:
        print(f"| {name} | {rate:,.0f} | {found.seconds:.1f} | {found.cpu:.1f} | {found.memory / 1e9:.1f} GB |")
    print(f"| one counter update per event ({updates} events) | {plain:,.0f} | | | |")
    print(f"| DuckDB, deduplicate and count ({duck_rows:,} rows, none written) | {sent / duck:,.0f} | {duck:.1f} | | |")
    print(f"\nstreaming / counter updates: {sent / streaming.seconds / plain:.1f}")
    print(f"batch whole process / DuckDB: {batch.seconds / duck:.1f} (see the job's own line for its counting alone)")


if __name__ == "__main__":
    main()
