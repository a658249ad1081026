"""The topics of the events, made so that the broker's clock stamps each record.

`LogAppendTime` is what makes an ingest window a fact of the record, the same on every replay: producers' clocks would
drive the watermark otherwise.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from connections.kafka import librdkafka
from stitch.clusters import KafkaSettings
from stitch.settings import Settings
from stitch_local.errors import StackError


def create_topics(settings: Settings) -> None:
    """Make the topics that are read where there are none. Raises StackError where Kafka refuses."""
    for view in settings.topics_read.values():
        create_topic(view.kafka)


def create_topic(kafka: KafkaSettings) -> None:
    """Make the topic where there is none. Raises StackError where Kafka refuses."""
    topic = NewTopic(
        kafka.topic,
        num_partitions=kafka.partitions,
        replication_factor=1,
        config={"message.timestamp.type": "LogAppendTime", "max.message.bytes": "2097152"},
    )
    admin = AdminClient(librdkafka(kafka))
    try:
        admin.create_topics([topic], operation_timeout=30, request_timeout=30)[kafka.topic].result(timeout=60)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise StackError(
                f"the topic {kafka.topic} could not be made on kafka.bootstrap_servers={kafka.bootstrap_servers}: "
                f"{error.args[0].str()}"
            ) from None
