"""The newest records of a topic, read once and without a trace: no offset is committed, no job is involved."""

from __future__ import annotations

import time
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connections import kafka as clients
from connections.kafka_refusals import NoAnswer, Refused
from stitch.clusters import KafkaSettings

POLL_S = 0.5
WITHIN_S = 30.0


class Stored(NamedTuple):
    """A record as the topic has it. appended: its stamp in µs; timestamp_type: as Kafka's protocol says it."""

    partition: int
    offset: int
    value: bytes | None
    appended: int
    timestamp_type: int


def newest(kafka: KafkaSettings, most: int) -> list[Stored]:
    """So many of the topic's newest committed records, as many of each partition, in the order of their stamps.

    Raises NotConnected where no broker answers, or there is no such topic.
    """
    with clients.consumer(kafka) as client:
        found = client.list_topics(kafka.topic, timeout=clients.TIMEOUT_S).topics[kafka.topic]
        if found.error is not None:
            raise Refused(
                f"the topic {kafka.topic!r} cannot be read at {kafka.bootstrap_servers} ({found.error.name()}): "
                "set kafka.topic ([[topics]]), or create it"
            )
        ends = {p: _edges(client, kafka, p) for p in found.partitions}
        records = _read(client, kafka, starts(ends, most))
    return sorted(records, key=lambda one: (one.appended, one.partition, one.offset))[-most:]


def starts(edges: dict[int, tuple[int, int]], most: int) -> dict[int, int]:
    """partition → from which offset on to read, so that about so many records are read of all partitions together.

    edges: partition → (its first offset, the offset behind its last)
    """
    room = most
    found: dict[int, int] = {}
    held = sorted(((end - first, p) for p, (first, end) in edges.items() if end > first))
    for left, (length, partition) in zip(range(len(held), 0, -1), held, strict=True):
        share = min(length, -(-room // left))  # what short partitions do not have, longer ones give
        if share:
            found[partition] = edges[partition][1] - share
        room -= share
    return found


def _read(client: Consumer, kafka: KafkaSettings, at: dict[int, int]) -> list[Stored]:
    records: list[Stored] = []
    if at:
        client.assign([TopicPartition(kafka.topic, p, offset) for p, offset in at.items()])
    left, deadline = set(at), time.monotonic() + WITHIN_S
    while left:
        if time.monotonic() > deadline:
            raise NoAnswer(
                f"Kafka at {kafka.bootstrap_servers} did not hand over the records of {kafka.topic!r} within "
                f"{WITHIN_S:.0f} s: partitions {sorted(left)} are missing"
            )
        first = client.poll(POLL_S)
        for message in [] if first is None else [first, *client.consume(1000, timeout=0)]:
            error = message.error()
            if error is None:
                records.append(_stored(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise KafkaException(error)
    return records


def _stored(message: Message) -> Stored:
    kind, milliseconds = message.timestamp()
    return Stored(message.partition(), message.offset(), message.value(), milliseconds * 1000, kind - 1)


def _edges(client: Consumer, kafka: KafkaSettings, partition: int) -> tuple[int, int]:
    first, end = client.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=clients.TIMEOUT_S)
    return int(first), int(end)
