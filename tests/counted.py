"""The counts of records, by a slow and obvious model that shares nothing with what counts them: the records decoded by
the model of tests/unit/test_decoding_model.py, then a dict. A counter stands here a second time, as Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from stitch.settings import Settings
from tests.unit.test_decoding_model import model

Row = tuple[str, str, str | None, str, datetime]  # counter, key, member, granularity, start of the bucket

SETTINGS = Settings.model_validate({
    "events": {"paths": {"country": "listener.country", "city": "listener.at.city"}, "max_text": 20,
               "types": {"duration_s": "int", "premium": "boolean", "volume": "double", "count": "int"}},
    "counters": [
        {"name": "plays", "key": "track_id", "member": "country", "weights": {"play": 1}},
        {"name": "seconds", "key": "track_id", "weights": {"play": "duration_s"}, "resolution": "15m"},
        {"name": "likes", "key": "city", "member": "event_id", "weights": {"like": 1, "unlike": -1},
         "resolution": "1m"},
        {"name": "loud", "key": "premium", "weights": {"play": 1, "like": 2},
         "where": "volume >= 0.5 or country in ('DE', '31') and not premium"},
    ],
})  # fmt: skip


def rows_of(values: Iterable[bytes]) -> Counter[Row]:
    """What the records come to: of each event_id the first event counts."""
    found: Counter[Row] = Counter()
    seen: set[Any] = set()
    names = [field.name for field in SETTINGS.rules.fields]
    for value in values:
        event = model(value, SETTINGS.rules)
        if event is None or event[0] in seen:
            continue
        event_id, kind, micros, read, _ = event
        seen.add(event_id)
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        _count(found, {**dict(zip(names, read, strict=True)), "event_id": event_id}, kind, at)
    return found


def _count(found: Counter[Row], event: dict[str, Any], kind: str, at: datetime) -> None:
    country, premium, volume = event["country"], event["premium"], event["volume"]
    if kind == "play" and event["track_id"]:
        _add(found, "plays", (event["track_id"], country), 1, at, None)
        if event["duration_s"] is not None:
            _add(found, "seconds", (event["track_id"], None), event["duration_s"], at, 15)
    if kind in ("like", "unlike") and event["city"]:
        _add(found, "likes", (event["city"], event["event_id"]), 1 if kind == "like" else -1, at, 1)
    loud = (volume is not None and volume >= 0.5) or (country in ("DE", "31") and premium is False)
    if kind in ("play", "like") and premium is not None and loud:
        _add(found, "loud", ("true" if premium else "false", None), {"play": 1, "like": 2}[kind], at, None)


def _add(
    found: Counter[Row], counter: str, who: tuple[str, str | None], amount: int, at: datetime, minutes: int | None
) -> None:
    hour = at.replace(minute=0, second=0, microsecond=0)
    starts = {"hour": hour, "day": hour.replace(hour=0), "month": hour.replace(day=1, hour=0),
              "all": datetime(1970, 1, 1, tzinfo=UTC)}  # fmt: skip
    if minutes:
        name = {1: "minute", 15: "quarter_hour"}[minutes]
        starts[name] = hour.replace(minute=at.minute // minutes * minutes)
    for member in (None, *([who[1]] if who[1] else [])):
        for granularity, start in starts.items():
            found[counter, who[0], member, granularity, start] += amount
