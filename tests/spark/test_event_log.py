"""The event log: each record once, whatever is replayed, lost or written beside it; and read as the settings say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.archive.importing import import_log
from jobs.frames.log_rows import topic_rows
from jobs.lake.log import Log
from jobs.maintain_log import maintain
from jobs.process.errors import BadOption, JobError, NotYet
from jobs.process.spark import session
from jobs.sinks import event_log
from jobs.sinks.event_log import append
from jobs.sources.event_log import as_decoded, read_log, undecoded
from jobs.totals.counting import read_events
from stitch.lake import KAFKA_RECORD
from stitch.notes import TornNote
from stitch.settings import Settings
from tests.logs import PLAYS, TOPIC, Record, append_records, begun, bring_sources, log_settings

APPENDED = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
YEARS = ["0001-01-02", "1000-01-01", "1582-10-10", "1601-01-01", "1899-12-30", "1969-12-31", "2024-02-29", "2100-01-01"]
LATER = datetime(2026, 12, 1, tzinfo=UTC)


def payload(event_id: str, occurred_at: str = "2026-11-25T10:00:00Z", **fields: Any) -> bytes:
    return json.dumps(
        {"event_id": event_id, "type": "play", "occurred_at": occurred_at, "track_id": "t1", **fields}
    ).encode()


def records(partition: int, first: int, end: int) -> list[Record]:
    """Records of the offsets in [first, end)."""
    return [(partition, offset, APPENDED, payload(f"{partition}:{offset}")) for offset in range(first, end)]


def offsets(log: Log, partition: int = 0) -> list[int]:
    rows = log.rows().where(F.col("partition") == partition).select("offset").collect()
    return sorted(row.offset for row in rows)


def test_an_instant_of_any_year_that_is_accepted_is_written_and_read_as_it_is(
    spark: SparkSession, tmp_path: Path
) -> None:
    wide = log_settings(tmp_path, events={"max_past": "1000000d", "max_future": "100000d"})
    with session("test", wide):
        rows = [(0, n, APPENDED, payload(day, f"{day}T12:00:00.000001Z")) for n, day in enumerate(YEARS)]
        log = append_records(spark, wide, rows, {0: len(YEARS)})
        found = log.rows().select("event_id", F.unix_micros("occurred_at"), "reject_reason").collect()
    epoch = datetime(1970, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    days = {day: (datetime.fromisoformat(f"{day}T12:00:00.000001+00:00") - epoch).days for day in YEARS}
    expected = {day: days[day] * 86_400 * 10**6 + 43_200 * 10**6 + 1 for day in YEARS}
    assert {row[0]: row[1] for row in found} == expected and {row[2] for row in found} == {None}


def test_what_is_replayed_is_cut_at_the_position_and_what_is_behind_it_is_added(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        append_records(spark, settings, records(0, 0, 5), {0: 5, 1: 0})
        append_records(spark, settings, records(0, 0, 5), {0: 5})  # again: nothing
        log = append_records(spark, settings, [*records(0, 3, 8), *records(1, 0, 2)], {0: 8, 1: 2})
        assert offsets(log) == list(range(8)) and offsets(log, 1) == [0, 1]
        append_records(spark, settings, [], {0: 11, 1: 2})  # markers of transactions alone: read, and no record
        assert log.position(TOPIC)[1] == {0: 11, 1: 2} and offsets(log) == list(range(8))
        assert log.position("another topic")[1] == {}


def test_of_two_writers_of_the_same_records_one_is_refused_and_adds_what_is_then_missing(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        log = append_records(spark, settings, records(0, 0, 5), {0: 5})
        position, looked = Log.position, []

        def overtaken(self: Log, topic_id: str) -> tuple[int | None, dict[int, int]]:
            found = position(self, topic_id)
            looked.append(found)
            if len(looked) == 1:  # between its look and its commit, another adds the first three
                append_records(spark, settings, records(0, 5, 8), {0: 8})
            return found

        monkeypatch.setattr(Log, "position", overtaken)
        append(log, topic_rows_of(spark, settings, records(0, 5, 10)), TOPIC, {0: 10})
        assert "another writer added" in capfd.readouterr().out
        assert offsets(log) == list(range(10)) and position(log, TOPIC)[1] == {0: 10}


def topic_rows_of(spark: SparkSession, settings: Settings, rows: list[Record]) -> Any:
    given = [(partition, offset, at, 1, None, bytearray(value)) for partition, offset, at, value in rows]
    return topic_rows(spark.createDataFrame(given, KAFKA_RECORD), settings, TOPIC)


def test_the_position_outlives_compaction_expiry_and_a_rollback(spark: SparkSession, tmp_path: Path) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        log = append_records(spark, settings, records(0, 0, 5), {0: 5, 1: 0})
        base, _ = log.position(TOPIC)
        for first in range(5, 11, 2):
            append_records(spark, settings, records(0, first, first + 2), {0: first + 2, 1: 0})
        append_records(spark, settings, [], {0: 12, 1: 0})
        call, table = f"CALL {settings.lake.catalog}.system", "stitch.events"
        options = "map('rewrite-all', 'true')"
        spark.sql(f"{call}.rewrite_data_files(table => '{table}', options => {options})")
        assert log.position(TOPIC)[1] == {0: 12, 1: 0}  # of the nearest ancestor that says it
        spark.sql(f"{call}.rollback_to_snapshot('{table}', {base})")
        assert log.position(TOPIC)[1] == {0: 5, 1: 0} and offsets(log) == list(range(5))
        append_records(spark, settings, records(0, 0, 11), {0: 12, 1: 0})
        assert offsets(log) == list(range(11))
        spark.sql(f"DELETE FROM {log.name} WHERE offset = 0")  # a commit without a position
        now = datetime.now(UTC)
        spark.sql(
            f"{call}.expire_snapshots(table => '{table}', older_than => TIMESTAMP '{now:%F %T.%f}', retain_last => 1)"
        )
        assert log.position(TOPIC)[1] == {0: 11}  # by the files: behind the last record


def test_what_was_noted_of_a_position_is_not_believed_of_a_log_that_was_rolled_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        log = append_records(spark, settings, records(0, 0, 5), {0: 5})
        spark.sql(f"DELETE FROM {log.name} WHERE offset = 0")
        base, _ = log.position(TOPIC)
        call = f"CALL {settings.lake.catalog}.system"
        now = f"{datetime.now(UTC):%F %T.%f}"
        log.note_positions()
        spark.sql(
            f"{call}.expire_snapshots(table => 'stitch.events', older_than => TIMESTAMP '{now}', retain_last => 1)"
        )
        append_records(spark, settings, records(0, 5, 11), {0: 11})
        log.note_positions()
        assert log.positions() == {(TOPIC, 0): 11}
        spark.sql(f"{call}.rollback_to_snapshot('stitch.events', {base})")
        assert log.positions() == {(TOPIC, 0): 5}
        # A micro-batch that was read before does not leave a hole.
        with pytest.raises(NotYet, match=r"was rolled back, partitions \[0\]"):
            append(log, topic_rows_of(spark, settings, records(0, 11, 13)), TOPIC, {0: 13}, {0: 11})
        assert offsets(log) == [1, 2, 3, 4]


def test_an_archive_that_runs_on_with_older_settings_is_told_so(spark: SparkSession, tmp_path: Path) -> None:
    settings = log_settings(tmp_path, events={"types": {"amount": "int"}})
    other = settings.model_copy(update={"events": settings.events.model_copy(update={"types": {"amount": "double"}})})
    with session("test", settings):
        log = begun(spark, settings)
        begun(spark, other)
        with pytest.raises(JobError, match="the fields amount have other types than these settings say"):
            append(log, topic_rows_of(spark, settings, records(0, 0, 1)), TOPIC, {0: 1})


def test_where_the_log_of_a_topic_begins_is_its_position_before_there_is_a_record(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        log = begun(spark, settings)
        log.note_reached(TOPIC, {0: 7, 1: 0})
        assert log.position(TOPIC) == (None, {0: 7, 1: 0})


def read(spark: SparkSession, settings: Settings) -> dict[str, Row]:
    rows = read_events(spark, settings, None, LATER).collect()
    assert len({row.event_id for row in rows}) == len(rows)
    return {row.event_id: row for row in rows}


def test_a_field_that_is_new_or_of_another_type_is_read_from_the_payloads_and_the_old_type_can_come_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    def of(**types: str) -> Settings:
        return settings.model_copy(update={"events": settings.events.model_copy(update={"types": types})})

    settings = log_settings(tmp_path)
    as_int, as_double, both = of(amount="int"), of(amount="double"), of(amount="int", genre="string")
    with session("test", settings):
        append_records(spark, as_int, [(0, 0, APPENDED, payload("a", amount=1, genre="x"))], {0: 1})
        # A batch with new settings before the archive has been started with them reads payloads, not columns.
        assert read(spark, as_double)["a"].fields.amount == 1.0
        append_records(spark, as_double, [(0, 1, APPENDED, payload("b", amount=2.5, genre="y"))], {0: 2})
        assert {key: row.fields.amount for key, row in read(spark, as_double).items()} == {"a": 1.0, "b": 2.5}
        # Another release's job on the table as it is now: the same counts.
        assert {key: row.fields.amount for key, row in read(spark, as_int).items()} == {"a": 1, "b": None}
        append_records(spark, as_int, [(0, 2, APPENDED, payload("c", amount=3))], {0: 3})
        log = append_records(spark, both, [(0, 3, APPENDED, payload("d", amount=4, genre="z"))], {0: 4})
        assert log.fields() == {"track_id": "string", "amount": "bigint", "amount-double": "double", "genre": "string"}
        found = {key: (row.fields.amount, row.fields.genre) for key, row in read(spark, both).items()}
        assert found == {"a": (1, "x"), "b": (None, "y"), "c": (3, None), "d": (4, "z")}
        # What this decoder has decoded is read as it stands.
        stood = as_decoded(read_log(spark, both, None, LATER, False), both)
        assert [row.event_id for row in stood.collect()] == ["d"]


def test_a_log_of_one_decoder_has_no_payload_to_decode_again(spark: SparkSession, tmp_path: Path) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        append_records(spark, settings, records(0, 0, 3), {0: 3})
        assert undecoded(read_log(spark, settings, None, LATER, False), settings) is None
        assert len(read(spark, settings)) == 3


LINES = {
    "day=2026-11-25/part [0] 100%.json": [payload("a"), payload("b"), b"{broken"],
    "day=2026-11-26/part-0.json": [payload("a"), payload("a")],
}


def test_files_of_another_source_come_into_the_log_once_each_and_beside_the_topics_records(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = {"name": "history", "path": str(tmp_path / "in"), "format": "json", "ingest_time": "folder:day"}
    settings = log_settings(tmp_path, log={"kafka": False}, sources=[source])
    for name, lines in LINES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_bytes(b"\n".join(lines) + b"\n")
    with session("test", settings):
        append_records(spark, settings, records(0, 0, 2), {0: 2})
        for _ in range(2):
            bring_sources(settings)
        assert capfd.readouterr().out.count("source=history files=2 records=5 rejected=1") == 1
        (tmp_path / "in/day=2026-11-26/part-1.json").write_bytes(payload("c"))
        bring_sources(settings)
        assert "source=history files=1 records=1 rejected=0" in capfd.readouterr().out
        log = Log(spark, settings)
        brought = log.rows().where(F.col("topic_id") == "history").orderBy("timestamp", "event_id").collect()
        days = [(row.event_id, row.verdict, f"{row.timestamp:%F %H}") for row in brought]
        assert days == [(None, "rejected", "2026-11-25 00"), ("a", "accepted", "2026-11-25 00"),
                        ("b", "accepted", "2026-11-25 00"), ("a", "accepted", "2026-11-26 00"),
                        ("a", "accepted", "2026-11-26 00"), ("c", "accepted", "2026-11-26 00")]  # fmt: skip
        assert len({row.offset for row in brought}) == 6 and {row.timestamp_type for row in brought} == {None}
        assert log.position(TOPIC)[1] == {0: 2}
        topics = read_events(spark, settings, None, LATER, of_topic=True).collect()
        assert {row.event_id for row in topics} == {"0:0", "0:1"}
    # Neither a night that removes old days nor a file without records brings a file in again.
    (tmp_path / "in/day=2026-11-26/empty.json").write_bytes(b"")
    kept = settings.model_copy(update={"log": settings.log.model_copy(update={"retention": timedelta(days=1)})})
    maintain(kept, LATER)
    bring_sources(settings)
    assert "records=" not in capfd.readouterr().out.replace("records=0", "")
    with session("test", settings):
        assert log.rows().where("topic_id = 'history'").count() == 6 and log.rows().where("file IS NULL").count() == 0


WRONG = {
    "no such folder": ({"path": "nowhere"}, r"sources\.history: .*nowhere cannot be read as json"),
    "no such column": (
        {"format": "parquet", "path": "rows", "ingest_time": "column:when"},
        r"ingest_time='column:when'",
    ),
}


@pytest.mark.parametrize(("said", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_source_that_cannot_be_read_is_named(
    spark: SparkSession, tmp_path: Path, said: dict[str, str], told: str
) -> None:
    spark.createDataFrame([("x",)], "a string").write.parquet(str(tmp_path / "rows"))
    source = {
        "name": "history",
        "format": "json",
        "ingest_time": "folder:day",
        **said,
        "path": str(tmp_path / said["path"]),
    }
    with pytest.raises(JobError, match=told):
        bring_sources(log_settings(tmp_path, log={"kafka": False}, sources=[source]))


def test_a_log_that_nobody_began_is_named(spark: SparkSession, tmp_path: Path) -> None:
    settings = log_settings(tmp_path, counters=[PLAYS])
    with (
        session("test", settings),
        pytest.raises(JobError, match=r"no event log lake_\w+\.stitch\.events: run archive"),
    ):
        read_events(spark, settings, None, LATER)


def test_who_is_overtaken_every_time_gives_up_and_may_try_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = log_settings(tmp_path)
    monkeypatch.setattr(event_log, "commit", lambda *_: False)
    with session("test", settings), pytest.raises(JobError, match=r"5 times others added first"):
        append_records(spark, settings, records(0, 0, 1), {0: 1})


def test_the_log_of_an_earlier_release_is_imported_once_decoded_again_and_its_stamps_are_trusted(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Files without timestamp_type, in a folder of which Spark's record says which count."""
    settings, segment = log_settings(tmp_path), tmp_path / "old/segment=1"
    schema = "partition int, offset bigint, timestamp timestamp, value binary, verdict string"
    rows = [(0, n, APPENDED, bytearray(payload(f"e{n}")), "accepted") for n in range(5)]
    spark.createDataFrame(rows, schema).write.parquet(str(tmp_path / "rows"))
    query = (
        spark.readStream.schema(schema).parquet(str(tmp_path / "rows")).writeStream.format("parquet")
        .partitionBy("verdict").trigger(availableNow=True)
        .option("checkpointLocation", str(tmp_path / "checkpoint")).start(str(segment))
    )  # fmt: skip
    query.awaitTermination(60)
    stray = spark.createDataFrame([(0, 9, APPENDED, bytearray(b"{}"), "accepted")], schema)
    stray.write.mode("append").parquet(str(segment / "verdict=accepted"))  # of a task that failed
    with session("test", settings):
        log = begun(spark, settings)
        with pytest.raises(TornNote, match=r"topic\.json"):
            import_log(spark, log, settings, str(tmp_path / "old"))
        (segment / "topic.json").write_text(json.dumps({"topic_id": TOPIC}), "utf-8")
        for _ in range(2):
            import_log(spark, log, settings, str(tmp_path / "old"))
        assert f"imported records=5 of topic {TOPIC}" in capfd.readouterr().out
        assert offsets(log) == list(range(5)) and log.position(TOPIC)[1] == {0: 5}
        assert sorted(read(spark, settings)) == [f"e{n}" for n in range(5)]
        with pytest.raises(BadOption, match="no log of an earlier release"):
            import_log(spark, log, settings, str(tmp_path / "nowhere"))
        spark.sql(f"DROP TABLE {log.name}")
        begun(spark, settings).note_reached(TOPIC, {0: 3})
        with pytest.raises(BadOption, match=r"already holds later records of topic a-topic, partitions \[0\]"):
            import_log(spark, log, settings, str(tmp_path / "old"))
