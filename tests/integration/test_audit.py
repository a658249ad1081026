"""The audit is never green over a wrong count: each fault is made by hand in one small world that is counted, published
and streamed, and the audit must name what is wrong, where and by how much; and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession

from jobs.audit.findings import NOT_KNOWN, printed
from jobs.lake.log import LOSSES, NOTE, UNCOUNTED
from jobs.process.spark import session as spark_session
from stitch.cutoff import Published
from stitch.definitions import stored_names
from stitch.runs import tag
from tests.conftest import Stack, apart, run_in
from tests.steps import event, wait_for_the_window_to_end

COUNTERS = [
    {"name": "plays", "key": "track_id", "weights": {"play": 1}},
    {"name": "likes", "key": "track_id", "weights": {"like": 1, "unlike": -1}},
    {"name": "creator_plays", "key": "creator_id", "member": "track_id", "weights": {"play": 1}, "chart": True},
]
# Partition 0: offsets 0 to 9 are a0 … a9, of t0 and t1 in turn; 10 is a0 again, 11 no event; 12 to 15 are b0 … b3.
COUNTED = [event(f"a{n}", "play", track_id=f"t{n % 2}", creator_id="c1") for n in range(10)]
LIVE = [event(f"b{n}", "play", track_id=f"t{n % 2}", creator_id="c1") for n in range(4)]
LIKE = event("like", "like", track_id="t1")  # partition 1, offset 0
DAY, HOURS = "'2024-02-29T00:00Z'", "'2024-02-29T23:00Z'"


class Fault(NamedTuple):
    """What is done to the world, by CQL or Iceberg's SQL; and what the audit must say: about → patterns of details.

    CQL is undone by `mend`, what is done to the log ({events}) by a rollback. {batch}, {realtime}: the keyspaces
    """

    bend: list[str]
    wrong: dict[str, list[str]]
    mend: Sequence[str] = ()


class World(NamedTuple):
    """The stack and what the statements of faults name."""

    stack: Stack
    names: dict[str, Any]


def total(name: str, what: str, where: str) -> str:
    return f"UPDATE {{batch}}.{name} SET {what} WHERE {where}"


T0_DAY = f"counter = '{{plays}}' AND key = 't0' AND granularity = 'day' AND bucket = {DAY}"
T0 = [
    f"counter = '{{plays}}' AND key = 't0' AND granularity = '{name}' AND bucket = {at}"
    for name, at in (("hour", HOURS), ("day", DAY), ("month", "'2024-02-01T00:00Z'"), ("all", "0"))
]
T1_ALL = "counter = '{plays}' AND key = 't1' AND granularity = 'all' AND bucket = 0"
OF_C1 = "counter = '{creator_plays}' AND key = 'c1' AND granularity = 'all' AND bucket = 0 AND member"
CHART = f"counter = '{{creator_plays}}' AND granularity = 'day' AND bucket = {DAY}"
GHOST = f"counter = '{{plays}}' AND key = 'ghost' AND granularity = 'hour' AND bucket = {HOURS}"
LIVE_T0 = (
    "counter = '{plays}' AND key = 't0' AND ingest_date = '{live:%F}' AND ingest_window = '{live:%FT%TZ}' "
    f"AND bucket = {HOURS}"
)
TO_COME = "counter = '{plays}' AND key = 't0' AND ingest_date = '2030-01-01' AND ingest_window = '2030-01-01T00:00Z' "
TO_COME += f"AND bucket = {HOURS}"
OFFSET = "partition = 0 AND offset ="
UNBALANCED = r"Z: \d+ appended = .* excluded  IS WRONG"

FAULTS = {
    "a total of one granularity is changed": Fault(
        [total("totals", "count = 99", T0_DAY)],
        {"totals: recount": [r"^plays@\w+ t0 day 2024-02-29T00:00:00Z: stored 99, log 5$"],
         "totals: zoom": [r"^plays@\w+ t0: .*'day': 99"]},
        [total("totals", "count = 5", T0_DAY)],
    ),
    "a total is changed in all granularities alike": Fault(
        [total("totals", "count = 6", where) for where in T0],
        {"totals: recount": [
            rf"^plays@\w+ t0 {name} \S+: stored 6, log 5$" for name in ("hour", "day", "month", "all")]},
        [total("totals", "count = 5", where) for where in T0],
    ),
    "a total is deleted": Fault(
        [f"DELETE FROM {{batch}}.totals WHERE {T1_ALL}"],
        {"totals: recount": [r"^plays@\w+ t1 all 1970-01-01T00:00:00Z: stored None, log 5$"],
         "totals: zoom": [r"^plays@\w+ t1: "]},
        [total("totals", "count = 5, cutoff = '{cutoff}'", T1_ALL)],
    ),
    "a total of a key that no event has is added": Fault(
        [total("totals", "count = 7, cutoff = '2024-03-01'", GHOST)],
        {"totals: recount": [r"^plays@\w+ ghost hour 2024-02-29T23:00:00Z: stored 7, log None$"],
         "totals: zoom": [r"^plays@\w+ ghost: "]},
        [f"DELETE FROM {{batch}}.totals WHERE {GHOST}"],
    ),
    "a total has a cutoff that is to come": Fault(
        [total("totals", "cutoff = '2030-01-01'", T0_DAY)],
        {"totals: recount": [
            r"^plays@\w+ t0 day .*: stored 5, log 5, under the later cutoff 2030-01-01T00:00:00Z$"]},
        [total("totals", "cutoff = '{cutoff}'", T0_DAY)],
    ),
    "a total of a member is changed": Fault(
        [total("member_totals", "count = 1000", f"{OF_C1} = 't0'")],
        {"totals: recount": [r"^creator_plays@\w+ c1 t0 all 1970-01-01T00:00:00Z: stored 1000, log 5$"],
         "totals: zoom": [r"^creator_plays@\w+ c1 t0: .*'all': 1000"]},
        [total("member_totals", "count = 5", f"{OF_C1} = 't0'")],
    ),
    "a total of a member is added": Fault(
        [total("member_totals", "count = 3", f"{OF_C1} = 'nobody'")],
        {"totals: recount": [r"^creator_plays@\w+ c1 nobody all 1970-01-01T00:00:00Z: stored 3, log None$"],
         "totals: zoom": [r"^creator_plays@\w+ c1 nobody: "]},
        [f"DELETE FROM {{batch}}.member_totals WHERE {OF_C1} = 'nobody'"],
    ),
    "a list names a member that is not the first": Fault(
        [f"INSERT INTO {{batch}}.ranked_members (counter, key, granularity, bucket, members, counts, cutoff) "
         f"VALUES ('{{creator_plays}}', 'c1', 'all', 0, ['{name}'], [5], '{{cutoff}}')" for name in ("t1",)],
        {"totals: lists": [r"^creator_plays@\w+ c1 all 1970-01-01T00:00:00Z: a list of 1 members, which are not"]},
        ["TRUNCATE {batch}.ranked_members"],
    ),
    "a chart names a key that is not the first": Fault(
        [f"UPDATE {{batch}}.ranked_keys SET keys = ['nobody'] WHERE {CHART}"],
        {"totals: charts": [r"^creator_plays@\w+ day 2024-02-29T00:00:00Z: a list of 1 keys, which are not the first"]},
        [f"UPDATE {{batch}}.ranked_keys SET keys = ['c1'] WHERE {CHART}"],
    ),
    "a chart is deleted": Fault(
        [f"DELETE FROM {{batch}}.ranked_keys WHERE {CHART}"],
        {"totals: charts": [r"^creator_plays@\w+ day 2024-02-29T00:00:00Z: no list, where keys count"]},
        [f"UPDATE {{batch}}.ranked_keys SET keys = ['c1'], counts = [10], cutoff = '{{cutoff}}' WHERE {CHART}"],
    ),
    "an increment is changed": Fault(
        [f"UPDATE {{realtime}}.increments SET count = 1002 WHERE {LIVE_T0}"],
        {"increments: log": [r"^plays@\w+ t0 {live:%FT%TZ}: stored 1002, log 2$"]},
        [f"UPDATE {{realtime}}.increments SET count = 2 WHERE {LIVE_T0}"],
    ),
    "an increment is deleted": Fault(
        [f"DELETE FROM {{realtime}}.increments WHERE {LIVE_T0}"],
        {"increments: log": [r"^plays@\w+ t0 {live:%FT%TZ}: stored None, log 2$"]},
        [f"UPDATE {{realtime}}.increments SET count = 2 WHERE {LIVE_T0}"],
    ),
    "an increment is added": Fault(
        [f"UPDATE {{realtime}}.increments SET count = 7 WHERE {LIVE_T0.replace('t0', 'ghost')}"],
        {"increments: log": [r"^plays@\w+ ghost {live:%FT%TZ}: stored 7, log None$"]},
        [f"DELETE FROM {{realtime}}.increments WHERE {LIVE_T0.replace('t0', 'ghost')}"],
    ),
    "an increment of a window to come is added": Fault(
        [f"UPDATE {{realtime}}.increments SET count = 7 WHERE {TO_COME}"],
        {"increments: log": [
            r"^plays@\w+ t0 2030-01-01T00:00:00Z: stored 7, log None, in a window that has not begun$"]},
        [f"DELETE FROM {{realtime}}.increments WHERE {TO_COME}"],
    ),
    "a record is deleted from the middle of the log": Fault(
        [f"DELETE FROM {{events}} WHERE {OFFSET} 3"],
        {"log: contiguous": [r"^partition 0, topic \S+: 1 records missing that the topic holds, offsets 3 to 3$"],
         "conservation": [UNBALANCED],
         "totals: recount": [
            r"^plays@\w+ t1 all \S+: stored 5, log 4$", r"^creator_plays@\w+ c1 t1 all \S+: stored 5, log 4$"]},
    ),
    "records are deleted from the beginning and the end of the log": Fault(
        [f"DELETE FROM {{events}} WHERE {OFFSET} 0 OR {OFFSET} 15"],
        # In place of a0 counts the same event, which is there again: no total differs.
        {"log: contiguous": [
            r"^partition 0, topic \S+: 2 records missing at an end of the log that the topic holds, offsets 0 to 15$"],
         "conservation": [UNBALANCED],
         "increments: log": [r"^plays@\w+ t1 \S+: stored 2, log 1$"]},
    ),
    "all records of a partition are deleted": Fault(
        ["DELETE FROM {events} WHERE partition = 1"],
        {"log: contiguous": [
            r"^partition 1, topic \S+: 1 records missing at an end of the log that the topic holds, offsets 0 to 0$"],
         "conservation": [UNBALANCED],
         "totals: recount": [r"^likes@\w+ t1 all \S+: stored 1, log None$"]},
    ),
    "a record is in the log twice": Fault(
        [f"INSERT INTO {{events}} SELECT * FROM {{events}} WHERE {OFFSET} 3"],
        {"log: contiguous": [r"^partition 0, topic \S+: 1 records are there more than once, the first at offset 3$"],
         "conservation": [UNBALANCED]},
    ),
    "the cutoff of one counter is moved ahead of what was counted": Fault(
        ["UPDATE {batch}.cutoffs SET cutoff = '{end:%FT%TZ}' WHERE counter = '{plays}'"],
        {"cutoffs: ledger": [r"^plays@\w+: published is cutoff=\S+, and by the ledger {tag} published it last$"],
         "totals: recount": [r"^plays@\w+ t0 all \S+: stored 5, log 7$"]},
        ["UPDATE {batch}.cutoffs SET cutoff = '{cutoff}' WHERE counter = '{plays}'"],
    ),
    "the cutoff of one counter is moved back": Fault(
        ["UPDATE {batch}.cutoffs SET cutoff = '{hour_before:%FT%TZ}' WHERE counter = '{likes}'"],
        {"cutoffs: ledger": [r"^likes@\w+: published is cutoff=\S+, and by the ledger {tag} published it last$"],
         "totals: recount": [r"^likes@\w+ t1 all \S+: stored 1, log None, under the later cutoff {cutoff}$"]},
        ["UPDATE {batch}.cutoffs SET cutoff = '{cutoff}' WHERE counter = '{likes}'"],
    ),
    "the cutoff of one counter is deleted": Fault(
        ["DELETE FROM {batch}.cutoffs WHERE counter = '{likes}'"],
        {"cutoffs: ledger": [r"^likes@\w+: no cutoff is published, and by the ledger {tag} published it last$"],
         "totals: recount": [r"^likes@\w+ t1 all 1970-01-01T00:00:00Z: stored 1$"]},
        ["INSERT INTO {batch}.cutoffs (counter, cutoff, revision) VALUES ('{likes}', '{cutoff}', {revision})"],
    ),
    "an event is rejected by hand": Fault(
        [f"UPDATE {{events}} SET reject_reason = 'by hand', verdict = 'rejected' WHERE {OFFSET} 3"],
        {"log: rejected": [
            r"^partition 0, topic \S+: 1 events not counted, rejected though .* by the settings, offsets 3 to 3$"],
         "totals: recount": [r"^plays@\w+ t1 all \S+: stored 5, log 4$"]},
    ),
    "an event was stamped by its producer": Fault(
        [f"UPDATE {{events}} SET reject_reason = 'stamped', verdict = 'rejected', timestamp_type = 0 WHERE {OFFSET} 3"],
        {"log: rejected": [
            r"^partition 0, topic \S+: 1 events not counted, since their producer stamped them, offsets 3 to 3$"],
         "totals: recount": [r"^plays@\w+ t1 all \S+: stored 5, log 4$"]},
    ),
    "one id is used for two events": Fault(
        [f"UPDATE {{events}} SET event_id = 'a0' WHERE {OFFSET} 3"],
        {"log: identity": [
            r"partition 0, topic \S+: 1 events not counted, whose event_id .* offsets 3 to 3, such as 'a0'$"],
         "totals: recount": [r"^plays@\w+ t1 all \S+: stored 5, log 4$"]},
    ),
}  # fmt: skip


# One for each finding. An audit takes seconds, so `make faults` makes the others.
QUICK = {
    "a total of one granularity is changed",
    "a total has a cutoff that is to come",
    "an increment of a window to come is added",
    "records are deleted from the beginning and the end of the log",
    "the cutoff of one counter is moved ahead of what was counted",
    "an event was stamped by its producer",
    "one id is used for two events",
}
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]


@pytest.fixture(scope="module")
def world(stack: Stack, spark: SparkSession, cassandra: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Ten plays, one of them sent twice, a like, and a record that is no event, counted and published; four plays more
    in the increments."""
    mine = apart(stack, tmp_path_factory.mktemp("audit"), counters=COUNTERS)
    settings = mine.settings
    send(mine, 0, [*COUNTED, COUNTED[0], b"{broken"])
    send(mine, 1, [LIKE])
    cutoff = brought_in(mine)
    run_in(settings, "batch_totals", cutoff=cutoff)
    send(mine, 0, LIVE)
    end = brought_in(mine)
    row = cassandra.execute(f"SELECT cutoff, revision FROM {settings.batch.keyspace}.cutoffs").one()
    (live,) = {one.ingest_window.replace(tzinfo=UTC)
               for one in cassandra.execute(f"SELECT ingest_window FROM {settings.realtime.keyspace}.increments")
               if one.ingest_window.replace(tzinfo=UTC) >= cutoff}  # fmt: skip
    names = {
        "batch": settings.batch.keyspace, "realtime": settings.realtime.keyspace, "events": settings.lake.events,
        "cutoff": f"{cutoff:%FT%TZ}", "revision": row.revision,
        "tag": tag(Published(cutoff, row.revision)),
        **stored_names(settings), "live": live, "end": end, "hour_before": cutoff - timedelta(hours=1),
    }  # fmt: skip
    return World(mine, names)


