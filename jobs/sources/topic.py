"""The Kafka topic: checked before it is read, then read as a stream; and its offsets, by which completeness is proven."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, ConfigResource
from pyspark.sql import DataFrame, SparkSession

from connections import kafka as connections
from connections.kafka_refusals import NoAnswer, Refused
from jobs.errors import JobError, Unreachable
from stitch.sections import KafkaSettings, StreamingSettings

TIMEOUT_S = 10


def check_topic(kafka: KafkaSettings) -> None:
    """Raises JobError, with the way out, where the topic cannot be counted: no broker, no topic, producers' timestamps."""
    with asking(connections.admin(kafka)) as admin:
        described = admin.describe_topics(
            TopicCollection([kafka.topic]), include_authorized_operations=True, request_timeout=TIMEOUT_S
        )
        try:
            operations = described[kafka.topic].result(timeout=TIMEOUT_S).authorized_operations
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            raise JobError(
                f"the topic {kafka.topic!r} does not exist at {kafka.bootstrap_servers}: create it with "
                f"message.timestamp.type=LogAppendTime (`stitch local up` does), or set kafka.topic"
            ) from None
        check_rights(kafka, operations)
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


def check_rights(kafka: KafkaSettings, operations: Collection[AclOperation] | None) -> None:
    """Raises JobError where the brokers grant less than a job needs, before Spark fails in the middle of it."""
    needed = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ)
    lacking = [operation.name for operation in needed if operations and operation not in operations]
    if lacking:
        raise JobError(
            f"the topic {kafka.topic!r} may not be read by this user: the ACLs {', '.join(lacking)} are missing. Add with\n"
            f"  kafka-acls.sh --bootstrap-server {kafka.bootstrap_servers} --add --allow-principal User:… --topic {kafka.topic} "
            + " ".join(f"--operation {name.title().replace('_', '')}" for name in lacking)
        )


def topic_id(kafka: KafkaSettings) -> str:
    """The id that a topic gets when it is made: one made again under the same name has another."""
    with asking(connections.admin(kafka)) as admin:
        described = admin.describe_topics(TopicCollection([kafka.topic]), request_timeout=TIMEOUT_S)
        return str(described[kafka.topic].result(timeout=TIMEOUT_S).topic_id)


def read_topic(
    spark: SparkSession,
    kafka: KafkaSettings,
    streaming: StreamingSettings,
    starting: Mapping[int, int] | None = None,
    accept_data_loss: bool = False,
) -> DataFrame:
    """The topic as a stream: (partition, offset, timestamp, key: binary, value: binary).

    starting: partition → first offset, for a query without a checkpoint; partitions not named, from the earliest
    """
    held = edges(kafka) if starting else {}
    at = {str(p): max(starting.get(p, low), low) for p, (low, _) in held.items()} if starting else {}
    first = json.dumps({kafka.topic: at}) if at else "earliest"
    return (
        spark.readStream.format("kafka")
        .options(**connections.jvm(kafka))
        .option("subscribe", kafka.topic)
        .option("startingOffsets", first)
        .option("failOnDataLoss", "false" if accept_data_loss else "true")
        .option("maxOffsetsPerTrigger", streaming.max_offsets_per_trigger)
        .load()
        .select("partition", "offset", "timestamp", "key", "value")
    )


def offsets_at(kafka: KafkaSettings, instant: datetime) -> dict[int, int]:
    """partition → the first offset appended at or after the instant (the end of the partition where there is none)."""
    at = int(instant.timestamp() * 1000)
    with consumer(kafka) as client:
        wanted = [TopicPartition(kafka.topic, p, at) for p in _partitions(client, kafka)]
        found = client.offsets_for_times(wanted, timeout=TIMEOUT_S)
        return {tp.partition: tp.offset if tp.offset >= 0 else _edges(client, kafka, tp.partition)[1] for tp in found}


def edges(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """partition → (the earliest offset that the broker still holds, the offset that the next record will get)."""
    with consumer(kafka) as client:
        return {p: _edges(client, kafka, p) for p in _partitions(client, kafka)}


def appended_at(kafka: KafkaSettings, partition: int, offset: int) -> datetime | None:
    """When the record at the offset was appended; None where there is none (yet)."""
    with consumer(kafka) as client:
        client.assign([TopicPartition(kafka.topic, partition, offset)])
        message = client.poll(TIMEOUT_S)
        if message is None or message.error():
            return None
        return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


@contextmanager
def asking(client: AbstractContextManager[Any]) -> Iterator[Any]:
    """A client of connections.kafka, whose errors become the job's: Unreachable where a later try may do."""
    try:
        with client as answered:
            yield answered
    except NoAnswer as error:
        raise Unreachable(str(error)) from None
    except Refused as error:
        raise JobError(str(error)) from None


def consumer(kafka: KafkaSettings, isolation: str = "read_committed") -> AbstractContextManager[Consumer]:
    """A consumer that says where a partition ends. Raises Unreachable where no broker answers."""
    return asking(connections.consumer(kafka, isolation))


def _partitions(client: Consumer, kafka: KafkaSettings) -> list[int]:
    return sorted(client.list_topics(kafka.topic, timeout=TIMEOUT_S).topics[kafka.topic].partitions)


def _edges(client: Consumer, kafka: KafkaSettings, partition: int) -> tuple[int, int]:
    low, high = client.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=TIMEOUT_S)
    return int(low), int(high)
