"""No record that a producer can send stops a job or parts the layers: arbitrary JSON, and rows of the largest size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import functions as F

from jobs.process.causes import cause_of, is_permanent
from jobs.process.spark import session
from jobs.sinks.cassandra import forget_connections, upsert
from stitch_local.producer import produce
from tests.conftest import Reader, Stack
from tests.records import generated
from tests.steps import event, wait_for_the_window_to_end

Run = Callable[..., Any]
RECORDS = 250


@pytest.mark.thorough
def test_whatever_is_sent_no_job_fails_both_layers_are_equal_and_every_record_is_somewhere(
    fresh: Stack, reader: Reader, run_job: Run
) -> None:
    seed = int(os.environ.get("STITCH_SEED", time.time()))
    print(f"seed {seed} (STITCH_SEED={seed} repeats it)")
    sent = generated(RECORDS, seed)
    # The largest keys and members that are counted, many at once: a batch of their rows is larger than Cassandra takes.
    longest = [
        event(f"long{n}", "play", track_id=f"{n:04}" + "t" * 1020, creator_id=f"{n:04}" + "c" * 1020)
        for n in range(150)
    ]
    produce(fresh.settings.kafka, [*sent, *longest, event("sane", "play", track_id="t1", creator_id="c1")])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    client = reader(fresh.settings)
    run_job("batch_totals")
    report = run_job("audit_counts")
    assert report["right"], report
    conserved = next(one for one in report["findings"] if one["about"] == "conservation")
    assert conserved["said"].startswith(f"{len(sent) + 151} appended")
    for key in keys_of(client, "plays"):
        counts = {layer: counted(client, "plays", key, layer) for layer in ("batch", "realtime", "merged")}
        assert len(set(counts.values())) == 1, (key, counts)  # no id was sent twice
    assert counted(client, "plays", longest_key := "0007" + "t" * 1020, "batch") == 1, longest_key


def keys_of(client: Any, counter: str) -> list[str]:
    found: list[str] = []
    while True:
        asked = {"counter": counter, "limit": "1000"} | ({"after": found[-1]} if found else {})
        rows = client.get("/v1/keys", query_string=asked).json["data"]
        found += [row["key"] for row in rows]
        if len(rows) < 1000:
            return found


def counted(client: Any, counter: str, key: str, layer: str) -> int:
    answer = client.post("/v1/totals", json={"counters": [counter], "keys": [key], "layer": layer})
    assert answer.status_code == 200, answer.text
    return int(answer.json["data"][0]["counts"][counter])


@pytest.mark.thorough
def test_rows_of_any_size_are_written_and_a_batch_that_is_too_large_is_known_as_what_it_is(
    fresh: Stack, spark: Any, cassandra: Any
) -> None:
    """Short keys, where Cassandra counts most beside what the connector counts; the longest; and both in turn."""
    wide = F.when(F.col("id") % 3 == 0, F.lit("m" * 1024)).otherwise("m")
    rows = spark.range(0, 3000, 1, 2).select(
        F.lit("c").alias("counter"), F.concat(F.col("id").cast("string"), wide).alias("key"),
        F.expr("date'2026-11-25'").alias("ingest_date"),
        F.expr("timestamp'2026-11-25 10:00:00'").alias("ingest_window"),
        F.expr("timestamp'2026-11-25 09:00:00'").alias("bucket"), F.concat("id", wide).alias("member"),
        F.lit(1).cast("bigint").alias("count"), F.lit(2**62 + 1_764_000_000_000_000).alias("write_time"),
    )  # fmt: skip
    layer = fresh.settings.realtime
    forget_connections(spark)  # one that another test left open may not have heard yet of keyspaces made just now
    with session("poison", fresh.settings):
        upsert(rows, layer, "member_increments")
        upsert(rows.drop("member"), layer, "increments")
        found = cassandra.execute(
            f"SELECT count(*), max(writetime(count)) FROM {layer.keyspace}.member_increments"
        ).one()
        assert tuple(found) == (3000, 2**62 + 1_764_000_000_000_000)

        spark.conf.set(
            "spark.cassandra.output.batch.size.rows", "200"
        )  # as it was: by rows, so that no limit by bytes holds
        try:
            with pytest.raises(Exception, match="Batch too large") as told:
                upsert(rows.where("length(member) > 1000"), layer, "member_increments")
        finally:
            spark.conf.set("spark.cassandra.output.batch.size.rows", "auto")
        assert is_permanent(told.value)
        assert cause_of(told.value) == f"Cassandra, table {layer.keyspace}.member_increments: Batch too large"
