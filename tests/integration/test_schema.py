"""`stitch schema` on a real Cassandra: what it says of a keyspace, and that applying it comes to what the settings
say."""

from __future__ import annotations

import re
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

import pytest
from click.testing import CliRunner

from connections.schema import SchemaError, apply_schema, check_schema
from jobs.proof.completeness import held_since
from stitch.buckets import micros
from stitch.cli import main
from stitch.settings import load_settings
from stitch.tables import CHANGES, TABLES
from tests.conftest import Stack, write_config

FIRST = Path(__file__).parent / "first_schema"  # conf/schema as it was before changes were recorded


@pytest.fixture
def unmade(stack: Stack, tmp_path: Path) -> Stack:
    """The session's stack with keyspaces that are not there yet."""
    return asked(stack, tmp_path, realtime={"retention": "1d"})


def asked(stack: Stack, folder: Path, **sections: Any) -> Stack:
    """The stack's settings with others beside, in keyspaces of their own unless the stack has some already."""
    mine = uuid.uuid4().hex[:12]
    if stack.settings.batch.keyspace == "stitch_batch":
        for layer in TABLES:
            sections[layer] = {"keyspace": f"{layer}_{mine}"} | sections.get(layer, {})
    config = write_config(folder / f"{mine}.toml", base=stack.config_path, **sections)
    return Stack(load_settings(config), config)


def stitch_schema(stack: Stack, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["--config", str(stack.config_path), "schema", *arguments])
    return result.exit_code, result.output


def run_script(cassandra: Any, text: str) -> None:
    for statement in re.sub(r"--[^\n]*", "", text).split(";"):
        if statement.strip():
            cassandra.execute(statement)


def make_first_version(stack: Stack, cassandra: Any) -> None:
    for layer in TABLES:
        text = Template((FIRST / f"{layer}.cql").read_text("utf-8"))
        keyspace = getattr(stack.settings, layer).keyspace
        run_script(cassandra, text.substitute(keyspace=keyspace, ttl_seconds=14 * 86400))


def test_what_show_prints_makes_tables_without_a_difference(unmade: Stack, cassandra: Any) -> None:
    status, said = stitch_schema(unmade, "check")
    assert status == 1 and said.count("does not exist: `stitch schema apply` fixes it") == 2
    run_script(cassandra, stitch_schema(unmade, "show")[1])
    assert stitch_schema(unmade, "check") == (0, "realtime: as the settings say\nbatch: as the settings say\n")


def test_tables_of_the_first_version_come_to_those_of_today_with_their_rows(unmade: Stack, cassandra: Any) -> None:
    make_first_version(unmade, cassandra)
    batch, realtime = unmade.settings.batch.keyspace, unmade.settings.realtime.keyspace
    cassandra.execute(f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision) VALUES ('plays', 0, 7)")
    status, said = stitch_schema(unmade, "check")
    assert status == 1
    for told in ("the table schema_changes is missing",
                 "the change '2026-11-25 tables carry their question as comment'",
                 "rows of increments expire after 1209600 s, and realtime.retention is 86400 s",
                 "member_increments is compacted by"):  # fmt: skip
        assert told in said
    status, said = stitch_schema(unmade, "apply")
    assert status == 0, said
    assert "realtime: rows that are in increments keep the expiry they were written with" in said
    assert check_schema(unmade.settings) == {"realtime": [], "batch": []}
    assert cassandra.execute(f"SELECT revision FROM {batch}.cutoffs").one().revision == 7
    (row,) = cassandra.execute(
        "SELECT comment, compaction FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'increments'",
        [realtime],
    )
    assert row.comment.startswith("How much did the key gain")
    assert (row.compaction["compaction_window_unit"], row.compaction["compaction_window_size"]) == ("HOURS", "1")
    made = {row.change for row in cassandra.execute(f"SELECT change FROM {batch}.schema_changes")}
    assert made == {change.name for change in CHANGES if change.layer == "batch"}


