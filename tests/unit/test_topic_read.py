"""A topic read once, for people: from the broker within librdkafka, which speaks Kafka's protocol and needs no JVM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition

from connections import lag, records
from connections.kafka import librdkafka_consumer
from connections.kafka_refusals import NotConnected
from stitch.cli import main
from stitch.clusters import KafkaSettings
from tests.conftest import write_config


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaSettings]:
    """A topic of four partitions, of which three have ten records each and one none."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    for n in range(30):
        value = None if n == 29 else b'{"event_id": "e%d"}' % n
        producer.produce("events", value, partition=n % 3, timestamp=1_000 + n)
    producer.flush(10)
    brokers = producer.list_topics("events", timeout=10).brokers.values()
    yield KafkaSettings(bootstrap_servers=",".join(f"{one.host}:{one.port}" for one in brokers))
    del producer


def test_the_newest_records_come_in_the_order_of_their_stamps(kafka: KafkaSettings) -> None:
    found = records.newest(kafka, 6)
    assert [one.appended for one in found] == [(1_000 + n) * 1000 for n in range(24, 30)]
    assert found[-1] == records.Stored(2, 9, None, 1_029_000, 0), "a tombstone, stamped by its producer"
    assert found[-2].value == b'{"event_id": "e28"}'


def test_all_records_come_where_more_are_asked_for(kafka: KafkaSettings) -> None:
    assert len(records.newest(kafka, 1000)) == 30


def test_a_topic_that_is_not_there_is_named(kafka: KafkaSettings) -> None:
    for read in (lambda other: records.newest(other, 1), lag.ends):
        with pytest.raises(NotConnected, match=r"nobody_made_it.*set kafka\.topic"):
            read(kafka.model_copy(update={"topic": "nobody_made_it"}))


def test_lag_is_told_by_ends_and_by_what_a_job_committed(kafka: KafkaSettings) -> None:
    assert lag.ends(kafka) == {0: (0, 10), 1: (0, 10), 2: (0, 10), 3: (0, 0)}
    assert lag.committed(kafka, "archive_events", range(4)) == {}
    client = Consumer(librdkafka_consumer(kafka, "archive_events"))
    client.commit(offsets=[TopicPartition("events", 0, 7)], asynchronous=False)
    client.close()
    assert lag.committed(kafka, "archive_events", range(4)) == {0: 7}


def test_the_topics_records_are_tried_without_a_trace(kafka: KafkaSettings, tmp_path: Path) -> None:
    config = write_config(tmp_path / "stitch.toml", kafka={"bootstrap_servers": kafka.bootstrap_servers})
    result = CliRunner().invoke(main, ["--config", str(config), "try", "--topic", "-n", "3", "--json"])
    *tried, whole = (json.loads(line) for line in result.stdout.splitlines())
    assert [one["place"] for one in tried] == ["0:9", "1:9", "2:9"]
    reason = "stamped by its producer (CreateTime), not by the broker"
    assert whole["summary"]["rejected"] == {reason: 3} and result.exit_code == 1
    assert lag.committed(kafka, "offsets", range(4)) == {}
