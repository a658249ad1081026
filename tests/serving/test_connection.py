"""A layer's connection over a session that answers as the driver's does: pages, time-outs, nodes that are down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable

from serving.layers.connection import IN_FLIGHT, TRIAL, Connection, Limits
from serving.layers.interface import Deadline, LayerDown, OutOfTime, TooManyRows
from serving.observe.metrics import CIRCUIT_OPEN
from stitch.clusters import CassandraSettings

ROWS = [(n,) for n in range(12_500)]
PAGE = 5_000
Answer = Callable[[Any], Any]  # the rows of a read by its values, or an exception


@dataclass
class Session:
    """Answers by `rows` in pages, or as a server that hangs does: with the driver's error when the time-out is over."""

    answers: dict[str, Answer]
    asked: list[tuple[str, Any, float]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def execute_async(self, query: str, values: Any, timeout: float, paging_state: bytes | None = None) -> Any:
        self.asked.append((query, values, timeout))
        self.open += 1
        self.most_open = max(self.most_open, self.open)

        def result() -> Any:
            self.open -= 1
            found = self.answers[query](values)
            if isinstance(found, OperationTimedOut):
                time.sleep(timeout)
            if isinstance(found, Exception):
                raise found
            first = int(paging_state or 0)
            last = first + PAGE
            return SimpleNamespace(
                current_rows=found[first:last], paging_state=str(last).encode() if last < len(found) else None
            )

        return SimpleNamespace(result=result)


def raising(error: Exception) -> Answer:
    return lambda _: error


HANGS = raising(OperationTimedOut())
NO_HOST = raising(NoHostAvailable("no host", {"10.0.0.1": "down"}))


def made(session: Session, hosts_up: bool = True, timeout: float = 5.0, rows: int = 100_000) -> Connection:
    made = Connection("batch", CassandraSettings(keyspace="k"), Limits(timeout, rows), {}, ("cheap", ()))
    made._session, made._prepared = session, {"cheap": "cheap", "heavy": "heavy"}
    hosts = [SimpleNamespace(is_up=hosts_up)]
    made._cluster = SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: hosts), shutdown=lambda: None)
    return made


@pytest.fixture(autouse=True)
def circuit_metric() -> Iterator[None]:
    yield
    CIRCUIT_OPEN.labels("batch").set(0)


def shown() -> float:
    return CIRCUIT_OPEN.labels("batch")._value.get()  # type: ignore[no-any-return]


def test_the_rows_of_all_pages_come_in_order_each_page_with_a_time_out() -> None:
    session = Session({"heavy": lambda _: ROWS})
    assert made(session).send("heavy", [("a",), ("b",)], Deadline.after(4.0))() == [ROWS, ROWS]
    assert len(session.asked) == 6 and all(0 < timeout <= 4.0 for _, _, timeout in session.asked)


def test_no_page_is_waited_for_beyond_the_deadline_and_the_layer_is_not_blamed() -> None:
    pages = [0]

    def slowly(_: Any) -> list[tuple[int]]:
        pages[0] += 1
        time.sleep(0.05)
        return many

    many = ROWS * 100
    connection = made(Session({"heavy": slowly, "cheap": lambda _: []}), rows=10**9)
    began = time.monotonic()
    with pytest.raises(OutOfTime, match=r"within 0\.2 s \(serving.timeout\): ask for less at a time"):
        connection.send("heavy", [("a",)], Deadline.after(0.2))()
    assert time.monotonic() - began < 2 and pages[0] < 8
    assert connection.circuit.refusal is None


def test_a_wave_of_reads_ends_at_the_deadline_too() -> None:
    def slowly(_: Any) -> list[tuple[int]]:
        time.sleep(0.002)
        return []

    session = Session({"heavy": slowly, "cheap": lambda _: []})
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        made(session).send("heavy", [(n,) for n in range(10_000)], Deadline.after(0.2))()
    assert time.monotonic() - began < 2 and len(session.asked) < 200  # 0.2 s of 2 ms each
    assert session.most_open <= IN_FLIGHT


