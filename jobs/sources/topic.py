"""Kafka topics: checked before they are read, then read as a stream; and their offsets, by which completeness is
proven. `KafkaSettings` here are those of one topic (Settings.by_topic)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from connections import kafka as connections
from connections.kafka_refusals import NoAnswer, Refused
from jobs.process.errors import JobError, Unreachable
from stitch.clusters import KafkaSettings
from stitch.decoding import TOPIC
from stitch.settings import Settings

TIMEOUT_S = 10
Offsets = Mapping[str, Mapping[int, int]]  # topic → partition → offset
# A fetch brings megabytes and a poll hands them over whole: the consumer's defaults are for few records at once.
FETCH = {
    "kafka.max.poll.records": "10000",
    "kafka.max.partition.fetch.bytes": str(8 * 2**20),
    "kafka.fetch.max.bytes": str(64 * 2**20),
}


def check_topics(settings: Settings) -> None:
    """Raises JobError, as check_topic, where one of the topics cannot be counted."""
    for view in settings.topics_read.values():
        check_topic(view.kafka)


def check_topic(kafka: KafkaSettings) -> None:
    """Raises JobError, with the way out, where the topic cannot be counted: no broker, no topic, producers'
    timestamps, compaction, no right to look."""
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
                f"message.timestamp.type=LogAppendTime (`stitch local up` does), or set kafka.topic ([[topics]])"
            ) from None
        check_rights(kafka, operations)
        check_config(kafka, topic_config(admin, kafka))


def topic_config(admin: AdminClient, kafka: KafkaSettings) -> dict[str, str]:
    """The topic's settings, those of the broker where it has none of its own."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, kafka.topic)
    found = admin.describe_configs([resource])[resource].result(timeout=TIMEOUT_S)
    return {name: entry.value for name, entry in found.items()}


def check_config(kafka: KafkaSettings, config: Mapping[str, str]) -> None:
    """Raises JobError, with the command that changes it, for settings under which a topic cannot be counted."""
    change = (
        f"kafka-configs.sh --bootstrap-server {kafka.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {kafka.topic} --add-config "
    )
    kind = config["message.timestamp.type"]
    if kind != "LogAppendTime":
        raise JobError(
            f"the topic {kafka.topic!r} has message.timestamp.type={kind}: its timestamps are the producers' clocks, "
            "and counts by ingest window need the broker's. Change it with\n"
            f"  {change}message.timestamp.type=LogAppendTime\n"
            "Records that were produced before the change keep their producers' stamps: they are kept in the log with "
            "that reason and not counted. Produce them again to count them"
        )
    if "compact" in config["cleanup.policy"].split(","):
        raise JobError(
            f"the topic {kafka.topic!r} has cleanup.policy={config['cleanup.policy']}: of the records with one key the "
            f"broker keeps the last alone, so events go before they are counted. Change it with\n  {change}"
            "cleanup.policy=delete\nRecords that compaction has removed are lost; those that are left count"
        )


def check_rights(kafka: KafkaSettings, operations: Collection[AclOperation] | None) -> None:
    """Raises JobError where the brokers grant less than a job needs, before Spark fails in the middle of it."""
    needed = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ)
    lacking = [operation.name for operation in needed if operations and operation not in operations]
    if lacking:
        raise JobError(
            f"the topic {kafka.topic!r} may not be read by this user: the ACLs {', '.join(lacking)} are missing. "
            "Add with\n"
            f"  kafka-acls.sh --bootstrap-server {kafka.bootstrap_servers} --add --allow-principal User:… "
            f"--topic {kafka.topic} " + " ".join(f"--operation {name.title().replace('_', '')}" for name in lacking)
        )


def topic_ids(settings: Settings) -> dict[str, str]:
    """Topic → its id, of all that are read."""
    return {name: topic_id(view.kafka) for name, view in settings.topics_read.items()}


def topic_id(kafka: KafkaSettings) -> str:
    """The id that a topic gets when it is created: one recreated under the same name has another."""
    with asking(connections.admin(kafka)) as admin:
        described = admin.describe_topics(TopicCollection([kafka.topic]), request_timeout=TIMEOUT_S)
        return str(described[kafka.topic].result(timeout=TIMEOUT_S).topic_id)


