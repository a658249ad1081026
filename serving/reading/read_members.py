"""The members of a key by bucket, as they are read: from lists, by name, or all of a bucket."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from serving.layers.interface import MembersOf
from serving.reading.leaders import Members, Names, counts_of, lacking, leaders
from serving.reading.reads import Reads
from serving.reading.told import Told
from serving.reading.view import together
from stitch import merge
from stitch.buckets import Bucket
from stitch.merge import Increment, Ranking

AMONG = 100  # members that one read names


class ReadMembers:
    """unread: the buckets of which something could not be read, and only the increments are told"""

    def __init__(self, reads: Reads, read: MembersOf, cutoff: datetime | None, layer: merge.Layer) -> None:
        """`read`: of any bucket; the others are read alike."""
        self._reads, self._read, self._cutoff, self._layer = reads, read, cutoff, layer
        self._gains: dict[Bucket, list[Increment]] = {}
        self._of: dict[Bucket, Members] = {}
        self.unread: set[Bucket] = set()

    def gained(self, increments: Mapping[Bucket, list[Increment]]) -> None:
        """The increments of some buckets; of those that have no totals, there is nothing else."""
        self._gains |= increments
        for bucket in increments:
            self._of[bucket] = self._new(bucket, self._layer).are({})

    def begin(self, buckets: Sequence[Bucket], rankings: Mapping[Bucket, Ranking | None]) -> None:
        """Of buckets that have totals: what their lists say, and all members of those without one."""
        for bucket in buckets:
            if ranking := rankings.get(bucket):
                self._of[bucket] = self._new(bucket, self._layer).begin_with(ranking)
        self._read_all([bucket for bucket in buckets if not rankings.get(bucket)])

    def leaders(self, buckets: Sequence[Bucket], limit: int, told: Told) -> Tally[str]:
        """The counts of those that were told, of the first `limit` others and of one more, or of all."""
        listed = [bucket for bucket in buckets if not self._of[bucket].whole]
        if listed:
            of = {bucket: self._of[bucket] for bucket in buckets}
            if (found := leaders(of, limit, told, self._ask)) is not None:
                return found
            self._read_all(listed)
        return self.tally(buckets)

    def read_named(self, buckets: Sequence[Bucket], names: Sequence[str]) -> None:
        """Read the counts of these members that are not known."""
        asked = lacking({bucket: self._of[bucket] for bucket in buckets}, names)
        if asked and not self._ask(asked):
            self._give_up(asked)

    def counts(self, buckets: Sequence[Bucket], names: Sequence[str]) -> dict[str, int]:
        """The counts of these members, all of which are known."""
        return counts_of((self._of[bucket] for bucket in buckets), names)

    def tally(self, buckets: Iterable[Bucket]) -> Tally[str]:
        """Member → count, over buckets of which all are known."""
        found = Tally[str]()
        for bucket in buckets:
            found.update(self._of[bucket].counts)
        return found

    def forget(self) -> None:
        """Only the increments count, whatever the cutoff."""
        for bucket in self._of:
            self._of[bucket] = self._new(bucket, "realtime").are({})

    def _ask(self, names: Names) -> bool:
        """Read the totals of these members; False where not all could be."""
        lots = [
            (bucket, tuple(of[first : first + AMONG]))
            for bucket, of in names.items()
            for first in range(0, len(of), AMONG)
        ]
        (found,) = together(self._reads.members([replace(self._read, bucket=b, among=lot) for b, lot in lots]))
        for (bucket, lot), totals in zip(lots, found or (), strict=True):
            if totals is None:
                return False
            self._of[bucket].have(lot, totals)
        return True

    def _read_all(self, buckets: Sequence[Bucket]) -> None:
        (found,) = together(self._reads.members([replace(self._read, bucket=bucket) for bucket in buckets]))
        for bucket, totals in zip(buckets, found or (), strict=False):
            if totals is None:
                self._give_up([bucket])
            else:
                self._of[bucket].are(totals)

    def _give_up(self, buckets: Iterable[Bucket]) -> None:
        for bucket in buckets:
            self.unread.add(bucket)
            self._of[bucket].are({})

    def _new(self, bucket: Bucket, layer: merge.Layer) -> Members:
        return Members(bucket, self._gains[bucket], self._cutoff, layer)
