"""The table `leases`: each write is a lightweight transaction, which is applied for one of those who try it at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from connections.cassandra import WRITE

_TAKE = "INSERT INTO leases (subject, holder, named, renewed_at) VALUES (%s, %s, %s, %s) IF NOT EXISTS USING TTL %s"
_RENEW = "UPDATE leases USING TTL %s SET holder = %s, named = %s, renewed_at = %s WHERE subject = %s IF holder = %s"
_LEAVE = "DELETE FROM leases WHERE subject = %s IF holder = %s"


class LeaseRow:
    """The subject's row as one holder writes it; it expires `lasts` seconds later, and a write may take as long.

    Each returns the row of the answer: `applied`, and where it is false the columns of what is there, those that are
    asked for (`holder`, after `take` also `named` and `renewed_at`), if anything is. Raises the driver's errors: then
    it may have been applied.
    """

    def __init__(self, cassandra: Session, subject: str, holder: str, named: str, lasts: int) -> None:
        self._cassandra, self._lasts = cassandra, lasts
        self._subject, self._holder, self._named = subject, holder, named

    def take(self) -> Any:
        """Write it where there is none."""
        return self._transact(_TAKE, self._subject, self._holder, self._named, datetime.now(UTC), self._lasts)

    def renew(self) -> Any:
        """Write it again where it is the holder's."""
        now = datetime.now(UTC)
        return self._transact(_RENEW, self._lasts, self._holder, self._named, now, self._subject, self._holder)

    def leave(self) -> Any:
        """Remove it where it is the holder's."""
        return self._transact(_LEAVE, self._subject, self._holder)

    def _transact(self, statement: str, *values: Any) -> Any:
        made = SimpleStatement(statement, serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL)
        return self._cassandra.execute(made, values, timeout=self._lasts, execution_profile=WRITE).one()
