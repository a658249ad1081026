"""Raw records decoded into events, or into the reason why they are none.

Whether an event is valid, and when it occurred, depends on the record alone (payload and broker timestamp, never the
clock of the job), so the streaming job, the batch and every replay decide alike.

A payload is parsed once with every leaf as a string and each leaf is then judged by its declared type: Spark's own
typed parsing would null a whole record for one mistyped field, and not say which.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from stitch.settings import Settings

DECODER = 1  # raise it with every change of what a record is decoded into: logs of another are decoded anew
DECODED = ["partition", "offset", "timestamp", "event_id", "type", "occurred_at", "fields", "reject_reason"]
MAX_TEXT_BYTES = 4096  # of a key or member: Cassandra's own limit for a partition key is 64 KiB
_INSTANT = r"^[1-9]\d{3}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?\s*(Z|[+-]\d{2}(:\d{2})?)?)?$"
_EPOCH_MS = r"^\d{1,14}$"
_TYPED = {
    "int": (r"^-?\d{1,18}([.]0+)?$", "bigint"),
    "double": (r"^-?\d+([.]\d+)?([eE][+-]?\d+)?$", "double"),
    "boolean": (r"^(true|false)$", "boolean"),
}


def decode(records: DataFrame, settings: Settings) -> DataFrame:
    """(…, value: binary, timestamp) → the same columns and event_id, type, occurred_at, fields: struct, reject_reason.

    reject_reason is null for an event; the decoded columns mean nothing where it is not.
    """
    events = settings.events
    own = {"event_id": events.event_id, "type": events.type, "occurred_at": events.occurred_at}
    paths = {**{name: path for name, (path, _) in settings.fields.items()}, **own}
    text = F.col("value").cast("string")
    parsed = records.select(
        *records.columns, text.alias("_text"), _once(F.from_json(text, _schema(paths.values())), "_payload")
    )
    timed = parsed.select("*", _once(F.struct(_instant(_leaf(own["occurred_at"])).alias("at")), "_occurred"))
    return timed.select(
        *records.columns,
        _leaf(own["event_id"]).alias("event_id"),
        _leaf(own["type"]).alias("type"),
        F.col("_occurred.at").alias("occurred_at"),
        F.struct(*[_typed(path, kind).alias(name) for name, (path, kind) in settings.fields.items()]
                 or [F.lit(None).cast("string").alias("none")]).alias("fields"),
        _reject_reason(settings, own).alias("reject_reason"),
    )  # fmt: skip


def fields_type(settings: Settings) -> str:
    """The type of the column `fields` that `decode` makes, as DDL."""
    sql_types = {"string": "string", **{kind: sql_type for kind, (_, sql_type) in _TYPED.items()}}
    columns = [f"{name}: {sql_types[kind]}" for name, (_, kind) in settings.fields.items()]
    return f"struct<{', '.join(columns or ['none: string'])}>"


def _once(struct: Column, name: str) -> Column:
    """The struct, computed once per record: explode(array(…)) is a barrier, without which the optimizer copies an
    expression into each of its uses (a payload was parsed 23 times)."""
    return F.explode(F.array(struct)).alias(name)


def accepted(decoded: DataFrame) -> DataFrame:
    """Decoded records → events: (timestamp, event_id, type, occurred_at, each field), rejected ones left out."""
    events = decoded.where(F.col("reject_reason").isNull())
    return events.select("timestamp", "event_id", "type", "occurred_at", "fields.*")


def _reject_reason(settings: Settings, own: dict[str, str]) -> Column:
    occurred_at, instant = F.col("_occurred.at"), _leaf(own["occurred_at"])
    horizon = F.col("timestamp") + F.expr(f"INTERVAL {int(settings.events.max_future.total_seconds())} SECONDS")
    reasons: list[tuple[Column, Any]] = [
        (F.col("timestamp").isNull(), "no ingest time"),
        (F.col("value").isNull(), "no value (a tombstone)"),
        (F.encode("_text", "UTF-8") != F.col("value"), "not UTF-8"),
        (_leaf(own["event_id"]).isNull() & ~_is_object(F.col("_text")), "not a JSON object"),
        *[(_leaf(path).isNull(), f"{path} is missing") for path in own.values()],
        (
            occurred_at.isNull(),
            F.concat(F.lit(f"{own['occurred_at']} is not an instant: "), F.substring(instant, 1, 80)),
        ),
        (occurred_at > horizon, F.concat(F.lit(f"{own['occurred_at']} is too far in the future: "), instant)),
    ]
    for _, (path, kind) in settings.fields.items():
        leaf = _leaf(path)
        if kind in _TYPED:
            said = F.concat(F.lit(f"{path} is not of type {kind}: "), F.substring(leaf, 1, 80))
            reasons.append((leaf.isNotNull() & ~leaf.rlike(_TYPED[kind][0]), said))
        else:
            reasons.append((F.octet_length(leaf) > MAX_TEXT_BYTES, f"{path} is longer than {MAX_TEXT_BYTES} bytes"))
    return F.coalesce(*[F.when(condition, reason) for condition, reason in reasons])


def _is_object(text: Column) -> Column:
    """Asked only where the payload had no event_id: from_json makes a malformed payload's fields null and says no more
    (its own column for malformed records would cost as much again as the parsing)."""
    return F.get_json_object(text, "$").isNotNull() & F.ltrim(text).startswith("{")


def _instant(text: Column) -> Column:
    """ISO-8601 or epoch ms; without a zone it is UTC, the session's. Spark reads a zone only after seconds: add them."""
    with_seconds = F.regexp_replace(text, r"^(.{16})(Z|[+-].*)?$", "$1:00$2")
    return F.when(text.rlike(_EPOCH_MS), F.timestamp_millis(text.cast("bigint"))).when(
        text.rlike(_INSTANT), with_seconds.cast("timestamp")
    )


def _typed(path: str, kind: str) -> Column:
    if kind not in _TYPED:
        return _leaf(path)
    pattern, sql_type = _TYPED[kind]
    return F.when(_leaf(path).rlike(pattern), _leaf(path).cast(sql_type))


def _leaf(path: str) -> Column:
    return reduce(lambda column, part: column[part], path.split("."), F.col("_payload"))


def _schema(paths: Any) -> StructType:
    """Dotted paths → a nested schema whose leaves are strings."""
    tree: dict[str, Any] = {}
    for path in paths:
        reduce(lambda node, part: node.setdefault(part, {}), path.split("."), tree)

    def struct(node: dict[str, Any]) -> StructType:
        return StructType([StructField(k, struct(v) if v else StringType()) for k, v in node.items()])

    return struct(tree)
