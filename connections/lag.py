"""How far a topic goes, and up to where jobs say that they have come: for people, not for proofs."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connections import kafka as clients
from connections.kafka_refusals import Refused
from stitch.clusters import KafkaSettings


def ends(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """partition → (the first offset that the broker holds, the offset of the next record). Raises NotConnected."""
    with clients.consumer(kafka, "read_uncommitted") as client:
        found = client.list_topics(kafka.topic, timeout=clients.TIMEOUT_S).topics[kafka.topic]
        if found.error is not None:
            raise Refused(
                f"the topic {kafka.topic!r} cannot be read at {kafka.bootstrap_servers} ({found.error.name()}): "
                "set kafka.topic ([[topics]]), or create it"
            )
        timeout = clients.TIMEOUT_S
        return {p: client.get_watermark_offsets(TopicPartition(kafka.topic, p), timeout=timeout)
                for p in sorted(found.partitions)}  # fmt: skip


def committed(kafka: KafkaSettings, job: str, partitions: Iterable[int]) -> dict[int, int]:
    """partition → the offset that the job committed to its consumer group, which it does for people (kafka.report_lag);
    nothing of partitions of which it told none, or where this user may not ask."""
    client = Consumer(clients.librdkafka_consumer(kafka, job) | {"error_cb": lambda _: None})
    try:
        asked = [TopicPartition(kafka.topic, p) for p in partitions]
        found = client.committed(asked, timeout=clients.TIMEOUT_S)
    except KafkaException:
        return {}
    finally:
        client.close()
    return {one.partition: one.offset for one in found if one.error is None and one.offset >= 0}
