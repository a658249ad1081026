"""A streaming query watched from the driver's main thread: a report per batch, and a stop between batches.

`query.stop()` in the middle of a batch interrupts Py4J inside foreachBatch (SPARK-39218), so SIGTERM sets a flag and
the query is stopped when no batch is running.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.errors.exceptions.captured import StreamingQueryException
from pyspark.sql.streaming import StreamingQuery

from jobs.errors import JobError

POLL_S = 0.2
STOP_WITHIN_S = 120


@dataclass
class Stop:
    """Whether somebody asked the job to end after the running micro-batch."""

    asked: bool = False

    @classmethod
    def on_signals(cls) -> Stop:
        """One that SIGTERM and SIGINT ask."""
        stop = cls()

        def ask(*_: Any) -> None:
            stop.asked = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)
        return stop


def watch(query: StreamingQuery, stop: Stop, report: Callable[[dict[str, Any]], None]) -> None:
    """Return when the query ends or, once asked, has been stopped between two batches. Raises JobError when it fails."""
    reported = ""
    deadline: float | None = None
    while True:
        alive = query.isActive
        for progress in query.recentProgress:
            if progress["timestamp"] > reported:  # an idle query reports too, with the batch id of its next batch
                report(progress)
                reported = progress["timestamp"]
        if not alive:
            break
        if stop.asked:
            deadline = deadline or time.monotonic() + STOP_WITHIN_S
            if not query.status["isTriggerActive"] or time.monotonic() > deadline:
                query.stop()
                return
        time.sleep(POLL_S)
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        raise JobError(f"{query.name} stopped: {_cause(error)}") from None


def print_progress(job: str, progress: dict[str, Any]) -> None:
    """A line for a batch that had records: rate, lag, state and drops."""
    if not progress["numInputRows"]:
        return
    lag = sum(int((s.get("metrics") or {}).get("maxOffsetsBehindLatest", 0) or 0) for s in progress["sources"])
    operators = progress.get("stateOperators") or []
    facts = {
        "batch": progress["batchId"],
        "events": progress["numInputRows"],
        "events_per_s": round(progress.get("processedRowsPerSecond") or 0),
        "seconds": round(progress["durationMs"].get("triggerExecution", 0) / 1000, 1),
        "max_lag": lag,
        "rows": sum(o["numRowsUpdated"] for o in operators),
        "dropped": sum(o["numRowsDroppedByWatermark"] for o in operators),
    }
    print(f"{job} " + " ".join(f"{name}={value}" for name, value in facts.items()), flush=True)


def at_the_end(progress: dict[str, Any]) -> bool:
    """Whether the batch reached the topic's latest offsets."""
    source = progress["sources"][0]
    if source["endOffset"] is None:  # idle before the first batch
        return False
    return _offsets(source["endOffset"]) == _offsets(source["latestOffset"])


def _offsets(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _cause(error: StreamingQueryException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(("Caused by", "org.apache", "java.", "com.datastax"))]
    return "\n  ".join(dict.fromkeys([lines[0], *causes[-3:]]))
