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
    """A value, until when it is answered, and until when it can be recalled, by time.monotonic()."""

    value: Any
    until: float
    recalled_until: float
    size: int


class Memory:
    """Values by the name of their cache and a key of it."""

    def __init__(self, most: int) -> None:
        self.largest = int(most * LARGEST)
        self._lock = threading.Lock()
        self._kept: TLRUCache[tuple[str, Hashable], Kept] = TLRUCache(
            most, ttu=lambda _, kept, __: kept.recalled_until, timer=time.monotonic, getsizeof=lambda kept: kept.size
        )

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return int(self._kept.currsize)

    def get(self, cache: str, key: Hashable) -> Kept | None:
        """What is kept and has not run out."""
        kept = self.recall(cache, key)
        return kept if kept and time.monotonic() < kept.until else None

    def recall(self, cache: str, key: Hashable) -> Kept | None:
        """The same, also if it has run out and others did not need the room."""
        with self._lock:
            return self._kept.get((cache, key))

    def keys(self, cache: str) -> list[Any]:
        """All keys of a cache that can be recalled."""
        with self._lock:
            return [key for of, key in self._kept if of == cache]

    def keep(self, cache: str, key: Hashable, value: Any, until: float, size: int, recall: float = 0) -> None:
        """Keep it, unless it is too large. `size`: of the value and the key's texts, in bytes; `recall`: for how many
        seconds more it can be recalled."""
        if (size := size + ENTRY) <= self.largest:
            with self._lock:
                self._kept[cache, key] = Kept(value, until, until + recall, size)