def send(stack: Stack, partition: int, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": stack.settings.kafka.bootstrap_servers})
    for value in values:
        producer.produce(stack.settings.kafka.topic, value, partition=partition)
    assert producer.flush(30) == 0


def brought_in(stack: Stack) -> datetime:
    """Let both layers read what was sent; returns an edge behind it."""
    run_in(stack.settings, "streaming_counts")
    run_in(stack.settings, "archive_events")
    return wait_for_the_window_to_end(stack)


@pytest.fixture
def bend(world: World, spark: SparkSession, cassandra: Any) -> Iterator[Any]:
    """bend(fault) makes it; with the test it is mended."""
    settings, made = world.stack.settings, []
    with spark_session("test", settings):
        (before,) = spark.sql(f"SELECT snapshot_id FROM {settings.lake.events}.refs WHERE name = 'main'").first()

    def apply(statements: Sequence[str]) -> None:
        with spark_session("test", settings):
            for statement in statements:
                run = spark.sql if "{events}" in statement else cassandra.execute
                run(statement.format(**world.names))

    def bent(fault: Fault) -> None:
        made.append(fault)
        apply(fault.bend)

    yield bent
    for fault in made:
        apply(fault.mend)
    table = settings.lake.events.removeprefix(f"{settings.lake.catalog}.")
    with spark_session("test", settings):
        spark.sql(f"CALL {settings.lake.catalog}.system.set_current_snapshot('{table}', {before})")


def audited(world: World) -> dict[str, Any]:
    report: dict[str, Any] = run_in(world.stack.settings, "audit_counts")
    print(printed(report))
    return report


def wrong(report: dict[str, Any]) -> dict[str, list[str]]:
    """What the audit found wrong: about → details."""
    return {one["about"]: one["details"] for one in report["findings"] if not one["right"]}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_named_by_what_it_is_where_and_by_how_much_and_nothing_else_is(
    world: World, bend: Any, name: str
) -> None:
    fault = FAULTS[name]
    bend(fault)
    found = wrong(audited(world))
    assert found.keys() == fault.wrong.keys(), found
    for about, patterns in fault.wrong.items():
        for pattern in patterns:
            asked = re.compile(filled(pattern, world.names))
            assert any(asked.search(line) for line in found[about]), (asked.pattern, found[about])


def filled(pattern: str, names: dict[str, Any]) -> str:
    """A pattern with the names of the world: its other braces are left as they are."""
    return re.sub(r"\{(live:%FT%TZ|tag|cutoff)\}", lambda match: re.escape(match[0].format(**names)), pattern)


@pytest.mark.thorough
def test_what_is_mended_is_right_again_and_what_cannot_be_known_is_said(world: World) -> None:
    report = audited(world)
    assert wrong(report) == {}
    said = {one["about"]: one["said"] for one in report["findings"]}
    assert said["conservation"] == (
        "17 appended = 15 counted + 1 duplicates + 1 rejected + 0 excluded, in 2 ingest windows"
    )
    assert said["log: identity"] == "0 of 1 duplicates differ from the event that counts"
    assert said["log: rejected"] == "0 of 1 rejected records hold an event"
    lines = printed(report).splitlines()
    assert lines[-2:] == [f"not known: {NOT_KNOWN}", "the counts are right"]


@pytest.mark.slow
def test_a_loss_that_was_accepted_is_wrong_no_more_but_for_the_totals_that_counted_it(
    world: World, bend: Any, spark: SparkSession
) -> None:
    settings = world.stack.settings
    bend(FAULTS["a record is deleted from the middle of the log"])
    bend(
        FAULTS["one id is used for two events"]._replace(
            bend=[f"UPDATE {{events}} SET event_id = 'a0' WHERE {OFFSET} 5"]
        )
    )
    run_in(settings, "archive_events", accept_loss=[(None, 0, 3, 3)], accept_uncounted=[(None, 0, 5, 5)])
    try:
        found = wrong(audited(world))
        assert found.keys() == {"totals: recount"}, found
    finally:
        with spark_session("test", settings):
            spark.sql(f"ALTER TABLE {settings.lake.events} UNSET TBLPROPERTIES ('{NOTE}{LOSSES}', '{NOTE}{UNCOUNTED}')")
