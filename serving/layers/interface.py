"""What the reader asks of the two layers, so that tests answer from memory and production from Cassandra.

Each method takes all reads of a request at once, sends them, and returns at once: what it returns waits for the rows.
So both layers are read side by side and no thread waits for another. Answers come in the order of the reads.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, TypeVar

from stitch.buckets import Bucket
from stitch.cutoff import Published
from stitch.definitions import Publication
from stitch.merge import Increment, Ranking, Total

LayerName = Literal["batch", "realtime"]
T = TypeVar("T")
Pending = Callable[[], T]  # waits for what was sent; it may raise LayerDown


class LayerDown(Exception):
    """A layer cannot be read now; the reader answers from the other one. The message is for callers; `reason` may name
    hosts, and is for the log."""

    def __init__(self, layer: LayerName, reason: str) -> None:
        super().__init__(f"the {layer} layer cannot be read now")
        self.layer: LayerName = layer
        self.reason = reason


class Unavailable(Exception):
    """No layer that could answer can be read now."""


class OutOfTime(Unavailable):
    """The layers answer, but have not answered all of this before the request's deadline."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"this could not be read within {seconds:g} s (serving.timeout): ask for less at a time, a shorter range "
            "or fewer keys, or again later"
        )


class TooManyRows(Exception):
    """What was asked for holds more rows than an answer may need; known only while it is read."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} rows")
        self.most = most


@dataclass
class Deadline:
    """When a request must have what it asks of the layers: `seconds` after it began, at `until` by time.monotonic().

    fresh_until: when the first row runs out that it was given from a memory; nobody keeps an answer for longer
    """

    until: float
    seconds: float
    fresh_until: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds, seconds)

    def left(self) -> float:
        """The seconds until then; 0 afterwards."""
        return max(0.0, self.until - time.monotonic())

    def given(self, fresh_until: float) -> None:
        """The request is given a row that runs out then."""
        self.fresh_until = min(self.fresh_until, fresh_until)


@dataclass(frozen=True)
class TotalsRange:
    """The totals of one key with `first <= bucket start < last`: a slice of one partition.

    counter: here and in all other reads, as its rows are stored (stitch.definitions)
    at: what was published when this is asked, so that a cache tells the rows of one run from those of the next
    """

    counter: str
    key: str
    granularity: str
    first: datetime
    last: datetime
    at: Published | None = None


@dataclass(frozen=True)
class Recalled:
    """Rows of a read that are remembered; of `lacking`, parts of it, they are not."""

    rows: dict[datetime, Total]
    lacking: list[TotalsRange] = field(default_factory=list)


@dataclass(frozen=True)
class MembersOf:
    """The member totals of one key in one bucket: one partition. among: of these members alone."""

    counter: str
    key: str
    bucket: Bucket
    at: Published | None = None
    among: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ChartOf:
    """The keys of a counter that counted most in one bucket: one row."""

    counter: str
    bucket: Bucket
    at: Published | None = None


@dataclass(frozen=True)
class IncrementsSince:
    """The increments of one key in one ingest date's partition, from an ingest window on (None: all of them)."""

    counter: str
    key: str
    ingest_date: date
    since: datetime | None


@dataclass(frozen=True)
class KeysFrom:
    """The first `limit` keys of a counter that begin with `prefix`, after the key `after`."""

    counter: str
    prefix: str
    after: str | None
    limit: int


@dataclass(frozen=True)
class Corrected:
    """What the run to a cutoff changed of a day: what readers saw before it, and after."""

    day: date
    cutoff: datetime
    before: int
    after: int


@dataclass(frozen=True)
class Ran:
    """A run of the batch, or a try of one.

    state: of stitch.runs.State, to which it came at `noted_at`; left: how many counters the publish guard left behind
    figures: what it read and wrote
    """

    cutoff: datetime
    kind: str
    state: str
    noted_at: datetime
    left: int = 0
    figures: Mapping[str, int] = field(default_factory=dict)


