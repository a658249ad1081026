"""The jobs on a real Kafka and Cassandra: what a user sees when all is well, and when something is not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from pyspark.sql import SparkSession

from jobs.process.errors import JobError
from stitch.definitions import name_of
from stitch.settings import load_settings
from stitch.submit import submit
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, submit_command, write_config
from tests.steps import count, event, wait_for_line, wait_for_the_window_to_end


def everything(capfd: pytest.CaptureFixture[str]) -> str:
    """Both streams: spark-submit hands a Python driver's stderr on as its own stdout."""
    return "".join(capfd.readouterr())


def test_likes_duplicates_and_rejects_come_out_right_over_two_nights_and_a_full_recount(
    fresh: Stack, reader: Reader, run_job: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    client = reader(fresh.settings)
    produce(
        fresh.settings.kafka,
        [
            event("e1", "like", track_id="t/1 🎵", creator_id="c1"),
            event("e2", "like", track_id="t/1 🎵", creator_id="c1"),
            event("e2", "like", track_id="t/1 🎵", creator_id="c1"),  # a duplicate: the batch removes it
            event("e3", "unlike", track_id="t2"),
            event("e4", "play", track_id="t2", creator_id="c1", duration_s=31),
            event("e5", "play", track_id="t3", creator_id="c1", duration_s="long"),  # a play, of no length
            b"{broken",
            None,
            event("e6", "never_heard_of"),
        ],
    )
    run_job("streaming_counts")
    run_job("archive_events")
    said = [line for line in capfd.readouterr().out.splitlines() if "batch=" in line]
    assert [("rejected=2 noted=1" in line, line.split()[0]) for line in said] == [
        (True, "streaming_counts"),
        (True, "archive_events"),
    ]
    assert (count(client, "likes", "t/1 🎵"), count(client, "likes", "t2")) == (3, -1)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert "records=9 rejected=2 excluded=0 duplicates=1 events=6 noted=1" in capfd.readouterr().out
    assert (count(client, "likes", "t/1 🎵"), count(client, "likes", "t2")) == (2, -1)
    assert (count(client, "listened_seconds", "t2"), count(client, "plays", "t3")) == (31, 1)

    produce(
        fresh.settings.kafka,
        [
            event("e1", "like", track_id="t/1 🎵", creator_id="c1"),  # a duplicate, a night later
            event("e7", "like", track_id="t/1 🎵", creator_id="c1"),
        ],
    )
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert "run=incremental records=2 rejected=0 excluded=0 duplicates=1 events=1" in capfd.readouterr().out
    assert count(client, "likes", "t/1 🎵") == 3
    before = table(fresh)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals", full=True)
    said = capfd.readouterr().out
    assert "run=full records=11 rejected=2 excluded=0 duplicates=2 events=7 noted=1 rows_written=0" in said
    assert table(fresh) == before


def table(fresh: Stack) -> list[tuple[Any, ...]]:
    """The rows of totals and member_totals, cutoffs apart."""
    from stitch_local.schema import connected

    with connected(fresh.settings.batch) as session:
        rows = [
            tuple(row)
            for columns in ("counter, key, granularity, bucket, count FROM {}.totals",
                            "counter, key, granularity, bucket, member, count FROM {}.member_totals")
            for row in session.execute("SELECT " + columns.format(fresh.settings.batch.keyspace))
        ]  # fmt: skip
    return sorted(rows, key=str)


@pytest.mark.thorough
def test_feeding_the_topic_again_with_a_lost_checkpoint_changes_no_increment(
    fresh: Stack, reader: Reader, run_job: Callable[..., None]
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1", creator_id="c1") for n in range(100)])
    run_job("streaming_counts")
    assert count(client, "plays", "t1") == 100
    shutil.rmtree(fresh.settings.streaming.checkpoint)
    run_job("streaming_counts")
    assert (count(client, "plays", "t1"), count(client, "creator_plays", "c1")) == (100, 100)


@pytest.mark.slow
def test_sigterm_ends_the_streaming_job_after_its_batch_and_the_next_start_goes_on_from_there(
    fresh: Stack, reader: Reader, tmp_path: Path
) -> None:
    client = reader(fresh.settings)
    for run in (1, 2):
        produce(fresh.settings.kafka, [event(f"e{run}-{n}", "play", track_id="t1") for n in range(10)])
        log = tmp_path / f"streaming-{run}.log"
        with log.open("wb") as out:
            command = submit_command(fresh, "streaming_counts")
            job = subprocess.Popen(command, stdout=out, stderr=out)
            try:
                wait_for_line(log, "streaming_counts batch=", job)
                job.send_signal(signal.SIGTERM)
                assert job.wait(90) == 0, log.read_text("utf-8")
            finally:
                job.terminate()
        assert count(client, "plays", "t1") == 10 * run
        counted = [line for line in log.read_text("utf-8").splitlines() if line.startswith("streaming_counts batch=")]
        assert ["events=10 " in line for line in counted] == [True]  # no batch was replayed


@pytest.mark.thorough
def test_what_a_job_prints_as_json_is_all_that_it_prints(fresh: Stack, run_job: Callable[..., None]) -> None:
    produce(fresh.settings.kafka, [event("e1", "play", track_id="t1")])
    run_job("archive_events")
    end = wait_for_the_window_to_end(fresh)
    asked = ["restore_counts", "--to", f"{end:%FT%TZ}", "--json"]
    done = subprocess.run(submit_command(fresh, *asked), stdout=subprocess.PIPE, text=True, timeout=180)
    assert done.returncode == 3  # nobody counted it in real time
    (found,) = [row for row in json.loads(done.stdout)["differences"] if name_of(row["counter"]) == "plays"]
    assert (found["key"], found["stored"], found["expected"]) == ("t1", None, 1)


def test_a_topic_with_producers_timestamps_is_refused_with_the_command_that_mends_it(
    fresh: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    kafka = fresh.settings.kafka
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, kafka.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()
    assert submit("streaming_counts", ["--available-now"], str(fresh.config_path)) == 1
    said = everything(capfd)
    assert f"--entity-name {kafka.topic} --add-config message.timestamp.type=LogAppendTime" in said
    assert "Traceback" not in said


def refused(fresh: Stack, tmp_path: Path, job: str, **sections: Any) -> str:
    """The message with which the job ends; what a shell shows of it is tested with the CreateTime topic above."""
    config = write_config(tmp_path / "refused.toml", base=fresh.config_path, **sections)
    with pytest.raises(JobError) as told:
        run_in(load_settings(config), job)
    return str(told.value)


def test_a_missing_topic_is_named(fresh: Stack, spark: Any, tmp_path: Path) -> None:
    said = refused(fresh, tmp_path, "archive_events", kafka={"topic": "nowhere"})
    assert "the topic 'nowhere' does not exist" in said and "stitch local up" in said


def test_a_schema_of_an_earlier_version_is_named_with_what_it_lacks(
    fresh: Stack, run_job: Callable[..., None], cassandra: Any
) -> None:
    cassandra.execute(f"DROP TABLE {fresh.settings.batch.keyspace}.keys")
    with pytest.raises(JobError, match=r"lacks keys: `stitch schema apply` adds what is missing"):
        run_job("batch_totals")


def test_a_kafka_that_is_down_is_named(fresh: Stack, spark: Any, tmp_path: Path) -> None:
    said = refused(fresh, tmp_path, "archive_events", kafka={"bootstrap_servers": "127.0.0.1:1"})
    assert "no Kafka at 127.0.0.1:1" in said and "kafka.bootstrap_servers" in said


def test_a_cassandra_that_is_down_is_named(fresh: Stack, spark: Any, tmp_path: Path) -> None:
    said = refused(fresh, tmp_path, "streaming_counts", realtime={"port": 1})
    assert "no Cassandra at 127.0.0.1:1 for the realtime layer" in said and "realtime.port" in said


def test_a_batch_refuses_a_cutoff_that_the_log_cannot_prove_complete(
    fresh: Stack, run_job: Callable[..., None]
) -> None:
    produce(fresh.settings.kafka, [event("e1", "like", track_id="t1")])
    run_job("archive_events")
    produce(fresh.settings.kafka, [event("e2", "like", track_id="t1")])
    wait_for_the_window_to_end(fresh)
    with pytest.raises(JobError, match="is not complete before"):
        run_job("batch_totals")


@pytest.mark.thorough
def test_a_log_that_another_decoder_wrote_is_decoded_anew(
    fresh: Stack, reader: Reader, run_job: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    produce(fresh.settings.kafka, [event(f"e{n}", "like", track_id="t1", song="s1") for n in range(3)])
    run_job("archive_events")
    other = write_config(tmp_path / "other.toml", base=fresh.config_path, events={"paths": {"track_id": "song"}})
    wait_for_the_window_to_end(fresh)
    run_in(load_settings(other), "batch_totals")
    assert "records=3 rejected=0 excluded=0 duplicates=0 events=3" in everything(capfd)
    client = reader(fresh.settings)
    assert (count(client, "likes", "s1", "batch"), count(client, "likes", "t1", "batch")) == (3, 0)


@pytest.mark.thorough
def test_a_round_of_the_archive_leaves_no_connection_to_the_catalog_open(
    fresh: Stack, spark: SparkSession, run_job: Callable[..., Any]
) -> None:
    process = spark._jvm.java.lang.ProcessHandle.current().pid()

    def connections() -> int:
        held = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir() if link.exists()]
        return sum(one.startswith(f"{fresh.settings.lake.warehouse}/catalog.db") for one in held)

    found = []
    for n in range(4):
        produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1")])
        run_job("archive_events")
        found.append(connections())
    assert found[0] > 0 and len(set(found)) == 1, found
