"""Random questions to the reader, and what a plain list of events answers to them: the oracle of the API.

It shares nothing with what it judges: days, weeks and months are told by the local date of each event, not by edges.
"""

from __future__ import annotations

import random
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from flask.testing import FlaskClient

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns",
    # clocks that are or were set by half an hour, midnights that come twice or not at all, a day that was left out
    "Australia/Lord_Howe", "Asia/Pyongyang", "America/Caracas", "Asia/Colombo", "America/Havana", "Pacific/Apia",
]  # fmt: skip
CHANGES = [  # in UTC: when clocks were set, and leap days
    (zone, datetime.fromisoformat(at).replace(tzinfo=UTC)) for zone, at in [
        ("Australia/Lord_Howe", "2024-04-06T15:00"), ("Australia/Lord_Howe", "2024-10-05T15:30"),
        ("Asia/Pyongyang", "2018-05-04T15:00"), ("Asia/Pyongyang", "2015-08-14T15:00"),
        ("America/Caracas", "2016-05-01T07:00"), ("Asia/Colombo", "2006-04-14T18:30"),
        ("America/Havana", "2024-11-03T05:00"), ("America/Havana", "2024-03-10T05:00"),
        ("Pacific/Apia", "2011-12-30T10:00"), ("Europe/Berlin", "2024-03-31T01:00"),
        ("Europe/Berlin", "2023-03-26T01:00"), ("UTC", "2024-02-29T00:00"), ("UTC", "2023-02-28T00:00"),
    ]
]  # fmt: skip
GRANULARITIES = ["quarter_hour", "hour", "day", "week", "month"]
HOURLY = ["24h", "48h"]
PERIODS = [*HOURLY, "yesterday", "7d", "28d", "30d", "week", "last_week", "month", "last_month", "quarter", "12mo",
           "year"]  # fmt: skip
OVER = ["yesterday", "last_week", "last_month"]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Happened:
    """One event as a counter sees it."""

    counter: str
    key: str
    member: str | None
    amount: int
    at: datetime


def counted(events: Iterable[Happened], counter: str, key: str, start: datetime | None, end: datetime | None) -> int:
    return sum(
        e.amount
        for e in events
        if (e.counter, e.key) == (counter, key) and (start is None or end is None or start <= e.at < end)
    )


def label(at: datetime, granularity: str, zone: str) -> Any:
    """What the bucket of an instant is called on the spot: its date, or the time and whether it is shown again."""
    local = at.astimezone(ZoneInfo(zone))
    if granularity == "day":
        return local.date()
    if granularity == "week":
        return local.date() - timedelta(days=local.weekday())
    if granularity == "month":
        return local.date().replace(day=1)
    minutes = {"minute": 1, "quarter_hour": 15, "hour": 60}[granularity]
    shown = local.replace(minute=local.minute // minutes * minutes, second=0, microsecond=0, tzinfo=None, fold=0)
    set_back = (local.replace(fold=0).utcoffset() or timedelta(0)) - (local.utcoffset() or timedelta(0))
    again = local.fold and set_back % timedelta(minutes=minutes) == timedelta(0)  # else it is one long hour
    return shown, again


def dates(start: datetime, end: datetime, zone: str) -> tuple[date, int]:
    """The first date of a range of whole days, and how many there are up to its last."""
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end - timedelta(microseconds=1)))
    return first, (last - first).days + 1


