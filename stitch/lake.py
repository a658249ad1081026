"""The tables of Apache Iceberg: their columns and layout, and how the event log follows the fields of the settings.

A data file of the log holds records of one topic, one day of ingest, one verdict and one Kafka partition, whoever
rewrites it. So what the log holds of a partition can be told from the files' statistics, and a conditional append meets
whole files.
"""

from __future__ import annotations

from collections.abc import Mapping

from stitch.decoding import Rules

# The log's columns but for `fields`, whose type the settings decide: name → type, as Spark's SQL says it.
COLUMNS = {
    "topic_id": "string",  # Kafka's: a topic that is recreated has another; of another source, its name
    "partition": "int",
    "offset": "bigint",
    "file": "string",  # of another source: where it was read
    "timestamp": "timestamp",  # when the broker appended it
    "timestamp_type": "int",  # 1: stamped by the broker, 0: by its producer, null: nobody said
    "key": "binary",
    "value": "binary",  # the payload, untouched
    "decoder": "string",  # by which rules it was decoded into what follows (Settings.decoder)
    "event_id": "string",
    "type": "string",
    "occurred_at": "timestamp",
    "notes": "array<string>",
    "reject_reason": "string",
    "verdict": "string",  # accepted or rejected
}
SQL_TYPES = {"string": "string", "int": "bigint", "double": "double", "boolean": "boolean"}
# A record of Kafka's, of which the log's columns are made.
KAFKA_RECORD = "partition int, offset bigint, timestamp timestamp, timestamp_type int, key binary, value binary"
LOG_LAYOUT = "topic_id, days(timestamp), verdict, partition"
LOG_PROPERTIES = {
    "format-version": "2",
    # Each task has one Kafka partition's records and writes them as they come: no shuffle.
    "write.distribution-mode": "none",
    "write.spark.fanout.enabled": "true",
    # Bounds of what is searched by, and of nothing that a person may ask to be erased.
    "write.metadata.metrics.default": "counts",
    **{
        f"write.metadata.metrics.column.{name}": "full"
        for name in ("topic_id", "partition", "offset", "timestamp", "decoder", "verdict")
    },
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # Jobs commit beside each other: who comes second tries again on what the first has left.
    "commit.retry.num-retries": "20",
    # Erasing and compacting beside the archive: it only adds files, so neither has to wait for it.
    "write.delete.isolation-level": "snapshot",
    "write.update.isolation-level": "snapshot",
    "write.merge.isolation-level": "snapshot",
}
# Totals: a row of the totals in Cassandra, members' too. A night rewrites the files of the days that it touches, whole.
TOTALS = {
    "counter": "string",
    "key": "string",
    "member": "string",  # null: of the key
    "granularity": "string",
    "bucket": "timestamp",
    "count": "bigint",
    "write_time": "bigint",  # the write timestamp of the row in Cassandra: which run changed it last
}
TOTALS_KEY = ["counter", "key", "member", "granularity", "bucket"]  # of which there is one row
TOTALS_LAYOUT = "granularity, days(bucket)"
TOTALS_PROPERTIES = {
    "format-version": "2",
    # A task has all rows of a file, and its files one after the other: a recount of years would have thousands open.
    "write.distribution-mode": "hash",
    "write.spark.fanout.enabled": "false",
    # Bounds of what is searched by, and of nothing that a person may ask to be erased.
    "write.metadata.metrics.default": "counts",
    **{f"write.metadata.metrics.column.{name}": "full" for name in ("counter", "granularity", "bucket", "write_time")},
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
# Exclusions: the rules in force, by which events are left out (stitch.exclusions).
EXCLUSIONS = {
    "field": "string",
    "value": "string",  # as it was written
    "reason": "string",  # for people
    "kept_at": "timestamp",  # since when
}
EXCLUSIONS_PROPERTIES = {
    "format-version": "2",
    # No bounds of the values: a person may ask that one be erased.
    "write.metadata.metrics.default": "counts",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


def field_types(rules: Rules) -> dict[str, str]:
    """name → type of the column `fields`; a struct must hold something."""
    return {field.name: SQL_TYPES[field.kind] for field in rules.fields} or {"none": "string"}


def create_log(table: str, fields: Mapping[str, str]) -> str:
    """The statement that creates the log's table where there is none. fields: name → type of the column `fields`."""
    struct = ", ".join(f"`{name}`: {kind}" for name, kind in fields.items())
    return _create(table, {**COLUMNS, "fields": f"struct<{struct}>"}, LOG_LAYOUT, LOG_PROPERTIES)


def create_totals(table: str) -> str:
    """The statement that creates the table of totals where there is none."""
    return _create(table, TOTALS, TOTALS_LAYOUT, TOTALS_PROPERTIES)


def create_exclusions(table: str) -> str:
    """The statement that creates the table of exclusions where there is none."""
    return _create(table, EXCLUSIONS, "field", EXCLUSIONS_PROPERTIES)


def _create(table: str, columns: Mapping[str, str], layout: str, properties: Mapping[str, str]) -> str:
    said = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
    with_properties = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({said}) USING iceberg PARTITIONED BY ({layout}) "
        f"TBLPROPERTIES ({with_properties})"
    )


def changes(have: Mapping[str, str], want: Mapping[str, str]) -> list[str]:
    """What brings the column `fields` to the wanted fields, as the ends of ALTER TABLE statements, in their order.

    have, want: name → type. A field that nobody wants any more stays. One whose type changed goes aside under a name
    with its type and comes back when its type does: the records of a decoder that had it are read as it wrote them, and
    those of any other are decoded again from their payloads.
    """
    now, steps = dict(have), []
    for name, kind in want.items():
        there = now.get(name)
        if there == kind:
            continue
        if there:
            aside = aside_name(name, there)
            steps.append(f"RENAME COLUMN fields.`{name}` TO `{aside}`")
            now[aside] = there
        back = aside_name(name, kind)
        came_back = now.pop(back, None)
        steps.append(
            f"RENAME COLUMN fields.`{back}` TO `{name}`" if came_back else f"ADD COLUMN fields.`{name}` {kind}"
        )
        now[name] = kind
    return steps


def aside_name(name: str, kind: str) -> str:
    """The name of a field of a type that the settings no longer say; no name in the settings has a hyphen."""
    return f"{name}-{kind}"
