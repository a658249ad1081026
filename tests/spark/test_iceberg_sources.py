"""History from a table of one of Spark's catalogs: each row once in the log, and an error where nobody could tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.archive import importing
from jobs.archive.importing import Sources
from jobs.lake.log import Log
from jobs.maintain_log import maintain
from jobs.process.errors import JobError
from jobs.process.spark import session
from stitch.sections import SourceSettings
from stitch.settings import Settings
from tests.logs import begun, log_settings

LATER = datetime.now(UTC) + timedelta(days=365)
COLUMNS = "event_id string, type string, track_id string, occurred_at timestamp, loaded date"


class Warehouse:
    """A table of plays in the lake's catalog, and the log that it is a source of."""

    def __init__(self, spark: SparkSession, settings: Settings, table: str) -> None:
        self.spark, self.settings, self.table = spark, settings, table
        self.log = begun(spark, settings)
        self.archive = Sources(spark, self.log, settings)

    def insert(self, *event_ids: str, day: str = "2024-02-29", how: str = "INTO") -> None:
        """Add plays of that day; how: "OVERWRITE" replaces the day's."""
        rows = [f"('{i}', 'play', 't1', TIMESTAMP '{day} 12:00:00', DATE '{day}')" for i in event_ids]
        self.sql(f"INSERT {how} {{table}} VALUES {', '.join(rows)}")

    def sql(self, statement: str) -> None:
        """Run a statement; {table}: the table, {call}: its catalog's procedures, {name}: it, to them."""
        catalog, _, name = self.table.partition(".")
        self.spark.sql(statement.format(table=self.table, call=f"CALL {catalog}.system", name=f"table => '{name}'"))

    def snapshot(self) -> int:
        """The current one."""
        parents = f"SELECT snapshot_id FROM {self.table}.refs WHERE name = 'main'"
        return int(self.spark.sql(parents).collect()[0][0])

    def look(self, archive: Sources | None = None) -> list[str]:
        """Bring in what is new, as a job does that has just started (or another): the log's events then."""
        archive = archive or Sources(self.spark, self.log, self.settings)
        archive.bring()
        archive.raise_last()
        return self.events()

    def events(self) -> list[str]:
        return sorted(str(row.event_id) for row in self.log.rows().select("event_id").collect())

    def expire(self, table: str) -> None:
        """Let all snapshots of the table (NAMESPACE.NAME) go but the last."""
        call = f"CALL {self.settings.lake.catalog}.system.expire_snapshots"
        self.spark.sql(f"{call}(table => '{table}', older_than => TIMESTAMP '{LATER:%F %T}', retain_last => 1)")


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    """With one play, `a`, that the log does not have yet; parametrised: settings of the source."""
    said: dict[str, Any] = getattr(request, "param", {})
    settings = log_settings(tmp_path, log={"kafka": False})
    table = f"{settings.lake.catalog}.warehouse.plays"
    source = {"name": "history", "table": table, "ingest_time": "column:loaded", **said}
    settings = Settings.model_validate({**settings.model_dump(exclude_unset=True), "sources": [source]})
    with session("test", settings):
        spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")
        spark.sql(f"CREATE NAMESPACE {settings.lake.catalog}.warehouse")
        spark.sql(f"CREATE TABLE {table} ({COLUMNS}) USING iceberg PARTITIONED BY (loaded)")
        made = Warehouse(spark, settings, table)
        made.insert("a")
        yield made
        spark.conf.unset("spark.sql.sources.partitionOverwriteMode")


