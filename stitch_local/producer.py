"""Events onto the topic, acknowledged by the broker before anyone says that they are there."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Producer

from connections.kafka import librdkafka
from stitch.clusters import KafkaSettings
from stitch.errors import StitchError


class ProduceError(StitchError):
    """Some events were not acknowledged; the message says how many and why."""


def produce(kafka: KafkaSettings, values: Iterable[bytes | None], timeout_s: float = 120) -> int:
    """Send every value and wait for its acknowledgement; returns how many. Raises ProduceError."""
    own = {"linger.ms": 50, "acks": "all", "enable.idempotence": True, "message.max.bytes": 2_000_000}
    producer = Producer(own | librdkafka(kafka))
    errors: list[str] = []
    sent = 0
    for value in values:
        while True:
            try:
                producer.produce(
                    kafka.topic, value, on_delivery=lambda error, _: errors.append(str(error)) if error else None
                )
                break
            except BufferError:  # the local queue is full: let it drain
                producer.poll(0.1)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    waiting = producer.flush(timeout_s)
    if errors or waiting:
        raise ProduceError(
            f"{len(errors) + waiting} of {sent} events were not acknowledged: {(errors or ['time ran out'])[0]}"
        )
    return sent