def read_topics(
    spark: SparkSession,
    topics: Mapping[str, Settings],
    starting: Offsets | None = None,
    accept_data_loss: bool = False,
) -> DataFrame:
    """The topics as one stream: (TOPIC, partition, offset, timestamp, timestamp_type, key: binary, value: binary).

    topics:   name → the settings of the topic
    starting: topic → partition → first offset, for a query without a checkpoint; what it does not name, from the
              earliest

    Committed records alone: the ends that Spark plans up to are the last stable offsets, in front of open transactions.
    """
    settings = next(iter(topics.values()))
    kafka, streaming = settings.kafka, settings.streaming
    at = {name: first_offsets(view.kafka, starting.get(name, {})) for name, view in topics.items()} if starting else {}
    first = json.dumps(at) if any(at.values()) else "earliest"
    return _records(
        spark.readStream.format("kafka")
        .options(**FETCH | connections.jvm(kafka))  # what [kafka.jvm] says wins
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", first)
        .option("failOnDataLoss", "false" if accept_data_loss else "true")
        .option("maxOffsetsPerTrigger", streaming.max_offsets_per_trigger)
        .load()
    )


def read_between(spark: SparkSession, topics: Mapping[str, Settings], first: Offsets, last: Offsets) -> DataFrame:
    """The committed records of the topics in half-open ranges of offsets (topic → partition → offset), with the
    columns of `read_topics`; none that the broker no longer holds, nor any behind an open transaction."""
    kafka = next(iter(topics.values())).kafka
    ranges = {name: _held(view.kafka, first[name], last[name]) for name, view in topics.items()}
    at = [json.dumps({name: {p: of[n] for p, of in held.items()} for name, held in ranges.items()}) for n in (0, 1)]
    return _records(
        spark.read.format("kafka")
        .options(**FETCH | connections.jvm(kafka) | {"kafka.isolation.level": "read_committed"})
        .option("assign", json.dumps({name: sorted(held) for name, held in ranges.items()}))
        .option("startingOffsets", at[0])
        .option("endingOffsets", at[1])
        .load()
    )


def _held(kafka: KafkaSettings, first: Mapping[int, int], last: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """partition → the part of [first, last) that is held and decided."""
    ends = stable_ends(kafka)
    found = {}
    for partition, (low, _) in edges(kafka).items():
        start = min(max(first.get(partition, low), low), ends[partition])
        found[partition] = (start, max(start, min(last.get(partition, low), ends[partition])))
    return found


def _records(loaded: DataFrame) -> DataFrame:
    return loaded.select(
        F.col("topic").alias(TOPIC),
        "partition",
        "offset",
        "timestamp",
        F.col("timestampType").alias("timestamp_type"),
        "key",
        "value",
    )


def first_offsets(kafka: KafkaSettings, starting: Mapping[int, int]) -> dict[int, int]:
    """Partition → the first offset to read, of every partition of the topic: that of `starting`, else the
    earliest."""
    return {p: max(starting.get(p, low), low) for p, (low, _) in edges(kafka).items()}


def read_range(
    spark: SparkSession, kafka: KafkaSettings, ranges: Mapping[int, tuple[int, int]], isolation: str = "read_committed"
) -> DataFrame:
    """The records of the topic, the committed ones unless said, in half-open ranges of offsets: (partition, offset,
    timestamp_type: 0 where its producer stamped it, 1 where the broker did)."""
    return (
        spark.read.format("kafka")
        .options(**connections.jvm(kafka) | {"kafka.isolation.level": isolation})
        .option("assign", json.dumps({kafka.topic: sorted(ranges)}))
        .option("startingOffsets", json.dumps({kafka.topic: {p: first for p, (first, _) in ranges.items()}}))
        .option("endingOffsets", json.dumps({kafka.topic: {p: end for p, (_, end) in ranges.items()}}))
        .load()
        .select("partition", "offset", F.col("timestampType").alias("timestamp_type"))
    )


def offsets_at(kafka: KafkaSettings, instant: datetime) -> dict[int, int]:
    """partition → where to start reading, so that no record stamped at or after the instant is left out.

    Every record in front of that offset is stamped before the instant, whoever stamped it: a broker answers with the
    first that is not. A stamp from the future makes the start earlier than need be, never later. So it is good to
    start at, and proves nothing about what is behind it. The ends are asked first: a record that is appended meanwhile
    must not fall in front of the start.
    """
    at = int(instant.timestamp() * 1000)
    with consumer(kafka) as client:
        partitions = _partitions(client, kafka)
        ends = {p: _edges(client, kafka, p)[1] for p in partitions}
        found = client.offsets_for_times([TopicPartition(kafka.topic, p, at) for p in partitions], timeout=TIMEOUT_S)
        return {tp.partition: tp.offset if tp.offset >= 0 else ends[tp.partition] for tp in found}


def edges(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """partition → (the earliest offset that the broker still holds, the offset that the next record will get)."""
    with consumer(kafka, "read_uncommitted") as client:
        return {p: _edges(client, kafka, p) for p in _partitions(client, kafka)}


def stable_ends(kafka: KafkaSettings) -> dict[int, int]:
    """partition → the offset behind the last record that is decided: in front of the first open transaction."""
    with consumer(kafka) as client:
        return {p: _edges(client, kafka, p)[1] for p in _partitions(client, kafka)}


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
