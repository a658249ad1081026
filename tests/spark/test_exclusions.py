"""The table of exclusions: what is in force, since when a run knows it, and which records it names."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.events import decode
from jobs.lake.exclusions import Exclusions
from jobs.process.errors import BadOption
from jobs.process.spark import session
from jobs.sources.rules import read_rules
from jobs.totals.counting import judged
from stitch.exclusions import ExclusionError
from stitch.settings import Settings
from tests.logs import PLAYS, log_settings

NOW = datetime(2026, 11, 26, tzinfo=UTC)
TYPES = {"types": {"duration_s": "int", "price": "double", "paid": "boolean"}, "paths": {"country": "country"}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return log_settings(tmp_path, events=TYPES)


@pytest.fixture
def table(spark: SparkSession, settings: Settings) -> Exclusions:
    with session("test", settings) as mine:
        return Exclusions(mine, settings)


def put(table: Exclusions, settings: Settings, spark: SparkSession, folder: Path, *rules: dict[str, object]) -> int:
    file = folder / "rules.jsonl"
    file.write_text("\n".join(map(json.dumps, rules)), "utf-8")
    with read_rules(spark, settings, str(file)) as read:
        return table.keep(read, NOW)


def texts(rules: DataFrame) -> list[str]:
    return sorted(f"{row.field}={row.value}" for row in rules.collect())


def verdicts(spark: SparkSession, settings: Settings, *fields: dict[str, object]) -> list[str]:
    """Of plays with these fields beside, in their order."""
    rows = [
        (0, n, NOW, 1, None, bytearray(json.dumps(
            {"event_id": f"e{n}", "type": "play", "track_id": "t", "occurred_at": NOW.isoformat(), **own}).encode()))
        for n, own in enumerate(fields)
    ]  # fmt: skip
    schema = "partition int, offset bigint, timestamp timestamp, timestamp_type int, key binary, value binary"
    records = decode(spark.createDataFrame(rows, schema), settings, ["partition", "offset", "timestamp"])
    return [row.verdict for row in judged(spark, records, settings).orderBy("offset").collect()]


def test_rules_are_kept_once_and_taken_out_again(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    assert (table.mark(), texts(table.rules())) == ((0, 0), [])
    two = ({"event_id": "e1", "reason": "bot"}, {"track_id": 9})
    assert put(table, settings, spark, tmp_path, *two, {"event_id": "e1"}) == 2
    assert put(table, settings, spark, tmp_path, *two) == 0
    assert texts(table.rules()) == ["event_id=e1", "track_id=9"]
    reasons = spark.table(table.name).orderBy("field").select("reason", "kept_at").collect()
    assert [row.reason for row in reasons] == ["bot", None] and {row.kept_at.date() for row in reasons} == {NOW.date()}
    with read_rules(spark, settings, str(tmp_path / "rules.jsonl")) as rules:
        assert (table.take_out(rules.where("field = 'track_id'")), texts(table.rules())) == (1, ["event_id=e1"])
        assert (table.take_out(rules), table.take_out(rules), table.mark()[0]) == (1, 0, 0)


def test_known_are_the_rules_in_force_that_were_so_then_whoever_changed_the_table(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    assert texts(table.known(table.mark()[1])) == []
    put(table, settings, spark, tmp_path, {"event_id": "e1"}, {"event_id": "e2"})
    number, then = table.mark()
    put(table, settings, spark, tmp_path, {"event_id": "e3"})
    assert (number, texts(table.known(then))) == (2, ["event_id=e1", "event_id=e2"])
    spark.sql(f"DELETE FROM {table.name} WHERE value = 'e1'")
    spark.sql(f"INSERT INTO {table.name} VALUES ('event_id', 'e4', 'by hand', now())")
    assert texts(table.rules()) == ["event_id=e2", "event_id=e3", "event_id=e4"]
    assert texts(table.known(then)) == ["event_id=e2"]
    assert texts(table.known(1)) == []  # of a snapshot that is gone


def test_a_rule_names_every_event_with_its_value_in_any_spelling_of_the_fields_type(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    nobody = verdicts(spark, settings, {}, {"track_id": "t9"})
    rules = [{"track_id": "t9"}, {"duration_s": 30.0}, {"duration_s": "3e1"}, {"duration_s": "soon"}, {"price": "1.50"},
             {"paid": "true"}, {"event_id": "e1"}, {"country": "DE"}, {"country": "30"}]  # fmt: skip
    put(table, settings, spark, tmp_path, *rules)
    seen = verdicts(
        spark, settings, {}, {}, {"track_id": "t9"}, {"duration_s": 30}, {"duration_s": 31}, {"price": 1.5},
        {"price": 1.25}, {"paid": True}, {"paid": False}, {"country": "DE", "track_id": "t9"}, {"country": "de"},
        {"event_id": " "},
    )  # fmt: skip
    assert nobody == ["wanted", "wanted"]
    assert seen == ["wanted", "excluded", "excluded", "excluded", "wanted", "excluded", "wanted", "excluded", "wanted",
                    "excluded", "wanted", "rejected"]  # fmt: skip


def test_a_bad_file_changes_nothing_and_its_bad_lines_are_named(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    with pytest.raises(ExclusionError) as told:
        put(table, settings, spark, tmp_path, {"event_id": "e1"}, {"nobody": 1}, *({"x": n} for n in range(30)))
    lines = str(told.value).splitlines()
    assert lines[0].endswith("rules.jsonl cannot be used:") and lines[-1] == "  and 11 more" and len(lines) == 22
    assert lines[1].startswith("  line 2: no event has a field 'nobody'")
    assert table.mark() == (0, 0)
    for missing in (str(tmp_path / "none"), f"file:{tmp_path}/none"):
        with pytest.raises(ExclusionError, match="none cannot be read"), read_rules(spark, settings, missing):
            pass


def test_a_rule_for_a_field_that_the_settings_no_longer_have_is_told(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    put(table, settings, spark, tmp_path, {"country": "DE"})
    fewer = Settings.model_validate({"counters": [PLAYS], "lake": settings.lake.model_dump(exclude_unset=True)})
    with pytest.raises(BadOption, match=r"has rules for the field 'country', which the settings do not read"):
        verdicts(spark, fewer, {})


def test_a_file_behind_a_uri_is_read_by_the_executors(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rules.jsonl").write_bytes(b'{"event_id": "e1"}\n{"event_id": "e2"}')
    with read_rules(spark, settings, f"file:{tmp_path}/rules.jsonl") as rules:
        assert texts(rules) == ["event_id=e1", "event_id=e2"]


def test_a_long_file_of_rules_is_parsed_in_parts_and_joined_not_listed(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    put(table, settings, spark, tmp_path, *({"event_id": f"x{n:040}"} for n in range(150_000)))
    assert table.mark()[0] == 150_000
    named, condition = table.named_by(spark.createDataFrame([(f"x{9:040}",), ("e",)], "event_id string"), table.rules())
    assert [row.event_id for row in named.where(condition).collect()] == [f"x{9:040}"]
    assert named.where(~condition).agg(F.count(F.lit(1))).collect()[0][0] == 1


def test_a_value_that_may_go_is_out_of_every_file_after_the_statements_of_the_docs(
    spark: SparkSession, settings: Settings, table: Exclusions, tmp_path: Path
) -> None:
    put(table, settings, spark, tmp_path, {"track_id": "t9"}, {"event_id": "e1"})
    catalog, short = table.name.split(".", 1)
    said = (Path(__file__).parents[2] / "docs/storage.md").read_text("utf-8")
    found = re.search(r"    (DELETE FROM lake\.stitch\.exclusions.*)\n    (CALL [^)]*\))", said)
    assert found
    delete, call = found.groups()
    spark.sql(delete.replace("lake.stitch.exclusions", table.name))
    later = re.sub(r"TIMESTAMP '[^']*'", "TIMESTAMP '2999-01-01 00:00:00'", call)
    spark.sql(later.replace("lake.system", f"{catalog}.system").replace("stitch.exclusions", short))
    assert texts(table.rules()) == ["event_id=e1"]
    (left,) = (tmp_path / "lake/stitch/exclusions/data").rglob("*.parquet")
    assert left.parent.name == "field=event_id"
