"""Which of two cells Cassandra keeps, as a rule for models; tried on 5.0.6 (tests/integration/test_write_times.py)."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """A value, its write timestamp (µs), and when it was written: what it expires by, where it does."""

    value: int
    stamp: int
    written: int = 0


def expiring(stored: Cell | None, new: Cell) -> Cell:
    """Of cells with a time to live: the later timestamp, then the one that expires later, then the larger bytes."""
    return new if stored is None else max(stored, new, key=lambda cell: (cell.stamp, cell.written, _bytes(cell)))


def lasting(stored: Cell | None, new: Cell) -> Cell:
    """Of cells without one: the later timestamp, then the larger bytes."""
    return new if stored is None else max(stored, new, key=lambda cell: (cell.stamp, _bytes(cell)))


def _bytes(cell: Cell) -> bytes:
    return cell.value.to_bytes(8, "big", signed=True)
