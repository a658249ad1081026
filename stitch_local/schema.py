"""A driver session on a layer's cluster, as the local stack, its tests and benchmarks ask for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connections import cassandra
from connections.schema import apply_schema
from stitch.clusters import CassandraSettings, RealtimeSettings

__all__ = ["apply_schema", "connected"]


@contextmanager
def connected(layer: CassandraSettings) -> Iterator[Any]:
    """A driver session on the layer's cluster, closed in the end."""
    name = "realtime" if isinstance(layer, RealtimeSettings) else "batch"
    with cassandra.connected(layer, name, timeout=60, connect_timeout=20) as session:
        yield session
