"""Totals in memcached: a second memory that all reader processes share, and that outlives them.

Totals are kept under the keyspace and the run that published them: such rows never change, whoever reads them. Cutoffs
are kept for a process that is started while the batch layer is away: by them it knows which of the totals are right. A
memcached that is away is left alone for a while and costs no answer. Rows are stored as JSON: whoever can write to the
memcached can make counts wrong, but not run code here.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pymemcache import HashClient

from serving.layers.interface import ChartOf, Deadline, Layers, MembersOf, Pending, Recalled, Through, TotalsRange
from serving.observe.metrics import CACHE_READS
from stitch.buckets import EPOCH, micros
from stitch.cutoff import Published
from stitch.definitions import Publication, as_text, from_text
from stitch.merge import Ranking, Total
from stitch.settings import Settings

R = TypeVar("R", TotalsRange, MembersOf, ChartOf)
K = TypeVar("K")
V = TypeVar("V")
Kind = Literal["rows", "ranked"]

SECONDS = 0.1  # to connect, and to answer: a cache that takes longer is none
AT_ONCE = 200  # names: a server that answers each just in time costs so much of the request's time, and no more
SHARE = 0.2  # of what is left of the request's time, after which the others are not asked for


class MemcachedLayers(Through):
    def __init__(self, layers: Layers, settings: Settings) -> None:
        super().__init__(layers)
        self._keyspace = settings.batch.keyspace
        self._expire = int(settings.serving.cache_closed.total_seconds())
        self._deadline = Deadline.after(math.inf)
        self._client = HashClient(
            [_server(text) for text in settings.serving.memcached],
            use_pooling=True,
            connect_timeout=SECONDS,
            timeout=SECONDS,
            ignore_exc=True,
            retry_attempts=0,
            dead_timeout=5,
        )

    def within(self, deadline: Deadline) -> Layers:
        bound = copy.copy(self)
        bound._layers, bound._deadline = self._layers.within(deadline), deadline
        return bound

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        sent = self._layers.cutoffs()

        def kept() -> dict[str, Publication]:
            if said := sent():
                self._keep({self._name("cutoffs"): _published_as_text(said)})
            return said

        return kept

    def recalled_cutoffs(self) -> dict[str, Publication]:
        name = self._name("cutoffs")
        held = self._held([name])
        return _published(held[name]) if name in held else {}

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        return self._through("rows", reads, self._layers.totals, *_TOTALS)

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        return self._through("rows", reads, self._layers.member_totals, *_MEMBERS)

    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        return self._through("ranked", reads, self._layers.ranked, *_RANKING)

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        return self._through("ranked", reads, self._layers.charts, *_RANKING)

    def recalled_totals(self, reads: Sequence[TotalsRange]) -> list[Recalled]:
        """Those that another process, or this one, read within the last `serving.cache_closed`."""
        found = self._recalled("rows", reads, _TOTALS.decode)
        return [Recalled(found[read]) if read in found else Recalled({}, [read]) for read in reads]

    def recalled_members(self, reads: Sequence[MembersOf]) -> list[dict[str, Total] | None]:
        found = self._recalled("rows", reads, _MEMBERS.decode)
        return [found.get(read) for read in reads]

    def recalled_ranked(self, reads: Sequence[MembersOf]) -> list[Ranking | None]:
        found = self._recalled("ranked", reads, _RANKING.decode)
        return [found.get(read) for read in reads]

    def close(self) -> None:
        self._client.close()
        self._layers.close()

    def _recalled(self, kind: Kind, reads: Sequence[R], decode: Callable[[bytes], V]) -> dict[R, V]:
        names = {read: self._name(read, kind) for read in reads if read.at}
        held = self._held(list(names.values()))
        return {read: decode(held[name]) for read, name in names.items() if name in held}

    def _through(
        self,
        kind: Kind,
        reads: Sequence[R],
        send: Callable[[Sequence[R]], Pending[list[V]]],
        encode: Callable[[V], bytes],
        decode: Callable[[bytes], V],
    ) -> Pending[list[V]]:
        """Rows of reads that name a published run from memcached; the others from the layers, and kept."""
        names = {read: self._name(read, kind) for read in reads if read.at}
        found = self._recalled(kind, reads, decode)
        missing = [read for read in reads if read not in found]
        CACHE_READS.labels("memcached", "hit").inc(len(found))
        CACHE_READS.labels("memcached", "miss").inc(len(missing))
        sent = send(missing) if missing else None

        def rows() -> list[V]:
            fresh = dict(zip(missing, sent(), strict=True)) if sent else {}
            # A read without rows is not kept: whoever asks for keys that are not there would fill it.
            self._keep({names[read]: encode(rows) for read, rows in fresh.items() if rows and read in names})
            return [found[read] if read in found else fresh[read] for read in reads]

        return rows

    def _held(self, names: list[str]) -> dict[str, bytes]:
        """What is there of the names, as far as there is time to ask."""
        held: dict[str, bytes] = {}
        until = time.monotonic() + SHARE * self._deadline.left()
        for first in range(0, len(names), AT_ONCE):
            if time.monotonic() >= until:
                break
            held |= self._client.get_many(names[first : first + AT_ONCE])
        return held

    def _keep(self, rows: dict[str, bytes]) -> None:
        names = list(rows)
        until = time.monotonic() + SHARE * self._deadline.left()
        for first in range(0, len(names), AT_ONCE):
            if time.monotonic() >= until:
                break
            self._client.set_many({name: rows[name] for name in names[first : first + AT_ONCE]}, expire=self._expire)

    def _name(self, of: TotalsRange | MembersOf | ChartOf | Literal["cutoffs"], kind: Kind = "rows") -> str:
        """A name that memcached takes: 250 bytes at most, without spaces, and the read's alone."""
        named = (self._keyspace, of) if kind == "rows" else (self._keyspace, kind, of)
        return "stitch:" + hashlib.sha256(repr(named).encode()).hexdigest()


def _published_as_text(said: Mapping[str, Publication]) -> bytes:
    """In the form of every version that may share the memcached: without what says that lists can be relied on."""
    rows = {stored: (micros(one.at.cutoff), one.at.revision, one.counter and as_text(one.counter))
            for stored, one in said.items()}  # fmt: skip
    return json.dumps(rows).encode()


def _published(text: bytes) -> dict[str, Publication]:
    return {
        stored: Publication(Published(_instant(cutoff), revision), from_text(definition))
        for stored, (cutoff, revision, definition) in json.loads(text).items()
    }


class _Text(NamedTuple, Generic[V]):
    """How what is read is written in memcached."""

    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]


def _rows(encode: Callable[[Any], Any], decode: Callable[[Any], K]) -> _Text[dict[K, Total]]:
    def encoded(rows: Mapping[K, Total]) -> bytes:
        return json.dumps([(encode(at), total.count, micros(total.cutoff)) for at, total in rows.items()]).encode()

    def decoded(text: bytes) -> dict[K, Total]:
        return {decode(at): Total(count, _instant(cutoff)) for at, count, cutoff in json.loads(text)}

    return _Text(encoded, decoded)


def _ranking_as_text(ranking: Ranking | None) -> bytes:
    """None is not kept."""
    return json.dumps((ranking.members, ranking.counts, micros(ranking.cutoff)) if ranking else None).encode()


def _ranking(text: bytes) -> Ranking | None:
    members, counts, cutoff = json.loads(text)
    return Ranking(members, counts, _instant(cutoff))


def _instant(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def _server(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


_TOTALS, _MEMBERS = _rows(micros, _instant), _rows(str, str)
_RANKING = _Text(_ranking_as_text, _ranking)