def test_what_differs_is_named_by_check_and_mended_by_apply_and_again_changes_nothing(
    fresh: Stack, cassandra: Any, tmp_path: Path
) -> None:
    other = {"class": "SimpleStrategy", "replication_factor": 1}
    changed = asked(fresh, tmp_path, realtime={"retention": "3d"}, batch={"replication": other})
    cassandra.execute(f"ALTER TABLE {fresh.settings.batch.keyspace}.totals DROP cutoff")
    cassandra.execute(f"DROP TABLE {fresh.settings.batch.keyspace}.keys")
    assert stitch_schema(fresh, "check", "--layer", "realtime")[0] == 0
    status, said = stitch_schema(changed, "check")
    assert status == 1 and said.startswith("realtime: 4 to fix\n") and "\nbatch: 3 to fix\n" in said
    for told in ("rows of increments expire after 86400 s, and realtime.retention is 259200 s: `stitch schema apply`",
                 "replication is {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}, and batch.replication says",
                 "the column totals.cutoff is missing: `stitch schema apply` fixes it",
                 "the table keys is missing: `stitch schema apply` fixes it"):  # fmt: skip
        assert told in said
    status, said = stitch_schema(changed, "apply")
    assert status == 0 and f"run `nodetool repair --full {fresh.settings.batch.keyspace}`" in said
    assert stitch_schema(changed, "check")[0] == 0
    assert stitch_schema(changed, "apply") == (0, "the tables are as the settings say\n")
    now, keyspace = datetime.now(UTC), fresh.settings.realtime.keyspace
    hour, day = timedelta(hours=1), timedelta(days=1)
    assert held_since(changed.settings, now - hour) == now - day  # until the rows of before are gone
    assert held_since(changed.settings, now + 5 * day - hour) == now + 2 * day
    cassandra.execute(f"ALTER TABLE {keyspace}.increments WITH default_time_to_live = 7200")  # by hand
    assert held_since(changed.settings, now) == now - timedelta(minutes=108)


def test_a_column_of_another_type_is_refused_and_the_rest_is_mended(fresh: Stack, cassandra: Any) -> None:
    keyspace = fresh.settings.batch.keyspace
    cassandra.execute(f"DROP TABLE {keyspace}.cutoffs")
    cassandra.execute(f"CREATE TABLE {keyspace}.cutoffs (counter text PRIMARY KEY, cutoff timestamp, revision int)")
    cassandra.execute(f"DROP TABLE {keyspace}.keys")
    with pytest.raises(
        SchemaError, match=r"the column cutoffs.revision is int, and should be bigint: set batch.keyspace"
    ):
        apply_schema(fresh.settings)
    (left,) = check_schema(fresh.settings)["batch"]
    assert left.what.startswith("the column cutoffs.revision")


@pytest.mark.parametrize("first_version", [False, True])
def test_two_that_apply_at_once_come_to_the_same(unmade: Stack, cassandra: Any, first_version: bool) -> None:
    if first_version:
        make_first_version(unmade, cassandra)
    start, failed = threading.Barrier(3), []

    def apply() -> None:
        start.wait()
        try:
            apply_schema(unmade.settings)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=apply) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert check_schema(unmade.settings) == {"realtime": [], "batch": []}


def test_replicas_that_the_cluster_has_no_nodes_for_are_refused(unmade: Stack, tmp_path: Path) -> None:
    three = {"class": "NetworkTopologyStrategy", "datacenter1": 3}
    with pytest.raises(SchemaError, match=r"asks for datacenter1 = 3, and the cluster has 1 node for that: add nodes"):
        apply_schema(asked(unmade, tmp_path, realtime={"replication": three}).settings)


class Preparing:
    """A session that keeps what is prepared."""

    def __init__(self) -> None:
        self.prepared: list[str] = []

    def prepare(self, statement: str) -> str:
        self.prepared.append(statement)
        return statement

    def execute(self, *_: Any, **__: Any) -> None:
        pass


def test_every_table_that_names_keys_is_erased_from_by_its_whole_key() -> None:
    from jobs.sinks.erasing import delete, delete_charts, delete_lists, forget_key

    session: Any = Preparing()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    delete(session, "totals", [], now)
    delete(session, "increments", [], now)
    delete_lists(session, [])
    delete_charts(session, [])
    forget_key(session, ["plays"], "t1", micros(now))
    of_keys = [
        each for tables in TABLES.values() for each in tables if {"key", "keys"} & {c.name for c in each.columns}
    ]
    assert sorted(statement.replace("DELETE keys, counts ", "DELETE ") for statement in session.prepared) == sorted(
        f"DELETE FROM {each.name} USING TIMESTAMP ? WHERE " + " AND ".join(f"{name} = ?" for name in each.key)
        for each in of_keys
    )
