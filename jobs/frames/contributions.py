"""Events weighed by the counters: what each event adds to which count. The one place where a counter becomes Spark.

A contribution with a null member belongs to the key's own count; a counter with a breakdown yields a second one for
the member. An event whose key is absent or empty contributes nothing to that counter.
"""

from __future__ import annotations

from functools import reduce

from pyspark.errors.exceptions.captured import AnalysisException, CapturedException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.frames.events import field
from jobs.process.errors import JobError
from stitch.combining import TIMES, summed_fields
from stitch.conditions import qualified
from stitch.counters import Counter
from stitch.decoding import OWN


def contributions(events: DataFrame, counters: list[Counter], *keep: str) -> DataFrame:
    """(event_id, type, occurred_at, fields, keep…) → (keep…, counter, key, member or null, bucket,
    amount: bigint).

    A row may be of several events, added up by stitch.combining: then it has the column `times`.
    """
    times = F.col(TIMES) if TIMES in events.columns else F.lit(1)
    by_type = {
        event_type: _amounts(event_type, counters, times) for counter in counters for event_type in counter.weights
    }
    # An event type's own array: an event is not asked by counters that do not weigh its type.
    amounts = reduce(lambda chain, t: chain.when(F.col("type") == t, F.array(*by_type[t])), by_type, F)
    _check_conditions(events, counters)
    weighed = events.where(F.col("type").isin(*by_type))
    exploded = weighed.select(*keep, "occurred_at", F.explode(amounts).alias("c"))
    added = exploded.where(F.col("c.key").isNotNull())
    return added.select(*keep, "c.counter", "c.key", "c.member", _bucket(counters).alias("bucket"), "c.amount")


def _amounts(event_type: str, counters: list[Counter], times: Column) -> list[Column]:
    """What an event of that type adds to each counter; a null key where it adds nothing.

    The structs are small and never null themselves: a null struct, or the bucket in each, made this four times slower.
    """
    amounts, summed = [], summed_fields(counters)
    nobody = F.lit(None).cast("string")
    for counter in counters:
        if event_type not in counter.weights:
            continue
        said = counter.weights[event_type]
        weight = _weight(said) if said in summed else _weight(said) * times
        counts = _present(counter.key) & weight.isNotNull()
        if counter.where:
            counts &= _condition(counter, counter.where)
        amounts.append(_amount(counter, counts, nobody, weight))
        if counter.member:
            member = field(counter.member).cast("string")
            amounts.append(_amount(counter, counts & _present(counter.member), member, weight))
    return amounts


def _amount(counter: Counter, counts: Column, member: Column, weight: Column) -> Column:
    return F.struct(
        F.lit(counter.name).alias("counter"),
        F.when(counts, field(counter.key).cast("string")).alias("key"),
        member.alias("member"),
        weight.alias("amount"),
    )


def _bucket(counters: list[Counter]) -> Column:
    """The start of the finest bucket that the contribution's counter keeps."""
    by_length: dict[int, list[str]] = {}
    for counter in counters:
        by_length.setdefault(int(counter.finest.total_seconds()), []).append(counter.name)
    (most, _), *others = sorted(by_length.items(), key=lambda item: -len(item[1]))
    chain = reduce(
        lambda chain, item: chain.when(F.col("c.counter").isin(item[1]), floor_to(F.col("occurred_at"), item[0])),
        others,
        F,
    )
    return chain.otherwise(floor_to(F.col("occurred_at"), most)) if others else floor_to(F.col("occurred_at"), most)


def _condition(counter: Counter, condition: str) -> Column:
    try:
        return F.expr(qualified(condition, lambda name: f"`{name}`" if name in OWN else f"fields.`{name}`"))
    except ParseException as error:
        raise JobError(f"counters.{counter.name}.where is not a SQL condition: {condition!r}: {_said(error)}") from None


def _check_conditions(events: DataFrame, counters: list[Counter]) -> None:
    """Raises JobError for a condition that Spark cannot use, or that could decide otherwise on a replay."""
    nothing = events.sparkSession.createDataFrame([], events.schema)
    for counter in counters:
        if not counter.where:
            continue
        where = f"counters.{counter.name}.where"
        try:
            plan = nothing.where(_condition(counter, counter.where))._jdf.queryExecution().analyzed()
        except AnalysisException as error:
            raise JobError(f"{where} does not fit the types of its fields: {_said(error)}") from None
        if not plan.deterministic():
            raise JobError(f"{where} answers otherwise on each replay: {counter.where!r}; it may ask the event alone")


def _said(error: CapturedException) -> str:
    return str(error).strip().splitlines()[0]


def floor_to(instant: Column, seconds: int) -> Column:
    """The start of the interval of that length (a divisor of a day) that holds the instant, UTC."""
    since_1970 = F.unix_seconds(instant)
    return F.timestamp_seconds(since_1970 - F.pmod(since_1970, F.lit(seconds)))


def _weight(weight: int | str) -> Column:
    return F.lit(weight).cast("bigint") if isinstance(weight, int) else field(weight).cast("bigint")


def _present(name: str) -> Column:
    return field(name).isNotNull() & (field(name).cast("string") != "")
