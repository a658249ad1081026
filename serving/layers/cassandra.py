"""The layers in Cassandra: two clusters, each connected on first use and again after it was away.

Nothing connects at import or when the app is made: gunicorn forks its workers, and a driver session does not survive
a fork. A cluster that does not answer is left alone for a second at a time (circuit.py), so that requests in between
fail fast to the other layer. All statements are prepared: no key or query can reach into CQL.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable
from cassandra.query import tuple_factory

from connections import cassandra
from connections.cassandra import RETRY_AFTER
from serving.layers.circuit import Circuit
from serving.layers.interface import (
    Corrected,
    IncrementsSince,
    KeysFrom,
    LayerDown,
    LayerName,
    Layers,
    MembersOf,
    Pending,
    Ran,
    TotalsRange,
)
from stitch.clusters import CassandraSettings
from stitch.cutoff import Published
from stitch.definitions import Publication, from_text
from stitch.errors import StitchError
from stitch.merge import Increment, Total
from stitch.runs import SUBJECT
from stitch.settings import Settings
from stitch.tables import KEY_SHARDS

LOG = logging.getLogger("stitch.layers")
STREAMING_JOB = "streaming_counts"
IN_FLIGHT = 256  # reads of one request sent at once: enough to hide latency, few enough for a small cluster

_BATCH = {
    "cutoffs": "SELECT counter, cutoff, revision, definition FROM cutoffs",
    "totals": "SELECT bucket, count, cutoff FROM totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket >= ? AND bucket < ?",
    "member_totals": "SELECT member, count, cutoff FROM member_totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
    "keys_from": "SELECT key FROM keys WHERE counter = ? AND shard = ? AND key >= ? LIMIT ?",
    "keys_after": "SELECT key FROM keys WHERE counter = ? AND shard = ? AND key > ? LIMIT ?",
    "runs": "SELECT cutoff, kind, state, noted_at, figures FROM runs"
    " WHERE subject = ? ORDER BY write_time DESC LIMIT ?",
    "corrections": "SELECT day, cutoff, before, after FROM corrections WHERE counter = ? AND day >= ? AND day < ?",
}
_REALTIME = {
    "increments": "SELECT bucket, ingest_window, count FROM increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "member_increments": "SELECT bucket, ingest_window, count, member FROM member_increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "progress": "SELECT realtime_through FROM progress WHERE job = ?",
}
_FIRST_WINDOW = datetime(1970, 1, 1, tzinfo=UTC)
_FAILURES = (DriverException, RequestExecutionException, NoHostAvailable, StitchError, OSError)


class Connection:
    """One layer's cluster: a session and its prepared statements, made when they are first needed."""

    def __init__(self, layer: LayerName, settings: CassandraSettings, timeout: float, queries: dict[str, str]) -> None:
        self.layer: LayerName = layer
        self._settings, self._timeout, self._queries = settings, timeout, queries
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        self._circuit = Circuit(retry_after=RETRY_AFTER)

    def send(self, query: str, parameters: Sequence[tuple[Any, ...]]) -> Pending[list[list[tuple[Any, ...]]]]:
        """Send the query for each tuple of parameters; the rows of each are waited for by what is returned.

        Not by the driver's execute_concurrent: that waits without a timeout, for ever on a server that hangs.
        """
        answers: list[list[tuple[Any, ...]]] = []
        waiting: deque[Any] = deque()

        def sent() -> None:
            session = self._connected()
            for values in parameters:
                if len(waiting) >= IN_FLIGHT:
                    answers.append(list(waiting.popleft().result()))
                waiting.append(session.execute_async(self._prepared[query], values))

        def answered() -> list[list[tuple[Any, ...]]]:
            answers.extend(list(future.result()) for future in waiting)
            self._circuit.succeeded()
            return answers

        self._guarded(sent)
        return lambda: self._guarded(answered)

    def close(self) -> None:
        """Shut the cluster's connections."""
        with self._lock:
            self._shut()

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except _FAILURES as error:
            reason = _reason(error)
            self._circuit.failed(reason)
            LOG.warning("the %s layer cannot be read: %s", self.layer, reason)
            raise LayerDown(self.layer, reason) from error

    def _connected(self) -> Any:
        refusal = self._circuit.refusal()
        if refusal is not None:
            raise LayerDown(self.layer, refusal)
        if self._session:
            return self._session
        if not self._lock.acquire(timeout=self._timeout):
            raise LayerDown(self.layer, "another request is still connecting")
        try:
            if not self._session:
                self._connect()
            return self._session
        except _FAILURES as error:
            self._circuit.failed(_reason(error), at_once=True)
            self._shut()
            raise
        finally:
            self._lock.release()

    def _connect(self) -> None:
        self._cluster = cassandra.cluster(self._settings, self.layer, timeout=self._timeout, row_factory=tuple_factory)
        session = cassandra.connect(self._cluster, self._settings, self.layer, self._settings.keyspace)
        self._prepared = {name: _read(session, query) for name, query in self._queries.items()}
        self._session = session  # last: readers without the lock take it as the sign that all is ready

    def _shut(self) -> None:
        if self._cluster:
            self._cluster.shutdown()
        self._cluster = self._session = None


