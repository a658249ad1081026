"""A streaming query that was asked to stop, by what Spark says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from jobs.streaming import queries
from jobs.streaming.queries import Stop, watch

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


def test_a_batch_that_does_not_end_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "STOP_WITHIN_S", 0.05)
    query = Query(itertools.repeat((True, WRITING)))
    watch(query, Stop(asked=True), print)
    assert query.stopped_in == (True, WRITING)
