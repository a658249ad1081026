"""`stitch try` beside the jobs' own frames: the same counts, the same conditions, the same texts of keys."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.frames.contributions import contributions
from jobs.frames.events import decode
from stitch.commands.try_events import decided
from stitch.counters import Counter as Counting
from stitch.settings import Settings, load_settings
from stitch.trying import Record, fields_of, outcomes
from stitch.weighing import as_text
from tests.conftest import BASE_CONFIG
from tests.records import generated
from tests.unit.test_predicates import CONDITIONS, EVENT, KINDS, NOTHING

APPENDED = int(datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC).timestamp()) * 10**6
SCHEMA = "country string, duration_s bigint, volume double, premium boolean, `in` string"


def settings_with(*counters: dict[str, Any]) -> Settings:
    said = load_settings(BASE_CONFIG)
    return said.model_copy(update={"counters": [*said.counters, *map(Counting.model_validate, counters)]})


def test_of_any_records_it_tells_what_the_jobs_count(spark: SparkSession) -> None:
    german = {"name": "german", "key": "track_id", "weights": {"play": 1}, "where": "country = 'DE'"}
    shouted = {**german, "name": "shouted", "where": "upper(country) = 'DE' or length(track_id) > 5"}
    settings = settings_with(german, shouted)
    values = generated(400, at=3)
    records = [Record(f"{at}", settings.kafka.topic, value, APPENDED, 1) for at, value in enumerate(values)]
    holds, records_again = decided(settings, records)
    told: Counter[tuple[Any, ...]] = Counter()
    for outcome in outcomes(records_again, settings, holds):
        for one in outcome.added:
            told[int(outcome.place), one.counter, one.key, one.member, next(iter(one.buckets.values()))] += one.amount
    rows = [(at, value, APPENDED, 1) for at, value in enumerate(values)]
    raw = spark.createDataFrame(rows, "n int, value binary, timestamp bigint, timestamp_type int")
    decoded = decode(raw.withColumn("timestamp", F.timestamp_micros("timestamp")), settings, ["n"])
    weighed = contributions(decoded.where("reject_reason is null"), settings.counters, "n")
    counted: Counter[tuple[Any, ...]] = Counter()
    for row in weighed.collect():
        start = row.bucket.astimezone(UTC)
        counted[row.n, row.counter, row.key, row.member, start] += row.amount
    duplicates = {int(o.place) for o in outcomes(records, settings, lambda *_: True) if o.duplicate_of}
    assert told == Counter({row: amount for row, amount in counted.items() if row[0] not in duplicates})
    assert len(told) > 300


@pytest.mark.parametrize("condition", CONDITIONS)
def test_spark_decides_a_condition_alike(spark: SparkSession, condition: str) -> None:
    rows = spark.createDataFrame([tuple(EVENT.values()), tuple(NOTHING.values())], SCHEMA)
    found = rows.select(F.coalesce(F.expr(condition), F.lit(False))).collect()
    assert tuple(row[0] for row in found) == CONDITIONS[condition]


def test_spark_decides_random_conditions_alike(spark: SparkSession) -> None:
    from stitch.predicates import predicate

    chance = random.Random(1)
    literals = {"string": ["'DE'", "'fr'", "''", "null"], "int": ["31", "-1", "31.0", "1e2", "0.5", "null"],
                "double": ["0.5", "1", "-2.5", "5e-1", "null"], "boolean": ["true", "false", "null"]}  # fmt: skip
    signs = ["=", "<>", "<", "<=", ">", ">=", "!=", "=="]

    def atom() -> str:
        name = chance.choice([one for one in KINDS if one != "in"])
        one, other = (chance.choice(literals[KINDS[name]]) for _ in range(2))
        forms = [f"{name} {chance.choice(signs)} {one}", f"{name} in ({one}, {other})", f"{name} is null",
                 f"{name} not in ({one}, {other})", f"{name} between {one} and {other}"]  # fmt: skip
        return chance.choice([*forms, *(["premium", "not premium"] if name == "premium" else [])])

    def condition(depth: int) -> str:
        if not depth:
            return atom()
        inner = f"{condition(depth - 1)} {chance.choice(['and', 'or'])} {condition(depth - 1)}"
        return chance.choice([inner, f"({inner})", f"not ({inner})", f"not {inner}"])

    conditions = [condition(chance.randint(0, 2)) for _ in range(150)]
    events = [
        {"country": chance.choice(["DE", "fr", "", None]), "duration_s": chance.choice([31, -1, 100, None]),
         "volume": chance.choice([0.5, 1.0, -2.5, None]), "premium": chance.choice([True, False, None]), "in": None}
        for _ in range(20)
    ]  # fmt: skip
    frame = spark.createDataFrame([tuple(event.values()) for event in events], SCHEMA)
    rows = frame.select(*[F.coalesce(F.expr(one), F.lit(False)) for one in conditions]).collect()
    for at, one in enumerate(conditions):
        decide = predicate(one, KINDS)
        assert [row[at] for row in rows] == [decide(event) for event in events], one


def test_a_key_of_any_type_reads_as_spark_casts_it(spark: SparkSession) -> None:
    doubles = [0.0, 1.0, 25.0, 1e7, 9999999.0, 12345678.9, 0.001, 0.00015, 1e-5, 1.5e300, -2.5, 123456.789, 1e21, 100.0]
    instants = [datetime(2024, 2, 29, tzinfo=UTC) + timedelta(microseconds=m) for m in (0, 1, 500_000, 36_000_000_010)]
    instants += [datetime(900, 1, 1, 10, tzinfo=UTC)]
    for kind, values in (("double", doubles), ("timestamp", instants), ("boolean", [True, False]), ("bigint", [-7])):
        frame = spark.createDataFrame([(value,) for value in values], f"v {kind}")
        assert [row[0] for row in frame.selectExpr("cast(v as string)").collect()] == list(map(as_text, values))


def test_fields_are_told_of_events_alone() -> None:
    settings = settings_with()
    value = b'{"event_id":"e1","type":"play","occurred_at":"2024-02-29T10:00:00Z","track_id":"t1"}'
    records = [Record("1", "events", one, APPENDED, 1) for one in (value, b"{")]
    assert [fields["track_id"] for fields in fields_of(records, settings)] == ["t1"]
