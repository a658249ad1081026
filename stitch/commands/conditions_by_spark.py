"""Conditions that only Spark knows how to decide, asked of a Spark session on this machine, by the jobs' own frames."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stitch.counters import Counter
from stitch.extras import require
from stitch.lake import field_types
from stitch.settings import Settings
from stitch.weighing import Holds

OWN = ("event_id", "type", "occurred_at")


def held(settings: Settings, counters: Sequence[Counter], events: Iterable[Mapping[str, Any]]) -> Holds:
    """Whether the counters' conditions hold for these events (their fields, and their own three), all asked at once."""
    require("jobs")
    from pyspark.sql import SparkSession

    from jobs.frames.contributions import contributions

    lent = SparkSession.getActiveSession()
    spark = lent or _session(SparkSession.builder)
    types = field_types(settings.rules)
    struct = ", ".join(f"`{name}`: {kind}" for name, kind in types.items())

    def row_of(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        return (*(fields[name] for name in OWN), tuple(fields.get(name) for name in types))

    try:
        rows = list(dict.fromkeys(map(row_of, events)))
        schema = f"n int, event_id string, type string, occurred_at timestamp, fields struct<{struct}>"
        frame = spark.createDataFrame([(n, *row) for n, row in enumerate(rows)], schema)
        # What lacks a key or weight is not in it either, and nobody asks for that.
        found = contributions(frame, list(counters), "n").select("n", "counter").distinct().collect()
        counted = {(name, rows[n]) for n, name in found}
    finally:
        if lent is None:
            spark.stop()
    return lambda counter, fields: (counter.name, row_of(fields)) in counted


def _session(builder: Any) -> Any:
    from stitch.java import java_home
    from stitch.submit import LOG4J

    os.environ.setdefault("JAVA_HOME", str(java_home()))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",
        "spark.driver.extraJavaOptions": f'"-Dlog4j2.configurationFile={LOG4J.as_uri()}"',
    }
    return builder.master("local[1]").config(map=options).getOrCreate()