def test_a_table_comes_in_whole_and_then_what_was_appended_to_it(
    warehouse: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    assert warehouse.look(warehouse.archive) == ["a"]
    warehouse.insert("b", "c", day="2024-03-01")
    warehouse.insert("d", day="2024-03-02")
    assert warehouse.look(warehouse.archive) == ["a", "b", "c", "d"]
    assert warehouse.look(warehouse.archive) == warehouse.look() == ["a", "b", "c", "d"]
    told = [line for line in capfd.readouterr().out.splitlines() if "records=" in line]
    assert told == ["archive_events source=history snapshots=all records=1 rejected=0",
                    "archive_events source=history snapshots=2 records=3 rejected=0"]  # fmt: skip
    row = warehouse.log.rows().where("event_id = 'd'").collect()[0]
    assert (row.topic_id, row.partition, f"{row.timestamp:%F %T}", row.timestamp_type, row.verdict) == (
        "history", 0, "2024-03-02 00:00:00", None, "accepted"
    )  # fmt: skip
    assert row.file == f"{warehouse.table}@{warehouse.snapshot()}"
    assert json.loads(row.value) == {
        "event_id": "d", "type": "play", "track_id": "t1", "occurred_at": "2024-03-02T12:00:00.000000Z",
        "loaded": "2024-03-02",
    }  # fmt: skip
    numbers = [row.offset for row in warehouse.log.rows().collect()]
    assert len(set(numbers)) == 4


def test_an_empty_table_is_no_mistake_and_its_first_rows_come_in(warehouse: Warehouse) -> None:
    warehouse.sql("DROP TABLE {table}")
    warehouse.sql(f"CREATE TABLE {{table}} ({COLUMNS}) USING iceberg")
    assert warehouse.look() == []
    warehouse.sql("INSERT INTO {table} SELECT * FROM {table}")  # a snapshot of no rows
    assert warehouse.look() == []
    warehouse.insert("b")
    assert warehouse.look() == ["b"]


@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_archive_that_dies_at_its_commit_takes_each_row_once_when_it_starts_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    commit = importing.commit

    def dies(*given: Any) -> bool:
        if when == "behind":
            commit(*given)
        raise JobError("killed")

    for event in ("a", "b"):
        with monkeypatch.context() as patched, pytest.raises(JobError, match="killed"):
            patched.setattr(importing, "commit", dies)
            warehouse.look()
        assert warehouse.look() == (["a"] if event == "a" else ["a", "b"])
        warehouse.insert("b")


def test_of_two_archives_of_a_table_one_is_refused_and_takes_what_is_then_missing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert warehouse.look() == ["a"]
    warehouse.insert("b")
    position, looked = Log.position, []

    def overtaken(log: Log, topic_id: str) -> tuple[int | None, dict[int, int]]:
        found = position(log, topic_id)
        looked.append(found)
        if len(looked) == 1:  # between its look and its commit, another takes b, and c comes in
            warehouse.look()
            warehouse.insert("c")
        return found

    monkeypatch.setattr(Log, "position", overtaken)
    assert warehouse.look() == ["a", "b", "c"]
    assert "another writer added" in capfd.readouterr().out


def test_what_a_rollback_of_the_log_removed_comes_in_again_and_nothing_else(warehouse: Warehouse) -> None:
    warehouse.look(warehouse.archive)
    base, _ = warehouse.log.position("history")
    warehouse.insert("b")
    warehouse.look(warehouse.archive)
    rollback = f"CALL {warehouse.settings.lake.catalog}.system.rollback_to_snapshot('stitch.events', {base})"
    warehouse.spark.sql(rollback)
    assert warehouse.events() == ["a"]
    assert warehouse.look(warehouse.archive) == ["a", "b"]


@pytest.mark.parametrize("noted", [True, False])
def test_up_to_where_the_log_has_a_table_is_known_when_its_snapshots_have_expired(
    warehouse: Warehouse, noted: bool
) -> None:
    warehouse.look()
    warehouse.insert("b")
    warehouse.look()
    if noted:
        maintain(warehouse.settings, LATER)
    else:
        warehouse.spark.sql(f"DELETE FROM {warehouse.log.name} WHERE topic_id = 'nobody' OR event_id = 'a'")
        warehouse.expire("stitch.events")
    assert (warehouse.log.taken("history") is None) == (not noted)
    assert warehouse.look() == (["a", "b"] if noted else ["b"])
    warehouse.insert("c")
    assert warehouse.look() == (["a", "b", "c"] if noted else ["b", "c"])


def test_a_table_may_be_compacted_and_its_old_snapshots_may_go_once_they_were_seen(warehouse: Warehouse) -> None:
    for event in "bc":
        warehouse.insert(event)
    assert warehouse.look() == ["a", "b", "c"]
    for _ in range(2):
        warehouse.sql("{call}.rewrite_data_files({name}, options => map('rewrite-all', 'true'))")
        assert warehouse.look() == ["a", "b", "c"]
        warehouse.expire("warehouse.plays")
    warehouse.insert("d")
    assert warehouse.look() == ["a", "b", "c", "d"]


def test_partitions_that_an_insert_overwrite_adds_come_in(warehouse: Warehouse) -> None:
    warehouse.look()
    warehouse.insert("b", day="2024-03-01", how="OVERWRITE")
    warehouse.insert("c", day="2024-03-01")
    warehouse.sql("DELETE FROM {table} WHERE loaded = DATE '1999-01-01'")  # of no row
    warehouse.insert("d", day="2024-03-02", how="OVERWRITE")
    assert warehouse.look() == ["a", "b", "c", "d"]
    assert json.loads(warehouse.log.rows().where("event_id = 'b'").collect()[0].value).keys() == {
        "event_id", "type", "track_id", "occurred_at", "loaded"
    }  # fmt: skip


AGAIN = (
    r"ake the whole table in again: DELETE FROM lake_\w+\.stitch\.events WHERE topic_id = 'history', give the source "
    r"another name, run archive_events, then batch_totals --full"
)
UNTOLD = {
    "a row that was deleted": ("DELETE FROM {table} WHERE event_id = 'b'", r"snapshot \d+ of \S+ \(overwrite\)"),
    "a day that was deleted": (
        "DELETE FROM {table} WHERE loaded = DATE '2024-02-29'",
        r"\(delete\) removed or rewrote rows, after snapshot \d+, up to which the log has the table\. Go on with "
        "`ignore_deletes = true`: the log keeps what it has. Or t",
    ),
    "a row that was changed": ("UPDATE {table} SET track_id = 't2' WHERE event_id = 'a'", r"\(overwrite\) removed"),
    "a day that was loaded again": (
        "INSERT OVERWRITE {table} SELECT * FROM {table} WHERE event_id = 'a'",
        r"\(overwrite\) removed or rewrote rows",
    ),
    "a table that was replaced": (
        "CREATE OR REPLACE TABLE {table} USING iceberg AS SELECT * FROM {table}",
        "does not say any more what was appended since snapshot",
    ),
    "snapshots that have expired before they were seen": (
        f"INSERT INTO {{table}} SELECT * FROM {{table}}; {{call}}.expire_snapshots({{name}}, older_than => TIMESTAMP "
        f"'{LATER:%F %T}', retain_last => 1)",
        r"up to which the log has it: that one has expired, or the table was rolled back or recreated\.",
    ),
}


@pytest.mark.parametrize(("statement", "told"), UNTOLD.values(), ids=UNTOLD.keys())
def test_what_a_table_has_removed_or_rewritten_is_an_error_that_says_what_to_do(
    warehouse: Warehouse, statement: str, told: str
) -> None:
    warehouse.insert("b", "c")
    assert warehouse.look() == ["a", "b", "c"]
    warehouse.insert("d")
    for one in statement.split("; "):
        warehouse.sql(one)
    with pytest.raises(JobError, match=rf"sources\.history: lake_\w+\.warehouse\.plays.*{told}.*{AGAIN}"):
        warehouse.look()
    assert warehouse.events() == ["a", "b", "c"]


def test_the_way_out_brings_a_rewritten_table_in_once(warehouse: Warehouse) -> None:
    assert warehouse.look() == ["a"]
    warehouse.sql("UPDATE {table} SET event_id = 'b'")
    with pytest.raises(JobError):
        warehouse.look()
    warehouse.spark.sql(f"DELETE FROM {warehouse.log.name} WHERE topic_id = 'history'")
    source = warehouse.settings.sources[0].model_copy(update={"name": "again"})
    settings = warehouse.settings.model_copy(update={"sources": [source]})
    assert warehouse.look(Sources(warehouse.spark, warehouse.log, settings)) == ["b"]


IGNORING = pytest.mark.parametrize("warehouse", [{"ignore_deletes": True}], indirect=True, ids=["ignore_deletes"])


@IGNORING
def test_where_deletes_are_ignored_the_log_keeps_what_was_deleted_and_takes_what_was_added(
    warehouse: Warehouse,
) -> None:
    warehouse.insert("b", day="2024-03-01")
    assert warehouse.look() == ["a", "b"]
    warehouse.sql("DELETE FROM {table} WHERE loaded = DATE '2024-02-29'")
    warehouse.insert("c", day="2024-03-02", how="OVERWRITE")
    assert warehouse.look() == ["a", "b", "c"]
    warehouse.insert("d", "e")
    warehouse.sql("ALTER TABLE {table} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
    warehouse.sql("DELETE FROM {table} WHERE event_id = 'd'")  # by a delete file
    assert warehouse.look() == ["a", "b", "c", "d", "e"]
    warehouse.insert("f", day="2024-03-03", how="OVERWRITE")
    with pytest.raises(
        JobError, match=r"rows came by INSERT OVERWRITE, and of a table with delete files.*Take the who"
    ):
        warehouse.look()


@IGNORING
def test_rows_that_were_rewritten_are_told_where_deletes_are_ignored_too(warehouse: Warehouse) -> None:
    assert warehouse.look() == ["a"]
    warehouse.sql("UPDATE {table} SET track_id = 't2' WHERE event_id = 'a'")
    with pytest.raises(JobError, match=r"\(overwrite\) removed or rewrote rows.*\. Take the whole table in again"):
        warehouse.look()


def test_a_table_that_was_rolled_back_behind_what_the_log_has_is_told(warehouse: Warehouse) -> None:
    first = warehouse.snapshot()
    warehouse.insert("b")
    assert warehouse.look() == ["a", "b"]
    warehouse.sql(f"{{call}}.rollback_to_snapshot('warehouse.plays', {first})")
    for _ in range(2):
        with pytest.raises(JobError, match="has expired, or the table was rolled back or recreated"):
            warehouse.look()
        warehouse.insert("c")


def test_a_name_under_which_the_log_has_files_is_none_for_a_table(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.spark.table(warehouse.table).write.parquet(str(tmp_path / "in"))
    files = {"name": "history", "path": str(tmp_path / "in"), "format": "parquet", "ingest_time": "column:loaded"}
    settings = warehouse.settings.model_copy(update={"sources": [SourceSettings.model_validate(files)]})
    assert warehouse.look(Sources(warehouse.spark, warehouse.log, settings)) == ["a"]
    with pytest.raises(
        JobError, match=r"stitch\.events has records of files under this name, such as file:.*\.parquet"
    ):
        warehouse.look()


WRONG = {
    "no such table": ({"table": "{catalog}.warehouse.likes"}, r"\.likes cannot be read: \[TABLE_OR_VIEW_NOT_FOUND\]"),
    "no such catalog": (
        {"table": "elsewhere.warehouse.plays"},
        r"cannot be read: .*Spark's configuration says nothing of a catalog elsewhere: spark\.sql\.catalog\.elsewhere",
    ),
    "a name that is none": (
        {"table": "a b"},
        r"a b cannot be read: \[PARSE_SYNTAX_ERROR\] Syntax error at or near 'b'",
    ),
    "no such column": ({"ingest_time": "column:arrived"}, r"ingest_time='column:arrived'.*UNRESOLVED_COLUMN"),
    "a branch": (
        {"table": "{catalog}.warehouse.plays.branch_main"},
        r"branch_main is a branch or a moment of lake_\w+\.warehouse\.plays: name the table",
    ),
    "a view": ({"table": "some_view"}, r"some_view is a view, or a table of a database, and nobody"),
    "a table of a database": ({"table": "of_database"}, r"of_database is a table of the kind jdbc, and nobody can say"),
}


@pytest.mark.parametrize(("said", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_table_that_cannot_be_a_source_is_named(
    warehouse: Warehouse, tmp_path: Path, said: dict[str, str], told: str
) -> None:
    spark, catalog = warehouse.spark, warehouse.settings.lake.catalog
    url = f"jdbc:sqlite:{tmp_path}/lake/catalog.db"
    jdbc = f"OPTIONS (url '{url}', dbtable 'iceberg_tables', driver 'org.sqlite.JDBC')"
    try:
        spark.sql("CREATE VIEW some_view AS SELECT 1 AS loaded")
        spark.sql(f"CREATE TABLE of_database USING jdbc {jdbc}")
        wrong = {name: value.format(catalog=catalog) for name, value in said.items()}
        source = warehouse.settings.sources[0].model_copy(update=wrong)
        settings = warehouse.settings.model_copy(update={"sources": [source]})
        with pytest.raises(JobError, match=rf"^sources\.history: .*{told}"):
            warehouse.look(Sources(spark, warehouse.log, settings))
    finally:
        spark.sql("DROP VIEW IF EXISTS some_view")
        spark.sql("DROP TABLE IF EXISTS of_database")
