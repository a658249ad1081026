"""The tables as CQL for the settings of a layer: what `stitch schema show` prints and `stitch schema apply` runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from stitch.clusters import BatchSettings, RealtimeSettings
from stitch.tables import CHANGES, SCHEMA_CHANGES, TABLES, Change, LayerName, Table, quoted

NEXT_LINE = ",\n    "
TWCS = "TimeWindowCompactionStrategy"
WINDOWS = 25  # of compaction within a TTL; Cassandra's advice is 20 to 30
_SIZES = [("MINUTES", size) for size in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
_SIZES += (
    [("HOURS", size) for size in (1, 2, 3, 4, 6, 8, 12, 16)]
    + [("DAYS", size) for size in range(1, 366)]
    + [("HOURS", 36)]
)
_MINUTES = {"MINUTES": 1, "HOURS": 60, "DAYS": 1440}

_HEAD = {
    "realtime": "The real-time layer. Each row is what one ingest window contributed to one bucket: absolute,\n"
    "-- never a delta, so writing it twice changes nothing.",
    "batch": "The batch layer. Each row is a count with its own cutoff: it holds every event appended before the\n"
    "-- cutoff and none after. An older run never overwrites a newer one.",
}


@dataclass(frozen=True)
class Wanted:
    """What the settings say of a layer.

    as_said:  whether a keyspace that exists is to have this replication too
    managed:  whether a service (Astra) makes its keyspaces, and chooses replication and compaction
    """

    layer: LayerName
    keyspace: str
    replication: dict[str, str]
    as_said: bool
    retention: timedelta | None = None
    tables: tuple[Table, ...] = ()
    changes: tuple[Change, ...] = ()
    managed: bool = False


def wanted(layer: LayerName, settings: RealtimeSettings | BatchSettings) -> Wanted:
    """What the settings say of the layer."""
    said = settings.replication
    strategy, factors = (said.strategy, said.factors) if said else ("NetworkTopologyStrategy", {settings.datacenter: 1})
    return Wanted(
        layer=layer,
        keyspace=settings.keyspace,
        replication={"class": strategy} | {name: str(factor) for name, factor in factors.items()},
        as_said=said is not None and settings.bundle is None,
        retention=settings.retention if isinstance(settings, RealtimeSettings) else None,
        tables=(SCHEMA_CHANGES, *TABLES[layer]),
        changes=tuple(change for change in CHANGES if change.layer == layer),
        managed=settings.bundle is not None,
    )


def window(retention: timedelta) -> tuple[str, int]:
    """The compaction window (unit, size) that parts the retention into 20 to 30, so that expired files go whole."""
    minutes = retention.total_seconds() / 60
    return min(_SIZES, key=lambda size: abs(minutes / (_MINUTES[size[0]] * size[1]) - WINDOWS))


def compaction(retention: timedelta) -> dict[str, str]:
    """The compaction of a table whose rows expire after the retention."""
    unit, size = window(retention)
    return {"class": TWCS, "compaction_window_unit": unit, "compaction_window_size": str(size)}


def script(wanted: Wanted) -> str:
    """The layer as a file of CQL, for a keyspace that is new; conf/schema keeps those of conf/stitch.toml."""
    tables = "\n\n".join(
        f"-- {_prose(table)}\n{create_table(wanted, table)};" for table in (*wanted.tables[1:], wanted.tables[0])
    )
    made = "\n".join(f"{record(wanted, change.name)};" for change in wanted.changes)
    return (
        f"-- {_HEAD[wanted.layer]}\n"
        "-- Printed by `stitch schema show` from stitch/tables.py, for keyspaces that are new: `stitch schema apply`\n"
        f"-- brings older ones to this form.\n\n{create_keyspace(wanted)};\n\n{tables}\n\n"
        f"-- New tables need no change of older ones.\n{made}\n"
    )


def create_keyspace(wanted: Wanted) -> str:
    return f"CREATE KEYSPACE IF NOT EXISTS {wanted.keyspace}\n  WITH replication = {as_map(wanted.replication)}"


def alter_keyspace(wanted: Wanted) -> str:
    return f"ALTER KEYSPACE {wanted.keyspace} WITH replication = {as_map(wanted.replication)}"


def create_table(wanted: Wanted, table: Table) -> str:
    """The statement that makes the table, a word on each column in it."""
    width = max(len(f"{column.name} {column.type},") for column in table.columns)
    columns = [f"  {f'{c.name} {c.type},':<{width}}  -- {c.word}" for c in table.columns]
    partition = ", ".join(table.partition_key)
    key = ", ".join([f"({partition})" if len(table.partition_key) > 1 else partition, *table.clustering])
    options = [f"comment = {quoted(table.question)}"]
    if table.expires and wanted.retention:
        options.append(expiry(wanted.retention))
        if not wanted.managed:
            options.append(f"compaction = {as_map(compaction(wanted.retention), NEXT_LINE)}")
    return "\n".join(
        [
            f"CREATE TABLE IF NOT EXISTS {wanted.keyspace}.{table.name} (",
            *columns,
            f"  PRIMARY KEY ({key})",
            ") WITH " + "\n  AND ".join(options),
        ]
    )


def record(wanted: Wanted, change: str) -> str:
    """The statement that records a change as made, by its name."""
    return (
        f"INSERT INTO {wanted.keyspace}.schema_changes (change, made_at)\n"
        f"  VALUES ({quoted(change)}, toTimestamp(now()))"
    )


def _prose(table: Table) -> str:
    return f"{table.question}\n-- A row: {table.row}.\n-- Its write timestamp: {table.write_time}."


def as_map(values: Mapping[str, str], separator: str = ", ") -> str:
    """Options as CQL writes them: {'class': 'SimpleStrategy', 'replication_factor': 1}."""
    pairs = (f"{quoted(name)}: {value if value.isdigit() else quoted(value)}" for name, value in values.items())
    return "{" + separator.join(pairs) + "}"


def expiry(retention: timedelta) -> str:
    return f"default_time_to_live = {int(retention.total_seconds())}"
