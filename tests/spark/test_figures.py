"""What Spark and Iceberg really say, as figures: the names of their metrics are theirs, and may change with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.archive.importing import Sources
from jobs.lake.figures import note_table
from jobs.process import figures
from jobs.process.spark import session
from jobs.streaming.figures import note_progress
from jobs.streaming.queries import Stop
from jobs.streaming_counts import rows_of
from stitch.rejections import KINDS, OTHER
from stitch.sections import MetricsSettings
from stitch.settings import Settings
from tests.logs import begun, log_settings
from tests.unit.test_figures import exported

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
SCHEMA = "value binary, timestamp timestamp, timestamp_type int"
SETTINGS = Settings.model_validate({
    "streaming": {"deduplicate": True, "watermark": "2h"}, "events": {"types": {"duration_s": "int"}},
    "counters": [{"name": "plays", "key": "track_id", "weights": {"play": 1}},
                 {"name": "seconds", "key": "track_id", "weights": {"play": "duration_s"}}],
})  # fmt: skip


def play(event_id: str, **fields: Any) -> bytes:
    return json.dumps({"event_id": event_id, "type": "play", "occurred_at": "2024-02-29T12:00:00Z", "track_id": "t1",
                       **fields}).encode()  # fmt: skip


BATCHES: list[list[tuple[bytes | None, int]]] = [  # payload, hours after noon
    [(play("e1", duration_s=3), 0), (play("e1"), 0), (play("e2", duration_s="long"), 0), (b"{", 0), (None, 6)],
    [(play("e3"), 6)],  # pushes the watermark on, from the batch after the next
    [(play("e3"), 6)],
    [(play("e4"), 0), (play("e5"), 6), (play("e5"), 6), (b"[]", 6)],  # the first is behind it
]


@pytest.fixture
def progress(spark: SparkSession, tmp_path: Path) -> list[dict[str, Any]]:
    """What Spark reports of the batches through the streaming job's own plan."""
    for number, batch in enumerate(BATCHES):
        rows = [(value, NOON + timedelta(hours=hours), 1) for value, hours in batch]
        spark.createDataFrame(rows, SCHEMA).coalesce(1).write.parquet(str(tmp_path / f"in/{number}"))
    files = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).option("recursiveFileLookup", "true")

    def compute(rows: DataFrame, _: int) -> None:
        rows.collect()

    with session("test", SETTINGS):
        query = (
            rows_of(files.parquet(str(tmp_path / "in")), SETTINGS)
            .writeStream.outputMode("update")
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .foreachBatch(compute)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return list(query.recentProgress)


def test_figures_are_what_the_streaming_job_s_plan_did(progress: list[dict[str, Any]]) -> None:
    figures.begin("streaming_counts", MetricsSettings(), runs_on=True)
    for one in progress:
        note_progress(one)
    found = exported()
    reasons = {kind: found[f'records_rejected_total{{reason="{kind}"}}'] for kind in (*KINDS, OTHER)}
    assert {kind: count for kind, count in reasons.items() if count} == {"not_json": 2, "no_value": 1}
    assert found['fields_absent_total{field="duration_s"}'] == 1
    assert (found["records_read_total"], found["duplicates_total"], found["rows_dropped_total"]) == (11, 3, 1)
    assert found["rows_written_total"] == 4  # plays and seconds of e1 and e2, in one window; plays of e3; of e3 and e5
    assert found['state_rows{operator="stateStoreSave"}'] >= 1 and found['state_rows{operator="dedupe"}'] >= 2
    places = [(operator, place) for operator in ("stateStoreSave", "dedupe") for place in ("memory", "disk")]
    assert all(f'state_bytes{{operator="{operator}",place="{place}"}}' in found for operator, place in places)
    phases = {name for name in found if name.startswith("micro_batch_seconds_count")}
    assert len(phases) == 7 and found['micro_batch_seconds_count{phase="all"}'] == 4
    write, whole = (found[f'micro_batch_seconds_sum{{phase="{phase}"}}'] for phase in ("write", "all"))
    assert 0 < write < whole < 300


def test_figures_are_what_an_archive_brought_and_how_large_its_table_is(spark: SparkSession, tmp_path: Path) -> None:
    source = {"name": "history", "path": str(tmp_path / "in"), "format": "json", "ingest_time": "folder:day"}
    settings = log_settings(tmp_path, log={"kafka": False}, sources=[source])
    folder = tmp_path / "in/day=2024-02-29"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"event_id": "e1"}\n' + play("e1").decode() + "\n" + play("e2").decode(), "utf-8")
    figures.begin("archive_events", MetricsSettings())
    before = datetime.now(UTC).timestamp()
    with session("test", settings):
        log = begun(spark, settings)
        note_table(spark, log.name)
        assert exported() == {f'table_{what}{{table="events"}}': 0 for what in ("files", "bytes", "rows")}
        Sources(spark, log, settings).bring_until(Stop(), None)
    found = exported()
    assert (found["records_read_total"], found['records_rejected_total{reason="missing"}']) == (3, 1)
    assert (found['table_rows{table="events"}'], found['table_files{table="events"}']) == (3, 2)
    assert found['table_bytes{table="events"}'] > 1000
    assert before <= found["job_through_timestamp_seconds"] <= datetime.now(UTC).timestamp()
