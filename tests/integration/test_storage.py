"""The event log in an object store, by Spark's configuration alone: the same jobs, the same counts."""

from __future__ import annotations

import io
import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from stitch.local.fetch_jars import fetch_missing
from stitch.local.jars import S3
from stitch.local.producer import produce
from tests.conftest import Reader, Stack, submit_command
from tests.faults.conftest import Job
from tests.steps import count, event, wait_for_the_window_to_end

BUCKET = "music"


@pytest.fixture
def s3() -> Iterator[Any]:
    """A client of a server that speaks S3, with a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each of thousands of requests
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id="stitch", aws_secret_access_key="secret",
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield client
    finally:
        server.stop()


@pytest.fixture
def stored(fresh: Stack, s3: Any, tmp_path: Path) -> list[str]:
    """The options of `stitch submit` for a catalog whose tables are in the bucket."""
    fetch_missing([S3])
    lake = f"spark.sql.catalog.{fresh.settings.lake.catalog}"
    said = {
        lake: "org.apache.iceberg.spark.SparkCatalog",
        f"{lake}.type": "jdbc",
        f"{lake}.uri": f"jdbc:sqlite:{tmp_path}/catalog.db?busy_timeout=30000",
        f"{lake}.jdbc.schema-version": "V1",
        f"{lake}.cache-enabled": "false",
        f"{lake}.warehouse": f"s3://{BUCKET}/lake",
        f"{lake}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{lake}.s3.endpoint": s3.meta.endpoint_url,
        f"{lake}.s3.path-style-access": "true",
        f"{lake}.s3.access-key-id": "stitch",
        f"{lake}.s3.secret-access-key": "secret",
        f"{lake}.client.region": "us-east-1",
    }
    jars = ",".join(str(path) for path in S3.folder.glob("*.jar"))
    return ["--jars", jars, *(part for name, value in said.items() for part in ("--conf", f"{name}={value}")), "--"]


def keys(s3: Any) -> list[str]:
    """The names of all objects in the bucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def held(s3: Any) -> set[str | None]:
    """The tracks of all records in all data files, also of those that no snapshot knows."""
    files = [key for key in keys(s3) if key.endswith(".parquet")]
    tables = [pq.read_table(io.BytesIO(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())) for key in files]
    return {
        json.loads(row["value"])["track_id"] if row["value"] else None for table in tables for row in table.to_pylist()
    }


@pytest.mark.slow
def test_a_log_in_an_object_store_is_archived_killed_counted_maintained_erased_and_audited(
    fresh: Stack, reader: Reader, run_job: Callable[..., Any], s3: Any, stored: list[str], tmp_path: Path
) -> None:
    def job(name: str, *args: str) -> str:
        command = submit_command(fresh, name, *stored, *args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 2}") for n in range(100)])
    killed = Job(fresh, tmp_path / "archive.log", "archive_events", *stored)
    try:
        killed.wait_for_line("archive_events batch=")
        produce(fresh.settings.kafka, [event(f"f{n}", "play", track_id="t1") for n in range(50)])
    finally:
        killed.kill()
    job("archive_events", "--available-now")
    run_job("streaming_counts")
    wait_for_the_window_to_end(fresh)
    assert "records=150 rejected=0 excluded=0 duplicates=0 events=150" in job("batch_totals")
    client = reader(fresh.settings)
    assert [count(client, "plays", key, "batch") for key in ("t0", "t1")] == [50, 100]
    assert json.loads(job("audit_counts", "--json"))["right"]
    assert (
        any(key.endswith(".parquet") for key in keys(s3))
        and not Path(fresh.settings.lake.warehouse, fresh.settings.lake.namespace).exists()
    )
    assert "files=" in job("maintain_log")
    assert "log=50" in job("erase_key", "--field", "track_id", "--value", "t0")
    assert [count(client, "plays", key, "batch") for key in ("t0", "t1")] == [0, 100]
    assert held(s3) == {None, "t1"}
