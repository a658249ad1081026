"""The tables as CQL, what sets a keyspace apart from them, and what applying does with a cluster that says no."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from cassandra import InvalidRequest, OperationTimedOut, Unauthorized
from click.testing import CliRunner

from connections import schema
from serving.layers.cassandra import _BATCH, _REALTIME
from stitch import cql
from stitch.cli import main
from stitch.clusters import BatchSettings, RealtimeSettings
from stitch.cql import Wanted, window
from stitch.schema import Found, FoundColumn, FoundTable, differences
from stitch.tables import CHANGES, SCHEMA_CHANGES, TABLES, Change, Column, LayerName, Table, lacking, table

ROOT = Path(__file__).parents[2]
LAYERS = list(TABLES)

HITS = Table(
    "hits",
    "Whose?",
    "a hit",
    "its own",
    (Column("key", "text", "whose"), Column("at", "timestamp", "when"), Column("count", "bigint", "how many")),
    partition_key=("key",),
    clustering=("at",),
    expires=True,
)
ADDED = Change("2026-01-02 hits have a count", "realtime", ("ALTER TABLE {keyspace}.hits ADD count bigint",))
ONE_EACH = {"class": "NetworkTopologyStrategy", "dc1": "1"}
WANTED = Wanted("realtime", "ks", ONE_EACH, True, timedelta(days=14), (SCHEMA_CHANGES, HITS), (ADDED,))

COLUMNS = {
    "key": FoundColumn("text", "partition_key", 0),
    "at": FoundColumn("timestamp", "clustering", 0, "asc"),
    "count": FoundColumn("bigint"),
}
TWCS = {
    "class": "org.apache.cassandra.db.compaction.TimeWindowCompactionStrategy",
    "compaction_window_unit": "HOURS",
    "compaction_window_size": "12",
    "max_threshold": "32",
}
RECORDS = FoundTable(
    {"change": FoundColumn("text", "partition_key", 0), "made_at": FoundColumn("timestamp")},
)
REPLICATED = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "1"}


RIGHT = FoundTable(COLUMNS, 1209600, TWCS)


def found(
    replication: dict[str, str] | None = REPLICATED,
    hits: FoundTable | None = RIGHT,
    records: FoundTable | None = RECORDS,
    changes: frozenset[str] = frozenset({ADDED.name}),
    **nodes: int,
) -> Found:
    tables = {name: has for name, has in (("hits", hits), ("schema_changes", records)) if has}
    return Found(replication, tables, changes, nodes or {"dc1": 1})


def without(name: str) -> dict[str, FoundColumn]:
    return {column: has for column, has in COLUMNS.items() if column != name}


REPAIR = "run `nodetool repair --full ks` on every node"
ELSEWHERE = "set realtime.keyspace to a new name, `stitch schema apply`, and count into it"
CASES: dict[str, tuple[Found, list[tuple[str, str | None, str]]]] = {
    "as wanted": (found(), []),
    "more than wanted": (
        found(hits=FoundTable(COLUMNS | {"note": FoundColumn("text")}, 1209600, TWCS)),
        [],
    ),
    "no keyspace": (
        found(None, None, None, frozenset()),
        [("the keyspace ks does not exist", "CREATE KEYSPACE IF NOT EXISTS ks", "")],
    ),
    "no keyspace, and no such datacenter": (
        found(None, None, None, frozenset(), eu=1, us=3),
        [("realtime.replication names the datacenter 'dc1', which the cluster does not have (it has eu, us)", None,
          "correct realtime.replication")],
    ),
    "other replication": (
        found({"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "3"}),
        [("replication is {'class': 'SimpleStrategy', 'replication_factor': 3}, and realtime.replication says "
          "{'class': 'NetworkTopologyStrategy', 'dc1': 1}", "ALTER KEYSPACE ks WITH replication = "
          "{'class': 'NetworkTopologyStrategy', 'dc1': 1}", REPAIR)],
    ),
    "a table is missing": (
        found(hits=None),
        [("the table hits is missing", "CREATE TABLE IF NOT EXISTS ks.hits", "")],
    ),
    "no record of changes, from before there were any": (
        found(records=None, changes=frozenset()),
        [("the table schema_changes is missing", "CREATE TABLE IF NOT EXISTS ks.schema_changes", ""),
         ("the change '2026-01-02 hits have a count' has not been made", "ALTER TABLE ks.hits ADD count bigint", "")],
    ),
    "a column is missing": (
        found(hits=FoundTable(without("count"), 1209600, TWCS)),
        [("the column hits.count is missing", "ALTER TABLE ks.hits ADD count bigint", "")],
    ),
    "a column of another type": (
        found(hits=FoundTable(COLUMNS | {"count": FoundColumn("counter")}, 1209600, TWCS)),
        [("the column hits.count is counter, and should be bigint", None, ELSEWHERE)],
    ),
    "a static column": (
        found(hits=FoundTable(COLUMNS | {"count": FoundColumn("bigint", "static")}, 1209600, TWCS)),
        [("the column hits.count is static, and should not be", None, ELSEWHERE)],
    ),
    "another key": (
        found(hits=FoundTable(COLUMNS | {"at": FoundColumn("timestamp", "partition_key", 1)}, 1209600, TWCS)),
        [("the primary key of hits is ((key, at)), and should be ((key), at)", None, ELSEWHERE)],
    ),
    "another order": (
        found(hits=FoundTable(COLUMNS | {"at": FoundColumn("timestamp", "clustering", 0, "desc")}, 1209600, TWCS)),
        [("the primary key of hits is ((key), at DESC), and should be ((key), at)", None, ELSEWHERE)],
    ),
    "another expiry": (
        found(hits=FoundTable(COLUMNS, 86400, TWCS)),
        [("rows of hits expire after 86400 s, and realtime.retention is 1209600 s",
          "ALTER TABLE ks.hits WITH default_time_to_live = 1209600", "rows that are in hits keep the expiry")],
    ),
    "another window of compaction; what a DBA added stays": (
        found(hits=FoundTable(COLUMNS, 1209600, TWCS | {"compaction_window_size": "1"})),
        [("hits is compacted by {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'HOURS', "
          "'compaction_window_size': 1, 'max_threshold': 32}, and realtime.retention asks for {'class': "
          "'TimeWindowCompactionStrategy', 'compaction_window_unit': 'HOURS', 'compaction_window_size': 12}",
          "ALTER TABLE ks.hits WITH compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': "
          "'HOURS', 'compaction_window_size': 12, 'max_threshold': 32}", "")],
    ),
    "another compaction; its options are not those of time windows": (
        found(hits=FoundTable(COLUMNS, 1209600, {"class": "org.x.SizeTieredCompactionStrategy", "min_threshold": "4"})),
        [("hits is compacted by {'class': 'SizeTieredCompactionStrategy', 'min_threshold': 4}",
          "ALTER TABLE ks.hits WITH compaction = {'class': 'TimeWindowCompactionStrategy', "
          "'compaction_window_unit': 'HOURS', 'compaction_window_size': 12}", "")],
    ),
    "a change is not made": (
        found(changes=frozenset({"2025-01-01 something else"})),
        [("the change '2026-01-02 hits have a count' has not been made", "ALTER TABLE ks.hits ADD count bigint", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_named_with_the_statement_that_ends_it_or_the_way_out(case: str) -> None:
    has, expected = CASES[case]
    told = differences(WANTED, has)
    assert len(told) == len(expected)
    for difference, (what, statement, then) in zip(told, expected, strict=True):
        assert difference.what.startswith(what)
        done = [cql for cql in difference.cql if not cql.startswith("INSERT INTO ks.schema_changes")]
        assert difference.cql == () if statement is None else done[0].startswith(statement)
        assert difference.then.startswith(then) and bool(difference.then) == bool(then)


def test_a_raised_retention_is_recorded_and_a_lowered_one_is_not() -> None:
    """Rows keep the expiry they were written with: who needs them all must know since when they are held."""
    raised, lowered = (differences(WANTED, found(hits=FoundTable(COLUMNS, ttl, TWCS)))[0] for ttl in (86400, 9999999))
    recorded = cql.record(WANTED, "realtime.retention raised from 86400 s")
    altered = "ALTER TABLE ks.hits WITH default_time_to_live = 1209600"
    assert raised.cql == (recorded, altered, recorded)  # it may end behind any of them
    assert lowered.cql == (altered,)


def test_more_replicas_than_nodes_are_refused_before_anything_is_made() -> None:
    three = Wanted("batch", "ks", {"class": "NetworkTopologyStrategy", "dc1": "3"}, True, tables=WANTED.tables)
    (told,) = differences(three, found(None, None, None, frozenset(), dc1=2))
    assert told == ("batch.replication asks for dc1 = 3, and the cluster has 2 nodes for that", (),
                    "add nodes, or lower batch.replication")  # fmt: skip


def test_a_keyspace_keeps_its_replication_where_the_settings_say_none() -> None:
    """A person may have made it with three replicas: a default must not take two of them away."""
    three = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "3"}
    unsaid = Wanted("realtime", "ks", ONE_EACH, False, timedelta(days=14), WANTED.tables, WANTED.changes)
    assert differences(unsaid, found(three, dc1=3)) == []


def test_of_a_service_that_makes_keyspaces_and_compacts_as_it_likes_neither_is_asked() -> None:
    managed = replace(WANTED, managed=True)
    (told,) = differences(managed, found(None, None, None, frozenset()))
    assert told.cql == () and told.then == "make it where the service makes them"
    assert (
        differences(managed, found(hits=FoundTable(COLUMNS, 1209600, {"class": "x.UnifiedCompactionStrategy"}))) == []
    )
    assert "compaction" not in cql.create_table(managed, HITS)


def test_new_tables_need_no_change_of_older_ones() -> None:
    first, second = differences(WANTED, found(hits=None, records=None, changes=frozenset()))[:2]
    assert first.cql == (cql.create_table(WANTED, SCHEMA_CHANGES), cql.record(WANTED, ADDED.name))
    assert second.what == "the table hits is missing"


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        (timedelta(hours=1), ("MINUTES", 2)),
        (timedelta(days=1), ("HOURS", 1)),
        (timedelta(days=7), ("HOURS", 6)),
        (timedelta(days=14), ("HOURS", 12)),
        (timedelta(days=30), ("DAYS", 1)),
        (timedelta(days=400), ("DAYS", 16)),
    ],
)
def test_the_window_of_compaction_follows_the_retention(retention: timedelta, expected: tuple[str, int]) -> None:
    assert window(retention) == expected


def test_a_retention_of_a_day_or_more_has_20_to_30_windows() -> None:
    for days in [*range(1, 800), *range(800, 7300, 30)]:
        unit, size = window(timedelta(days=days))
        assert 20 <= timedelta(days=days) / (size * timedelta(**{unit.lower(): 1})) <= 30


@pytest.mark.parametrize("layer", LAYERS)
def test_the_files_in_conf_say_what_the_tables_say(layer: LayerName) -> None:
    config = str(ROOT / "conf/stitch.toml")
    shown = CliRunner().invoke(main, ["--config", config, "schema", "show", "--layer", layer])
    file = ROOT / f"conf/schema/{layer}.cql"
    assert shown.output == file.read_text("utf-8"), (
        f"run `stitch schema show --layer {layer} > conf/schema/{layer}.cql`"
    )
    assert max(len(line) for line in shown.output.splitlines()) <= 120


def test_every_table_has_its_key_among_its_columns_and_a_word_on_each() -> None:
    for each in (*TABLES["realtime"], *TABLES["batch"], SCHEMA_CHANGES):
        names = [column.name for column in each.columns]
        assert len(names) == len(set(names)) and set(each.key) <= set(names)
        assert each.question.endswith("?") and all(column.word for column in each.columns)


OF_THE_FIRST_VERSION = {
    "increments": "counter key ingest_date ingest_window bucket count",
    "member_increments": "counter key ingest_date ingest_window bucket member count",
    "progress": "job realtime_through offsets ingest_window counters",
    "totals": "counter key granularity bucket count cutoff",
    "member_totals": "counter key granularity bucket member count cutoff",
    "cutoffs": "counter cutoff revision definition",
    "corrections": "counter day cutoff revision before after",
    "keys": "counter shard key",
    "runs": "subject write_time cutoff revision kind state recount counters position reason figures noted_at noted_by",
    "leases": "subject holder named renewed_at",
}

OF_LATER_VERSIONS = {
    "ranked_members": "counter key granularity bucket members counts cutoff",
    "ranked_keys": "counter granularity bucket keys counts cutoff",
}


def test_every_table_is_of_the_first_version_or_was_added_later() -> None:
    """A table that is added needs no Change: `stitch schema apply` makes it, in keyspaces that exist, too."""
    assert {*OF_THE_FIRST_VERSION, *OF_LATER_VERSIONS} == {each.name for layer in LAYERS for each in TABLES[layer]}
    for name, words in OF_LATER_VERSIONS.items():
        assert [column.name for column in table(name).columns] == words.split()


def test_changes_bring_the_tables_of_the_first_version_to_those_of_today() -> None:
    """A column that fails here is in the literal, but in no Change: keyspaces that exist would have no record of it."""
    columns = {name: set(words.split()) for name, words in OF_THE_FIRST_VERSION.items()}
    for change in CHANGES:
        for statement in change.alter:
            for name, column, _ in re.findall(r"ALTER TABLE {keyspace}\.(\w+) ADD (\w+) (\S+)", statement):
                columns.setdefault(name, set()).add(column)
    assert {name: {column.name for column in table(name).columns} for name in OF_THE_FIRST_VERSION} == {
        name: columns[name] for name in OF_THE_FIRST_VERSION
    }


def test_changes_are_dated_in_order_and_named_once_a_layer() -> None:
    for layer in LAYERS:
        names = [change.name for change in CHANGES if change.layer == layer]
        assert names == sorted(names) and len(names) == len(set(names))
        assert all(re.match(r"20\d\d-\d\d-\d\d \w+", name) for name in names)


@pytest.mark.parametrize("query", [*_BATCH.values(), *_REALTIME.values()])
def test_readers_ask_for_columns_that_tables_have_by_their_key(query: str) -> None:
    matched = re.match(r"SELECT (.+) FROM (\w+)(?: WHERE (.+?))?(?: LIMIT \?)?$", query)
    assert matched
    of = table(matched[2])
    assert set(matched[1].split(", ")) <= {column.name for column in of.columns}
    conditions = list(dict.fromkeys(re.findall(r"(\w+) (?:=|>=|<|>|IN) \?", matched[3] or "")))
    assert tuple(conditions) == of.key[: len(conditions)]


def test_what_a_layer_lacks_is_named_by_table_and_column() -> None:
    has = {each.name: {column.name for column in each.columns} for each in TABLES["batch"]}
    assert lacking("batch", has) == []
    del has["keys"]
    has["totals"].remove("cutoff")
    assert lacking("batch", has | {"more": {"x"}}) == ["keys", "totals.cutoff"]


class Node(NamedTuple):
    datacenter: str
    host_id: str


class FakeSession:
    """A cluster of three nodes without keyspaces, which answers what changes it (with `reads`, all) with `refusal`."""

    def __init__(self, refusal: Exception | None = None, agreed: bool = True, reads: bool = False) -> None:
        nodes = [Node("datacenter1", name) for name in ("2", "1", "3")]
        self.cluster = SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: nodes))
        self.get_pool_state = lambda: {node: {} for node in nodes}
        self.refuses_reads = reads
        self.refusal, self.agreed, self.ran, self.asked = refusal, agreed, Counter[str](), set[str]()

    def execute_async(self, asked: Any, timeout: float, host: Any) -> Any:
        statement = asked.query_string

        def result() -> list[Any]:
            if self.refusal and (self.refuses_reads or not statement.startswith("SELECT")):
                raise self.refusal
            return []

        self.asked.add(host.host_id)
        self.ran[statement.split()[0]] += 1
        return SimpleNamespace(result=result, is_schema_agreed=self.agreed or statement.startswith("SELECT"))


def applied(session: FakeSession) -> str:
    with pytest.raises(schema.SchemaError) as told:
        schema.apply(session, cql.wanted("batch", BatchSettings()), lambda _: None)  # type: ignore[arg-type]
    return str(told.value)


def test_a_user_who_may_not_create_is_told_what_to_ask_for() -> None:
    refusal = Unauthorized("User app has no CREATE permission on <all keyspaces> or any of its parents")
    told = applied(FakeSession(refusal))
    assert "batch: this user may not `CREATE KEYSPACE IF NOT EXISTS stitch_batch WITH replication = " in told
    assert "no CREATE permission on <all keyspaces>" in told and "`stitch schema show --layer batch` prints" in told


def test_a_statement_that_is_refused_is_told_with_the_reason() -> None:
    assert "no such datacenter" in applied(FakeSession(InvalidRequest("no such datacenter")))


def test_a_cluster_that_does_not_answer_in_time_is_to_be_tried_again() -> None:
    silent = FakeSession(OperationTimedOut(), reads=True)
    with pytest.raises(schema.NoAnswer) as told:
        schema.check(silent, cql.wanted("batch", BatchSettings()))  # type: ignore[arg-type]
    assert told.value.exit_status == 75 and schema.SchemaError.exit_status == 1


def test_nodes_that_do_not_agree_are_told() -> None:
    assert "see `nodetool describecluster`" in applied(FakeSession(agreed=False))


def test_a_statement_that_changes_nothing_is_not_repeated_for_ever() -> None:
    session = FakeSession()
    assert "the cluster took the statement, and yet the keyspace stitch_batch does not exist" in applied(session)
    assert session.ran["CREATE"] == 1


def test_one_node_is_sent_everything_the_same_for_everybody() -> None:
    session = FakeSession()
    applied(session)
    assert session.asked == {"1"}


def test_replication_is_taken_from_the_settings() -> None:
    said = {"class": "NetworkTopologyStrategy", "eu": 3, "us": 2}
    layer = RealtimeSettings.model_validate({"datacenter": "eu", "replication": said})
    assert cql.create_keyspace(cql.wanted("realtime", layer)).endswith(
        "WITH replication = {'class': 'NetworkTopologyStrategy', 'eu': 3, 'us': 2}"
    )
