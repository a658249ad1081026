"""A circuit: while a layer does not answer, requests fail at once in place of waiting, and one at a time tries it.

It is opened by cheap reads, and by the driver that reaches no node. Never by a read of rows, which
may take long because one key is heavy: everybody else's keys would be unavailable for it.

Not pybreaker, the library for it: that holds a lock while a call runs, so reads would wait for one another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

Admission = Literal["closed", "trial", "open"]


class Circuit:
    """Closed until `failures` in a row; then open, with one trial at a time, `retry_after` seconds after the last.

    changed: told whether it is open, when it opens or closes
    """

    def __init__(
        self,
        failures: int = 3,
        retry_after: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._most, self._retry_after, self._clock, self._changed = failures, retry_after, clock, changed
        self._lock = threading.Lock()
        self._failures = 0
        self._next_trial = 0.0
        self._on_trial = False
        self._reason = ""

    @property
    def refusal(self) -> str | None:
        """Why it is open; None: it is not."""
        return self._reason if self._failures >= self._most else None

    def admitted(self) -> Admission:
        """Whether to ask the layer. `trial`: whoever gets this tries the layer and says how that ended (`tried`)."""
        if self._failures < self._most:
            return "closed"
        with self._lock:
            if self._failures < self._most:
                return "closed"
            if self._on_trial or self._clock() < self._next_trial:
                return "open"
            self._on_trial = True
            return "trial"

    def tried(self, failure: str | None) -> None:
        """The trial is over; None: the layer answered."""
        with self._lock:
            self._on_trial = False
            self._set(0 if failure is None else self._most, failure or "")

    def succeeded(self) -> None:
        """The layer answered."""
        if self._failures:  # without the lock: reads that succeed are nearly all there are
            with self._lock:
                self._set(0, "")

    def failed(self, reason: str, at_once: bool = False) -> None:
        """One more failure of a cheap read; `at_once`: open, however many there were."""
        with self._lock:
            self._set(self._most if at_once else self._failures + 1, reason)

    def _set(self, failures: int, reason: str) -> None:
        was = self._failures >= self._most
        self._failures, self._reason = failures, reason
        if failures:
            self._next_trial = self._clock() + self._retry_after
        if was != (failures >= self._most):
            self._changed(not was)