class InTurn:
    """A session as the driver's is: one thread takes the answers of all reads."""

    def __init__(self) -> None:
        self.answered, self._sent = 0, SimpleQueue[threading.Event]()
        threading.Thread(target=self._answer, daemon=True).start()

    def execute_async(self, *_: Any, **__: Any) -> Any:
        answered = threading.Event()
        self._sent.put(answered)

        def result() -> Any:
            assert answered.wait(10)
            return SimpleNamespace(current_rows=[], paging_state=None)

        return SimpleNamespace(result=result)

    def _answer(self) -> None:
        while True:
            answered = self._sent.get()
            time.sleep(0.0005)
            self.answered += 1
            answered.set()


def test_a_single_read_waits_for_few_of_a_thousand_that_another_request_sends() -> None:
    session = InTurn()
    connection = made(session)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        many = pool.submit(lambda: connection.send("heavy", [(n,) for n in range(1000)], Deadline.after(9))())
        while session.answered < 100:
            time.sleep(0.001)
        before = session.answered
        assert connection.send("heavy", [("single",)], Deadline.after(9))() == [[]]
        assert session.answered - before < 100 and not many.done()
        assert len(many.result()) == 1000


def test_more_rows_than_an_answer_may_need_are_not_read_to_their_end() -> None:
    many = ROWS * 10
    session = Session({"heavy": lambda _: many})
    with pytest.raises(TooManyRows, match="more than 20,000 rows"):
        made(session, rows=20_000).send("heavy", [("a",)], Deadline.after(5.0))()
    assert len(session.asked) == 5
    with pytest.raises(TooManyRows):  # of all reads of a call together
        made(Session({"heavy": lambda _: ROWS}), rows=20_000).send("heavy", [("a",), ("b",)], Deadline.after(5.0))()


def test_heavy_reads_that_time_out_leave_everybody_elses_keys_alone() -> None:
    session = Session({"heavy": HANGS, "cheap": lambda _: [("2024",)]})
    connection = made(session, timeout=0.01)
    for _ in range(5):
        with pytest.raises(OutOfTime):
            connection.send("heavy", [("a",)], Deadline.after(1.0))()
    assert connection.circuit.admitted() == "closed" and shown() == 0
    session.answers["heavy"] = lambda _: ROWS[:1]
    assert connection.send("heavy", [("b",)], Deadline.after(1.0))() == [ROWS[:1]]


def test_a_layer_that_hangs_is_left_alone_after_three_cheap_reads() -> None:
    session = Session({"heavy": HANGS, "cheap": HANGS})
    connection = made(session, timeout=0.01)
    for query in ("cheap", "cheap", "cheap"):
        with pytest.raises(LayerDown):
            connection.send(query, [()], Deadline.after(1.0))()
    assert connection.circuit.refusal and shown() == 1
    sent = len(session.asked)
    with pytest.raises(LayerDown):
        connection.send("heavy", [("a",)], Deadline.after(1.0))
    assert len(session.asked) == sent


def test_a_read_of_rows_that_times_out_in_a_layer_that_hangs_counts_by_the_cheap_read_behind_it() -> None:
    connection = made(Session({"heavy": HANGS, "cheap": HANGS}), timeout=0.01)
    for _ in range(3):
        with pytest.raises(LayerDown):
            connection.send("heavy", [("a",)], Deadline.after(1.0))()
    assert connection.circuit.refusal


def test_a_cluster_without_a_node_that_is_up_is_left_alone_at_once_and_one_that_has_one_is_not() -> None:
    for hosts_up in (False, True):
        connection = made(Session({"heavy": NO_HOST}), hosts_up=hosts_up)
        with pytest.raises(LayerDown, match="cannot be read now") as failure:
            connection.send("heavy", [("a",)], Deadline.after(1.0))()
        assert "no answer from 10.0.0.1" in failure.value.reason
        assert (connection.circuit.refusal is None) is hosts_up


def test_a_layer_that_was_left_alone_is_tried_by_a_cheap_read_before_any_other() -> None:
    session = Session({"heavy": lambda _: ROWS[:2], "cheap": lambda _: []})
    connection = made(session)
    connection.circuit.failed("connection refused", at_once=True)
    connection.circuit._next_trial = 0.0
    assert connection.send("heavy", [("a",)], Deadline.after(1.0))() == [ROWS[:2]]
    assert [query for query, _, _ in session.asked] == ["cheap", "heavy"]
    assert session.asked[0][2] == TRIAL * 5.0 and connection.circuit.refusal is None and shown() == 0
