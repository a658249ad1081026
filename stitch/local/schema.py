"""The tables of both layers, from conf/schema, each on its own layer's connection.

Every statement says IF NOT EXISTS, so applying the schema again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from string import Template
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable

from connections import cassandra
from stitch.errors import StitchError
from stitch.local.errors import StackError
from stitch.local.jars import ROOT
from stitch.sections import CassandraSettings, RealtimeSettings
from stitch.settings import Settings

# A quoted string is kept as it is; a comment outside of one goes, with any semicolon in it.
_QUOTED_OR_COMMENT = re.compile(r"('(?:[^']|'')*')|--[^\n]*")


def statements(cql: str) -> list[str]:
    """The statements of a CQL file, comments gone."""
    bare = _QUOTED_OR_COMMENT.sub(lambda match: match[1] or "", cql)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]


def layer_statements(layer: str, **values: Any) -> list[str]:
    """The statements of conf/schema/<layer>.cql with its $names filled in."""
    text = (ROOT / f"conf/schema/{layer}.cql").read_text("utf-8")
    return [Template(statement).substitute(values) for statement in statements(text)]


@contextmanager
def connected(layer: CassandraSettings) -> Iterator[Any]:
    """A driver session on the layer's cluster, closed in the end."""
    name = "realtime" if isinstance(layer, RealtimeSettings) else "batch"
    with cassandra.connected(layer, name, timeout=60, connect_timeout=20) as session:
        yield session


def apply_schema(settings: Settings) -> None:
    """Make both keyspaces and their tables where they are missing. Raises StackError where a cluster refuses."""
    ttl = int(settings.realtime.retention.total_seconds())
    layers: list[tuple[str, CassandraSettings, dict[str, Any]]] = [
        ("realtime", settings.realtime, {"ttl_seconds": ttl}),
        ("batch", settings.batch, {}),
    ]
    for name, layer, values in layers:
        try:
            with connected(layer) as session:
                for statement in layer_statements(name, keyspace=layer.keyspace, **values):
                    session.execute(statement)
        except (StitchError, NoHostAvailable, DriverException, RequestExecutionException) as error:
            where = f"{','.join(layer.hosts)}:{layer.port}"
            raise StackError(f"the schema of the {name} layer could not be made on {where}: {error}") from None
