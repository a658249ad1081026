"""Which settings of a topic are refused."""

from __future__ import annotations

import pytest

from jobs.process.errors import JobError
from jobs.sources.topic import check_config
from stitch.clusters import KafkaSettings

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
