"""Where time bounds what is counted: the lookback for duplicates, the watermark of a stream, two payloads under one
id."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.frames.increments import increments, windowed
from jobs.process.spark import session
from jobs.sinks.totals_table import SCHEMA, TotalsTable
from jobs.sources.checkpoint import Span
from jobs.streaming.queries import print_progress
from jobs.streaming.recounts import closed
from jobs.streaming_counts import rows_of
from jobs.totals.counting import count_totals
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.runs import Held, How, Run
from stitch.settings import Settings
from tests.logs import TOPIC, Record, append_records, bring_sources, log_settings

STORED = f"{SCHEMA}, cutoff timestamp, expires boolean"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CUTOFF = datetime(2024, 3, 10, tzinfo=UTC)  # of the run before
LIKES = Counter(name="likes", key="track_id", weights={"like": 1, "love": 5})
LOG = {  # appended, of which type, under which id
    "at the far end of the lookback": (CUTOFF - 2 * DAY, "like", "a"),
    "a moment before it": (CUTOFF - 2 * DAY - HOUR, "like", "b"),
    "again, after the cutoff": (CUTOFF, "like", "a"),
    "again, and the first is too old to be seen": (CUTOFF, "like", "b"),
    "the first of two payloads": (CUTOFF + HOUR, "like", "c"),
    "the other payload under its id": (CUTOFF + 2 * HOUR, "love", "c"),
    "at the new cutoff": (CUTOFF + DAY, "like", "d"),
}


@pytest.fixture
def logged(spark: SparkSession, tmp_path: Path) -> Settings:
    """Settings of a log that holds these, from JSON lines."""
    (tmp_path / "in").mkdir()
    lines = [
        json.dumps({"event_id": event_id, "type": kind, "occurred_at": f"{CUTOFF - 3 * DAY:%FT%TZ}", "track_id": "t1",
                    "ingested_at": f"{appended:%FT%TZ}"})
        for appended, kind, event_id in LOG.values()
    ]  # fmt: skip
    (tmp_path / "in/events.json").write_text("\n".join(lines), "utf-8")
    source = {"name": "history", "path": str(tmp_path / "in"), "format": "json"}
    settings = log_settings(
        tmp_path, log={"kafka": False, "lookback": "2d"}, sources=[source], counters=[LIKES.model_dump()]
    )
    bring_sources(settings)
    return settings


def night_of(spark: SparkSession, settings: Settings, run: Run) -> tuple[int, dict[str, int]]:
    """What the run counts, over all time, and what it says of it; it starts from empty totals."""
    table = TotalsTable(spark, settings)
    table.begin(run, How())
    counted = count_totals(table, settings, run, spark.createDataFrame([], STORED))
    rows = table.written().where("granularity = 'all'").collect()
    return sum(row["count"] for row in rows), counted.facts


@pytest.mark.parametrize(
    ("recount", "base", "count"),
    [
        # b counts once more and a does not, since a's first is within the lookback; of c the first payload counts
        pytest.param(frozenset(), Published(CUTOFF, 0), 2, id="incremental"),
        pytest.param(frozenset({"likes"}), Published(CUTOFF, 0), 3, id="full"),  # a, b, c: each once in all of history
    ],
)
def test_a_night_finds_duplicates_as_far_back_as_the_lookback_and_a_full_run_all_and_the_first_payload_counts(
    spark: SparkSession, logged: Settings, recount: frozenset[str], base: Published, count: int
) -> None:
    run = Run(base, Published(CUTOFF + DAY, 0), recount, "incremental")
    with session("test", logged):
        found, _ = night_of(spark, logged, run)
    assert found == count


def test_a_record_that_comes_late_under_an_old_stamp_is_counted_by_the_next_night_and_nothing_is_twice(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path, log={"lookback": "1h"}, counters=[LIKES.model_dump()])

    def like(partition: int, offset: int, appended: datetime, event_id: str) -> Record:
        event = {"event_id": event_id, "type": "like", "occurred_at": f"{CUTOFF - 3 * DAY:%FT%TZ}", "track_id": "t1"}
        return partition, offset, appended, json.dumps(event).encode()

    def night(run: Run) -> tuple[int, dict[str, int]]:
        return night_of(spark, settings, run)

    first = [like(0, 0, CUTOFF - DAY, "a"), like(0, 1, CUTOFF - HOUR, "b"), like(1, 0, CUTOFF + HOUR, "c")]
    late = [
        like(0, 2, CUTOFF - 2 * DAY, "d"),  # its broker's clock was behind
        like(0, 3, CUTOFF - 2 * DAY, "b"),  # that event again, under an older stamp: counted already
        like(2, 0, CUTOFF - 3 * DAY, "e"),  # a partition that the published run did not know
        like(1, 1, CUTOFF + 2 * HOUR, "f"),
    ]
    with session("test", settings):
        log = append_records(spark, settings, first, {0: 2, 1: 1})
        published = log.positions()
        assert published == {(TOPIC, 0): 2, (TOPIC, 1): 1}
        append_records(spark, settings, late, {0: 4, 1: 2, 2: 1})
        upto = log.positions()
        append_records(spark, settings, [like(0, 4, CUTOFF - HOUR, "g")], {0: 5, 1: 2, 2: 1})  # while the run counts
        full = Run(None, Published(CUTOFF, 0), frozenset({"likes"}), "full", upto=published)
        assert night(full)[0] == 2  # a, b
        incremental = Run(Published(CUTOFF, 0), Published(CUTOFF + DAY, 0), frozenset(), "incremental",
                          held=Held(CUTOFF, published), upto=upto)  # fmt: skip
        count, facts = night(incremental)
        assert count == 4  # c, d, e, f
        assert (facts["records"], facts["duplicates"], facts["events"]) == (5, 1, 4)
        unknown = Run(Published(CUTOFF, 0), Published(CUTOFF + DAY, 0), frozenset(), "incremental", upto=upto)
        assert night(unknown)[0] == 2  # c, f: of what release before, nobody knows what it had read
        again = Run(Published(CUTOFF, 0), Published(CUTOFF + DAY, 0), frozenset({"likes"}), "full", upto=upto)
        assert night(again)[0] == 6


def test_a_record_behind_the_watermark_is_not_counted_and_the_jobs_line_says_so(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = "timestamp timestamp, event_id string, type string, occurred_at timestamp, fields struct<track_id: string>"
    batches: list[list[tuple[datetime, str]]] = [
        [(CUTOFF, "old"), (CUTOFF + 5 * HOUR, "new")],
        [(CUTOFF + 5 * HOUR, "pushes the watermark on")],
        [(CUTOFF + HOUR, "behind it"), (CUTOFF + 5 * HOUR, "in time")],
    ]
    for number, batch in enumerate(batches):
        rows = [(at, name, "like", CUTOFF, ("t1",)) for at, name in batch]
        spark.createDataFrame(rows, schema).coalesce(1).write.parquet(str(tmp_path / f"in/{number}"))
    files = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).option("recursiveFileLookup", "true")
    timed = files.parquet(str(tmp_path / "in")).withWatermark("timestamp", "2 hours")
    counted: dict[datetime, int] = {}

    def keep(batch: Any, _: int) -> None:
        counted.update({row.ingest_window: row["count"] for row in batch.collect()})

    query = (
        increments(windowed(timed, HOUR), [LIKES])
        .writeStream.outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .foreachBatch(keep)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    assert sorted(counted.values()) == [1, 3]  # two in the first batch's windows, and none of the one behind
    for progress in query.recentProgress:
        print_progress("streaming_counts", json.loads(progress.json) if hasattr(progress, "json") else progress)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()][-1] == "dropped=1"
    assert noted(query) == [None, None, Span(CUTOFF + HOUR, CUTOFF + 3 * HOUR)]


def noted(query: Any, since: datetime | None = None) -> list[Span | None]:
    """Which windows each micro-batch would have counted again."""
    times = [
        {name: datetime.fromisoformat(at) for name, at in one["eventTime"].items()} for one in query.recentProgress
    ]
    return [closed(one["min"], one["watermark"], since, HOUR) for one in times if "min" in one]


def test_a_record_from_before_the_stream_began_is_not_counted_by_itself_and_told_of(
    spark: SparkSession, tmp_path: Path
) -> None:
    """A row of it alone would overwrite the whole one, where more is behind it."""
    schema = "timestamp timestamp, timestamp_type int, key binary, value binary"
    stamps = [CUTOFF + 5 * HOUR, CUTOFF - HOUR, CUTOFF]
    for number, at in enumerate(stamps):
        event = {"event_id": f"e{number}", "type": "like", "occurred_at": "2024-01-01T00:00:00Z", "track_id": "t1"}
        rows = [(at, 1, None, bytearray(json.dumps(event).encode()))]
        spark.createDataFrame(rows, schema).coalesce(1).write.parquet(str(tmp_path / f"in/{number}"))
    files = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).option("recursiveFileLookup", "true")
    settings = log_settings(tmp_path, counters=[LIKES.model_dump()], streaming={"watermark": "9d"})
    counted: list[Any] = []
    query = (
        rows_of(files.parquet(str(tmp_path / "in")), settings, since=CUTOFF)
        .writeStream.outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .foreachBatch(lambda batch, _: counted.extend(batch.select("ingest_window", "count").collect()))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    found = sorted((row.ingest_window.replace(tzinfo=UTC), row["count"]) for row in counted)
    assert found == [(CUTOFF, 1), (CUTOFF + 5 * HOUR, 1)]
    assert noted(query, CUTOFF) == [None, Span(CUTOFF - HOUR, CUTOFF), None]
