"""Parts that hang, restart or lose answers while a streaming job runs and readers look."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Cluster
from confluent_kafka import Producer

from jobs.process.errors import JobError
from jobs.sources.topic import edges
from stitch.definitions import stored_names
from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Stack, run_in, write_config
from tests.faults.conftest import away
from tests.faults.oracle import Eyes, Feed
from tests.faults.proxy import Proxy
from tests.steps import event

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("hangs", "gone"),
    [
        pytest.param((5,), 3, id="short", marks=pytest.mark.slow),
        pytest.param((5, 30, 90), 30, id="long", marks=pytest.mark.slow),
    ],
)
def test_a_cassandra_that_hangs_and_parts_that_restart_delay_counts_and_do_not_change_them(
    fresh: Stack, feed: Feed, eyes: Eyes, start_job: Callable[..., Any], hangs: tuple[int, ...], gone: int
) -> None:
    job = start_job("streaming_counts", STITCH_STREAMING__RETRY_FOR="5m")
    over = threading.Event()

    def go_on_sending() -> None:
        while not over.wait(0.2):
            feed.send(50)

    feeder = threading.Thread(target=go_on_sending)
    feeder.start()
    try:
        job.wait_for_line("streaming_counts batch=")
        for seconds in hangs:
            with away(fresh.settings, "cassandra", signal.SIGSTOP):
                time.sleep(seconds)
        for part in ("cassandra", "kafka"):
            with away(fresh.settings, part, signal.SIGTERM):
                time.sleep(gone)
    finally:
        over.set()
        feeder.join()
    eyes.wait_for_the_truth(180)
    assert job.terminate() == 0
    assert eyes.answers[200] and not set(eyes.answers) - {200, 503}


@pytest.mark.thorough
def test_writes_that_were_applied_and_never_acknowledged_count_once_where_a_counter_column_counts_twice(
    proxied: tuple[Stack, Proxy], feed: Feed, eyes: Eyes, spark: Any, cassandra: Any
) -> None:
    stack, proxy = proxied
    feed.send(1000)
    many = [
        event(f"m{n}", "play", track_id=f"m{n}", creator_id=f"mc{n}") for n in range(5000)
    ]  # as many rows, and more
    produce(stack.settings.kafka, many)
    begun = proxy.asked

    def lose() -> None:
        while proxy.asked < begun + 100_000:  # the connector is in the middle of its writes
            time.sleep(0.005)
        proxy.lose_answers(1.0)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    run_in(stack.settings, "streaming_counts")
    losing.join(60)
    assert proxy.lost > 0, "no answer was lost"
    eyes.wait_for_the_truth(20)
    keyspace = stack.settings.realtime.keyspace
    of = f"counter = '{stored_names(stack.settings)['plays']}'"
    rows = cassandra.execute(f"SELECT key, count FROM {keyspace}.increments WHERE {of} ALLOW FILTERING")
    counts = [row.count for row in rows if row.key.startswith("m")]
    assert (len(counts), set(counts)) == (5000, {1})

    cassandra.execute(f"CREATE TABLE {keyspace}.naive (key text PRIMARY KEY, plays counter)")
    cluster = Cluster(["127.0.0.1"], port=proxy.port, protocol_version=5)
    try:
        session = cluster.connect(keyspace)
        losing = threading.Thread(target=proxy.lose_answers, args=(3.0,))
        losing.start()
        for _ in range(3):  # one play, sent again until it is acknowledged, as a consumer does
            try:
                session.execute("UPDATE naive SET plays = plays + 1 WHERE key = 't1'", timeout=1)
                break
            except Exception:
                continue
        losing.join()
    finally:
        cluster.shutdown()
    assert cassandra.execute(f"SELECT plays FROM {keyspace}.naive").one().plays > 1


@pytest.mark.slow
def test_with_acks_1_and_a_broker_that_is_killed_the_count_lies_between_acknowledged_and_attempted(
    fresh: Stack, feed: Feed, run_job: Run
) -> None:
    acknowledged: list[int] = []
    producer = Producer({"bootstrap.servers": fresh.settings.kafka.bootstrap_servers, "acks": 1, "linger.ms": 5,
                         "message.timeout.ms": 60_000, "log_level": 0})  # fmt: skip
    attempted = 0

    def send(events: int) -> None:
        nonlocal attempted
        for n in range(events):
            attempted += 1
            value = (
                f'{{"event_id": "a{attempted}", "type": "play", '
                '"occurred_at": "2024-02-29T00:00:00Z", "track_id": "t1"}'
            )
            producer.produce(
                fresh.settings.kafka.topic, value, on_delivery=lambda error, _: error or acknowledged.append(1)
            )
            if n % 50 == 0:
                producer.poll(0.01)

    send(5000)
    with away(fresh.settings, "kafka", signal.SIGKILL):
        send(5000)
    producer.flush(90)
    run_job("streaming_counts")
    held = sum(high - low for low, high in edges(fresh.settings.kafka).values())
    counted = total(fresh)
    assert len(acknowledged) <= counted <= attempted and counted == held


def total(stack: Stack) -> int:
    from serving.app import create_app
    from serving.layers.cassandra import CassandraLayers

    layers = CassandraLayers(stack.settings)
    try:
        answer = create_app(stack.settings, layers).test_client().get("/v1/totals?counters=plays&keys=t1")
        return int(answer.json["data"][0]["counts"]["plays"])
    finally:
        layers.close()


def fill(ballast: Path) -> None:
    """All of the disk but a few pages."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as out:
        while True:
            out.write(b"0" * 4096)
    with ballast.open("r+b") as out:
        out.truncate(ballast.stat().st_size - 8 * 4096)


@pytest.mark.slow
def test_a_disk_that_is_full_stops_the_archive_with_a_message_and_the_log_goes_on_when_there_is_room(
    fresh: Stack,
    feed: Feed,
    eyes: Eyes,
    run_job: Run,
    small_disk: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = write_config(
        tmp_path / "small.toml",
        base=fresh.config_path,
        lake={"catalog": "small_lake", "warehouse": str(small_disk / "lake")},
        streaming={"retry_for": "2s"},
    )
    settings = load_settings(config)
    run_in(settings, "archive_events")  # the table is there, and empty
    fill(small_disk / "ballast")
    feed.send(5000)
    with pytest.raises(JobError, match=r"(?s)No space left on device.*nothing is lost"):
        run_in(settings, "archive_events")
    (small_disk / "ballast").unlink()
    run_in(settings, "archive_events")
    run_job("streaming_counts")
    eyes.wait_for_the_truth(20)
    said = {finding["about"]: finding["said"] for finding in run_in(settings, "audit_counts")["findings"]}
    assert said["log: contiguous"].startswith("5000 records")
