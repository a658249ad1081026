"""Records decoded in Spark as stitch.decoding decodes them, column by column; its rules are tested in tests/unit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import Observation, SparkSession

from jobs.frames.events import BY_KIND, accepted, by_kind, decode, fields_type, not_taken
from stitch.decoding import Decoder
from stitch.rejections import KINDS, OTHER
from stitch.settings import Settings

APPENDED = datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "events": {"max_future": timedelta(days=1), "paths": {"country": "listener.country"},
                   "types": {"duration_s": "int", "premium": "boolean", "volume": "double", "timestamp": "int"}},
        "counters": [{"name": "plays", "key": "track_id", "member": "country", "weights": {"play": "duration_s"},
                      "where": "premium and volume > 0.5"}],
    }
)  # fmt: skip
RECORD = "value binary, timestamp timestamp, timestamp_type int, offset bigint"


def payload(**fields: Any) -> bytes:
    event = {"event_id": "e1", "type": "play", "occurred_at": "2024-02-29T10:00:00Z", "track_id": "t1", **fields}
    return json.dumps({name: value for name, value in event.items() if value != "absent"}).encode()


def decoded(spark: SparkSession, *payloads: bytes | None, timestamp_type: int | None = 1) -> list[Any]:
    rows = [(bytearray(p) if p is not None else None, APPENDED, timestamp_type, n) for n, p in enumerate(payloads)]
    frame = decode(spark.createDataFrame(rows, RECORD), SETTINGS, ["offset", "value"])
    return frame.selectExpr("*", "cast(occurred_at as string) as at").orderBy("offset").collect()


def test_spark_decodes_each_record_as_the_rules_do_and_keeps_the_payload(spark: SparkSession) -> None:
    payloads = [
        None, b"", b"{broken", payload(event_id="absent"), payload(occurred_at="yesterday"), payload(timestamp="soon"),
        payload(duration_s=180.0, premium=True, volume=0.75, listener={"country": "DE"}, timestamp=7),
        payload(type="never_heard_of", track_id=None), payload(track_id="🎵/ a,b\0", title="x" * 1_000_000),
    ]  # fmt: skip
    rules = Decoder(SETTINGS.rules)
    micros = int(APPENDED.timestamp()) * 10**6
    for row, value in zip(decoded(spark, *payloads), payloads, strict=True):
        expected = rules.decode(value, micros, 1)
        assert (bytes(row.value) if row.value is not None else None) == value
        assert (row.event_id, row.type, row.reject_reason) == (expected.event_id, expected.type, expected.reject_reason)
        assert (tuple(row.fields), row.notes) == (tuple(expected.fields), expected.notes)
        assert row.at == (None if expected.reject_reason else "2024-02-29 10:00:00")


def test_a_record_that_its_producer_stamped_is_no_event(spark: SparkSession) -> None:
    (row,) = decoded(spark, payload(), timestamp_type=0)
    assert row.reject_reason == "stamped by its producer (CreateTime), not by the broker"
    (row,) = decoded(spark, payload(), timestamp_type=None)  # of a log that says nothing of it
    assert row.reject_reason is None


def test_what_is_not_taken_is_told_by_kind_of_reason_and_by_field(spark: SparkSession) -> None:
    payloads = [
        payload(), None, b"{broken", b"5", payload(event_id=[]), payload(event_id="absent"),
        payload(event_id={"id": 1}),
        payload(duration_s="long", premium=7), payload(duration_s=10**30, listener={"country": "x" * 2000}),
        payload(occurred_at="it is missing"),
    ]  # fmt: skip
    rows = [(bytearray(p) if p is not None else None, APPENDED, 1, n) for n, p in enumerate(payloads)]
    seen = Observation()
    decode(spark.createDataFrame(rows, RECORD), SETTINGS, []).observe(seen, *not_taken(SETTINGS)).collect()
    assert by_kind(seen.get) == dict.fromkeys((*KINDS, OTHER), 0) | {
        "no_value": 1, "not_json": 2, "missing": 2, "not_a_text": 1, "not_an_instant": 1,
    }  # fmt: skip
    assert {name: count for name, count in seen.get.items() if count and name != BY_KIND} == {
        "rejected": 7, "noted": 4, "absent_duration_s": 2, "absent_premium": 1, "absent_country": 1,
    }  # fmt: skip


def test_of_each_kind_of_reason_the_records_are_counted_exactly(spark: SparkSession) -> None:
    """However many there are of each, and of those that no record gets any more, in as many tasks."""
    reasons = ["not UTF-8", "no value (a tombstone)", "no ingest time", "stamped by its producer (CreateTime), …",
               "at is not an instant: x", "at is too far in the future: 9", "at is too far in the past: 9",
               "id is an array, not a text", "id is missing", "erased"]  # fmt: skip
    rows = [(reason, None) for n, reason in enumerate(reasons, 1) for _ in range(n * 100)] + [(None, None)] * 999
    seen = Observation()
    frame = spark.createDataFrame(rows, "reject_reason string, notes array<string>").repartition(7)
    frame.observe(seen, *not_taken(SETTINGS)).collect()
    assert by_kind(seen.get) == {kind: n * 100 for n, kind in enumerate((*KINDS, OTHER), 1)}


def test_of_several_topics_a_field_is_told_by_its_name_wherever_it_is(spark: SparkSession) -> None:
    said = SETTINGS.model_dump() | {
        "topics": [{"name": "plays"}, {"name": "radio", "paths": {"duration_s": "seconds"}}],
    }
    del said["kafka"]
    several = Settings.model_validate(said)
    rows = [
        (bytearray(payload(**fields)), APPENDED, 1, n, topic)
        for n, (topic, fields) in enumerate([("plays", {"duration_s": "x"}), ("radio", {"seconds": "x"})])
    ]
    seen = Observation()
    records = spark.createDataFrame(rows, f"{RECORD}, _topic string")
    decode(records, several, []).observe(seen, *not_taken(several)).collect()
    assert (seen.get["noted"], seen.get["absent_duration_s"]) == (2, 2)


def test_no_record_gives_no_row(spark: SparkSession) -> None:
    assert decoded(spark) == []


@pytest.mark.parametrize("name", ["timestamp", "ingest_window", "counter", "bucket", "none"])
def test_a_field_may_be_named_like_a_column_of_ours(spark: SparkSession, name: str) -> None:
    settings = Settings.model_validate(
        {"events": {"types": {name: "int"}},
         "counters": [{"name": "plays", "key": "track_id", "weights": {"play": 1}, "where": f"{name} > 5"}]}
    )  # fmt: skip
    records = spark.createDataFrame([(bytearray(payload(**{name: 7})), APPENDED, 1, 0)], RECORD)
    (row,) = accepted(decode(records, settings, ["timestamp"])).select("timestamp", f"fields.{name}").collect()
    assert tuple(row) == (APPENDED.replace(tzinfo=None), 7)
    assert f"`{name}`: bigint" in fields_type(settings.rules)
