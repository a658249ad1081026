"""Events weighed by the counters: what each event adds to which count. The one place where a counter becomes Spark.

A contribution with a null member belongs to the key's own count; a counter with a breakdown yields a second one for
the member. An event whose key is absent or empty contributes nothing to that counter.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stitch.counters import Counter

SECONDS = {"minute": 60, "quarter": 900}


def contributions(events: DataFrame, counters: list[Counter]) -> DataFrame:
    """(timestamp, type, occurred_at, fields…) → (timestamp, counter, key, member or null, bucket, amount: bigint)."""
    weighed_types = sorted({event_type for counter in counters for event_type in counter.weights})
    amounts = [amount for counter in counters for amount in _amounts(counter)]
    exploded = events.where(F.col("type").isin(weighed_types)).select(
        "timestamp", F.explode(F.array_compact(F.array(*amounts))).alias("c")
    )
    return exploded.select("timestamp", "c.counter", "c.key", "c.member", "c.bucket", "c.amount")


def _amounts(counter: Counter) -> list[Column]:
    weight = reduce(
        lambda chain, item: chain.when(F.col("type") == item[0], _weight(item[1])),
        list(counter.weights.items())[1:],
        F.when(F.col("type") == next(iter(counter.weights)), _weight(next(iter(counter.weights.values())))),
    )
    counts = _present(counter.key) & weight.isNotNull()
    if counter.where:
        counts &= F.expr(counter.where)
    nobody = F.lit(None).cast("string")
    amounts = [F.when(counts, _amount(counter, nobody, weight))]
    if counter.member:
        amounts.append(
            F.when(counts & _present(counter.member), _amount(counter, F.col(counter.member).cast("string"), weight))
        )
    return amounts


def _amount(counter: Counter, member: Column, weight: Column) -> Column:
    return F.struct(
        F.lit(counter.name).alias("counter"),
        F.col(counter.key).cast("string").alias("key"),
        member.alias("member"),
        floor_to(F.col("occurred_at"), int(counter.finest.total_seconds())).alias("bucket"),
        weight.alias("amount"),
    )


def floor_to(instant: Column, seconds: int) -> Column:
    """The start of the interval of that length (a divisor of a day) that holds the instant, UTC."""
    return F.timestamp_seconds(F.floor(F.unix_seconds(instant) / seconds) * seconds)


def _weight(weight: int | str) -> Column:
    return F.lit(weight).cast("bigint") if isinstance(weight, int) else F.col(weight).cast("bigint")


def _present(field: str) -> Column:
    return F.col(field).isNotNull() & (F.col(field).cast("string") != "")
