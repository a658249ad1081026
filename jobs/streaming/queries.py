"""A streaming query watched from the driver's main thread: a report per batch, a stop between batches, patience with
parts that are away.

`query.stop()` in the middle of a batch interrupts Py4J inside foreachBatch (SPARK-39218), so SIGTERM sets a flag and
the query is stopped when no batch is running. A query that fails is started again where it was, since its writes are
idempotent, until it has made no progress for `streaming.retry_for`. One that ends by itself may be started again after
a pause.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.captured import StreamingQueryException
from pyspark.sql.streaming import StreamingQuery

from jobs.lake.log import by_partition
from jobs.process.causes import cause_of, is_permanent
from jobs.process.errors import JobError, NotYet
from jobs.process.figures import put
from stitch.figures import RETRIES

POLL_S = 0.2
STOP_WITHIN_S = 120
MOST_PAUSE_S = 30.0

Report = Callable[[dict[str, Any]], None]
Reported = tuple[int, str]  # a micro-batch and an instant


class QueryFailed(JobError):
    """A streaming query ended by itself; `permanent`: trying again would end the same way."""

    def __init__(self, message: str, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass
class Stop:
    """Whether somebody asked the job to end after the running micro-batch."""

    asked: bool = False
    by_signal: bool = False

    @classmethod
    def on_signals(cls) -> Stop:
        """One that SIGTERM and SIGINT ask."""
        return cls(by_signal=True)

    def listen(self) -> None:
        """From now on signals ask. Before there is a query they end the job at once, as they end any other process."""

        def ask(*_: Any) -> None:
            self.asked = True

        for number in (signal.SIGTERM, signal.SIGINT) if self.by_signal else ():
            signal.signal(number, ask)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody asks."""
        deadline = time.monotonic() + seconds
        while not self.asked and time.monotonic() < deadline:
            time.sleep(POLL_S)


def keep_running(
    start: Callable[[], StreamingQuery],
    stop: Stop,
    report: Report,
    retry_for: timedelta,
    again: Callable[[], timedelta | None] = lambda: None,
    leave: Callable[[], bool] = lambda: False,
) -> None:
    """Start the query and start it again when it fails. Raises QueryFailed where that does not help, NotYet where it
    has not helped for `retry_for`.

    again: asked when it has ended by itself: after how long it is started again (None: never); leave: whether to stop
    it between two micro-batches, and start it again at once

    `start` may raise NotYet or an error of Spark's: the first time that ends it, later it is one more failure.
    """
    progressed = time.monotonic()
    failures = 0

    def note(progress: dict[str, Any]) -> None:
        nonlocal progressed, failures
        progressed, failures = time.monotonic(), 0
        report(progress)

    started = False
    stop.listen()
    while not stop.asked:
        try:
            query = start()
            started = True
            left = watch(query, stop, note, leave)
            pause_after = timedelta(0) if left else again()
            if pause_after is None:
                return
            stop.wait(pause_after.total_seconds())
            progressed, failures = time.monotonic(), 0
        except (NotYet, PySparkException, Py4JJavaError, QueryFailed) as failure:
            error = failure if isinstance(failure, JobError) else QueryFailed(cause_of(failure), is_permanent(failure))
            gone = time.monotonic() - progressed
            if not started or (isinstance(error, QueryFailed) and error.permanent):
                raise
            if gone > retry_for.total_seconds():
                raise NotYet(f"{error}\nNo progress for {gone:.0f} s (streaming.retry_for): giving up; nothing is "
                               "lost, the next start goes on from here") from None  # fmt: skip
            failures += 1
            put(RETRIES, 1, "query")
            pause = min(2.0 ** (failures - 1), MOST_PAUSE_S)
            print(f"stitch: {error}\nstitch: trying again in {pause:.0f} s ({failures})", flush=True)
            stop.wait(pause)


