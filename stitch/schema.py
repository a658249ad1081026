"""What sets a keyspace apart from the tables and the settings: pure, so that each kind of difference is a unit test.

A difference carries the statements that end it, where some do without losing anything. Where none do (a column of
another type, another key) it says what a person can do: nothing here drops or rewrites data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from stitch.cql import TWCS, Wanted, alter_keyspace, as_map, compaction, create_keyspace, create_table, expiry, record
from stitch.retention import raised_from
from stitch.tables import SCHEMA_CHANGES, Table

_ELSEWHERE = {
    "realtime": "set realtime.keyspace to a new name, `stitch schema apply`, and count into it by "
    "`stitch submit streaming_counts --from-cutoff`",
    "batch": "set batch.keyspace to a new name, `stitch schema apply`, and count into it by "
    "`stitch submit batch_totals --full`",
}


class FoundColumn(NamedTuple):
    """A column as system_schema.columns tells it."""

    type: str
    kind: str = "regular"  # or partition_key, clustering, static
    position: int = -1
    order: str = "none"  # of a clustering column: asc or desc


class FoundTable(NamedTuple):
    columns: Mapping[str, FoundColumn]
    default_ttl: int = 0
    compaction: Mapping[str, str] = {}


@dataclass(frozen=True)
class Found:
    """What a cluster has. `replication`: None where there is no keyspace; `nodes`: how many of each datacenter."""

    replication: Mapping[str, str] | None = None
    tables: Mapping[str, FoundTable] = field(default_factory=dict)
    changes: frozenset[str] = frozenset()
    nodes: Mapping[str, int] = field(default_factory=dict)


class Difference(NamedTuple):
    """
    what:  where cluster and settings differ
    cql:   the statements by which `stitch schema apply` ends it; none: a person must
    then:  with statements: what a person is to do after them; without: what to do instead
    """

    what: str
    cql: tuple[str, ...] = ()
    then: str = ""

    @property
    def way_out(self) -> str:
        return "; ".join(text for text in ("`stitch schema apply` fixes it" if self.cql else "", self.then) if text)


def differences(wanted: Wanted, found: Found) -> list[Difference]:
    """Every difference, in the order in which they can be fixed. That there is more than is wanted is none."""
    if found.replication is None and wanted.managed:
        return [
            Difference(f"the keyspace {wanted.keyspace} does not exist", then="make it where the service makes them")
        ]
    of_cluster = _of_cluster(wanted, found)
    if found.replication is None:
        missing = Difference(f"the keyspace {wanted.keyspace} does not exist", (create_keyspace(wanted),))
        return of_cluster or [missing]
    of_keyspace = of_cluster or _of_replication(wanted, found.replication)
    missing_tables = [_missing(wanted, table, found) for table in wanted.tables if table.name not in found.tables]
    of_tables = [
        difference
        for table in wanted.tables
        if table.name in found.tables
        for difference in _of_table(wanted, table, found.tables[table.name])
    ]
    return [*of_keyspace, *missing_tables, *_of_changes(wanted, found), *of_tables]


def _of_cluster(wanted: Wanted, found: Found) -> list[Difference]:
    """Replicas that the cluster cannot hold: writes at a quorum of them would fail."""
    if found.replication is not None and not wanted.as_said:
        return []
    setting = f"{wanted.layer}.replication" if wanted.as_said else f"{wanted.layer}.datacenter"
    differences = []
    for name, nodes in _capacity(wanted, found):
        factor = int(wanted.replication[name])
        if nodes == 0:
            has = ", ".join(sorted(found.nodes))
            what = f"{setting} names the datacenter {name!r}, which the cluster does not have (it has {has})"
            differences.append(Difference(what, then=f"correct {setting}"))
        elif factor > nodes:
            what = f"{setting} asks for {name} = {factor}, and the cluster has {nodes} node{'s' * (nodes > 1)} for that"
            differences.append(Difference(what, then=f"add nodes, or lower {setting}"))
    return differences


def _capacity(wanted: Wanted, found: Found) -> list[tuple[str, int]]:
    """What the factors name (a datacenter, or replication_factor), and how many nodes there are for it."""
    if wanted.replication["class"] == "SimpleStrategy":
        return [("replication_factor", sum(found.nodes.values()))]
    return [(name, found.nodes.get(name, 0)) for name in wanted.replication if name != "class"]


def _of_replication(wanted: Wanted, found: Mapping[str, str]) -> list[Difference]:
    has = _short(found)
    if not wanted.as_said or has == wanted.replication:
        return []
    what = f"replication is {as_map(has)}, and {wanted.layer}.replication says {as_map(wanted.replication)}"
    then = (
        f"run `nodetool repair --full {wanted.keyspace}` on every node: until it is through, new replicas lack rows "
        f"and reads may miss them. Where replicas became fewer, run `nodetool cleanup {wanted.keyspace}` after it"
    )
    return [Difference(what, (alter_keyspace(wanted),), then)]


def _missing(wanted: Wanted, table: Table, found: Found) -> Difference:
    """In a keyspace without tables, all will be made as they are today, so no change of older ones is due."""
    made = wanted.changes if table == SCHEMA_CHANGES and _is_new(wanted, found) else ()
    records = (record(wanted, change.name) for change in made)
    return Difference(f"the table {table.name} is missing", (create_table(wanted, table), *records))


def _is_new(wanted: Wanted, found: Found) -> bool:
    return not any(table.name in found.tables for table in wanted.tables)


def _of_changes(wanted: Wanted, found: Found) -> list[Difference]:
    return [
        Difference(
            f"the change {change.name!r} has not been made",
            (*(statement.format(keyspace=wanted.keyspace) for statement in change.alter), record(wanted, change.name)),
        )
        for change in wanted.changes
        if change.name not in found.changes and not _is_new(wanted, found)
    ]


def _of_table(wanted: Wanted, table: Table, has: FoundTable) -> list[Difference]:
    return [*_of_columns(wanted, table, has), *_of_key(wanted, table, has), *_of_options(wanted, table, has)]


def _of_columns(wanted: Wanted, table: Table, has: FoundTable) -> list[Difference]:
    differences = []
    for column in table.columns:
        name, there = f"{table.name}.{column.name}", has.columns.get(column.name)
        if there is None and column.name not in table.key:
            add = f"ALTER TABLE {wanted.keyspace}.{table.name} ADD {column.name} {column.type}"
            differences.append(Difference(f"the column {name} is missing", (add,)))
        elif there is not None and there.type != column.type:
            what = f"the column {name} is {there.type}, and should be {column.type}"
            differences.append(Difference(what, then=_ELSEWHERE[wanted.layer]))
        elif there is not None and there.kind == "static":
            what = f"the column {name} is static, and should not be"
            differences.append(Difference(what, then=_ELSEWHERE[wanted.layer]))
    return differences


def _of_key(wanted: Wanted, table: Table, has: FoundTable) -> list[Difference]:
    ordered = sorted(has.columns.items(), key=lambda entry: entry[1].position)
    found = _key(
        [name for name, column in ordered if column.kind == "partition_key"],
        [name + " DESC" * (column.order == "desc") for name, column in ordered if column.kind == "clustering"],
    )
    right = _key(table.partition_key, table.clustering)
    if found == right:
        return []
    what = f"the primary key of {table.name} is {found}, and should be {right}"
    return [Difference(what, then=_ELSEWHERE[wanted.layer])]


def _of_options(wanted: Wanted, table: Table, has: FoundTable) -> list[Difference]:
    if not table.expires or wanted.retention is None:
        return []
    differences, alter = [], f"ALTER TABLE {wanted.keyspace}.{table.name} WITH "
    seconds, name = int(wanted.retention.total_seconds()), f"{wanted.layer}.retention"
    if has.default_ttl != seconds:
        what = f"rows of {table.name} expire after {has.default_ttl} s, and {name} is {seconds} s"
        then = f"rows that are in {table.name} keep the expiry they were written with; the new one is for rows to come"
        # Before, for it may end between the two; and again after, for what was written until then expires as before.
        raised = (record(wanted, raised_from(has.default_ttl)),) if 0 < has.default_ttl < seconds else ()
        differences.append(Difference(what, (*raised, alter + expiry(wanted.retention), *raised), then))
    right, there = compaction(wanted.retention), _short(has.compaction)
    if not wanted.managed and not right.items() <= there.items():
        kept = {name: value for name, value in there.items() if name not in right} if there["class"] == TWCS else {}
        what = f"{table.name} is compacted by {as_map(there)}, and {name} asks for {as_map(right)}"
        differences.append(Difference(what, (f"{alter}compaction = {as_map(right | kept)}",)))
    return differences


def _short(options: Mapping[str, str]) -> dict[str, str]:
    """Options with the class as CQL takes it, without its Java package."""
    return dict(options) | {"class": options.get("class", "").rpartition(".")[2]}


def _key(partition: Iterable[str], clustering: Iterable[str]) -> str:
    return "(" + ", ".join([f"({', '.join(partition)})", *clustering]) + ")"
