"""Which settings of a topic are refused, and what is said of settings that may not be read."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from jobs.errors import JobError, Unreachable
from jobs.sources.topic import check_config, topic_config
from stitch.sections import KafkaSettings

KAFKA = KafkaSettings(topic="events")
FIT = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
REFUSED = {
    "producers' stamps": (
        {"message.timestamp.type": "CreateTime"},
        "--add-config message.timestamp.type=LogAppendTime",
    ),
    "compacted": ({"cleanup.policy": "compact"}, "--add-config cleanup.policy=delete"),
    "compacted and removed": ({"cleanup.policy": "compact,delete"}, "--add-config cleanup.policy=delete"),
}


def test_a_topic_that_keeps_what_it_is_sent_under_the_brokers_stamps_is_read() -> None:
    check_config(KAFKA, FIT)


@pytest.mark.parametrize(("changed", "command"), REFUSED.values(), ids=REFUSED.keys())
def test_a_topic_that_cannot_be_counted_is_refused_with_the_command_that_changes_it(
    changed: dict[str, str], command: str
) -> None:
    with pytest.raises(JobError) as told:
        check_config(KAFKA, {**FIT, **changed})
    assert command in str(told.value) and "events" in str(told.value)


def test_what_happens_to_records_from_before_the_change_is_said() -> None:
    with pytest.raises(JobError, match=r"kept in the log with that reason .*Produce them again to count them"):
        check_config(KAFKA, {**FIT, "message.timestamp.type": "CreateTime"})


class Refusing:
    """An AdminClient whose broker answers every question with one error."""

    def __init__(self, code: int) -> None:
        self._error = KafkaException(KafkaError(code))

    def describe_configs(self, resources: list[Any]) -> dict[Any, Any]:
        return dict.fromkeys(resources, self)

    def result(self, timeout: float) -> None:
        raise self._error


def test_settings_that_may_not_be_read_are_told_with_the_right_that_is_missing() -> None:
    with pytest.raises(
        JobError, match=r"may not be read by this user: .*\n.*--operation DescribeConfigs --topic events"
    ):
        topic_config(Refusing(KafkaError.TOPIC_AUTHORIZATION_FAILED), KAFKA)  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="_TIMED_OUT"):
        topic_config(Refusing(KafkaError._TIMED_OUT), KAFKA)  # type: ignore[arg-type]
