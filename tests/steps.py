"""The steps that tests on real parts have in common."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from stitch.cutoff import window_start
from tests.conftest import Stack

HOUR = "2024-02-29T23:10:00Z"


def event(event_id: str, kind: str, **fields: Any) -> bytes:
    return json.dumps({"event_id": event_id, "type": kind, "occurred_at": HOUR, **fields}).encode()


def count(client: FlaskClient, counter: str, key: str, layer: str = "merged") -> int:
    response = client.post("/v1/totals", json={"counters": [counter], "keys": [key], "layer": layer})
    assert response.status_code == 200, response.text
    return int(response.json["data"][0]["counts"][counter])


def wait_for_the_window_to_end(stack: Stack) -> datetime:
    """Sleep until every record sent so far is in an ingest window that is over; returns its end."""
    streaming, log = stack.settings.streaming, stack.settings.log
    now = datetime.now(UTC)
    end = window_start(now, streaming.ingest_window) + streaming.ingest_window
    time.sleep((end + log.grace - now + timedelta(seconds=0.5)).total_seconds())
    return end
