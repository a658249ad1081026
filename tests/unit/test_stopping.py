"""A streaming query that was asked to stop, by what Spark says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from jobs.streaming import queries
from jobs.streaming.queries import Stop, keep_running, watch

OFFSETS = "Getting offsets from KafkaV2[Subscribe[events]]"
WRITING = "Processing new data"


class Query:
    """A query in these states, one at each look: (a trigger is active, Spark's message)."""

    name = "streaming_counts"
    recentProgress: tuple[dict[str, Any], ...] = ()

    def __init__(self, states: Iterable[tuple[bool, str]]) -> None:
        self.isActive = True
        self.states = iter(states)
        self.stopped_in: tuple[bool, str] | None = None

    @property
    def status(self) -> dict[str, Any]:
        self.now = next(self.states)
        return {"isTriggerActive": self.now[0], "message": self.now[1]}

    def stop(self) -> None:
        self.isActive, self.stopped_in = False, self.now

    def awaitTermination(self) -> None:
        pass


@pytest.mark.parametrize(
    "states, stopped_in",
    [
        ([(True, WRITING), (True, WRITING), (False, "Waiting for next trigger")], (False, "Waiting for next trigger")),
        # A job that catches up: a trigger is always active, and between two batches only the next one is planned.
        ([(True, WRITING), (True, OFFSETS), (True, WRITING)], (True, OFFSETS)),
        ([(True, OFFSETS)], (True, OFFSETS)),
    ],
)
def test_a_query_is_stopped_where_no_batch_is_written(
    states: list[tuple[bool, str]], stopped_in: tuple[bool, str]
) -> None:
    query = Query(states)
    watch(query, Stop(asked=True), print)
    assert query.stopped_in == stopped_in


def test_a_query_that_is_left_is_started_again_whatever_its_last_batch_says() -> None:
    started: list[Query] = []

    def start() -> Any:
        started.append(Query([(False, "Waiting for next trigger")]))
        return started[-1]

    leaving, stop = iter([True, False]), Stop()  # the micro-batch that the stop waits for takes the reason away

    def leave() -> bool:
        stop.asked = len(started) == 2
        return next(leaving, False)

    keep_running(start, stop, print, timedelta(seconds=1), leave=leave)
    assert [query.stopped_in for query in started] == [(False, "Waiting for next trigger")] * 2


def test_a_query_whose_report_fails_is_stopped() -> None:
    query = Query([(False, "Waiting for next trigger")])
    query.recentProgress = ({"batchId": 1, "timestamp": "2024-02-29T00:00:00.000Z"},)

    def fail(_: dict[str, Any]) -> None:
        raise OSError("the checkpoint cannot be written")

    with pytest.raises(OSError, match="cannot be written"):
        watch(query, Stop(), fail)  # type: ignore[arg-type]
    assert query.stopped_in


def test_every_batch_is_reported_once_also_where_the_clock_is_set_back() -> None:
    query, reported = Query([(False, "Waiting for next trigger")]), list[str]()
    batches = [(1, "12:00"), (2, "12:01"), (3, "11:00"), (4, "11:00"), (4, "11:01")]
    shown = iter([batches[:1], batches[:3], batches[:3], batches[2:], batches[2:]])

    def leave() -> bool:
        query.recentProgress = tuple({"batchId": n, "timestamp": at} for n, at in next(shown, batches[2:]))
        return len(reported) == 5

    watch(query, Stop(), lambda progress: reported.append(progress["timestamp"]), leave)  # type: ignore[arg-type]
    assert reported == [at for _, at in batches]


def test_a_batch_that_does_not_end_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "STOP_WITHIN_S", 0.05)
    query = Query(itertools.repeat((True, WRITING)))
    watch(query, Stop(asked=True), print)
    assert query.stopped_in == (True, WRITING)
