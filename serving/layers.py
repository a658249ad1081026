"""What the reader asks of the two layers, so that tests answer from memory and production from Cassandra.

Each method takes all reads of a request at once: an implementation sends them together and waits once, whatever the
number of keys. Answers come in the order of the reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from stitch.buckets import Bucket
from stitch.merge import Increment, Total

LayerName = Literal["batch", "realtime"]


class LayerDown(Exception):
    """A layer cannot be read now; the reader answers from the other one."""

    def __init__(self, layer: LayerName, reason: str) -> None:
        super().__init__(f"the {layer} layer cannot be read: {reason}")
        self.layer: LayerName = layer
        self.reason = reason


class Unavailable(Exception):
    """No layer that could answer can be read now."""


@dataclass(frozen=True)
class TotalsRange:
    """The totals of one key with `first <= bucket start < last`: a slice of one partition."""

    counter: str
    key: str
    granularity: str
    first: datetime
    last: datetime


@dataclass(frozen=True)
class MembersOf:
    """The member totals of one key in one bucket: one partition."""

    counter: str
    key: str
    bucket: Bucket


@dataclass(frozen=True)
class IncrementsSince:
    """The increments of one key in one ingest date's partition, from an ingest window on (None: all of them)."""

    counter: str
    key: str
    ingest_date: date
    since: datetime | None


class Layers(ABC):
    """Both layers. Every method raises LayerDown where its layer does not answer in time."""

    @abstractmethod
    def cutoffs(self) -> dict[str, datetime]:
        """counter → published cutoff. To be read before the totals: see stitch.merge."""

    @abstractmethod
    def totals(self, reads: Sequence[TotalsRange]) -> list[dict[datetime, Total]]:
        """bucket start → total, for each read."""

    @abstractmethod
    def member_totals(self, reads: Sequence[MembersOf]) -> list[dict[str, Total]]:
        """member → total, for each read."""

    @abstractmethod
    def increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        """The increments of each read."""

    @abstractmethod
    def member_increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        """The increments of each read, by member."""

    @abstractmethod
    def realtime_through(self) -> datetime | None:
        """Every event appended before this instant is in the increments; None before the job's first batch."""

    def close(self) -> None:
        """Give up connections, where there are any."""
        return None
