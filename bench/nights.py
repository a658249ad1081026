"""`make bench-nights`: what a night of `batch_totals` costs after one day of history, and after a year of days.

Days are simulated, each with as many events as any other, so whatever grows does so by history alone. The events are
appended to the log as archive_events appends them; the job is the real one, and loads a real Cassandra. No Kafka takes
part (`log.kafka = false`), so nothing is compared with a real-time layer.

A year of nights takes an hour. So of the days only some have a night of their own, those that are printed and the four
before each; the events of the days between are appended day by day, too, and counted by the next night (`--every`: each
day has its night).
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import click
import psutil
from pyspark.sql import SparkSession

from bench.log_growth import TOPIC
from bench.session import spark_in
from jobs.batch_totals import total_log
from jobs.frames.log_rows import topic_rows
from jobs.lake.log import Log
from jobs.process.spark import session
from jobs.sinks.event_log import append
from jobs.totals.planning import Ask
from stitch.lake import KAFKA_RECORD, field_types
from stitch.settings import Settings, load_settings
from stitch_local import stack

PRINTED = (1, 10, 30, 90, 180, 270, 365)
MEDIAN_OF = 5
CONFIG = Path(__file__).with_name("bench.toml")
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
COUNTERS = [
    {"name": "plays", "key": "track_id", "weights": {"play": 1}},
    {"name": "creator_plays", "key": "creator_id", "member": "track_id", "weights": {"play": 1}},
    {"name": "seconds", "key": "track_id", "weights": {"play": "duration_s"}},
]


@dataclass
class Night:
    """What a night cost. written: bytes of files that were new in the table of totals after it; rows: into Cassandra;
    held: bytes and files of the table with all that is kept of it."""

    number: int
    seconds: float
    cpu: float
    written: int
    rows: int
    held: int
    files: int


@dataclass
class Traffic:
    """Of a day. tracks: of the catalogue, which the events take by Zipf's law; released: new ones each day, each with a
    play at once."""

    events: int = 20_000
    tracks: int = 5_000
    released: int = 0

    def of_day(self, day: int) -> list[tuple[datetime, bytes]]:
        """(appended, payload) of its events: the same whenever it is asked for."""
        dice, start = random.Random(day), FIRST + timedelta(days=day)
        weights = [1 / rank for rank in range(1, self.tracks + 1)]
        tracks = dice.choices(range(self.tracks), weights, k=self.events - self.released)
        tracks += [self.tracks + day * self.released + n for n in range(self.released)]
        step = timedelta(days=1) / self.events
        return [(start + n * step, payload(f"{day}:{n}", start + n * step, track)) for n, track in enumerate(tracks)]


def payload(name: str, at: datetime, track: int) -> bytes:
    event = {"event_id": name, "type": "play", "occurred_at": f"{at:%FT%TZ}", "track_id": f"track-{track}",
             "creator_id": f"creator-{track % 997}", "duration_s": 30 + track % 200}  # fmt: skip
    return json.dumps(event).encode()


def nights(
    spark: SparkSession, settings: Settings, count: int, traffic: Traffic, wanted: Collection[int]
) -> Iterator[Night]:
    """Live through the days, one after the other, and the nights behind those that are wanted (numbers from 1)."""
    table, files = Path(settings.lake.warehouse, *settings.lake.totals.split(".")[1:]), dict[Path, int]()
    for day in range(count):
        with session("bench", settings):
            log = Log(spark, settings)
            log.begin(field_types(settings.rules))
            rows = [(0, day * traffic.events + n, at, 1, None, bytearray(value))
                    for n, (at, value) in enumerate(traffic.of_day(day))]  # fmt: skip
            records = topic_rows(spark.createDataFrame(rows, KAFKA_RECORD), settings, TOPIC)
            append(log, records, TOPIC, {0: (day + 1) * traffic.events})
        if day + 1 not in wanted:
            continue
        cutoff, began, cpu, said = FIRST + timedelta(days=day + 1), time.monotonic(), cpu_seconds(), StringIO()
        with redirect_stdout(said):
            total_log(settings, Ask(cutoff=cutoff, accept=True), cutoff + timedelta(hours=1))
        seconds, cpu = time.monotonic() - began, cpu_seconds() - cpu
        before, files = files, {file: file.stat().st_size for file in table.rglob("*") if file.is_file()}
        written = sum(size for file, size in files.items() if file not in before)
        figures = dict(part.split("=") for part in said.getvalue().splitlines()[-1].split() if "=" in part)
        held = sum(files.values())
        yield Night(day + 1, seconds, cpu, written, int(figures["rows_written"]), held, len(files))


def cpu_seconds() -> float:
    """Of this process and those below it: Spark's JVM and its Python workers, not Cassandra."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in [me, *me.children(recursive=True)])


def settings_of(stack_settings: Settings, folder: Path, chart: bool = False) -> Settings:
    """The stack's Cassandra, with a log and a table of totals of one's own in the folder."""
    name = folder.name.lower().replace("-", "_")
    said: dict[str, Any] = {
        "counters": [{**counter, "chart": chart} for counter in COUNTERS],
        "lake": {"catalog": f"bench_{name}", "warehouse": str(folder / "lake")},
        "log": {"kafka": False},
        "events": {"types": {"duration_s": "int"}, "max_past": "36500d"},
        "batch": stack_settings.batch.model_dump(exclude_unset=True),
        "realtime": stack_settings.realtime.model_dump(exclude_unset=True),
    }
    return Settings.model_validate(said)


@click.command()
@click.option("--days", "count", default=365, show_default=True)
@click.option("--events", default=20_000, show_default=True, help="a day")
@click.option("--tracks", default=5_000, show_default=True, help="of the catalogue")
@click.option("--released", default=0, show_default=True, help="new tracks a day")
@click.option("--every", is_flag=True, help="a night behind each day")
@click.option("--chart", is_flag=True, help="each counter has a chart")
def main(count: int, events: int, tracks: int, released: int, every: bool, chart: bool) -> None:
    """Measure, and print the table of bench/README.md."""
    from stitch_local.schema import apply_schema

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an end by SIGTERM takes the stack down, too
    of_stack = load_settings(CONFIG)
    stack.reset(of_stack, lambda _: None)  # what the bench before published
    stack.up(of_stack)
    try:
        with tempfile.TemporaryDirectory(prefix="nights") as folder:
            settings = settings_of(of_stack, Path(folder), chart)
            apply_schema(settings)
            spark = spark_in(Path(folder), "nights")
            print("| night | seconds | CPU s | written | rows into Cassandra | held |")
            print("| --- | --- | --- | --- | --- | --- |")
            last: list[Night] = []
            printed = {*(number for number in PRINTED if number < count), count}
            before = {number - back for number in printed for back in range(MEDIAN_OF)}
            wanted = range(1, count + 1) if every else before
            for night in nights(spark, settings, count, Traffic(events, tracks, released), wanted):
                last = [*last, night][-MEDIAN_OF:]
                if night.number in printed:  # of five nights the median
                    seconds, cpu, written = (
                        sorted(getattr(one, name) for one in last)[len(last) // 2]
                        for name in ("seconds", "cpu", "written")
                    )
                    print(f"| {night.number} | {seconds:.1f} | {cpu:.1f} | {written / 1e6:.2f} MB | {night.rows:,} | "
                          f"{night.held / 1e6:.1f} MB in {night.files} files |", flush=True)  # fmt: skip
            spark.stop()
    finally:
        stack.down(of_stack)


if __name__ == "__main__":
    main()
