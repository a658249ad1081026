"""Forget a value of a field everywhere: event log, totals, increments. For a person's right to be erased.

    stitch submit erase_key --field track_id --value t9

The value is kept as an exclusion, so that no later run counts it again. In the log, of each event with that value and
each rejected record whose payload has it as a word, there remains where it stood; the table's older snapshots go. Stop
producing it first: what comes later is counted in real time until the next batch. Run it again as often as you like.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.archive.erasing import erase_from_log
from jobs.frames.rankings import BUCKET, KEYS, MEMBERS
from jobs.lake.exclusions import Exclusions
from jobs.ledger.lease import leased
from jobs.process import figures
from jobs.process.errors import BadOption, run
from jobs.process.spark import session
from jobs.sinks.cassandra import connected
from jobs.sinks.cutoffs import mark_lacking
from jobs.sinks.erasing import delete, delete_charts, delete_lists, forget_key, of_value
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import publications, read_increments, read_lists, read_totals
from stitch.buckets import ALL_END, micros
from stitch.counters import Counter
from stitch.definitions import Publication, by_definition
from stitch.runs import SUBJECT
from stitch.settings import Settings, load_settings

JOB = "erase_key"


def erase_key(settings: Settings, field: str, value: str, now: datetime) -> dict[str, int]:
    """Forget it; returns how many rows of each were removed."""
    with (
        connected(settings.batch, "batch") as batch,
        connected(settings.realtime, "realtime") as realtime,
        leased(batch, SUBJECT) as lease,
        session(JOB, settings) as spark,
    ):
        definitions = definitions_known(settings, published := publications(batch))
        check_used(settings, definitions, field)
        lease.check()
        rule = spark.createDataFrame([(field, value, "erased")], "field string, value string, reason string")
        Exclusions(spark, settings).keep(rule, now)
        named = of_value(definitions, field)
        as_key = [name for name, counter in definitions.items() if counter.key == field]

        def of_it(rows: DataFrame) -> DataFrame:
            return spark.sql(f"SELECT * FROM {{rows}} WHERE {named}", args={"value": value}, rows=rows)

        erased = {"kept_totals": TotalsTable(spark, settings).erase(named, value)}
        erased["log"] = erase_from_log(spark, settings, field, value, now)
        totals = of_it(read_totals(spark, settings)).collect()
        erased["totals"] = delete(batch, "totals", totals, now)
        lists = read_lists(spark, settings, MEMBERS.table).withColumn("member", F.explode_outer("members"))
        delete_lists(batch, of_it(lists).select(*BUCKET, "write_time").distinct().collect())
        charts = read_lists(spark, settings, KEYS.table).withColumn("key", F.explode("keys"))
        charts = charts.withColumn("member", F.lit(None).cast("string"))
        of_keys = of_it(charts).select(*KEYS.bucket, "write_time").distinct().collect()
        for counter in {row.counter for row in of_keys} & {name for name, one in published.items() if one.charted}:
            mark_lacking(batch, counter, published[counter].at)
        delete_charts(batch, of_keys)
        at = max([micros(now + timedelta(days=1)), *(one.at.write_time + 1 for one in published.values())])
        forget_key(batch, {*as_key, *(row.counter for row in totals)}, value, at)
        live = of_it(read_increments(spark, settings, None, ALL_END, of_all=True))
        live = live.withColumn("ingest_date", F.to_date("ingest_window"))
        erased["increments"] = delete(realtime, "increments", live.collect(), now)
    return erased


def check_used(settings: Settings, known: Mapping[str, Counter], field: str) -> None:
    """Raises BadOption where no definition counts by the field, or none of the settings, so that nobody reads it."""
    used = sorted({name for c in known.values() for name in (c.key, c.member) if name})
    if field not in used:
        raise BadOption(f"--field {field!r}: no counter has it as key or member; these are used: {', '.join(used)}")
    if field not in settings.fields:
        raise BadOption(
            f"--field {field!r}: only earlier definitions of counters have it as key or member; for it to be found in "
            f'the log say where it is: [events.types] {field} = "string" (and its path, where that is another)'
        )


def definitions_known(settings: Settings, published: Mapping[str, Publication]) -> dict[str, Counter]:
    """Stored name → its definition: of the settings, and of what was published by others."""
    own = {counter.name: counter for counter in settings.counters}
    earlier = {name: one.counter or own.get(name) for name, one in published.items()}
    now = {counter.name: counter for counter in by_definition(settings).counters}
    return {name: counter for name, counter in (earlier | now).items() if counter}


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--field", required=True, help="a field that counters use as key or member")
@click.option("--value", required=True, help="what is to be forgotten")
def main(config: str | None, field: str, value: str) -> None:
    """Event log, totals and increments without a value."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    erased = erase_key(settings, field, value, datetime.now(UTC))
    print(f"{JOB} removed " + " ".join(f"{name}={rows}" for name, rows in erased.items()), flush=True)


if __name__ == "__main__":
    run(main)
