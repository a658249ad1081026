"""The layers in Cassandra: two clusters, each connected on first use and again after it was away.

Nothing connects at import or when the app is made: gunicorn forks its workers, and a driver session does not survive
a fork. A cluster that refused is left alone for a second, so that requests in between fail fast to the other layer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import tuple_factory

from serving.layers import IncrementsSince, LayerDown, LayerName, Layers, MembersOf, TotalsRange
from stitch.merge import Increment, Total
from stitch.settings import CassandraSettings, Settings

STREAMING_JOB = "streaming_counts"
IN_FLIGHT = 256  # reads of one request sent at once: enough to hide latency, few enough for a small cluster
RETRY_AFTER = 1.0

_BATCH = {
    "cutoffs": "SELECT counter, cutoff FROM cutoffs",
    "totals": "SELECT bucket, count, cutoff FROM totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket >= ? AND bucket < ?",
    "member_totals": "SELECT member, count, cutoff FROM member_totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
}
_REALTIME = {
    "increments": "SELECT bucket, ingest_window, count FROM increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "member_increments": "SELECT bucket, ingest_window, count, member FROM member_increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "progress": "SELECT realtime_through FROM progress WHERE job = ?",
}
_FIRST_WINDOW = datetime(1970, 1, 1, tzinfo=UTC)
_FAILURES = (DriverException, RequestExecutionException, NoHostAvailable, OSError)


class Connection:
    """One layer's cluster: a session and its prepared statements, made when they are first needed."""

    def __init__(self, layer: LayerName, settings: CassandraSettings, timeout: float, queries: dict[str, str]) -> None:
        self.layer: LayerName = layer
        self._settings, self._timeout, self._queries = settings, timeout, queries
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        self._failed: tuple[float, str] = (float("-inf"), "")

    def read(self, query: str, parameters: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        """The rows of the query for each tuple of parameters, sent without waiting for one another.

        Not by the driver's execute_concurrent: that waits without a timeout, for ever on a server that hangs.
        """
        answers: list[list[tuple[Any, ...]]] = []
        waiting: deque[Any] = deque()
        try:
            session = self._connected()
            for values in parameters:
                if len(waiting) >= IN_FLIGHT:
                    answers.append(list(waiting.popleft().result()))
                waiting.append(session.execute_async(self._prepared[query], values))
            return answers + [list(future.result()) for future in waiting]
        except _FAILURES as error:
            raise LayerDown(self.layer, _reason(error)) from error

    def close(self) -> None:
        """Shut the cluster's connections."""
        with self._lock:
            self._shut()

    def _connected(self) -> Any:
        if self._session:
            return self._session
        with self._lock:
            if self._session:
                return self._session
            failed_at, reason = self._failed
            if time.monotonic() - failed_at < RETRY_AFTER:
                raise LayerDown(self.layer, reason)
            try:
                self._connect()
            except _FAILURES as error:
                self._failed = (time.monotonic(), _reason(error))
                self._shut()
                raise
            return self._session

    def _connect(self) -> None:
        settings = self._settings
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter)),
            request_timeout=self._timeout,
            row_factory=tuple_factory,
        )
        self._cluster = Cluster(
            settings.hosts,
            port=settings.port,
            auth_provider=PlainTextAuthProvider(settings.username, settings.password) if settings.username else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            connect_timeout=self._timeout,
            control_connection_timeout=self._timeout,
            reconnection_policy=ConstantReconnectionPolicy(RETRY_AFTER, max_attempts=None),
            protocol_version=5,
        )
        session = self._cluster.connect(settings.keyspace)
        self._prepared = {name: session.prepare(query) for name, query in self._queries.items()}
        self._session = session  # last: readers without the lock take it as the sign that all is ready

    def _shut(self) -> None:
        if self._cluster:
            self._cluster.shutdown()
        self._cluster = self._session = None


class CassandraLayers(Layers):
    """Both layers by the driver."""

    def __init__(self, settings: Settings) -> None:
        timeout = settings.serving.timeout.total_seconds()
        self._batch = Connection("batch", settings.batch, timeout, _BATCH)
        self._realtime = Connection("realtime", settings.realtime, timeout, _REALTIME)

    def cutoffs(self) -> dict[str, datetime]:
        (rows,) = self._batch.read("cutoffs", [()])
        return {counter: _utc(cutoff) for counter, cutoff in rows if cutoff}

    def totals(self, reads: Sequence[TotalsRange]) -> list[dict[datetime, Total]]:
        answers = self._batch.read("totals", [(r.counter, r.key, r.granularity, r.first, r.last) for r in reads])
        return [{_utc(bucket): Total(count, _utc(cutoff)) for bucket, count, cutoff in rows} for rows in answers]

    def member_totals(self, reads: Sequence[MembersOf]) -> list[dict[str, Total]]:
        values = [(r.counter, r.key, r.bucket.granularity, r.bucket.start) for r in reads]
        answers = self._batch.read("member_totals", values)
        return [{member: Total(count, _utc(cutoff)) for member, count, cutoff in rows} for rows in answers]

    def increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        return self._read_increments("increments", reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        return self._read_increments("member_increments", reads)

    def realtime_through(self) -> datetime | None:
        (rows,) = self._realtime.read("progress", [(STREAMING_JOB,)])
        return _utc(rows[0][0]) if rows and rows[0][0] else None

    def close(self) -> None:
        self._batch.close()
        self._realtime.close()

    def _read_increments(self, table: str, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        answers = self._realtime.read(
            table, [(r.counter, r.key, r.ingest_date, r.since or _FIRST_WINDOW) for r in reads]
        )
        return [[Increment(_utc(b), _utc(window), *rest) for b, window, *rest in rows] for rows in answers]


def _utc(instant: datetime) -> datetime:
    """The driver's instants are UTC without saying so."""
    return instant.replace(tzinfo=UTC)


def _reason(error: BaseException) -> str:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        host, cause = next(iter(error.errors.items()))
        return f"no answer from {host} ({cause})"
    return str(error) or type(error).__name__
