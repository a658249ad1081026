"""A music service in memory: a creator of three tracks, whose plays rise and fall by hour and by day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from serving.layers.interface import ChartOf, Corrected, MembersOf, Pending, Ran, TotalsRange
from stitch.buckets import bucket_of, floor
from stitch.counters import Counter
from stitch.definitions import name_of
from stitch.merge import Increment, Ranking, Total
from stitch.sections import NamesSettings, ServingSettings
from stitch.settings import Settings, load_settings
from tests.fakes import FakeLayers

HOUR, DAYS = timedelta(hours=1), 400
HEBREW = "שלום (רדיו)"
TRACKS = {"t1": 0.5, "t2": 0.3, HEBREW: 0.2}
COUNTERS = [
    Counter(name="plays", key="track_id", weights={"play": 1}, title="Plays", key_label="Track", chart=True),
    Counter(name="likes", key="track_id", weights={"like": 1, "unlike": -1}, title="Likes"),
    Counter(name="listened_seconds", key="track_id", weights={"play": "duration_s"}, title="Listening time",
            unit="seconds"),
    Counter(name="plays_by_country", key="track_id", member="country", weights={"play": 1},
            title="Plays by country"),
    Counter(name="creator_plays", key="creator_id", member="track_id", weights={"play": 1}, resolution="1m",
            title="Plays", key_label="Creator"),
    Counter(name="creator_likes", key="creator_id", weights={"like": 1, "unlike": -1}, title="Likes"),
]  # fmt: skip
NAMES = {
    "country": NamesSettings(kind="country"),
    "track_id": NamesSettings(table={"t1": "Night Drive", "t2": "Morning (Radio Edit)"}),
    "creator_id": NamesSettings(table={"c1": "Ada & the Engines"}),
}


def settings(**serving: Any) -> Settings:
    """Those of conf/stitch.toml, with these counters."""
    loaded = load_settings("conf/stitch.toml")
    chosen = ServingSettings(**{"cache": timedelta(0), "names": NAMES, **serving})
    return loaded.model_copy(update={"counters": COUNTERS, "serving": chosen})


class Music(FakeLayers):
    """Counts since DAYS days before `now`: the batch to two hours ago, increments to two seconds ago, however long
    the tests take, unless `through` says up to when."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self.now, self.cutoff = now, floor(now, "hour") - 2 * HOUR
        self.published = {counter.name: self.cutoff for counter in COUNTERS}
        at = floor(now, "day") - timedelta(days=DAYS)
        while at <= now:
            plays = _plays(at)
            for track, part in TRACKS.items():
                count = round(plays * part)
                self.add("plays", track, at, count)
                self.add("likes", track, at, count // 12)
                self.add("listened_seconds", track, at, count * 181)
                for country, share in (("DE", 0.6), ("BR", 0.3), ("??", 0.1)):
                    self.add("plays_by_country", track, at, round(count * share), country)
                self.add("creator_plays", "c1", at, count, track)
            self.add("creator_likes", "c1", at, plays // 12)
            at += HOUR
        self.correction_rows = [
            ("plays", Corrected(now.date() - timedelta(days=2), self.cutoff, 1012, 1000)),
            ("plays", Corrected(now.date() - timedelta(days=1), self.cutoff, 500, 503)),
        ]
        self.slices: dict[tuple[str, str, str], dict[datetime, Total]] = {}
        for (counter, key, granularity, bucket), total in self.total_rows.items():
            self.slices.setdefault((counter, key, granularity), {})[bucket] = total
        self.member_slices: dict[tuple[str, str, str, datetime], dict[str, Total]] = {}
        for (*bucket_of_key, member), total in self.member_total_rows.items():
            self.member_slices.setdefault(tuple(bucket_of_key), {})[member] = total  # type: ignore[arg-type]
        listed: dict[tuple[str, datetime], list[tuple[int, str]]] = {}
        for (counter, key, granularity, bucket), total in self.total_rows.items():
            if counter == "plays" and granularity != "hour" and total.count:
                listed.setdefault((granularity, bucket), []).append((-total.count, key))
        self.lists = {place: ranking(rows, self.cutoff) for place, rows in listed.items()}
        figures = {"records": 120_450, "rejected": 12, "excluded": 0, "duplicates": 381}
        self.run_rows = [
            Ran(self.cutoff, "incremental", "published", self.cutoff + HOUR, figures=figures),
            Ran(self.cutoff - 24 * HOUR, "full", "refused", self.cutoff - 23 * HOUR, left=1),
        ]

    def live(self) -> Music:
        """The same, with increments of its own."""
        found = copy(self)
        found.increment_rows = list(self.increment_rows)
        found.member_increment_rows = list(self.member_increment_rows)
        return found

    def realtime_through(self) -> Pending[datetime | None]:
        self._check("realtime")
        return lambda: self.through or datetime.now(UTC) - timedelta(seconds=2)

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        """As the base answers, by an index: there are many rows."""
        self._check("batch")
        slices = [self.slices.get((name_of(read.counter), read.key, read.granularity), {}) for read in reads]
        found = [
            {bucket: total for bucket, total in rows.items() if read.first <= bucket < read.last}
            for read, rows in zip(reads, slices, strict=True)
        ]
        return lambda: found

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        self._check("batch")
        found = [
            self.member_slices.get((name_of(r.counter), r.key, r.bucket.granularity, r.bucket.start), {}) for r in reads
        ]
        return lambda: found

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        self._check("batch")
        found = [self.lists.get((r.bucket.granularity, r.bucket.start), ranking([], self.cutoff)) for r in reads]
        return lambda: list(found)

    def add(self, counter: str, key: str, at: datetime, count: int, member: str | None = None) -> None:
        """So many events of the hour that begins then; none of those that are still to come."""
        if at >= self.cutoff:
            self.increment_rows.append((counter, key, Increment(at, at, count)))
            if member:
                self.member_increment_rows.append((counter, key, Increment(at, at, count, member)))
            return
        for granularity, bucket in _buckets(at):
            row = (counter, key, granularity, bucket)
            self.total_rows[row] = Total(count + _count(self.total_rows.get(row)), self.cutoff)
            if member:
                of = (*row, member)
                self.member_total_rows[of] = Total(count + _count(self.member_total_rows.get(of)), self.cutoff)


def ranking(rows: Sequence[tuple[int, str]], cutoff: datetime) -> Ranking:
    """The keys of rows (−count, key) as a list has them."""
    return Ranking([key for _, key in sorted(rows)], [-count for count, _ in sorted(rows)], cutoff)


@lru_cache
def _buckets(at: datetime) -> list[tuple[str, datetime]]:
    return [(granularity, bucket_of(at, granularity).start) for granularity in ("hour", "day", "month", "all")]


def _count(total: Total | None) -> int:
    return total.count if total else 0


def _plays(at: datetime) -> int:
    """A wave over the day, one over the week, and a slow rise."""
    days = (at - datetime(2024, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    daily, weekly = math.sin(2 * math.pi * (days % 1)), math.sin(2 * math.pi * days / 7)
    return round((200 + 0.4 * (days % 400)) * (1.3 + daily) * (1.2 + 0.6 * weekly) / 4)
