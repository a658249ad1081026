"""One layer's cluster: a session and its prepared statements, made when they are first needed, and again after the
cluster was away.

Every wait ends at the deadline of the request. The driver's own timeout is of a first page alone: its timer is not
started again for the pages behind it, for which `ResultSet` waits for ever (ResponseFuture._start_timer, 3.29). And a
second answer to the first page, where a read was sent to two nodes, would be taken for the next one. So each page here
is a read of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from cassandra import DriverException, OperationTimedOut, ReadTimeout, RequestExecutionException
from cassandra.cluster import NoHostAvailable
from cassandra.query import tuple_factory

from connections import cassandra
from connections.cassandra import RETRY_AFTER
from serving.layers.circuit import Circuit
from serving.layers.interface import Deadline, LayerDown, LayerName, OutOfTime, Pending, TooManyRows
from serving.observe.metrics import CIRCUIT_OPEN
from stitch.clusters import CassandraSettings
from stitch.errors import StitchError

LOG = logging.getLogger("stitch.layers")
T = TypeVar("T")
Rows = list[tuple[Any, ...]]

# Reads of one call that are sent at once: enough to hide latency. Behind as many waits the read of a single key, since
# one thread of the driver takes all answers, one after the other.
IN_FLIGHT = 64
TRIAL = 0.4  # of the time of a read, in which a cheap one tells whether the layer answers
_FAILURES = (DriverException, RequestExecutionException, NoHostAvailable, StitchError, OSError)
_TIMED_OUT = (OperationTimedOut, ReadTimeout)


class Limits(NamedTuple):
    """timeout: seconds of one read at most, however far the deadline is; rows: that one call's reads may have."""

    timeout: float
    rows: int


class Connection:
    """`cheap` names the query, and has its values, that costs the layer nothing: it tells whether the layer answers."""

    def __init__(
        self,
        layer: LayerName,
        settings: CassandraSettings,
        limits: Limits,
        queries: dict[str, str],
        cheap: tuple[str, tuple[Any, ...]],
    ) -> None:
        self.layer: LayerName = layer
        self._settings, self._limits, self._queries, self._cheap = settings, limits, queries, cheap
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        CIRCUIT_OPEN.labels(layer).set(False)
        self.circuit = Circuit(retry_after=RETRY_AFTER, changed=CIRCUIT_OPEN.labels(layer).set)

    def send(self, query: str, parameters: Sequence[tuple[Any, ...]], deadline: Deadline) -> Pending[list[Rows]]:
        """Send the query for each tuple of parameters; the rows of each are waited for by what is returned.

        Not by the driver's execute_concurrent: that waits without a timeout, for ever on a server that hangs.
        """
        answers: list[Rows] = []
        waiting: deque[tuple[Any, tuple[Any, ...], Any]] = deque()
        room = [self._limits.rows]

        def wait_for_one() -> None:
            session, values, future = waiting.popleft()
            rows, state = _page(future)
            while state is not None and len(rows) <= room[0]:
                more, state = _page(self._execute(session, query, values, deadline, state))
                rows += more
            room[0] -= len(rows)
            if room[0] < 0:
                raise TooManyRows(self._limits.rows)
            answers.append(rows)

        def sent() -> None:
            session = self._admitted(deadline)
            for values in parameters:
                if len(waiting) >= IN_FLIGHT:
                    wait_for_one()
                waiting.append((session, values, self._execute(session, query, values, deadline)))

        def answered() -> list[Rows]:
            while waiting:
                wait_for_one()
            self.circuit.succeeded()
            return answers

        self._guarded(sent, query, deadline)
        return lambda: self._guarded(answered, query, deadline)

    def close(self) -> None:
        """Shut the cluster's connections."""
        with self._lock:
            self._shut()

    def _execute(
        self, session: Any, query: str, values: tuple[Any, ...], deadline: Deadline, page: bytes | None = None
    ) -> Any:
        seconds = min(self._limits.timeout, deadline.left())
        if seconds <= 0:
            raise OutOfTime(deadline.seconds)
        return session.execute_async(self._prepared[query], values, timeout=seconds, paging_state=page)

    def _guarded(self, call: Callable[[], T], query: str, deadline: Deadline) -> T:
        """Raises LayerDown where the layer does not answer; OutOfTime where it does, but not this."""
        try:
            return call()
        except _FAILURES as error:
            reason = _reason(error)
            if isinstance(error, NoHostAvailable) and not self._any_host_up():
                self.circuit.failed(reason, at_once=True)
            elif query == self._cheap[0]:
                self.circuit.failed(reason)
            elif isinstance(error, _TIMED_OUT) and self._answers():
                raise OutOfTime(deadline.seconds) from error
            LOG.warning("the %s layer cannot be read: %s", self.layer, reason)
            raise LayerDown(self.layer, reason) from error

    def _admitted(self, deadline: Deadline) -> Any:
        """The session, unless the circuit is open. One request at a time tries a layer that did not answer."""
        admission = self.circuit.admitted()
        if admission == "open":
            raise LayerDown(self.layer, self.circuit.refusal or "it did not answer")
        if admission == "closed":
            return self._session or self._connected(deadline)
        failure: str | None = "the trial was given up"
        try:
            session = self._session or self._connected(deadline)
            session.execute_async(
                self._prepared[self._cheap[0]], self._cheap[1], timeout=TRIAL * self._limits.timeout
            ).result()
            failure = None
            return session
        except _FAILURES as error:
            failure = _reason(error)
            raise LayerDown(self.layer, failure) from error
        finally:
            self.circuit.tried(failure)

    def _answers(self) -> bool:
        """Whether the layer answers a cheap read: then a read that timed out was too much for it."""
        try:
            self._session.execute_async(
                self._prepared[self._cheap[0]], self._cheap[1], timeout=TRIAL * self._limits.timeout
            ).result()
        except _FAILURES as error:
            self.circuit.failed(_reason(error))
            return False
        return True

    def _any_host_up(self) -> bool:
        return self._cluster is not None and any(host.is_up for host in self._cluster.metadata.all_hosts())

    def _connected(self, deadline: Deadline) -> Any:
        """The session; made by one request, for which others wait."""
        if not self._lock.acquire(timeout=min(self._limits.timeout, deadline.left())):
            raise LayerDown(self.layer, "another request is still connecting")
        try:
            if not self._session:
                self._connect()
            return self._session
        except _FAILURES as error:
            self.circuit.failed(_reason(error), at_once=True)
            self._shut()
            raise
        finally:
            self._lock.release()

    def _connect(self) -> None:
        self._cluster = cassandra.cluster(
            self._settings, self.layer, timeout=self._limits.timeout, row_factory=tuple_factory
        )
        session = cassandra.connect(self._cluster, self._settings, self.layer, self._settings.keyspace)
        self._prepared = {name: _read(session, query) for name, query in self._queries.items()}
        self._session = session  # last: readers without the lock take it as the sign that all is ready

    def _shut(self) -> None:
        if self._cluster:
            self._cluster.shutdown()
        self._cluster = self._session = None


def _page(future: Any) -> tuple[Rows, bytes | None]:
    """The rows of a page, and where the next one begins."""
    result = future.result()
    return list(result.current_rows), result.paging_state


def _read(session: Any, query: str) -> Any:
    """A prepared read, which may be sent to a second node where the first is slow."""
    prepared = session.prepare(query)
    prepared.is_idempotent = True
    return prepared


def _reason(error: BaseException) -> str:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        host, cause = next(iter(error.errors.items()))
        return f"no answer from {host} ({cause})"
    return str(error) or type(error).__name__
