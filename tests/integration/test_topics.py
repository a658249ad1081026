"""Several topics of different shapes on a real Kafka and Cassandra: each record is decoded as its topic's, every layer
counts all of them, and every refusal says of which topic it speaks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pyspark.sql import SparkSession

from connections.kafka import librdkafka
from jobs.audit.findings import printed
from jobs.process.errors import BadOption, JobError
from jobs.sources.topic import topic_id
from stitch.settings import Settings, load_settings
from stitch_local.producer import produce
from stitch_local.topic import create_topic, create_topics
from tests.conftest import Reader, Stack, run_in, write_config
from tests.steps import count, event, wait_for_the_window_to_end

AT = 1709248200000  # 2024-02-29T23:10:00Z


def like(number: int, song: str) -> bytes:
    """An event of another shape: it has no type, and its id is a number."""
    return json.dumps({"id": number, "ts": AT, "song": {"id": song}, "track_id": "elsewhere"}).encode()


def several(fresh: Stack, folder: Path, **likes: Any) -> Stack:
    """The stack's only topic, and beside it one of likes."""
    events = fresh.settings.kafka.topic
    shape = {"event_id": "id", "constant_type": "like", "occurred_at": "ts", "paths": {"track_id": "song.id"}}
    file = write_config(
        folder / "several.toml", base=fresh.config_path, kafka={"topic": None},
        topics=[{"name": events}, {"name": events.replace("events", "likes"), **shape, **likes}],
    )  # fmt: skip
    settings = load_settings(file)
    create_topics(settings)
    return Stack(settings, file)


def kafka_of(settings: Settings, kind: str) -> Any:
    return next(view.kafka for name, view in settings.by_topic.items() if name.startswith(kind))


def batch(stack: Stack, **asked: Any) -> None:
    wait_for_the_window_to_end(stack)
    run_in(stack.settings, "batch_totals", **asked)


def findings(settings: Settings) -> dict[str, Any]:
    report = run_in(settings, "audit_counts", now=datetime.now(UTC))
    assert report["right"], printed(report)
    return {finding["about"]: finding["said"] for finding in report["findings"]}


def recreate(kafka: Any) -> None:
    admin = AdminClient(librdkafka(kafka))
    admin.delete_topics([kafka.topic])[kafka.topic].result()
    while kafka.topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.2)
    create_topic(kafka)


@pytest.fixture
def client(fresh: Stack, reader: Reader) -> Iterator[Any]:
    return reader(fresh.settings)


