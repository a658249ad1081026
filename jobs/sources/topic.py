"""The Kafka topic: checked before it is read, then read as a stream; and its offsets, by which completeness is proven."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import JobError, Unreachable
from stitch.sections import KafkaSettings, StreamingSettings

TIMEOUT_S = 10
# A fetch brings megabytes and a poll hands them over whole: the consumer's defaults are for few records at once.
FETCH = {
    "kafka.max.poll.records": "10000",
    "kafka.max.partition.fetch.bytes": str(8 * 2**20),
    "kafka.fetch.max.bytes": str(64 * 2**20),
}


def check_topic(kafka: KafkaSettings) -> None:
    """Raises JobError, with the way out, where the topic cannot be counted: no broker, no topic, producers' timestamps."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    try:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise Unreachable(
            f"no Kafka at {kafka.bootstrap_servers} ({error.args[0].name()}): start it (`stitch local up`), "
            "or set kafka.bootstrap_servers"
        ) from None
    if kafka.topic not in known:
        raise JobError(
            f"the topic {kafka.topic!r} does not exist at {kafka.bootstrap_servers}: create it with "
            f"message.timestamp.type=LogAppendTime (`stitch local up` does), or set kafka.topic"
        )
    resource = ConfigResource(ConfigResource.Type.TOPIC, kafka.topic)
    config = admin.describe_configs([resource])[resource].result(timeout=TIMEOUT_S)
    kind = config["message.timestamp.type"].value
    if kind != "LogAppendTime":
        raise JobError(
            f"the topic {kafka.topic!r} has message.timestamp.type={kind}: its timestamps are the producers' clocks, "
            "and counts by ingest window need the broker's. Change it with\n  kafka-configs.sh --bootstrap-server "
            f"{kafka.bootstrap_servers} --alter --entity-type topics --entity-name {kafka.topic} "
            "--add-config message.timestamp.type=LogAppendTime"
        )


def topic_id(kafka: KafkaSettings) -> str:
    """The id that a topic gets when it is made: one made again under the same name has another."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    try:
        described = admin.describe_topics(TopicCollection([kafka.topic]), request_timeout=TIMEOUT_S)
        return str(described[kafka.topic].result(timeout=TIMEOUT_S).topic_id)
    except KafkaException as error:
        raise Unreachable(f"no Kafka at {kafka.bootstrap_servers} to describe the topic ({error})") from None


def read_topic(
    spark: SparkSession,
    kafka: KafkaSettings,
    streaming: StreamingSettings,
    starting: Mapping[int, int] | None = None,
    accept_data_loss: bool = False,
) -> DataFrame:
    """The topic as a stream: (partition, offset, timestamp, timestamp_type, key: binary, value: binary).

    starting: partition → first offset, for a query without a checkpoint; partitions not named, from the earliest
    """
    held = edges(kafka) if starting else {}
    at = {str(p): max(starting.get(p, low), low) for p, (low, _) in held.items()} if starting else {}
    first = json.dumps({kafka.topic: at}) if at else "earliest"
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap_servers)
        .option("subscribe", kafka.topic)
        .option("startingOffsets", first)
        .option("failOnDataLoss", "false" if accept_data_loss else "true")
        .option("maxOffsetsPerTrigger", streaming.max_offsets_per_trigger)
        .options(**FETCH)
        .load()
        .select("partition", "offset", "timestamp", F.col("timestampType").alias("timestamp_type"), "key", "value")
    )


def offsets_at(kafka: KafkaSettings, instant: datetime) -> dict[int, int]:
    """partition → the first offset appended at or after the instant (the end of the partition where there is none)."""
    at = int(instant.timestamp() * 1000)
    with _consumer(kafka) as consumer:
        wanted = [TopicPartition(kafka.topic, p, at) for p in _partitions(consumer, kafka)]
        found = consumer.offsets_for_times(wanted, timeout=TIMEOUT_S)
        return {tp.partition: tp.offset if tp.offset >= 0 else _edges(consumer, kafka, tp.partition)[1] for tp in found}


def edges(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """partition → (the earliest offset that the broker still holds, the offset that the next record will get)."""
    with _consumer(kafka) as consumer:
        return {p: _edges(consumer, kafka, p) for p in _partitions(consumer, kafka)}


def appended_at(kafka: KafkaSettings, partition: int, offset: int) -> datetime | None:
    """When the record at the offset was appended; None where there is none (yet)."""
    with _consumer(kafka) as consumer:
        consumer.assign([TopicPartition(kafka.topic, partition, offset)])
        message = consumer.poll(TIMEOUT_S)
        if message is None or message.error():
            return None
        return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


@contextmanager
def _consumer(kafka: KafkaSettings) -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "stitch-offsets", "log_level": 0,
                         "enable.auto.commit": False})  # fmt: skip
    try:
        yield consumer
    except KafkaException as error:
        raise Unreachable(
            f"no Kafka at {kafka.bootstrap_servers} to ask for offsets ({error.args[0].name()})"
        ) from None
    finally:
        consumer.close()


def _partitions(consumer: Consumer, kafka: KafkaSettings) -> list[int]:
    return sorted(consumer.list_topics(kafka.topic, timeout=TIMEOUT_S).topics[kafka.topic].partitions)


def _edges(consumer: Consumer, kafka: KafkaSettings, partition: int) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=TIMEOUT_S)
    return int(low), int(high)
