"""`make bench-size`: the rows and bytes that events leave in each part, for few keys and for many.

The events of a shape occurred over a day and arrive within one ingest window, so they leave as many increments as live
traffic that is spread over that day with ingest windows of an hour (conf/stitch.toml): one for each key and hour. Bytes
are those of files, after the services were stopped, which makes Cassandra write its memory to disk; of one replica, and
before a compaction.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from bench.bench import CONFIG, next_edge, run_job, wait_until_complete
from stitch.settings import Settings, load_settings
from stitch_local import stack
from stitch_local.music import MusicService
from stitch_local.producer import produce
from stitch_local.schema import connected

WINDOW = timedelta(minutes=1)  # one must hold the whole backlog
SHAPES: dict[str, dict[str, Any]] = {  # name → what is other than in `make demo`
    "narrow": {},
    "wide": {"tracks": 1_000_000, "skew": 0.0},
}


@dataclass(frozen=True)
class Part:
    """What a part holds. rows: None where nobody counts them."""

    name: str
    rows: int | None
    size: int  # bytes


def day_of(events: int, **shape: Any) -> Iterator[bytes]:
    """Events that occurred over the last day, as many each hour."""
    service, now = MusicService(seed=1, **shape), time.time()
    pieces = 24 * 60
    for piece in range(pieces):
        count = events * (piece + 1) // pieces - events * piece // pieces
        yield from service.events(count, now - piece * 60)


def rows_of(settings: Settings) -> dict[str, int]:
    """Rows by table, "keyspace.table", of both layers."""
    found = {}
    with connected(settings.realtime) as session:
        for keyspace in (settings.realtime.keyspace, settings.batch.keyspace):
            for name, table in sorted(session.cluster.metadata.keyspaces[keyspace].tables.items()):
                rows = session.execute(f"SELECT {table.partition_key[0].name} FROM {keyspace}.{name}")
                found[f"{keyspace}.{name}"] = sum(1 for _ in rows)
    return found


def size_of(folder: Path, pattern: str = "**/*") -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())


def held(settings: Settings, rows: dict[str, int]) -> list[Part]:
    """What every part has on its disk. rows: rows_of, from before the services were stopped."""
    local, lake = Path(settings.local.folder), Path(settings.lake.warehouse) / settings.lake.namespace
    topic, data = settings.kafka.topic, local / "cassandra/data"
    parts = [Part(f"topic `{topic}`", None, size_of(local, f"kafka/data/{topic}-*/*.log"))]
    parts += [Part(f"lake: {table.name}", None, size_of(table)) for table in sorted(lake.iterdir())]
    for table, count in rows.items():
        keyspace, name = table.split(".")
        if count:
            parts.append(Part(f"Cassandra: {name}", count, size_of(data / keyspace, f"{name}-*/*.db")))
    return [*parts, Part("checkpoint of streaming_counts", None, size_of(Path(settings.streaming.checkpoint)))]


def measured(events: int, shape: dict[str, Any]) -> tuple[int, list[Part]]:
    """Count a backlog of that shape with all jobs on a new stack; the events that were sent, and what they left."""
    settings = load_settings(CONFIG)
    stack.reset(settings, lambda _: None)
    stack.up(settings)
    try:
        begins = next_edge(settings)
        time.sleep((begins - datetime.now(UTC)).total_seconds())
        sent = produce(settings.kafka, day_of(events, **shape))
        cutoff = next_edge(settings)
        if cutoff - begins > WINDOW:
            print(f"the backlog took {(cutoff - begins) // WINDOW} ingest windows: there are more increments than said")
        run_job("streaming_counts", "--available-now")
        run_job("archive_events", "--available-now")
        wait_until_complete(settings, cutoff)
        run_job("batch_totals", "--cutoff", cutoff.isoformat())
        rows = rows_of(settings)
    finally:
        stack.down(settings)
    return sent, held(settings, rows)


@click.command()
@click.option("--events", default=1_000_000, show_default=True)
def main(events: int) -> None:
    """Measure, and print the table of bench/README.md."""
    os.environ["STITCH_STREAMING__INGEST_WINDOW"] = f"{WINDOW.seconds}s"
    found = {name: measured(events, shape) for name, shape in SHAPES.items()}
    for name, (sent, parts) in found.items():
        print(f"\n{name}: {sent} events\n\n| part | rows | MB | bytes a row | bytes an event |\n" + "| --- " * 5 + "|")
        for one in parts:
            rows, each = (f"{one.rows:,}", f"{one.size / one.rows:.0f}") if one.rows else ("", "")
            print(f"| {one.name} | {rows} | {one.size / 1e6:.1f} | {each} | {one.size / sent:.1f} |")


if __name__ == "__main__":
    main()
