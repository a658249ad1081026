"""Topics as they are: transactions committed, aborted and open, records that producers stamped, compaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pyspark.sql import SparkSession

from jobs.audit.log import PATIENCE
from jobs.process.errors import JobError
from jobs.sources.topic import topic_config
from stitch_local.producer import produce
from tests.conftest import Reader, Stack
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}
IN_2030 = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)


def plays(name: str, number: int) -> list[bytes]:
    return [event(f"{name}{n}", "play", track_id="t1", **PLAY) for n in range(number)]


def transaction(stack: Stack, events: list[bytes], partition: int = 0) -> Producer:
    """A producer whose open transaction holds the events."""
    kafka = stack.settings.kafka
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "transactional.id": f"{kafka.topic}-{events[0]!r}",
            "transaction.timeout.ms": 600_000,  # the broker would abort it meanwhile
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    for value in events:
        producer.produce(kafka.topic, value, partition=partition)
    producer.flush()
    return producer


def alter(stack: Stack, **config: str) -> None:
    """Set settings of the topic, as `kafka-configs.sh --alter` does."""
    kafka = stack.settings.kafka
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, kafka.topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()
    while any(topic_config(admin, kafka)[name.replace("_", ".")] != value for name, value in config.items()):
        time.sleep(0.05)
    time.sleep(0.5)  # the broker tells a setting a moment before its log follows it


def after_patience() -> datetime:
    """An instant at which the audit takes what is missing now for more than a lag."""
    return datetime.now(UTC) + PATIENCE + timedelta(minutes=1)


def wrong(report: dict[str, Any]) -> dict[str, list[str]]:
    """What the audit found wrong: about → details."""
    return {one["about"]: one["details"] for one in report["findings"] if not one["right"]}


@pytest.mark.thorough
def test_committed_records_count_and_aborted_ones_and_markers_are_no_gaps(
    fresh: Stack, reader: Reader, run_job: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    transaction(fresh, plays("committed", 5)).commit_transaction()
    transaction(fresh, plays("aborted", 3)).abort_transaction()
    client = reader(fresh.settings)
    run_job("streaming_counts")
    assert count(client, "plays", "t1") == 5
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert "records=5 rejected=0 excluded=0 duplicates=0 events=5" in capfd.readouterr().out
    assert (count(client, "plays", "t1"), count(client, "plays", "t1", "batch")) == (5, 5)
    report = run_job("audit_counts")
    assert wrong(report) == {}
    assert "5 appended = 5 counted" in next(one["said"] for one in report["findings"] if one["about"] == "conservation")


@pytest.mark.slow
def test_an_open_transaction_is_what_a_batch_waits_for_and_its_records_count_when_it_commits(
    fresh: Stack, reader: Reader, run_job: Run
) -> None:
    client = reader(fresh.settings)
    producer = transaction(fresh, plays("open", 2), partition=3)
    produce(fresh.settings.kafka, plays("other", 4))
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    with pytest.raises(JobError, match=r"partition 3: waits for the transaction that is open since offset 0") as told:
        run_job("batch_totals")
    assert "transaction.timeout.ms" in str(told.value) and "archive_events" not in str(told.value)
    late = run_job("audit_counts", now=after_patience())
    assert any("waits for the transaction" in line for line in wrong(late)["complete"])
    producer.commit_transaction()
    with pytest.raises(
        JobError, match=r"partition 3: .* records from offset 0.* are missing\nLet archive_events catch up"
    ):
        run_job("batch_totals")
    run_job("streaming_counts")
    run_job("archive_events")
    run_job("batch_totals")
    assert (count(client, "plays", "t1"), count(client, "plays", "t1", "batch")) == (6, 6)
    assert wrong(run_job("audit_counts")) == {}


@pytest.mark.slow
def test_a_record_that_its_producer_stamped_2030_hides_nothing_that_the_log_lacks(
    fresh: Stack, reader: Reader, run_job: Run
) -> None:
    alter(fresh, message_timestamp_type="CreateTime", message_timestamp_after_max_ms=str(2**63 - 1))
    kafka = fresh.settings.kafka
    with pytest.raises(JobError, match=r"message.timestamp.type=LogAppendTime\nRecords that were produced before"):
        run_job("streaming_counts")
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(kafka.topic, plays("from the future", 1)[0], partition=0, timestamp=IN_2030)
    producer.flush()
    alter(fresh, message_timestamp_type="LogAppendTime")
    run_job("streaming_counts")
    run_job("archive_events")
    for value in plays("now", 10):
        producer.produce(kafka.topic, value, partition=0)
    producer.flush()
    run_job("streaming_counts")
    client = reader(fresh.settings)
    assert count(client, "plays", "t1") == 10
    wait_for_the_window_to_end(fresh)
    with pytest.raises(JobError, match=r"partition 0: held up to offset 1; records from offset 1, appended .* missing"):
        run_job("batch_totals")
    late = run_job("audit_counts", now=after_patience())
    assert any("log before" in line and "offset 1" in line for line in wrong(late)["complete"])
    run_job("archive_events")
    run_job("batch_totals")
    assert (count(client, "plays", "t1"), count(client, "plays", "t1", "batch")) == (10, 10)
    lost = wrong(run_job("audit_counts"))
    assert lost.keys() == {"log: rejected"}
    assert "1 events not counted, since their producer stamped them, offsets 0 to 0" in lost["log: rejected"][0]
    run_job("archive_events", accept_uncounted=[(None, 0, 0, 0)])
    assert wrong(run_job("audit_counts")) == {}


@pytest.mark.thorough
def test_a_compacted_topic_is_refused_and_so_the_audit_says(fresh: Stack, run_job: Run) -> None:
    produce(fresh.settings.kafka, plays("before", 2))
    run_job("archive_events")
    run_job("streaming_counts")
    alter(fresh, cleanup_policy="compact")
    for job in ("streaming_counts", "archive_events"):
        with pytest.raises(JobError, match=r"cleanup.policy=compact: .*\n.*--add-config cleanup.policy=delete"):
            run_job(job)
    assert "cleanup.policy=delete" in " ".join(wrong(run_job("audit_counts"))["topic"])


@pytest.mark.slow
def test_records_that_are_missing_in_the_middle_of_the_log_are_told_until_their_loss_is_accepted(
    fresh: Stack, spark: SparkSession, run_job: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second", "third"):
        transaction(fresh, plays(name, 5)).commit_transaction()
        run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    spark.sql(f"DELETE FROM {fresh.settings.lake.events} WHERE offset BETWEEN 6 AND 10")
    with pytest.raises(
        JobError, match=r"lacks records that .* holds:\n  partition 0: 5 records, offsets 6 to 10\n"
    ) as told:
        run_job("batch_totals")
    assert f"archive_events --available-now --accept-loss {fresh.settings.kafka.topic}/0:6-10" in str(told.value)
    assert (
        "5 records missing that the topic holds, offsets 6 to 10"
        in wrong(run_job("audit_counts"))["log: contiguous"][0]
    )
    run_job("archive_events", accept_loss=[(None, 0, 6, 10)])
    run_job("batch_totals")
    assert "events=10" in capfd.readouterr().out
    assert "log: contiguous" not in wrong(run_job("audit_counts"))