@pytest.mark.slow
def test_a_topic_of_another_shape_is_added_to_the_only_one_and_both_are_counted_exactly_by_every_layer(
    fresh: Stack, spark: SparkSession, client: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    produce(fresh.settings.kafka, [event(str(n), "play", track_id="t1", creator_id="c1") for n in range(4)])
    produce(fresh.settings.kafka, [event("l", "like", track_id="t1")])
    run_in(fresh.settings, "streaming_counts")
    run_in(fresh.settings, "archive_events")
    batch(fresh)
    stack = several(fresh, tmp_path)
    settings = stack.settings
    produce(kafka_of(settings, "events"), [event("4", "play", track_id="t1"), event("like", "like", track_id="t2")])
    # The ids are those of plays, and yet other events: but for one that is there twice.
    produce(kafka_of(settings, "likes"), [like(1, "t1"), like(2, "t1"), like(2, "t1"), like(3, "t2"), b"{}"])
    capfd.readouterr()
    run_in(settings, "streaming_counts")
    said = capfd.readouterr().out
    (likes,) = [name for name in settings.by_topic if name.startswith("likes")]
    assert f"topics are new, and would lack the events since the published cutoff: {likes}" in said
    assert (count(client, "plays", "t1"), count(client, "likes", "t1"), count(client, "likes", "t2")) == (5, 4, 2)
    wait_for_the_window_to_end(stack)
    with pytest.raises(JobError, match=rf"not complete before .*\n(.*\n)*  {likes}, partition \d: held up to offset 0"):
        run_in(settings, "batch_totals")
    run_in(settings, "archive_events")
    batch(stack)
    said = capfd.readouterr().out
    # Counters of likes are counted again, for they are read otherwise now; those of plays go on.
    again = r"recounted=creator_likes\S*,likes\S* records=12 rejected=1 excluded=0 duplicates=1 events=10"
    assert re.search(f"run=incremental {again}", said), said
    assert (count(client, "plays", "t1"), count(client, "likes", "t1"), count(client, "likes", "t2")) == (5, 3, 2)
    assert count(client, "likes", "elsewhere") == 0

    produce(kafka_of(settings, "likes"), [like(4, "t1")])
    run_in(settings, "streaming_counts")
    assert count(client, "likes", "t1") == 4
    run_in(settings, "archive_events")
    wait_for_the_window_to_end(stack)
    said = findings(settings)
    assert said["conservation"].startswith("13 appended = 11 counted + 1 duplicates + 1 rejected + 0 excluded")
    assert "log and increments hold every record" in said["complete"]
    assert ", ".join(settings.by_topic) in said["topic"]
    assert run_in(settings, "restore_counts")["rows"] == 0
    capfd.readouterr()
    batch(stack, full=True)
    assert "run=full records=13 rejected=1 excluded=0 duplicates=1 events=11" in capfd.readouterr().out
    assert (count(client, "plays", "t1"), count(client, "likes", "t1"), count(client, "likes", "t2")) == (5, 4, 2)


@pytest.mark.slow
def test_records_that_the_log_lacks_and_a_topic_that_was_recreated_are_told_by_the_topics_name(
    fresh: Stack, spark: SparkSession, client: Any, tmp_path: Path
) -> None:
    stack = several(fresh, tmp_path)
    settings, kafka = stack.settings, kafka_of(stack.settings, "likes")
    produce(kafka_of(settings, "events"), [event(str(n), "play", track_id="t1") for n in range(3)])
    sent = Producer(librdkafka(kafka))
    for number in range(3):
        sent.produce(kafka.topic, like(number, "t1"), partition=0)
    sent.flush(30)
    for job in ("streaming_counts", "archive_events"):
        run_in(settings, job)
    wait_for_the_window_to_end(stack)
    spark.sql(f"DELETE FROM {settings.lake.events} WHERE offset = 1 AND topic_id = '{topic_id(kafka)}'")
    lacks = rf"that the topic '{kafka.topic}' holds:\n  partition 0: 1 records, offsets 1 to 1\n"
    with pytest.raises(JobError, match=lacks) as told:
        run_in(settings, "batch_totals")
    assert f"--accept-loss {kafka.topic}/0:1-1" in str(told.value)
    with pytest.raises(BadOption, match=r"there are several topics, .*; say whose partition that is"):
        run_in(settings, "archive_events", accept_loss=[(None, 0, 1, 1)])
    run_in(settings, "archive_events", accept_loss=[(kafka.topic, 0, 1, 1)])
    run_in(settings, "batch_totals")
    assert (count(client, "plays", "t1"), count(client, "likes", "t1")) == (3, 2)
    assert "1 losses accepted" in findings(settings)["log: contiguous"]

    recreate(kafka)
    produce(kafka, [like(7, "t1"), like(8, "t2")])
    for job in ("streaming_counts", "archive_events"):
        with pytest.raises(JobError, match=rf"the topic '{kafka.topic}' was deleted and recreated since {job}"):
            run_in(settings, job)
    run_in(settings, "streaming_counts", from_cutoff=True)
    run_in(settings, "archive_events", accept_data_loss=True)
    assert (count(client, "likes", "t1"), count(client, "likes", "t2")) == (3, 1)
    batch(stack)
    assert (count(client, "plays", "t1"), count(client, "likes", "t1"), count(client, "likes", "t2")) == (3, 3, 1)
    assert findings(settings)["conservation"].startswith("7 appended = 7 counted")


@pytest.mark.thorough
def test_a_rollup_of_several_topics_waits_for_each_of_them(
    fresh: Stack, spark: SparkSession, client: Any, tmp_path: Path, cassandra: Any
) -> None:
    stack = several(fresh, tmp_path)
    settings = stack.settings
    names = list(settings.by_topic)
    for kind, values in (("events", [event("1", "play", track_id="t1")]), ("likes", [like(1, "t1"), like(2, "t1")])):
        produce(kafka_of(settings, kind), values)
    run_in(settings, "streaming_counts")
    produce(kafka_of(settings, "likes"), [like(3, "t1")])
    wait_for_the_window_to_end(stack)
    with pytest.raises(JobError, match=rf"increments are not complete before .*\n  {names[1]}, partition \d: .*\nLet"):
        run_in(settings, "rollup_increments")
    run_in(settings, "streaming_counts")
    run_in(settings, "rollup_increments")
    assert (count(client, "plays", "t1"), count(client, "likes", "t1")) == (1, 3)
    assert count(client, "likes", "t1", layer="batch") == 3
    rows = cassandra.execute(f"SELECT job, offsets FROM {settings.realtime.keyspace}.progress")
    counted = {row.job: sum(row.offsets.values()) for row in rows if row.offsets}
    assert counted == {f"streaming_counts:{names[0]}": 1, f"streaming_counts:{names[1]}": 3}
