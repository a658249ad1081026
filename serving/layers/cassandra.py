"""The layers in Cassandra: two clusters, each connected on first use and again after it was away (connection.py).

Nothing connects at import or when the app is made: servers fork their workers, and a driver session does not survive a
fork. A cluster that does not answer is left alone for a second at a time (circuit.py), so that requests in between
fail fast to the other layer. All statements are prepared: no key or query can reach into CQL.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from serving.layers.connection import Connection, Limits, Rows
from serving.layers.interface import (
    ChartOf,
    Corrected,
    Deadline,
    IncrementsSince,
    KeysFrom,
    LayerName,
    Layers,
    MembersOf,
    Pending,
    Ran,
    TotalsRange,
)
from stitch.buckets import EPOCH
from stitch.cutoff import Published
from stitch.definitions import Publication, from_text
from stitch.merge import Increment, Ranking, Total
from stitch.runs import SUBJECT
from stitch.settings import Settings
from stitch.tables import KEY_SHARDS

STREAMING_JOB = "streaming_counts"
NO_KEYS = Ranking([], [], EPOCH)

_BATCH = {
    "cutoffs": "SELECT counter, cutoff, revision, definition, ranked, charted FROM cutoffs",
    "totals": "SELECT bucket, count, cutoff FROM totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket >= ? AND bucket < ?",
    "member_totals": "SELECT member, count, cutoff FROM member_totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
    "members_among": "SELECT member, count, cutoff FROM member_totals"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ? AND member IN ?",
    "ranked_members": "SELECT members, counts, cutoff FROM ranked_members"
    " WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
    "ranked_keys": "SELECT keys, counts, cutoff FROM ranked_keys WHERE counter = ? AND granularity = ? AND bucket = ?",
    "keys_from": "SELECT key FROM keys WHERE counter = ? AND shard = ? AND key >= ? LIMIT ?",
    "keys_after": "SELECT key FROM keys WHERE counter = ? AND shard = ? AND key > ? LIMIT ?",
    "runs": "SELECT cutoff, kind, state, noted_at, figures FROM runs"
    " WHERE subject = ? ORDER BY write_time DESC LIMIT ?",
    "corrections": "SELECT day, cutoff, before, after FROM corrections WHERE counter = ? AND day >= ? AND day < ?",
}
_REALTIME = {
    "increments": "SELECT bucket, ingest_window, count FROM increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "member_increments": "SELECT bucket, ingest_window, count, member FROM member_increments"
    " WHERE counter = ? AND key = ? AND ingest_date = ? AND ingest_window >= ?",
    "progress": "SELECT realtime_through FROM progress WHERE job = ?",
}


class CassandraLayers(Layers):
    """Both layers by the driver. A read takes half of serving.timeout at most: where a layer hangs, the other half is
    left to ask the other one."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.serving.timeout.total_seconds()
        self._deadline: Deadline | None = None
        limits = Limits(self._seconds / 2, settings.serving.max_rows)
        self._batch = Connection("batch", settings.batch, limits, _BATCH, ("cutoffs", ()))
        self._realtime = Connection("realtime", settings.realtime, limits, _REALTIME, ("progress", (STREAMING_JOB,)))

    def within(self, deadline: Deadline) -> Layers:
        bound = copy.copy(self)
        bound._deadline = deadline
        return bound

    def circuits(self) -> dict[LayerName, str]:
        refusals = {one.layer: one.circuit.refusal for one in (self._batch, self._realtime)}
        return {layer: reason for layer, reason in refusals.items() if reason is not None}

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        sent = self._send(self._batch, "cutoffs", [()])
        return lambda: {
            stored: Publication(
                at, from_text(definition), ranked=ranked == at.write_time, charted=charted == at.write_time
            )
            for stored, cutoff, revision, definition, ranked, charted in sent()[0]
            if cutoff and (at := Published(_utc(cutoff), revision or 0))
        }

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        sent = self._send(self._batch, "totals", [(r.counter, r.key, r.granularity, r.first, r.last) for r in reads])
        return lambda: [{_utc(bucket): total for bucket, total in _whole(rows)} for rows in sent()]

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        whole = [_partition(read) for read in reads if read.among is None]
        some = [(*_partition(read), read.among) for read in reads if read.among is not None]
        sent = [
            self._send(self._batch, query, values)
            for query, values in (("member_totals", whole), ("members_among", some))
            if values
        ]

        def rows() -> list[dict[str, Total]]:
            found = [dict(_whole(one)) for pending in sent for one in pending()]
            of_whole, of_some = iter(found), islice(found, len(whole), None)
            return [next(of_whole if read.among is None else of_some) for read in reads]

        return rows

    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        sent = self._send(self._batch, "ranked_members", [_partition(read) for read in reads])
        return lambda: [_ranking(rows) for rows in sent()]

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        partitions = [(read.counter, read.bucket.granularity, read.bucket.start) for read in reads]
        sent = self._send(self._batch, "ranked_keys", partitions)
        return lambda: [_ranking(rows) if not _says_none(rows) else NO_KEYS for rows in sent()]

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._send_increments("increments", reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._send_increments("member_increments", reads)

    def realtime_through(self) -> Pending[datetime | None]:
        sent = self._send(self._realtime, "progress", [(STREAMING_JOB,)])

        def through() -> datetime | None:
            (rows,) = sent()
            return _utc(rows[0][0]) if rows and rows[0][0] else None

        return through

    def keys(self, read: KeysFrom) -> Pending[list[str]]:
        after = read.after if read.after is not None and read.after >= read.prefix else None
        query, edge = ("keys_from", read.prefix) if after is None else ("keys_after", after)
        sent = self._send(self._batch, query, [(read.counter, shard, edge, read.limit) for shard in range(KEY_SHARDS)])
        return lambda: sorted(key for rows in sent() for (key,) in rows if key.startswith(read.prefix))[: read.limit]

    def corrections(self, counter: str, first: date, last: date) -> Pending[list[Corrected]]:
        sent = self._send(self._batch, "corrections", [(counter, first, last)])
        return lambda: [Corrected(day.date(), _utc(cutoff), before, after) for day, cutoff, before, after in sent()[0]]

    def runs(self, last: int) -> Pending[list[Ran]]:
        sent = self._send(self._batch, "runs", [(SUBJECT, last)])
        return lambda: [
            Ran(_utc(cutoff), kind, state, _utc(at), (figures or {}).get("left", 0), dict(figures or {}))
            for cutoff, kind, state, at, figures in sent()[0]
        ]

    def close(self) -> None:
        self._batch.close()
        self._realtime.close()

    def _send(self, connection: Connection, query: str, parameters: Sequence[tuple[Any, ...]]) -> Pending[list[Rows]]:
        return connection.send(query, parameters, self._deadline or Deadline.after(self._seconds))

    def _send_increments(self, table: str, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        sent = self._send(self._realtime, table, [(r.counter, r.key, r.ingest_date, r.since or EPOCH) for r in reads])
        return lambda: [[Increment(_utc(b), _utc(window), *rest) for b, window, *rest in rows] for rows in sent()]


def _partition(read: MembersOf) -> tuple[Any, ...]:
    return read.counter, read.key, read.bucket.granularity, read.bucket.start


def _ranking(rows: list[tuple[Any, ...]]) -> Ranking | None:
    """An empty one says that the members became few; one that somebody wrote by hand, without all it needs, nothing."""
    members, counts, cutoff = rows[0] if rows else (None, None, None)
    if not members or not counts or len(members) != len(counts) or not cutoff:
        return None
    return Ranking(members, counts, _utc(cutoff))


def _says_none(rows: list[tuple[Any, ...]]) -> bool:
    """Whether they say that no key counts: without a row, or by an empty list. One that was erased is null."""
    return not rows or rows[0][0] == []


def _whole(rows: list[tuple[Any, ...]]) -> list[tuple[Any, Total]]:
    """(bucket or member, its total); a row that somebody wrote by hand, without count or cutoff, is none."""
    return [(name, Total(count, _utc(cutoff))) for name, count, cutoff in rows if count is not None and cutoff]


def _utc(instant: datetime) -> datetime:
    """The driver's instants are UTC without saying so."""
    return instant.replace(tzinfo=UTC)
