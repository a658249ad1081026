"""The benches in small: what they measure beside our jobs still reads what our jobs write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import top
from bench.bench import backlog, counter_updates, duckdb_seconds
from bench.freshness import measure as measure_freshness
from bench.load import Size
from bench.nights import Traffic, nights, settings_of
from bench.serving import fill, measure
from bench.size import day_of, held, rows_of
from bench.start import starts
from stitch_local.producer import produce
from tests.conftest import Stack, needs
from tests.steps import wait_for_the_connector


def test_the_plain_ways_beside_the_jobs_count_the_same_backlog(fresh: Stack, run_job: Callable[..., None]) -> None:
    sent = produce(fresh.settings.kafka, backlog(10_000))
    assert counter_updates(fresh.settings, 1_000) > 0
    run_job("archive_events")
    seconds, rows = duckdb_seconds(fresh.settings)
    assert sent > 10_000 and seconds > 0 and rows > 1_000


def test_what_events_leave_in_each_part_is_counted(fresh: Stack, run_job: Callable[..., None]) -> None:
    sent = produce(fresh.settings.kafka, day_of(3_000, tracks=1_000, skew=0.0))
    run_job("streaming_counts")
    run_job("archive_events")
    rows = rows_of(fresh.settings)
    assert rows[f"{fresh.settings.realtime.keyspace}.increments"] > 3_000
    found = {one.name: one for one in held(fresh.settings, rows)}
    assert sent * 100 < found[f"topic `{fresh.settings.kafka.topic}`"].size < sent * 1_000
    assert found["lake: events"].size > sent * 10 and found["checkpoint of streaming_counts"].size > 0
    assert found["Cassandra: increments"].rows == rows[f"{fresh.settings.realtime.keyspace}.increments"]


def test_the_first_ten_of_a_key_with_many_members_are_the_same_by_its_list_and_by_all_of_them(
    fresh: Stack, cassandra: Any
) -> None:
    said: list[str] = []
    found = top.measure(fresh.settings, cassandra, top.Size(members=2_000, live=50, asks=3, reads=1), said.append)
    assert len(said) == 1 + len(found) == 5 and all(took.of(0.5) > 0 for took in found.values())


@pytest.mark.thorough
def test_nights_of_equal_days_write_what_a_day_touches_or_the_days_since_the_last_night(
    fresh: Stack, spark: Any, tmp_path: Path
) -> None:
    settings = settings_of(fresh.settings, tmp_path)
    wait_for_the_connector(spark, settings)
    traffic = Traffic(events=200, tracks=50, released=5)
    found = list(nights(spark, settings, 5, traffic, {1, 2, 5}))
    assert [night.number for night in found] == [1, 2, 5]
    assert all(night.written > 0 and night.cpu > 0 and night.held >= night.written for night in found)
    # Of each of the 50 tracks at most 24 hours, a day, a month, and all time, in two counters and a breakdown.
    assert all(0 < night.rows < 3 * 55 * 27 + 997 * 27 for night in found[:2]) and found[2].rows > found[1].rows
    assert traffic.of_day(1) == traffic.of_day(1) != traffic.of_day(2)


@pytest.mark.thorough
def test_a_job_without_work_is_started_with_the_file_of_classes_and_without(fresh: Stack) -> None:
    with_it, without = starts(fresh.config_path, ["archive_events"], rounds=1)
    assert with_it.kept and not without.kept
    assert min(with_it.seconds, with_it.cpu_seconds, without.seconds, without.cpu_seconds) > 0.5


@pytest.mark.thorough
def test_events_are_asked_for_from_their_acknowledgement_to_the_answer(fresh: Stack) -> None:
    said: list[str] = []
    probes = measure_freshness(fresh.config_path, rate=200, seconds=4, trigger="0s", say=said.append)
    assert len(probes.found) == 20 and not probes.waiting and not probes.lost
    assert all(0 < seconds < 60 for _, seconds in probes.found)
    assert said[2].startswith("| all | 20 | ")


@pytest.mark.thorough
def test_the_reader_is_asked_what_the_raw_driver_reads_and_answers_while_it_is_attacked(
    fresh: Stack, cassandra: Any, tmp_path: Path
) -> None:
    needs("wrk")
    size = Size(seconds=1, workers=1, threads=4, keys=300, members=100, things=5, days=60)
    fill(fresh.settings, cassandra, size)
    said: list[str] = []
    found = measure(fresh.config_path, tmp_path, size, said.append)
    assert {"hot key", "cold keys", "the mix", "undisturbed", "200 stalled in bodies"} <= set(found)
    assert all(load["rate"] > 0 and load["p99"] > 0 for loads in found.values() for load in loads.values())
    assert len(said) >= 2 * 6 + 5 and found["hot key"]["reader"]["cpu"] < found["hot key"]["raw driver"]["cpu"]
