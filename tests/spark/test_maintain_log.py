"""The log's table in shape: fewer files, no older records than wanted, and nothing of a value that was erased."""

from __future__ import annotations

import json
import os
import re
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.archive.erasing import erase_from_log
from jobs.lake.log import Log
from jobs.maintain_log import maintain
from jobs.process.spark import session
from jobs.sinks.maintenance import Maintenance
from jobs.sinks.totals_table import TotalsTable
from stitch.cutoff import Published
from stitch.runs import How, Run
from tests.logs import TOPIC, Record, append_records, log_settings

NOW = datetime.now(UTC)


def payload(name: str, track: str = "t1") -> bytes:
    event = {"event_id": name, "type": "play", "occurred_at": f"{NOW:%FT%TZ}", "track_id": track}
    return json.dumps(event).encode()


def offsets(log: Log) -> list[tuple[int, int]]:
    return sorted(tuple(row) for row in log.rows().select("partition", "offset").collect())


def test_a_night_joins_small_files_and_lets_old_days_and_snapshots_go(spark: SparkSession, tmp_path: Path) -> None:
    settings = log_settings(tmp_path, log={"retention": "30d"})
    with session("test", settings):
        old = [(0, n, NOW - timedelta(days=40), payload(f"o{n}")) for n in range(3)]
        log = append_records(spark, settings, old, {0: 3, 1: 0})
        for n in range(3, 9):
            rows = [(partition, n, NOW, payload(f"{partition}{n}")) for partition in (0, 1)]
            append_records(spark, settings, rows, {0: n + 1, 1: n + 1})
        there = [(partition, n) for partition in (0, 1) for n in range(3, 9)]
    figures = maintain(settings, NOW)
    assert (figures["files_before"], figures["rewritten"], figures["files"]) == (13, 12, 2)
    assert offsets(log) == there
    with session("test", settings):
        TotalsTable(spark, settings).begin(Run(None, Published(NOW, 0), frozenset(), "full"), How())
    strays = [tmp_path / f"lake/stitch/{table}/data/stray.parquet" for table in ("events", "totals")]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"of a task that failed")
        week_ago = (NOW - timedelta(days=7)).timestamp()
        os.utime(stray, (week_ago, week_ago))
    later = maintain(settings, NOW + timedelta(days=4))  # by now what the first night replaced is history
    assert later["rewritten"] == 0 and later["expired"] >= 13
    assert later["orphans"] == 2 and not any(stray.exists() for stray in strays)
    with session("test", settings):
        assert log.position(TOPIC)[1] == {0: 9, 1: 9} and offsets(log) == there
        assert spark.sql(f"SELECT count(*) FROM {log.name}.snapshots").collect()[0][0] == 1
        append_records(spark, settings, [(0, n, NOW, payload(f"n{n}")) for n in range(7, 11)], {0: 11, 1: 9})
        assert offsets(log) == sorted([*there, (0, 9), (0, 10)])
    # A partition that has been silent for longer than the retention is not read again from its beginning.
    maintain(settings, NOW + timedelta(days=60))
    with session("test", settings):
        assert offsets(log) == [] and log.position(TOPIC)[1] == {0: 11, 1: 9}


def holding(folder: Path, word: bytes) -> list[str]:
    """The files below the folder in which the word is found, whatever they are packed with."""
    found = []
    for file in folder.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        if file.suffix == ".parquet":
            content += repr(pq.read_table(file).to_pylist()).encode()
        elif file.suffix == ".avro":
            content += unpacked(content)
        if word in content:
            found.append(str(file.relative_to(folder)))
    return found


def unpacked(avro: bytes) -> bytes:
    """The blocks of an Avro file (codec deflate): two lengths, the packed records, and the file's marker."""
    blocks = avro.split(avro[-16:])[1:-1]
    assert b"deflate" in avro and blocks
    return b"".join(zlib.decompress(re.sub(rb"^[\x80-\xff]*[\x00-\x7f][\x80-\xff]*[\x00-\x7f]", b"", block), -15)
                    for block in blocks)  # fmt: skip


def test_nothing_of_an_erased_value_is_left_in_any_file_and_where_it_stood_is_known(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path)
    named: list[Record] = [
        (0, 0, NOW, payload("e0", "secret7")),
        (0, 1, NOW, payload("e1", "secret77")),  # another's
        (1, 0, NOW, payload("e2")),
        (1, 1, NOW, b'{"track_id": "secret7", broken'),  # rejected
        (1, 2, NOW, payload("e3", "secret7")),  # the last of its partition
    ]
    with session("test", settings):
        log = append_records(spark, settings, named, {0: 2, 1: 3})
        assert len(holding(tmp_path / "lake", b"secret7")) > 0
        assert erase_from_log(spark, settings, "track_id", "secret7", NOW) == 3
        assert offsets(log) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] and log.position(TOPIC)[1] == {0: 2, 1: 3}
        rows = {(row.partition, row.offset): row for row in log.rows().collect()}
        assert [at for at, row in sorted(rows.items()) if row.reject_reason == "erased"] == [(0, 0), (1, 1), (1, 2)]
        assert rows[0, 1].fields.track_id == "secret77" and rows[1, 0].fields.track_id == "t1"
        append_records(spark, settings, named, {0: 2, 1: 3})  # a replay brings nothing back
        assert erase_from_log(spark, settings, "track_id", "secret7", NOW) == 0
        assert erase_from_log(spark, settings, "track_id", "secret77", NOW) == 1
    assert holding(tmp_path / "lake", b"secret7") == []


OVERTAKEN = {
    "its files are gone": "Caused by: org.apache.iceberg.exceptions.NotFoundException: Failed to open a.parquet",
    "another committed": "org.apache.iceberg.exceptions.ValidationException: Found conflicting files",
    "another committed while it was planned": "java.lang.IllegalStateException: Runtime file filtering is not possible:"
                                              " the table has been concurrently modified. Row-level operation scan"
                                              " snapshot ID: 1, current table snapshot ID: 2",
}  # fmt: skip


@pytest.mark.parametrize("said", OVERTAKEN.values(), ids=OVERTAKEN)
def test_what_lost_its_snapshot_to_another_begins_again_with_the_next_one(said: str) -> None:
    tried = []

    def rewrites() -> int:
        tried.append("once more")
        if len(tried) < 3:
            raise PySparkException(said)
        return 7

    table = Maintenance(SimpleNamespace(name="lake.stitch.events"))  # type: ignore[arg-type]
    assert table._committed(rewrites) == 7 and len(tried) == 3
