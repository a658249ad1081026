"""The circuit by a clock that stands still until it is moved."""

from __future__ import annotations

from serving.layers.circuit import Circuit


def test_after_three_failures_in_a_row_requests_fail_at_once_and_one_a_second_tries_again() -> None:
    now = [0.0]
    circuit = Circuit(failures=3, retry_after=1.0, clock=lambda: now[0])
    for _ in range(2):
        circuit.failed("timed out")
    assert circuit.refusal() is None  # closed: two may be chance
    circuit.succeeded()
    for _ in range(3):
        circuit.failed("timed out")
    assert circuit.refusal() == "timed out"
    now[0] = 1.0
    assert [circuit.refusal() for _ in range(3)] == [
        None,
        "timed out",
        "timed out",
    ]  # one tries, the others do not wait
    circuit.failed("still away")
    assert circuit.refusal() == "still away"
    now[0] = 2.0
    assert circuit.refusal() is None
    circuit.succeeded()
    assert [circuit.refusal() for _ in range(3)] == [None, None, None]


def test_a_connection_that_is_refused_opens_it_at_once() -> None:
    circuit = Circuit(clock=lambda: 5.0)
    circuit.failed("connection refused", at_once=True)
    assert circuit.refusal() == "connection refused"
