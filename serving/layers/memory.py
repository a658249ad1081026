"""What the caches of a process keep, in one budget of bytes: the least recently used goes first, whatever cache it is
of.

The bytes are told from the contents, by what Python takes for them; a test compares that with what it measures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import Any, NamedTuple

from cachetools import TLRUCache

ENTRY = 700  # bytes of an entry: its place in two mappings and a heap, the read that it answers, the empty rows
LARGEST = 0.25  # of the budget; what is larger is answered and not kept, or one heavy key would push all others out


class Kept(NamedTuple):
    """A value, and when it runs out, by time.monotonic()."""

    value: Any
    until: float
    size: int


class Memory:
    """Values by the name of their cache and a key of it."""

    def __init__(self, most: int) -> None:
        self.largest = int(most * LARGEST)
        self._lock = threading.Lock()
        self._kept: TLRUCache[tuple[str, Hashable], Kept] = TLRUCache(
            most, ttu=lambda _, kept, __: kept.until, timer=time.monotonic, getsizeof=lambda kept: kept.size
        )

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return int(self._kept.currsize)

    def get(self, cache: str, key: Hashable) -> Kept | None:
        """What is kept and has not run out."""
        with self._lock:
            return self._kept.get((cache, key))

    def keep(self, cache: str, key: Hashable, value: Any, until: float, size: int) -> None:
        """Keep it, unless it is too large. `size`: of the value and the key's texts, in bytes."""
        if (size := size + ENTRY) <= self.largest:
            with self._lock:
                self._kept[cache, key] = Kept(value, until, size)