class Layers(ABC):
    """Both layers. Every method, or what it returns, raises LayerDown where its layer does not answer, OutOfTime where
    it has not answered this at the deadline, and TooManyRows."""

    def within(self, deadline: Deadline) -> Layers:
        """The same layers for one request: nothing asked of them is waited for beyond the deadline."""
        return self

    def circuits(self) -> dict[LayerName, str]:
        """The layers that are left alone for a while, since they did not answer, and why."""
        return {}

    @abstractmethod
    def cutoffs(self) -> Pending[dict[str, Publication]]:
        """stored name → what is published under it. To be read before the totals: see stitch.merge."""

    @abstractmethod
    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        """bucket start → total, for each read."""

    @abstractmethod
    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        """member → total, for each read."""

    @abstractmethod
    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        """The members that counted most, for each read; None where that is not held, since they are few, say."""

    @abstractmethod
    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        """The keys that counted most, for each read; an empty one where no key counts, and None where it is not known:
        a key was erased from it, say."""

    @abstractmethod
    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        """The increments of each read."""

    @abstractmethod
    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        """The increments of each read, by member."""

    @abstractmethod
    def realtime_through(self) -> Pending[datetime | None]:
        """Every event appended before this instant is in the increments; None before the job's first batch."""

    @abstractmethod
    def keys(self, read: KeysFrom) -> Pending[list[str]]:
        """Keys that the batch has counted, in the order of their code points."""

    @abstractmethod
    def corrections(self, counter: str, first: date, last: date) -> Pending[list[Corrected]]:
        """What runs changed of the days in [first, last), oldest first."""

    @abstractmethod
    def runs(self, last: int) -> Pending[list[Ran]]:
        """The last runs of the batch, the newest first."""

    def recalled_cutoffs(self) -> dict[str, Publication]:
        """What was published when another process was told; nothing where that is not remembered. It asks no layer."""
        return {}

    def recalled_totals(self, reads: Sequence[TotalsRange]) -> list[Recalled]:
        """The rows of each read as far as they are remembered, however old. It asks no layer."""
        return [Recalled({}, [read]) for read in reads]

    def recalled_members(self, reads: Sequence[MembersOf]) -> list[dict[str, Total] | None]:
        """The same of member totals; None: they are not remembered."""
        return [None for _ in reads]

    def recalled_ranked(self, reads: Sequence[MembersOf]) -> list[Ranking | None]:
        """The same of rankings."""
        return [None for _ in reads]

    def close(self) -> None:
        """Give up connections, where there are any."""
        return None


class Through(Layers):
    """Layers that pass every question on to others: a base for those that answer some of them."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def within(self, deadline: Deadline) -> Layers:
        bound = copy.copy(self)
        bound._layers = self._layers.within(deadline)
        return bound

    def circuits(self) -> dict[LayerName, str]:
        return self._layers.circuits()

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        return self._layers.cutoffs()

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        return self._layers.totals(reads)

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        return self._layers.member_totals(reads)

    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        return self._layers.ranked(reads)

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        return self._layers.charts(reads)

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._layers.increments(reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._layers.member_increments(reads)

    def realtime_through(self) -> Pending[datetime | None]:
        return self._layers.realtime_through()

    def keys(self, read: KeysFrom) -> Pending[list[str]]:
        return self._layers.keys(read)

    def corrections(self, counter: str, first: date, last: date) -> Pending[list[Corrected]]:
        return self._layers.corrections(counter, first, last)

    def runs(self, last: int) -> Pending[list[Ran]]:
        return self._layers.runs(last)

    def recalled_cutoffs(self) -> dict[str, Publication]:
        return self._layers.recalled_cutoffs()

    def recalled_totals(self, reads: Sequence[TotalsRange]) -> list[Recalled]:
        return self._layers.recalled_totals(reads)

    def recalled_members(self, reads: Sequence[MembersOf]) -> list[dict[str, Total] | None]:
        return self._layers.recalled_members(reads)

    def recalled_ranked(self, reads: Sequence[MembersOf]) -> list[Ranking | None]:
        return self._layers.recalled_ranked(reads)

    def close(self) -> None:
        self._layers.close()
