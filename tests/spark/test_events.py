"""What a record is decoded into depends on the record alone: a literal table of payloads and verdicts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from jobs.frames.events import decode
from stitch.settings import Settings

APPENDED = datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "events": {"max_future": timedelta(days=1), "paths": {"country": "listener.country"},
                   "types": {"duration_s": "int", "premium": "boolean", "volume": "double"}},
        "counters": [{"name": "plays", "key": "track_id", "member": "country", "weights": {"play": "duration_s"},
                      "where": "premium and volume > 0.5"}],
    }
)  # fmt: skip


def verdicts(spark: SparkSession, *payloads: bytes | None) -> list[Any]:
    rows = [(bytearray(p) if p is not None else None, APPENDED, number) for number, p in enumerate(payloads)]
    records = spark.createDataFrame(rows, "value binary, timestamp timestamp, offset bigint")
    return decode(records, SETTINGS).orderBy("offset").collect()


def payload(**fields: Any) -> bytes:
    event = {"event_id": "e1", "type": "play", "occurred_at": "2024-02-29T10:00:00Z", "track_id": "t1", **fields}
    return json.dumps({name: value for name, value in event.items() if value != "absent"}).encode()


REJECTED = [
    (None, "no value (a tombstone)"),
    (b"", "not a JSON object"),
    (b"{broken", "not a JSON object"),
    (b"[1, 2]", "not a JSON object"),
    (b"5", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'{"event_id": "\xff\xfe"}', "not UTF-8"),
    (payload(event_id="absent"), "event_id is missing"),
    (payload(event_id=None), "event_id is missing"),
    (payload(type="absent"), "type is missing"),
    (payload(occurred_at="absent"), "occurred_at is missing"),
    (payload(occurred_at="yesterday"), "occurred_at is not an instant: yesterday"),
    (payload(occurred_at="2024-02-30T10:00:00Z"), "occurred_at is not an instant: 2024-02-30T10:00:00Z"),
    (payload(occurred_at="2024-03-02T00:00:00Z"), "occurred_at is too far in the future: 2024-03-02T00:00:00Z"),
    (payload(duration_s="long"), "duration_s is not of type int: long"),
    (payload(duration_s=1.5), "duration_s is not of type int: 1.5"),
    (payload(premium="yes"), "premium is not of type boolean: yes"),
    (payload(volume="loud"), "volume is not of type double: loud"),
    (payload(track_id="x" * 4097), "track_id is longer than 4096 bytes"),
]


def test_a_record_that_is_no_event_is_rejected_with_its_reason(spark: SparkSession) -> None:
    rows = verdicts(spark, *[value for value, _ in REJECTED])
    assert [row.reject_reason for row in rows] == [reason for _, reason in REJECTED]


INSTANTS = [
    ("2024-02-29T10:00:00Z", "2024-02-29 10:00:00"),
    ("2024-02-29T10:00:00", "2024-02-29 10:00:00"),  # no zone: UTC
    ("2024-02-29 10:00:00.250", "2024-02-29 10:00:00.25"),
    ("2024-02-29T12:00:00+02:00", "2024-02-29 10:00:00"),
    ("2024-02-29T04:30:00-05:30", "2024-02-29 10:00:00"),
    ("2024-02-29T10:00Z", "2024-02-29 10:00:00"),
    ("2024-02-29", "2024-02-29 00:00:00"),
    (1709200800000, "2024-02-29 10:00:00"),  # epoch ms
    ("1709200800000", "2024-02-29 10:00:00"),
    ("2024-03-01T23:59:30Z", "2024-03-01 23:59:30"),  # a day ahead is plausible still
]


def test_occurred_at_may_be_iso_or_epoch_milliseconds(spark: SparkSession) -> None:
    decoded = decode_instants(spark)
    assert decoded == [(None, expected) for _, expected in INSTANTS]


def decode_instants(spark: SparkSession) -> list[tuple[str | None, str]]:
    payloads = [payload(occurred_at=said) for said, _ in INSTANTS]
    rows = [(bytearray(p), APPENDED, number) for number, p in enumerate(payloads)]
    records = spark.createDataFrame(rows, "value binary, timestamp timestamp, offset bigint")
    decoded = decode(records, SETTINGS).selectExpr("offset", "reject_reason", "cast(occurred_at as string) as at")
    return [(row.reject_reason, row.at) for row in decoded.orderBy("offset").collect()]


def test_fields_are_typed_and_unknown_types_and_missing_fields_are_fine(spark: SparkSession) -> None:
    rows = verdicts(
        spark,
        payload(duration_s=180, premium=True, volume=0.75, listener={"country": "DE"}),
        payload(duration_s=180.0, track_id=17, listener=None),
        payload(type="never_heard_of", track_id=None),
        payload(track_id="🎵/ a,b", title="x" * 1_000_000),
    )
    fields = [row.fields for row in rows]
    assert [row.reject_reason for row in rows] == [None] * 4
    assert (fields[0].duration_s, fields[0].premium, fields[0].volume, fields[0].country) == (180, True, 0.75, "DE")
    assert (fields[1].duration_s, fields[1].track_id, fields[1].country) == (180, "17", None)
    assert fields[2].track_id is None
    assert fields[3].track_id == "🎵/ a,b"