def watch(query: StreamingQuery, stop: Stop, report: Report, leave: Callable[[], bool] = lambda: False) -> bool:
    """Return when the query ends or, once asked, has been stopped between two batches: whether to be started again,
    since `leave` said so. Raises QueryFailed, and what `report` raises, when the query has been stopped."""
    reported: Reported | None = None
    left = False
    try:
        while query.isActive and not stop.asked and not (left := leave()):
            reported = _report_new(query, reported, report)
            time.sleep(POLL_S)
    finally:
        if query.isActive:
            _stop_between_batches(query)
    _report_new(query, reported, report)
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        raise QueryFailed(f"{query.name} stopped: {cause_of(error)}", is_permanent(error)) from None
    return left


def _report_new(query: StreamingQuery, reported: Reported | None, report: Report) -> Reported | None:
    """Report the batches behind the one that was reported last; returns the newest. An idle query reports too, with the
    id of its next batch, so ids alone would not do; nor would instants, as clocks are set back."""
    recent = query.recentProgress
    seen = [(progress["batchId"], progress["timestamp"]) for progress in recent]
    for at, progress in enumerate(recent):
        if reported not in seen[at:]:
            report(progress)
    return seen[-1] if seen else reported


def _stop_between_batches(query: StreamingQuery) -> None:
    """Wait until no batch is written, and stop the query. While the job catches up there is no pause between batches;
    then it is stopped while the next one is only planned, which writes nothing."""
    deadline = time.monotonic() + STOP_WITHIN_S
    while query.isActive and _writes(query.status) and time.monotonic() < deadline:
        time.sleep(0.005)
    query.stop()


def _writes(status: dict[str, Any]) -> bool:
    """Whether a batch may be inside foreachBatch. Spark's message is this one from the look at the source's offsets
    until they are in the checkpoint (MicroBatchExecution.constructNextBatch)."""
    return bool(status["isTriggerActive"]) and not status["message"].startswith("Getting offsets")


def print_progress(job: str, progress: dict[str, Any]) -> None:
    """A line for a batch that had records: rate, what was not taken, lag, state and drops."""
    if not progress["numInputRows"]:
        return
    lag = sum(int((s.get("metrics") or {}).get("maxOffsetsBehindLatest", 0) or 0) for s in progress["sources"])
    operators = progress.get("stateOperators") or []
    decoded = (progress.get("observedMetrics") or {}).get("decoded") or {}
    facts = {
        "batch": progress["batchId"],
        "events": progress["numInputRows"],
        "rejected": decoded.get("rejected", 0),
        "noted": decoded.get("noted", 0),  # fields that were absent because something was wrong with them
        "events_per_s": round(progress.get("processedRowsPerSecond") or 0),
        "seconds": round(progress["durationMs"].get("triggerExecution", 0) / 1000, 1),
        "max_lag": lag,
        "rows": operators[0]["numRowsUpdated"] if operators else 0,  # the first operator is the last of the plan
        "dropped": sum(o["numRowsDroppedByWatermark"] for o in operators),
    }
    print(f"{job} " + " ".join(f"{name}={value}" for name, value in facts.items()), flush=True)


def at_the_end(progress: dict[str, Any]) -> bool:
    """Whether the batch reached the topic's latest offsets."""
    source = progress["sources"][0]
    if source["endOffset"] is None:  # idle before the first batch
        return False
    return _offsets(source["endOffset"]) == _offsets(source["latestOffset"])


def counted_through(progress: dict[str, Any]) -> datetime | None:
    """Up to which instant the batch has come: its trigger's at the topic's end, else its newest record's; None where it
    had no record."""
    through = progress["timestamp"] if at_the_end(progress) else progress.get("eventTime", {}).get("max")
    return datetime.fromisoformat(through) if through else None


def end_offsets(progress: dict[str, Any], name: str = "endOffset") -> dict[str, dict[int, int]]:
    """topic → partition → the first offset behind the batch; or `latestOffset`, which the topics then had."""
    end = _offsets(progress["sources"][0].get(name)) or {}
    return {topic: by_partition(at) for topic, at in end.items()}


def _offsets(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text
