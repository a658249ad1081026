"""The Kafka topic: checked before it is read, then read as a stream; and its offsets, by which completeness is proven."""

from __future__ import annotations

from datetime import datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import JobError
from stitch.settings import KafkaSettings, StreamingSettings

TIMEOUT_S = 10


def check_topic(kafka: KafkaSettings) -> None:
    """Raises JobError, with the way out, where the topic cannot be counted: no broker, no topic, producers' timestamps."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    try:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise JobError(
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


def read_topic(spark: SparkSession, kafka: KafkaSettings, streaming: StreamingSettings) -> DataFrame:
    """The topic as a stream: (partition, offset, timestamp, key: binary, value: binary)."""
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap_servers)
        .option("subscribe", kafka.topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", streaming.max_offsets_per_trigger)
        .load()
        .select("partition", "offset", "timestamp", "key", "value")
    )


def offsets_at(kafka: KafkaSettings, instant: datetime) -> dict[int, int]:
    """partition → the first offset appended at or after the instant (the end of the partition where there is none)."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "stitch-offsets", "log_level": 0})
    try:
        partitions = consumer.list_topics(kafka.topic, timeout=TIMEOUT_S).topics[kafka.topic].partitions
        at = int(instant.timestamp() * 1000)
        found = consumer.offsets_for_times([TopicPartition(kafka.topic, p, at) for p in partitions], timeout=TIMEOUT_S)
        return {tp.partition: tp.offset if tp.offset >= 0 else _end(consumer, tp) for tp in found}
    except KafkaException as error:
        raise JobError(f"no Kafka at {kafka.bootstrap_servers} to ask for offsets ({error.args[0].name()})") from None
    finally:
        consumer.close()


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    _, high = consumer.get_watermark_offsets(TopicPartition(partition.topic, partition.partition), timeout=TIMEOUT_S)
    return int(high)
