"""One run at a time: a lease on the totals, in the batch keyspace, by lightweight transactions.

Two runs that load at once would be exact too, for their write timestamps decide; but each would remove the other's
branch in the table of totals. The holder renews the lease as long as it lives. Of one that was killed, or whose machine
is gone, it expires, and whoever waits for it takes it. A holder that was stopped for longer than that asks before it
loads and before it publishes, and ends where another has the lease by then.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cassandra.cluster import Session

from jobs.ledger.runs import this_process
from jobs.process.errors import NotYet
from jobs.sinks.leases import LeaseRow

LASTS = 20  # seconds without a renewal; a dead holder is waited for as long


class Lease:
    """The right to write the subject's tables, for this process; `lasts`: seconds."""

    def __init__(self, cassandra: Session, subject: str, lasts: int = LASTS) -> None:
        self._subject, self._lasts, self._holder = subject, lasts, uuid.uuid4().hex
        self._row = LeaseRow(cassandra, subject, self._holder, this_process(), lasts)

    def take(self) -> None:
        """Take it, or wait until it expires. Raises NotYet where its holder renews it meanwhile."""
        seen, until = None, time.monotonic() + self._lasts + 5
        while True:
            found = self._row.take()
            if found.applied or found.holder == self._holder:  # a try before it was applied and not acknowledged
                return
            now = (found.holder, found.renewed_at)
            if (seen and now != seen) or time.monotonic() > until:
                raise NotYet(
                    f"another run writes the {self._subject} at this moment ({found.named}): let it end (two that load "
                    "at once would be exact too, but only one can keep its totals)"
                )
            seen = now
            time.sleep(min(1, self._lasts / 20))

    def renew(self) -> bool:
        """Whether it is still held; one that has expired, and that nobody took, is taken again."""
        found = self._row.renew()
        if found.applied or getattr(found, "holder", None) not in (None, self._holder):
            return bool(found.applied)
        again = self._row.take()
        return bool(again.applied or again.holder == self._holder)

    def check(self) -> None:
        """Raises NotYet where another has it."""
        with suppress(Exception):  # as when two ask at once; then it is asked again
            if self.renew():
                return
        if not self.renew():
            raise NotYet(
                f"this run stood still for more than {self._lasts} s, and another began to write the {self._subject}: "
                "nothing is wrong, let that one end, and run again if the cutoff is not published then"
            )

    def leave(self) -> None:
        """Let the next one have it at once; where that fails, it expires."""
        try:
            self._row.leave()
        except Exception as error:  # some answers of Cassandra the driver has no name for
            print(f"stitch: the lease on the {self._subject} was not given back, and expires: {error}", flush=True)

    def renew_until(self, over: threading.Event) -> None:
        """Renew it four times as often as it must be; check() tells whether that was enough."""
        while not over.wait(self._lasts / 4):
            with suppress(Exception):
                self.renew()


@contextmanager
def leased(cassandra: Session, subject: str, lasts: int = LASTS) -> Iterator[Lease]:
    """The lease, renewed until the end. Raises NotYet where another run has it."""
    lease, over = Lease(cassandra, subject, lasts), threading.Event()
    lease.take()
    renewing = threading.Thread(target=lease.renew_until, args=(over,), name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        over.set()
        renewing.join()
        lease.leave()
