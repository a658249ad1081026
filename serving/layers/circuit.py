"""A circuit: after a few failures in a row, requests fail at once in place of waiting; now and then one tries again.

Not pybreaker, the library for it: that holds a lock while a call runs, so reads would wait for one another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Circuit:
    """Closed until `failures` in a row; then open, and one try is let through every `retry_after` seconds."""

    def __init__(
        self, failures: int = 3, retry_after: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._retry_after, self._clock = failures, retry_after, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0
        self._reason = ""

    def refusal(self) -> str | None:
        """Why not to try now; None where a try may be made."""
        with self._lock:
            if self._failures < self._most:
                return None
            now = self._clock()
            if now < self._next_try:
                return self._reason
            self._next_try = now + self._retry_after  # this one tries; the others go on failing fast meanwhile
            return None

    def succeeded(self) -> None:
        if self._failures:  # without the lock: reads that succeed are nearly all there are
            with self._lock:
                self._failures = 0

    def failed(self, reason: str, at_once: bool = False) -> None:
        """One more failure; `at_once`: open, however many there were."""
        with self._lock:
            self._failures = self._most if at_once else self._failures + 1
            self._reason, self._next_try = reason, self._clock() + self._retry_after
