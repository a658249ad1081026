"""The circuit by a clock that stands still until it is moved."""

from __future__ import annotations

from serving.layers.circuit import Circuit


def test_after_three_failures_in_a_row_requests_fail_at_once_and_one_at_a_time_tries_again() -> None:
    now, changes = [0.0], list[bool]()
    circuit = Circuit(failures=3, retry_after=1.0, clock=lambda: now[0], changed=changes.append)
    for _ in range(2):
        circuit.failed("timed out")
    assert circuit.admitted() == "closed"  # two may be chance
    circuit.succeeded()
    for _ in range(3):
        circuit.failed("timed out")
    assert (circuit.admitted(), circuit.refusal) == ("open", "timed out")
    now[0] = 1.0
    assert [circuit.admitted() for _ in range(3)] == ["trial", "open", "open"]
    now[0] = 9.0
    assert circuit.admitted() == "open"  # the trial is not over: a second one would wait as long
    circuit.tried("still unavailable")
    assert (circuit.admitted(), circuit.refusal) == ("open", "still unavailable")
    now[0] = 10.0
    assert circuit.admitted() == "trial"
    circuit.tried(None)
    assert [circuit.admitted() for _ in range(3)] == ["closed", "closed", "closed"]
    assert circuit.refusal is None and changes == [True, False]


def test_a_connection_that_is_refused_opens_it_at_once() -> None:
    circuit = Circuit(clock=lambda: 5.0)
    circuit.failed("connection refused", at_once=True)
    assert (circuit.admitted(), circuit.refusal) == ("open", "connection refused")


def test_a_read_sent_before_it_opened_that_fails_late_lets_no_second_trial_through() -> None:
    now = [0.0]
    circuit = Circuit(clock=lambda: now[0])
    circuit.failed("timed out", at_once=True)
    now[0] = 1.0
    assert circuit.admitted() == "trial"
    circuit.failed("timed out")
    now[0] = 3.0
    assert circuit.admitted() == "open"
