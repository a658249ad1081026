"""The keyspaces of a cluster compared with stitch/tables.py and the settings, and brought to them.

Every statement goes to one node, the same for whoever applies: two nodes that make a table at once may each give it
an id of its own (CASSANDRA-10699), where one node makes it once. The nodes must agree after each, and in the end the
keyspace is looked at again; so applying twice, by two at once, or after one that was cut short comes to the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from cassandra import (
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    RequestExecutionException,
    RequestValidationException,
    Unauthorized,
)
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import SimpleStatement

from connections import cassandra
from connections.refusals import NoAnswer
from stitch.cql import Wanted, wanted
from stitch.errors import StitchError
from stitch.schema import Difference, Found, FoundColumn, FoundTable, differences
from stitch.settings import Settings
from stitch.tables import TABLES, LayerName

SECONDS = 60  # for one statement, its agreement included
# What another makes at the same moment is there already, or seen in system_schema a moment before it can be read.
_BY_ANOTHER = re.compile(
    r"already exist|conflicts with an existing column|schema_changes does not exist|unconfigured table schema_changes",
    re.IGNORECASE,
)


class SchemaError(StitchError):
    """The tables could not be compared or made; the message says what was refused and what to do."""


def apply_schema(
    settings: Settings, say: Callable[[str], object] = lambda _: None, only: LayerName | None = None
) -> None:
    """Bring the tables of both layers, or of one, to what the settings say. Raises StitchError with the way out."""
    for layer in [only] if only else TABLES:
        with _session(settings, layer) as session:
            apply(session, wanted(layer, getattr(settings, layer)), say)


def check_schema(settings: Settings, only: LayerName | None = None) -> dict[LayerName, list[Difference]]:
    """layer → where its tables differ from what the settings say. Raises StitchError with the way out."""
    found = {}
    for layer in [only] if only else TABLES:
        with _session(settings, layer) as session:
            found[layer] = check(session, wanted(layer, getattr(settings, layer)))
    return found


def _session(settings: Settings, layer: LayerName) -> AbstractContextManager[Session]:
    return cassandra.connected(getattr(settings, layer), layer, timeout=SECONDS, connect_timeout=20)


def check(session: Session, wanted: Wanted) -> list[Difference]:
    """Where the keyspace differs from what is wanted; empty where it does not."""
    return differences(wanted, find(session, wanted))


def apply(session: Session, wanted: Wanted, say: Callable[[str], object]) -> None:
    """End every difference that statements can end. Raises SchemaError where one remains, when the others are ended."""
    tried: dict[str, Difference] = {}
    while found := check(session, wanted):
        stubborn = [difference.what for difference in found if difference.what in tried]
        if stubborn:
            raise SchemaError(f"{wanted.layer}: the cluster took the statement, and yet {stubborn[0]}")
        due = {difference.what: difference for difference in found if difference.cql}
        if not due:
            break
        for statement in [statement for difference in due.values() for statement in difference.cql]:
            say(f"{wanted.layer}: {_title(statement)}")
            _run(session, wanted, statement)
        tried |= due
    for note in dict.fromkeys(difference.then for difference in tried.values() if difference.then):
        say(f"{wanted.layer}: {note}")
    if found:
        lines = [f"{difference.what}: {difference.way_out}" for difference in found]
        raise SchemaError("\n  ".join([f"{wanted.layer}: the rest needs a person:", *lines]))


def find(session: Session, wanted: Wanted) -> Found:
    """What the cluster has in the keyspace, as one node tells it."""
    nodes = Counter(str(host.datacenter) for host in session.cluster.metadata.all_hosts())
    keyspace = _read(session, wanted, "SELECT replication FROM system_schema.keyspaces")
    if not keyspace:
        return Found(nodes=nodes)
    columns: dict[str, dict[str, FoundColumn]] = {}
    for row in _read(
        session,
        wanted,
        "SELECT table_name, column_name, type, kind, position, clustering_order FROM system_schema.columns",
    ):
        found = FoundColumn(row.type, row.kind, row.position, row.clustering_order)
        columns.setdefault(row.table_name, {})[row.column_name] = found
    tables = _read(session, wanted, "SELECT table_name, default_time_to_live, compaction FROM system_schema.tables")
    whole = {
        row.table_name: FoundTable(columns[row.table_name], row.default_time_to_live, dict(row.compaction))
        for row in tables
        if row.table_name in columns  # else another is making it at this moment
    }
    changes = frozenset[str]()
    if "schema_changes" in whole:
        rows = _run(session, wanted, f"SELECT change FROM {wanted.keyspace}.schema_changes")
        changes = frozenset(row.change for row in rows)
    return Found(dict(keyspace[0].replication), whole, changes, nodes)


def _read(session: Session, wanted: Wanted, select: str) -> list[Any]:
    return list(_run(session, wanted, f"{select} WHERE keyspace_name = '{wanted.keyspace}'"))


def _run(session: Session, wanted: Wanted, statement: str) -> Any:
    host = min(session.get_pool_state(), key=lambda host: str(host.host_id), default=None)
    try:
        asked = SimpleStatement(statement, consistency_level=ConsistencyLevel.LOCAL_QUORUM)  # of schema_changes
        future = session.execute_async(asked, timeout=SECONDS, host=host)
        rows = future.result()
    except Unauthorized as error:
        raise SchemaError(
            f"{wanted.layer}: this user may not `{_title(statement)}` ({_words(error)}): grant it, or let somebody who "
            f"may run `stitch schema apply`, or what `stitch schema show --layer {wanted.layer}` prints"
        ) from None
    except (NoHostAvailable, DriverException, RequestExecutionException) as error:
        if isinstance(error, InvalidRequest) and _BY_ANOTHER.search(str(error)):
            return []
        kind = SchemaError if isinstance(error, RequestValidationException) else NoAnswer
        raise kind(f"{wanted.layer}: `{_title(statement)}` failed: {_words(error)}") from None
    if not future.is_schema_agreed:
        raise SchemaError(
            f"{wanted.layer}: the nodes do not agree on the schema after `{_title(statement)}`: see "
            "`nodetool describecluster`, and run it again when they do"
        )
    return rows


def _title(statement: str) -> str:
    """What a statement does, in one line: CREATE TABLE IF NOT EXISTS stitch_batch.keys."""
    return re.sub(r"\s+", " ", statement.split(" (\n")[0])


def _words(error: Exception) -> str:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        return "; ".join(f"{host}: {cause}" for host, cause in error.errors.items())
    return str(error)
