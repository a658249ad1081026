"""The steps that tests on real parts have in common."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from flask.testing import FlaskClient

from stitch.cutoff import window_start
from stitch.definitions import stored_names
from stitch.settings import Settings
from tests.conftest import Stack

HOUR = "2024-02-29T23:10:00Z"


def event(event_id: str, kind: str, **fields: Any) -> bytes:
    return json.dumps({"event_id": event_id, "type": kind, "occurred_at": HOUR, **fields}).encode()


def count(client: FlaskClient, counter: str, key: str, layer: str = "merged") -> int:
    response = client.post("/v1/totals", json={"counters": [counter], "keys": [key], "layer": layer})
    assert response.status_code == 200, response.text
    return int(response.json["data"][0]["counts"][counter])


def wait_until(
    holds: Callable[[], Any],
    seconds: float = 60,
    told: Callable[[], str] = lambda: "",
    job: subprocess.Popen[bytes] | None = None,
) -> None:
    """Ask until it holds; fails with what is told where it has not within so many seconds, or the job has ended."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline and (job is None or job.poll() is None), told()
        time.sleep(0.1)


def wait_for_line(log: Path, start: str, job: subprocess.Popen[bytes], seconds: float = 180) -> None:
    """Wait until a line of the job's log begins so; fails with the log's end where the job ends before."""

    def said() -> bool:
        return any(line.startswith(start) for line in log.read_text("utf-8").splitlines())

    wait_until(said, seconds, lambda: log.read_text("utf-8")[-3000:], job)


def send(process: psutil.Process, how: int) -> None:
    """Send the signal. One that is to pause has stopped then: on a busy machine its threads answer for a while yet."""
    process.send_signal(how)
    deadline = time.monotonic() + 10
    while how == signal.SIGSTOP and any(
        state(thread) not in "Tt" for thread in Path(f"/proc/{process.pid}/task").iterdir()
    ):
        assert time.monotonic() < deadline, f"{process} does not stop"
        time.sleep(0.005)


def state(thread: Path) -> str:
    """A thread's state, as proc(5) has it behind the name; "T": stopped, or gone."""
    try:
        return (thread / "stat").read_text("utf-8").rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return "T"


def wait_for_the_window_to_end(stack: Stack) -> datetime:
    """Sleep until every record sent so far is in an ingest window that is over; returns its end."""
    streaming, log = stack.settings.streaming, stack.settings.log
    now = datetime.now(UTC)
    end = window_start(now, streaming.ingest_window) + streaming.ingest_window
    time.sleep((end + log.grace - now + timedelta(seconds=0.5)).total_seconds())
    return end


def wait_for_the_connector(spark: Any, settings: Settings) -> None:
    """Wait until a driver of Spark's that was connected already has heard of the settings' keyspaces: it asks for new
    ones a second after the last change, and a job that follows within that second would not find them."""
    from pyspark.errors import AnalysisException

    from jobs.process.spark import session
    from jobs.sources.stored import read_totals

    for attempt in range(100):
        try:
            with session("test", settings):
                read_totals(spark, settings)
            return
        except AnalysisException as missing:
            if attempt == 99 or "Couldn't find" not in str(missing):
                raise
            time.sleep(0.1)


def damage_increments(cassandra: Any, settings: Settings) -> dict[str, tuple[int | None, int | None]]:
    """Damage one row each of four keys' plays in the oldest ingest window: too high, too low, missing, extra.

    Returns what a comparison must find: key → (stored, expected).
    """
    keyspace, of = settings.realtime.keyspace, stored_names(settings)["plays"]
    plays = list(cassandra.execute(f"SELECT * FROM {keyspace}.increments WHERE counter = '{of}' ALLOW FILTERING"))
    oldest = min(row.ingest_window for row in plays)
    by_key = {row.key: row for row in plays if row.ingest_window == oldest}
    high, low, missing, *_ = (by_key[key] for key in sorted(by_key))
    extra = missing._replace(key="nobody")
    columns = ("counter", "key", "ingest_date", "ingest_window", "bucket")
    put = f"INSERT INTO {keyspace}.increments ({', '.join(columns)}, count) VALUES (%s, %s, %s, %s, %s, %s)"
    delete = f"DELETE FROM {keyspace}.increments WHERE {' AND '.join(f'{column} = %s' for column in columns)}"

    def named(row: Any) -> list[Any]:
        return [getattr(row, column) for column in columns]

    for row, count in ((high, high.count + 1000), (low, low.count - 1), (extra, 7)):
        cassandra.execute(put, [*named(row), count])
    cassandra.execute(delete, named(missing))
    return {
        high.key: (high.count + 1000, high.count),
        low.key: (low.count - 1, low.count),
        missing.key: (None, missing.count),
        extra.key: (7, None),
    }
