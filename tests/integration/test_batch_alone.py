"""Past events of a warehouse's table are counted and answered without Kafka, as docs/storage.md shows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.process.spark import session
from stitch.settings import Settings, load_settings
from tests.conftest import Reader, Stack, run_in, write_config
from tests.steps import count, wait_for_the_window_to_end

PAGE = (Path(__file__).parents[2] / "docs/storage.md").read_text("utf-8")
TABLE = "lake.warehouse.plays"  # as the page names it


def shown(begin: str, end: str) -> str:
    """The lines of the page's section from the one that begins so to the last one before `end`."""
    section = PAGE.partition("## Batch alone")[2].partition("\n## ")[0]
    found = re.search(rf"^    ({re.escape(begin)}.*?)\n\n(?={re.escape(end)})", section, re.MULTILINE | re.DOTALL)
    assert found, begin
    return re.sub(r"^    ", "", found[1], flags=re.MULTILINE)


@pytest.fixture
def settings(fresh: Stack, tmp_path: Path) -> Settings:
    """The page's settings on the stack's Cassandra, and no Kafka."""
    said = tomllib.loads(shown("[log]", "the first two commands"))
    lake = fresh.settings.lake
    assert said["sources"][0]["table"] == TABLE
    said["sources"][0]["table"] = f"{lake.catalog}.warehouse_{lake.namespace}.plays"
    config = write_config(
        tmp_path / "batch_alone.toml", base=fresh.config_path, kafka={"bootstrap_servers": "127.0.0.1:1"}, **said
    )
    return load_settings(config)


@pytest.fixture
def table(spark: SparkSession, settings: Settings) -> Iterator[str]:
    """The name of the page's table, made as the page makes it."""
    name = str(settings.sources[0].table)
    with session("test", settings):
        spark.sql(f"CREATE NAMESPACE {name.rpartition('.')[0]}")
        spark.sql(shown("CREATE TABLE", "With these settings").replace(TABLE, name))
        yield name


@pytest.mark.thorough
def test_a_warehouse_table_is_counted_night_by_night_without_kafka(
    fresh: Stack, reader: Reader, spark: SparkSession, settings: Settings, table: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def load(*plays: tuple[str, str], ago: timedelta) -> None:
        at = datetime.now(UTC) - ago
        said = f"'play', '{{}}', TIMESTAMP '2024-02-28 10:30:00', TIMESTAMP '{at:%F %T}'"
        rows = [f"('{i}', {said.format(track)})" for i, track in plays]
        spark.sql(f"INSERT INTO {table} VALUES {', '.join(rows)}")

    client = reader(settings)
    load(("e1", "t1"), ("e2", "t1"), ("e2", "t1"), ("e3", "t2"), ago=timedelta(days=1))
    run_in(settings, "archive_events")
    run_in(settings, "batch_totals")
    said = capfd.readouterr().out
    assert "source=history snapshots=all records=4 rejected=0" in said and "duplicates=1 events=3" in said
    assert [count(client, "plays", key) for key in ("t1", "t2")] == [2, 1]

    load(("e3", "t2"), ("e4", "t2"), ago=timedelta(hours=1))  # overlaps, and is from before the published cutoff
    load(("e5", "t1"), ago=-timedelta(days=1))  # from behind every cutoff
    catalog, _, rest = table.partition(".")
    whole = "options => map('rewrite-all', 'true')"
    spark.sql(f"CALL {catalog}.system.rewrite_data_files(table => '{rest}', {whole})")
    for _ in range(2):
        run_in(settings, "archive_events")
    assert capfd.readouterr().out.count("source=history snapshots=3 records=3 rejected=0") == 1
    wait_for_the_window_to_end(fresh)
    run_in(settings, "batch_totals")
    assert [count(client, "plays", key) for key in ("t1", "t2")] == [2, 2]

    answer = client.get("/v1/series?counters=plays&key=t2&granularity=hour&start=2024-02-28T10&end=2024-02-28T11").json
    assert [(point["counts"], point["source"], point["status"]) for point in answer["points"]] == [
        ({"plays": 2}, {"plays": "batch"}, {"plays": "known"})
    ]
    assert run_in(settings, "audit_counts")["right"]
