"""A topic that changes under the jobs: more partitions, records removed, recreated, nothing but garbage."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from jobs.process.errors import JobError, Unreachable
from jobs.sources.topic import edges, topic_id
from stitch_local.producer import produce
from stitch_local.topic import create_topics
from tests.conftest import Stack
from tests.faults.oracle import Eyes, Feed
from tests.steps import wait_for_the_window_to_end

Run = Callable[..., Any]


@pytest.fixture
def admin(fresh: Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": fresh.settings.kafka.bootstrap_servers})


def both(run_job: Run, **asked: Any) -> None:
    run_job("streaming_counts", **asked)
    run_job("archive_events", **asked)


@pytest.mark.slow
def test_partitions_that_are_added_are_counted_from_their_first_record(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, admin: AdminClient
) -> None:
    topic = fresh.settings.kafka.topic
    feed.send(200)
    both(run_job)
    admin.create_partitions([NewPartitions(topic, 12)])[topic].result()
    while len(edges(fresh.settings.kafka)) < 12:
        time.sleep(0.1)
    for _ in range(20):
        feed.send(100)  # the producer fills one partition for a while, and then another
        if all(high > low for low, high in edges(fresh.settings.kafka).values()):
            break
    assert [partition for partition, (low, high) in edges(fresh.settings.kafka).items() if high == low] == []
    both(run_job)
    eyes.wait_for_the_truth(10)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    eyes.wait_for_the_truth(10)


@pytest.mark.slow
def test_records_that_the_broker_removed_unread_are_told_with_their_offsets_and_the_hours_they_miss_in(
    fresh: Stack, feed: Feed, run_job: Run, admin: AdminClient, capfd: pytest.CaptureFixture[str]
) -> None:
    kafka = fresh.settings.kafka
    feed.send(300)
    both(run_job)
    before = edges(kafka)
    feed.send(300)
    removed = {p: (before[p][1], high) for p, (_, high) in edges(kafka).items() if p < 2 and high > before[p][1]}
    assert removed
    for future in admin.delete_records(
        [TopicPartition(kafka.topic, p, high) for p, (_, high) in removed.items()]
    ).values():
        future.result()
    for job in ("streaming_counts", "archive_events"):
        with pytest.raises(JobError, match="were removed by the broker") as told:
            run_job(job)
        for partition, (first, last) in removed.items():
            assert f"partition {partition}: offsets {first} to {last - 1}" in str(told.value)
        assert "--accept-data-loss" in str(told.value)
    both(run_job, accept_data_loss=True)
    wait_for_the_window_to_end(fresh)
    capfd.readouterr()
    run_job("batch_totals")
    said = capfd.readouterr().out
    lost = sum(last - first for first, last in removed.values())
    assert said.count(f"the log lacks records of the topic {kafka.topic}, partition") == len(removed)
    assert f"events={600 - lost}" in said
    both(run_job)  # and on as before


@pytest.mark.slow
def test_a_topic_that_was_recreated_is_refused_and_then_counted_on_top(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, admin: AdminClient
) -> None:
    kafka = fresh.settings.kafka
    feed.send(300)
    both(run_job)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    old = topic_id(kafka)
    admin.delete_topics([kafka.topic])[kafka.topic].result()
    while kafka.topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    create_topics(fresh.settings)
    wait_for_another_id(fresh, old)
    feed.send(100)
    with pytest.raises(JobError, match=r"was deleted and recreated .* Start once with --from-cutoff"):
        run_job("streaming_counts")
    with pytest.raises(JobError, match=r"was deleted and recreated .* Start once with --accept-data-loss"):
        run_job("archive_events")
    run_job("streaming_counts", from_cutoff=True)
    run_job("archive_events", accept_data_loss=True)
    eyes.wait_for_the_truth(10)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    eyes.wait_for_the_truth(10)


def wait_for_another_id(stack: Stack, old: str) -> None:
    """A broker may not know a new topic for a moment after it was created."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert topic_id(stack.settings.kafka) != old
            return
        except Unreachable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.slow
def test_a_batch_of_nothing_but_rejected_records_counts_nothing_and_keeps_them_all(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    produce(fresh.settings.kafka, [b"\xff\xfe", b"", None, b"[]", b"{}", b"{broken"] * 50)
    both(run_job)
    feed.send(100)
    both(run_job)
    wait_for_the_window_to_end(fresh)
    capfd.readouterr()
    run_job("batch_totals")
    assert "records=400 rejected=300 excluded=0 duplicates=0 events=100" in capfd.readouterr().out
    eyes.wait_for_the_truth(10)
