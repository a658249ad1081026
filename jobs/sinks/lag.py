"""The offsets behind a streaming job, committed to a consumer group that is for reporting only.

Spark keeps its offsets in its checkpoint and commits none, so the tools with which Kafka people watch lag see nothing.
No job reads this group: what is committed, late or not at all changes no count, so a failure is said once and no more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connections.kafka import librdkafka_consumer
from connections.kafka_refusals import NotConnected, explained
from stitch.clusters import KafkaSettings

LAST_COMMIT_S = 5


class LagReport:
    """report(offsets) commits them to the group `<group_prefix>-<job>`, in the background. Never raises."""

    def __init__(self, kafka: KafkaSettings, job: str) -> None:
        self._kafka, self._job = kafka, job
        self._consumer: Consumer | None = None
        self._under_way = 0
        self._off = not kafka.report_lag
        self._said = False

    def __enter__(self) -> LagReport:
        return self

    def report(self, offsets: Mapping[str, Mapping[int, int]]) -> None:
        """topic → partition → the first offset behind what was counted."""
        if self._off or not offsets:
            return
        try:
            if self._consumer is None:
                own = {"on_commit": self._committed, "error_cb": lambda _: None}
                self._consumer = Consumer(librdkafka_consumer(self._kafka, self._job) | own)
            self._under_way += 1
            self._consumer.commit(
                offsets=[TopicPartition(topic, p, at) for topic, each in offsets.items() for p, at in each.items()],
                asynchronous=True,
            )
            self._consumer.poll(0)
        except KafkaException as error:
            self._failed(error.args[0])
        except (NotConnected, RuntimeError) as error:
            self._say(str(error))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the last commit a moment to be acknowledged."""
        if self._consumer is None:
            return
        deadline = time.monotonic() + LAST_COMMIT_S
        while self._under_way and not self._off and time.monotonic() < deadline:
            self._consumer.poll(0.05)
        self._consumer.close()

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._under_way -= 1
        failed = error or next((p.error for p in partitions if p.error), None)
        if failed:
            self._failed(failed)

    def _failed(self, error: KafkaError) -> None:
        acl = "the user needs the ACL READ on it"
        if error.code() in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            self._off = True  # no later commit would fare better until the job is started again
            self._say(f"{acl} ({error.name()})")
        elif error.code() == KafkaError._WAIT_COORD:  # so says librdkafka too where the brokers deny the group
            self._say(f"no broker answers for it, or {acl} ({error.name()})")
        else:
            self._say(str(explained(self._kafka, error)))

    def _say(self, why: str) -> None:
        if self._said:
            return
        self._said = True
        group = f"{self._kafka.group_prefix}-{self._job}"
        print(
            f"stitch: lag not reported to the consumer group {group}, which changes no count "
            f"(kafka.report_lag = false ends this): {why}", flush=True
        )  # fmt: skip
