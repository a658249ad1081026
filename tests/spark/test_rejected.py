"""`stitch rejected`: reason × count × example, from a log of literal records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.process.spark import session
from jobs.rejected_records import printed, rejections
from stitch.rejections import without_value
from tests.logs import append_records, log_settings

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def event(number: int, occurred_at: str, duration: str = "1") -> bytes:
    said = f'"event_id":"e{number}","type":"play","occurred_at":"{occurred_at}","track_id":"t1"'
    return f'{{{said},"duration_s":"{duration}"}}'.encode()


def test_reasons_are_counted_by_kind_with_the_newest_example(spark: SparkSession, tmp_path: Path) -> None:
    counters = [{"name": "seconds", "key": "track_id", "weights": {"play": "duration_s"}}]
    settings = log_settings(tmp_path, counters=counters, events={"types": {"duration_s": "int"}})
    values = [
        event(0, "2026-11-26T08:00:00Z"), event(1, "yesterday"), event(2, "noon: or so"), b"{'a'}\x1b[2J",
        event(3, "2026-11-26T08:00:00Z", "long"),
    ]  # fmt: skip
    at = [NOW - timedelta(hours=hours) for hours in (5, 4, 3, 2, 1)]
    rows: list[Any] = [(0, n, at[n], value) for n, value in enumerate(values)]
    rows += [(0, 5, NOW - 3 * DAY, b"{"), (0, 6, NOW - 3 * DAY, b"[")]
    with session("test", settings):
        append_records(spark, settings, rows, {0: 7})
    report = rejections(settings, DAY, NOW)
    assert report["records"] == 5
    found = [(row["reason"], row["records"], row["example"]["place"]) for row in report["rejected"]]
    assert found == [("occurred_at is not an instant", 2, "0:2"), ("not JSON: single quotes", 1, "0:3")]
    assert report["rejected"][0]["first"] == "2026-11-26T06:00:00Z"
    assert report["rejected"][0]["example"]["reason"] == "occurred_at is not an instant: noon: or so"
    absent = [(row["reason"], row["records"], row["example"]["place"]) for row in report["absent"]]
    assert absent == [("duration_s is not of type int", 1, "0:4")]
    assert all(
        without_value(row["example"]["reason"]) == row["reason"] for row in [*report["rejected"], *report["absent"]]
    )
    page = printed(report, DAY)
    assert page.startswith("of 5 records of the last 1d, 3 are no events\nrejected:\n         2  ")
    assert "{'a'}\\x1b[2J" in page and "\x1b" not in page
    assert rejections(settings, 4 * DAY, NOW)["records"] == 7
