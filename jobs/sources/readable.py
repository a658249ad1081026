"""What a reader of committed records finds behind a position of the topic: by that a log is proven complete.

Offsets do not say how many records there are: commit and abort markers take them, aborted records do, and compaction
leaves holes. And a broker's search by time (`offsetsForTimes`) is misled by one record that a producer stamped 2030,
from when the topic had other settings. So the records themselves are asked: each says who stamped it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

from jobs.process.errors import Unreachable
from jobs.sources.topic import consumer, edges, offsets_at
from stitch.buckets import EPOCH
from stitch.clusters import KafkaSettings
from stitch.cutoff import Behind, Reached

PROOF_S = 60.0  # for all partitions: nearly all of it is for skipping what producers stamped
POLL_S = 0.5
AT_ONCE = 1000


def behind(kafka: KafkaSettings, positions: Mapping[int, int]) -> dict[int, Behind]:
    """partition → what is at and behind the position in it, of every partition of the topic (those not named: from
    0)."""
    held = edges(kafka)
    at = {partition: positions.get(partition, 0) for partition in held}
    readable = {p: at[p] for p, (low, high) in held.items() if low <= at[p] <= high}
    committed = first_stamped(kafka, readable, "read_committed")
    ends = {p: reached.offset for p, reached in committed.items() if reached.at_end}
    undecided = first_stamped(kafka, ends, "read_uncommitted")
    return {p: Behind(at[p], *held[p], committed.get(p), undecided.get(p)) for p in held}


def first_stamped(kafka: KafkaSettings, positions: Mapping[int, int], isolation: str) -> dict[int, Reached]:
    """partition → the first record at or behind the position that the broker stamped, or the end of the partition.

    Raises Unreachable where a partition says neither within PROOF_S.
    """
    found: dict[int, Reached] = {}
    skipped: dict[int, int] = {}
    cause = "no answer"
    deadline = time.monotonic() + PROOF_S
    with consumer(kafka, isolation) as client:
        if positions:
            client.assign([TopicPartition(kafka.topic, p, offset) for p, offset in positions.items()])
        while len(found) < len(positions) and time.monotonic() < deadline:
            for message in _next(client):
                partition = message.partition()
                if error := message.error():
                    if error.code() != KafkaError._PARTITION_EOF:
                        cause = _cause(error)
                        continue
                    found.setdefault(partition, Reached(message.offset(), None, at_end=True))
                elif stamp := appended(message):
                    found.setdefault(partition, Reached(message.offset(), stamp))
                else:
                    skipped[partition] = message.offset()
                    continue
                client.pause([TopicPartition(kafka.topic, partition)])
    found |= {p: Reached(offset + 1, None) for p, offset in skipped.items() if p not in found}
    if silent := sorted(set(positions) - set(found)):
        raise Unreachable(
            f"Kafka at {kafka.bootstrap_servers} did not say within {PROOF_S:.0f} s what partitions {silent} of the "
            f"topic {kafka.topic!r} hold ({cause}): look at their leaders, then run again"
        )
    return found


def stamps(kafka: KafkaSettings, since: datetime, until: datetime) -> Iterator[tuple[int, int, datetime]]:
    """(partition, offset, stamp) of every committed record that is stamped in [since, until), whoever stamped it.

    until:  nothing is read behind a record that the broker stamped then or later. Raises Unreachable after PROOF_S.
    """
    starts = offsets_at(kafka, since)
    deadline = time.monotonic() + PROOF_S
    with consumer(kafka) as client:
        client.assign([TopicPartition(kafka.topic, p, offset) for p, offset in starts.items()])
        open_ones = set(starts)
        while open_ones:
            if time.monotonic() > deadline:
                raise Unreachable(f"the records of the topic {kafka.topic!r} were not read within {PROOF_S:.0f} s")
            for message in _next(client):
                partition, error = message.partition(), message.error()
                if error and error.code() != KafkaError._PARTITION_EOF:
                    _cause(error)
                    continue
                at = None if error else appended(message)
                if error or (at and at >= until):
                    open_ones.discard(partition)
                    client.pause([TopicPartition(kafka.topic, partition)])
                elif partition in open_ones and since <= (stamp := stamped(message)) < until:
                    yield message.partition(), message.offset(), stamp


def stamped(message: Any) -> datetime:
    """The record's stamp, whoever stamped it."""
    return EPOCH + timedelta(milliseconds=message.timestamp()[1])


def appended(message: Any) -> datetime | None:
    """When the broker appended the record; None where its producer stamped it."""
    return stamped(message) if message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME else None


def _next(client: Consumer) -> list[Message]:
    """The messages that are there; where none is, the first that comes within POLL_S. (`consume` would wait for as
    many as it was asked for.)"""
    first = client.poll(POLL_S)
    # A message without a value is falsy: its length is its value's.
    return [] if first is None else [first, *client.consume(AT_ONCE, timeout=0)]


def _cause(error: KafkaError) -> str:
    """Raises KafkaException for what waiting does not fix."""
    if error.fatal() or error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTO_OFFSET_RESET):
        raise KafkaException(error)
    return str(error.name())
