"""Events that count alike as one row, in Spark: for the batch, which must look for duplicates first.

frames.combining does it in workers, where events are decoded; to hand them to Python for this took three times as long.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.contributions import floor_to
from jobs.frames.events import field
from stitch.combining import TIMES, Combining


def added_up(events: DataFrame, how: Combining) -> DataFrame:
    """(event_id, type, occurred_at, fields) → (type, occurred_at, fields, times): one row of those that count alike,
    with their number; `fields` has what counters read. The movement behind a count is lost: no total has it."""
    if "event_id" in how.own:  # no two are alike
        return events
    occurred = F.col("occurred_at") if "occurred_at" in how.own else floor_to(F.col("occurred_at"), how.bucket)
    # So that no row is of more events than may be: those of a task are numbered, and a row is of one stretch of them.
    stretch = F.shiftright(F.monotonically_increasing_id(), how.most.bit_length() - 1)
    equal = {"type": F.col("type"), "occurred_at": occurred, "stretch": stretch}
    equal |= {f"field_{name}": field(name) for name in how.equal}
    flat = events.select(
        *[column.alias(name) for name, column in equal.items()],
        *[field(name).alias(f"value_{name}") for name in how.summed],
    )
    sums = [F.sum(f"value_{name}").alias(f"field_{name}") for name in how.summed]
    rows = flat.groupBy(*equal).agg(F.count(F.lit(1)).alias(TIMES), *sums)
    fields = [F.col(f"field_{name}").alias(name) for name in (*how.equal, *how.summed)]
    none = [F.lit(None).cast("string").alias("none")]  # a struct may not be empty
    return rows.select("type", "occurred_at", F.struct(*(fields or none)).alias("fields"), TIMES)