def months_after(first: date, months: int) -> date:
    """The first of the month so many months after that of `first`, which is one."""
    month = first.year * 12 + first.month - 1 + months
    return date(month // 12, month % 12 + 1, 1)


def dates_of(period: str, today: date) -> tuple[date, date]:
    """The first date of a period, and the one behind its last."""
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    quarter = first.replace(month=(first.month - 1) // 3 * 3 + 1)
    return {
        "yesterday": (today - DAY, today),
        "7d": (today - 6 * DAY, today + DAY),
        "28d": (today - 27 * DAY, today + DAY),
        "30d": (today - 29 * DAY, today + DAY),
        "week": (monday, monday + 7 * DAY),
        "last_week": (monday - 7 * DAY, monday),
        "month": (first, months_after(first, 1)),
        "last_month": (months_after(first, -1), first),
        "quarter": (quarter, months_after(quarter, 3)),
        "12mo": (months_after(first, -11), months_after(first, 1)),
        "year": (date(today.year, 1, 1), date(today.year + 1, 1, 1)),
    }[period]


def dates_before(period: str, today: date, compare: str, match_weekday: bool) -> tuple[date, date]:
    """The same of the earlier range that a period which is over faces."""
    first, last = dates_of(period, today)
    weeks = -(-(last - first).days // 7)
    if match_weekday:
        back = 7 * (weeks if compare == "previous_period" else max(52, weeks)) * DAY
        return first - back, last - back
    if period == "last_month":
        months = -1 if compare == "previous_period" else -12
        return months_after(first, months), months_after(last, months)
    if compare == "previous_period":
        return first - (last - first), first
    leap = (first.month, first.day) == (2, 29)
    began = first.replace(year=first.year - 1, day=28 if leap else first.day)
    return began, began + (last - first)


Ask = Callable[..., Any]


def asker(client: FlaskClient) -> Ask:
    def ask(path: str, asked: dict[str, Any], refused: str = "") -> Any:
        """refused: why it may be answered 400, which is None"""
        response = client.get(path, query_string={name: value for name, value in asked.items() if value is not None})
        if refused and response.status_code == 400:
            assert refused in response.text, (path, asked, response.text)
            return None
        assert response.status_code == 200, (path, asked, response.text)
        return response.get_json()

    return ask


@dataclass
class Questions:
    """Questions about these events; every `ask_…` asks one at random and compares the answer."""

    events: Sequence[Happened]
    ask: Ask
    rng: random.Random
    members_of: str  # the counter that is broken down
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    charted: str = "plays"  # the counter that has a chart
    held: Sequence[Happened] = ()  # those that the batch has counted

    def ask_some(self, how_many: int) -> None:
        kinds = [self.ask_totals, self.ask_series, self.ask_period, self.ask_top, self.ask_comparison, self.ask_zooms,
                 self.ask_compared_points, self.ask_all_time]  # fmt: skip
        for _ in range(how_many):
            self.rng.choice(kinds)()

    def ask_totals(self) -> None:
        counters = self.rng.sample(self.counters(), k=self.rng.randint(1, len(self.counters())))
        keys = self.rng.sample(self.keys(), k=self.rng.randint(1, min(4, len(self.keys()))))
        start, end = self.range("quarter_hour", "UTC") if self.rng.random() < 0.7 else (None, None)
        answer = self.ask("/v1/totals", {"counters": ",".join(counters), "key": keys, **self.bounds(start, end)})
        for row in answer["data"]:
            expected = {counter: counted(self.events, counter, row["key"], start, end) for counter in counters}
            assert row["counts"] == expected, (row, start, end)

    def ask_series(self) -> None:
        granularity, (zone, middle) = self.rng.choice(GRANULARITIES), self.somewhere()
        counter, key = self.rng.choice(self.counters()), self.rng.choice(self.keys())
        start, end = self.range(granularity, zone, middle)
        asked = {"counters": counter, "key": key, "granularity": granularity, "tz": zone, **self.bounds(start, end)}
        answer = self.ask("/v1/series", asked)
        assert answer["totals"][counter] == counted(self.events, counter, key, start, end), asked
        self.compare_points(answer["points"], counter, key, granularity, zone, start, end)
        running = self.ask("/v1/series", asked | {"cumulative": "true"})["points"]
        sums, so_far = [], 0
        for point in answer["points"]:
            count = point["counts"][counter]
            so_far += count or 0
            sums.append(None if count is None else so_far)
        assert [point["counts"][counter] for point in running] == sums

    def compare_points(
        self, points: Any, counter: str, key: str, granularity: str, zone: str, start: datetime, end: datetime
    ) -> None:
        expected: Tally[Any] = Tally()
        for e in self.events:
            if (e.counter, e.key) == (counter, key) and start <= e.at < end:
                expected[label(e.at, granularity, zone)] += e.amount
        starts = [datetime.fromisoformat(point["start"]) for point in points]
        found = {
            label(at, granularity, zone): point["counts"][counter] for at, point in zip(starts, points, strict=True)
        }
        assert len(found) == len(points)
        assert {name: count for name, count in found.items() if count} == {n: c for n, c in expected.items() if c}
        assert starts == sorted(starts) and starts[0] == start
        assert all(one["end"] == other["start"] for one, other in pairwise(points))

    def ask_period(self) -> None:
        zone, period = self.rng.choice(ZONES), self.rng.choice(PERIODS)
        counter, key = self.rng.choice(self.counters()), self.rng.choice(self.keys())
        chosen = self.rng.choice([None, None, "day", "week", "month"])
        asked = {"counters": counter, "key": key, "period": period, "tz": zone, "granularity": chosen}
        answer = self.ask("/v1/series", asked)
        start, end = (datetime.fromisoformat(answer["query"][name]) for name in ("start", "end"))
        by_hour = dict.fromkeys((*HOURLY, "yesterday"), "hour")
        granularity = chosen or {**by_hour, "12mo": "month", "year": "month"}.get(period, "day")
        if period in HOURLY:
            assert (end - start, start <= self.now() < end) == (timedelta(hours=int(period[:-1])), True)
        else:
            days = dates_of(period, self.today(zone))
            assert answer["totals"][counter] == self.on_dates(counter, key, zone, *days), asked
            assert dates(start, end, zone) == (days[0], (days[1] - days[0]).days), (asked, answer["query"])
        self.compare_points(answer["points"], counter, key, granularity, zone, start, end)
        totals = self.ask("/v1/totals", {"counters": counter, "keys": key, "period": period, "tz": zone})
        assert totals["data"][0]["counts"] == answer["totals"]

    def ask_comparison(self) -> None:
        zone = self.rng.choice(ZONES)
        counter, key = self.rng.choice(self.counters()), self.rng.choice(self.keys())
        asked = {
            "counters": counter, "keys": key, "period": self.rng.choice(PERIODS), "tz": zone,
            "compare": self.rng.choice(["previous_period", "year_over_year"]),
            "match_weekday": self.rng.choice(["true", "false"]),
        }  # fmt: skip
        comparison = self.ask("/v1/totals", asked)["comparison"]
        change = comparison["data"][0]["changes"][counter]
        for part in ("current", "previous"):
            start, end = (datetime.fromisoformat(comparison[part][name]) for name in ("start", "end"))
            assert change[part] == counted(self.events, counter, key, start, end), (asked, comparison)
        assert (change["change"] is None) == (change["previous"] == 0)
        if asked["period"] in OVER:
            match = asked["match_weekday"] == "true"
            before = dates_before(asked["period"], self.today(zone), asked["compare"], match)
            assert change["previous"] == self.on_dates(counter, key, zone, *before), (asked, comparison)
            assert change["current"] == self.on_dates(counter, key, zone, *dates_of(asked["period"], self.today(zone)))

    def today(self, zone: str) -> date:
        return self.now().astimezone(ZoneInfo(zone)).date()

    def on_dates(self, counter: str, key: str, zone: str, first: date, last: date) -> int:
        """What was counted on dates from the first up to `last`, not including it."""
        at = [e for e in self.events if (e.counter, e.key) == (counter, key)]
        return sum(e.amount for e in at if first <= e.at.astimezone(ZoneInfo(zone)).date() < last)

    def ask_compared_points(self) -> None:
        granularity, (zone, middle) = self.rng.choice([*GRANULARITIES, "day", "day"]), self.somewhere()
        counter, key = self.rng.choice(self.counters()), self.rng.choice(self.keys())
        start, end = self.range(granularity, zone, middle)
        compare = self.rng.choice(["previous_period", "year_over_year"])
        match = self.rng.random() < 0.3
        asked = {"counters": counter, "tz": zone, "compare": compare, "match_weekday": str(match).lower(),
                 **self.bounds(start, end)}  # fmt: skip
        answer = self.ask("/v1/series", asked | {"key": key, "granularity": granularity}, "no such earlier range")
        if answer is None:
            assert granularity != "month" and end - start < timedelta(days=2), asked
            return
        comparison = answer["comparison"]
        whole = self.ask("/v1/totals", asked | {"keys": key})["comparison"]
        assert whole["data"][0]["changes"] == comparison["changes"], asked
        for part in ("current", "previous"):
            first, last = (datetime.fromisoformat(comparison[part][name]) for name in ("start", "end"))
            assert comparison["changes"][counter][part] == counted(self.events, counter, key, first, last), asked
        for point in answer["points"]:
            if point["previous"]:
                first, last = (datetime.fromisoformat(point["previous"][name]) for name in ("start", "end"))
                assert first < last
                assert point["previous"]["counts"][counter] == counted(self.events, counter, key, first, last), asked
        if granularity == "day":
            self.compare_days(answer, counter, key, zone, compare, match)

    def compare_days(self, answer: Any, counter: str, key: str, zone: str, compare: str, match: bool) -> None:
        """Each day faces the events of one date: so many days before, or a year."""
        start, end = (datetime.fromisoformat(answer["query"][name]) for name in ("start", "end"))
        first, days = dates(start, end, zone)
        back = timedelta(days=-(-days // 7) * 7 if match else days)
        if compare == "year_over_year":
            back = max(back, timedelta(days=364))
        counts: Tally[date] = Tally()
        for e in self.events:
            if (e.counter, e.key) == (counter, key):
                counts[label(e.at, "day", zone)] += e.amount
        for point in answer["points"]:
            day = label(datetime.fromisoformat(point["start"]), "day", zone)
            if compare == "previous_period" or match:
                faced = day - back
            elif (day.month, day.day) != (2, 29):
                faced = day.replace(year=day.year - 1)
            elif day == first:
                faced = date(day.year - 1, 2, 28)
            else:
                assert point["previous"] is None
                continue
            previous = point["previous"]
            assert (previous["counts"][counter] if previous else 0) == counts[faced], (answer["query"], point)

    def ask_all_time(self) -> None:
        """In a zone of whole hours, for others had odd ones long ago."""
        counter, key = self.rng.choice(self.counters()), self.rng.choice(self.keys())
        granularity = self.rng.choice([None, "day", "week"])
        asked = {"counters": counter, "key": key, "period": "all", "granularity": granularity}
        answer = self.ask("/v1/series", asked)
        totals = self.ask("/v1/totals", {"counters": counter, "keys": key})["data"][0]["counts"]
        assert answer["totals"] == totals
        counts = [point["counts"][counter] for point in answer["points"]]
        start, end = (datetime.fromisoformat(answer["points"][0][name]) for name in ("start", "end"))
        begun = any(
            (e.counter, e.key) == (counter, key) and start <= e.at < end for e in self.events
        )  # be it +1 and −1
        assert (begun or len(counts) == 1) and len(counts) <= 10_000

    def ask_top(self) -> None:
        counter, key = self.members_of, self.rng.choice(self.keys())
        start, end = self.range("hour", "UTC") if self.rng.random() < 0.6 else (None, None)
        tally: Tally[str] = Tally()
        for e in self.events:
            if (
                (e.counter, e.key) == (counter, key)
                and (start is None or end is None or start <= e.at < end)
                and e.member
            ):
                tally[e.member] += e.amount
        expected = sorted(((m, n) for m, n in tally.items() if n), key=lambda row: (-row[1], row[0]))
        found, after, limit = [], None, self.rng.randint(1, 3)
        while True:
            compare = self.rng.choice([None, "previous_period"]) if start else None
            asked = {"counter": counter, "key": key, "limit": limit, "after": after, **self.bounds(start, end)}
            page = self.ask("/v1/top", asked | {"compare": compare}, "no such earlier range" if compare else "")
            page = self.ask("/v1/top", asked) if page is None else page
            if "comparison" in page:
                self.compare_members(page["comparison"], counter, key)
            found += [(row["member"], row["count"]) for row in page["members"]]
            assert page["total"] == counted(self.events, counter, key, start, end)
            assert page["others"] == page["total"] - sum(count for _, count in found)
            after = page["next"]
            if after is None:
                break
        assert found == expected

    def compare_members(self, comparison: Any, counter: str, key: str) -> None:
        for row in comparison["data"]:
            mine = [event for event in self.events if event.member == row["member"]]
            for part in ("current", "previous"):
                first, last = (datetime.fromisoformat(comparison[part][name]) for name in ("start", "end"))
                assert row[part] == counted(mine, counter, key, first, last), (comparison, row)

    def ask_chart(self) -> None:
        """Whoever was among the first by what the batch counted is there by what he counts now, or others come before
        him."""
        start, end = self.range("day", "UTC") if self.rng.random() < 0.7 else (None, None)
        limit = self.rng.randint(1, 3)
        answer = self.ask("/v1/chart", {"counter": self.charted, "limit": limit, **self.bounds(start, end)})
        page = [(-row["count"], row["key"]) for row in answer["keys"]]
        live, then = (
            {key: counted(events, self.charted, key, start, end) for key in {e.key for e in events}}
            for events in (self.events, self.held)
        )
        assert page == sorted((-live[key], key) for _, key in page) and all(count for count, _ in page)
        if answer["exact"]:
            first = sorted((-count, key) for key, count in then.items() if count)[:limit]
            lacking = [key for _, key in first if live[key] and (-live[key], key) not in page]
            assert not lacking or len(page) == limit, (answer, lacking)
            assert all(page[-1] < (-live[key], key) for key in lacking), (answer, lacking)

    def ask_zooms(self) -> None:
        """Quarters of an hour add up to hours, days, weeks, months, and all of them to the count of the range."""
        zone, counter, key = self.rng.choice(ZONES), self.rng.choice(self.counters()), self.rng.choice(self.keys())
        start, end = self.range("month", zone)
        sums = {
            granularity: self.ask(
                "/v1/series",
                {"counters": counter, "key": key, "granularity": granularity, "tz": zone, **self.bounds(start, end)},
            )["totals"][counter]
            for granularity in ("hour", "day", "month")
        }
        asked = {"counters": counter, "keys": key, **self.bounds(start, end)}
        assert set(sums.values()) == {self.ask("/v1/totals", asked)["data"][0]["counts"][counter]}, sums

    def counters(self) -> list[str]:
        return sorted({e.counter for e in self.events})

    def keys(self) -> list[str]:
        return sorted({e.key for e in self.events})

    def bounds(self, start: datetime | None, end: datetime | None) -> dict[str, str]:
        return {"start": start.isoformat(), "end": end.isoformat()} if start and end else {}

    def somewhere(self) -> tuple[str, datetime]:
        """A zone and an instant: of an event, or near one at which the zone's clocks were set, or a year after it."""
        near = [(zone, at) for zone, at in CHANGES if any(abs(e.at - at) < timedelta(days=2) for e in self.events)]
        if not near or self.rng.random() < 0.4:
            return self.rng.choice(ZONES), self.rng.choice(self.events).at
        zone, at = self.rng.choice(near)
        return zone, at + timedelta(days=self.rng.choice([0, 0, 365, 366, 364]))

    def range(self, granularity: str, zone: str, middle: datetime | None = None) -> tuple[datetime, datetime]:
        """A range around an event, on edges of the zone's buckets."""
        tz, longest = ZoneInfo(zone), {"quarter_hour": 1, "hour": 10, "day": 60, "week": 90, "month": 150}[granularity]
        middle = middle or self.rng.choice(self.events).at
        edges = []
        for days in (-self.rng.random() * longest, self.rng.random() * longest):
            local = (middle + timedelta(days=days)).astimezone(tz)
            if granularity in ("quarter_hour", "hour"):
                minutes = local.minute // 15 * 15 if granularity == "quarter_hour" else 0
                edges.append(local.replace(minute=minutes, second=0, microsecond=0, fold=0).astimezone(UTC))
            else:
                day = label(local, granularity, zone)
                edges.append(datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC))
        if edges[0] >= edges[1]:
            last = datetime.fromtimestamp(edges[0].timestamp(), tz).replace(tzinfo=None)
            days = {"day": 1, "week": 7, "month": 32}.get(granularity)
            if not days:
                edges[1] = edges[0] + timedelta(minutes=15 if granularity == "quarter_hour" else 60)
            else:
                day = (last + timedelta(days=days)).date()
                day = day.replace(day=1) if granularity == "month" else day
                edges[1] = datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)
        return edges[0], edges[1]