class CassandraLayers(Layers):
    """Both layers by the driver. Half of serving.timeout is for each of an answer's two rounds of reads."""

    def __init__(self, settings: Settings) -> None:
        timeout = settings.serving.timeout.total_seconds() / 2
        self._batch = Connection("batch", settings.batch, timeout, _BATCH)
        self._realtime = Connection("realtime", settings.realtime, timeout, _REALTIME)

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        sent = self._batch.send("cutoffs", [()])
        return lambda: {
            stored: Publication(Published(_utc(cutoff), revision or 0), from_text(definition))
            for stored, cutoff, revision, definition in sent()[0]
            if cutoff
        }

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        sent = self._batch.send("totals", [(r.counter, r.key, r.granularity, r.first, r.last) for r in reads])
        return lambda: [{_utc(bucket): total for bucket, total in _whole(rows)} for rows in sent()]

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        values = [(r.counter, r.key, r.bucket.granularity, r.bucket.start) for r in reads]
        sent = self._batch.send("member_totals", values)
        return lambda: [dict(_whole(rows)) for rows in sent()]

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._send_increments("increments", reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._send_increments("member_increments", reads)

    def realtime_through(self) -> Pending[datetime | None]:
        sent = self._realtime.send("progress", [(STREAMING_JOB,)])

        def through() -> datetime | None:
            (rows,) = sent()
            return _utc(rows[0][0]) if rows and rows[0][0] else None

        return through

    def keys(self, read: KeysFrom) -> Pending[list[str]]:
        after = read.after if read.after is not None and read.after >= read.prefix else None
        query, edge = ("keys_from", read.prefix) if after is None else ("keys_after", after)
        sent = self._batch.send(query, [(read.counter, shard, edge, read.limit) for shard in range(KEY_SHARDS)])
        return lambda: sorted(key for rows in sent() for (key,) in rows if key.startswith(read.prefix))[: read.limit]

    def corrections(self, counter: str, first: date, last: date) -> Pending[list[Corrected]]:
        sent = self._batch.send("corrections", [(counter, first, last)])
        return lambda: [Corrected(day.date(), _utc(cutoff), before, after) for day, cutoff, before, after in sent()[0]]

    def runs(self, last: int) -> Pending[list[Ran]]:
        sent = self._batch.send("runs", [(SUBJECT, last)])
        return lambda: [
            Ran(_utc(cutoff), kind, state, _utc(at), (figures or {}).get("left", 0))
            for cutoff, kind, state, at, figures in sent()[0]
        ]

    def close(self) -> None:
        self._batch.close()
        self._realtime.close()

    def _send_increments(self, table: str, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        sent = self._realtime.send(table, [(r.counter, r.key, r.ingest_date, r.since or _FIRST_WINDOW) for r in reads])
        return lambda: [[Increment(_utc(b), _utc(window), *rest) for b, window, *rest in rows] for rows in sent()]


def _whole(rows: list[tuple[Any, ...]]) -> list[tuple[Any, Total]]:
    """(bucket or member, its total); a row that somebody wrote by hand, without count or cutoff, is none."""
    return [(name, Total(count, _utc(cutoff))) for name, count, cutoff in rows if count is not None and cutoff]


def _read(session: Any, query: str) -> Any:
    """A prepared read, which may be sent to a second node where the first is slow."""
    prepared = session.prepare(query)
    prepared.is_idempotent = True
    return prepared


def _utc(instant: datetime) -> datetime:
    """The driver's instants are UTC without saying so."""
    return instant.replace(tzinfo=UTC)


def _reason(error: BaseException) -> str:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        host, cause = next(iter(error.errors.items()))
        return f"no answer from {host} ({cause})"
    return str(error) or type(error).__name__
