"""Whole answers: who makes the next one, and what others are given meanwhile. An app that answers when it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from serving.api import answer_cache
from serving.api.access import SCOPE
from serving.api.answer_cache import AnswerCache
from serving.layers import memory
from serving.layers.memory import Memory

KEPT_FOR = 60  # seconds
HEADERS = [("Cache-Control", "max-age=1"), ("ETag", '"1"')]


class App:
    """Counts its answers: "1", "2", …, each as soon as it may; or fails."""

    def __init__(self) -> None:
        self.made, self.status = 0, "200 OK"
        self.may = threading.Event()
        self.may.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        self.made += 1
        answer = str(self.made).encode()
        self.may.wait(5)
        start_response(self.status, HEADERS if self.status == "200 OK" else [])
        yield answer


class Caller:
    """Asks as the worker does: first whether an answer is kept, then by the app."""

    def __init__(self, app: App) -> None:
        self.cache = AnswerCache(app, KEPT_FOR, Memory(1 << 20))

    def asks(self) -> bytes:
        environ = {"PATH_INFO": "/v1/totals", "QUERY_STRING": "", "REQUEST_METHOD": "GET", SCOPE: "all"}
        self.cache.kept(environ)
        return b"".join(self.cache(environ, lambda *_: None))

    def asks_meanwhile(self, app: App) -> tuple[threading.Thread, list[bytes]]:
        """One whose answer the app holds back."""
        app.may.clear()
        made, answers = app.made, []
        thread = threading.Thread(target=lambda: answers.append(self.asks()))
        thread.start()
        until = time.monotonic() + 5
        while app.made == made and time.monotonic() < until:
            time.sleep(0.001)
        return thread, answers


class Clock:
    """What the caches take for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    times = SimpleNamespace(monotonic=lambda: found.now, perf_counter=time.perf_counter)
    for module in (answer_cache, memory):
        monkeypatch.setattr(module, "time", times)
    return found


@pytest.fixture
def app() -> App:
    return App()


def test_while_one_has_the_next_answer_made_others_are_given_the_one_before(app: App, clock: Clock) -> None:
    caller = Caller(app)
    assert [caller.asks(), caller.asks()] == [b"1", b"1"]
    clock.passes(KEPT_FOR)
    thread, answers = caller.asks_meanwhile(app)
    assert [caller.asks(), caller.asks()] == [b"1", b"1"] and app.made == 2
    app.may.set()
    thread.join(5)
    assert [*answers, caller.asks()] == [b"2", b"2"] and app.made == 2


def test_no_answer_is_given_that_ran_out_as_long_ago_as_it_had_stood(app: App, clock: Clock) -> None:
    caller = Caller(app)
    assert caller.asks() == b"1"
    clock.passes(KEPT_FOR)
    thread, answers = caller.asks_meanwhile(app)
    clock.passes(KEPT_FOR)
    app.may.set()
    assert caller.asks() == b"3"
    thread.join(5)
    assert answers == [b"2"]


def test_an_answer_that_cannot_be_made_is_tried_again_when_the_one_before_has_gone(app: App, clock: Clock) -> None:
    caller = Caller(app)
    assert caller.asks() == b"1"
    clock.passes(KEPT_FOR)
    app.status = "503 SERVICE UNAVAILABLE"
    assert [caller.asks(), caller.asks()] == [b"2", b"1"]
    clock.passes(KEPT_FOR)
    assert [caller.asks(), caller.asks()] == [b"3", b"4"]
    app.status = "200 OK"
    assert [caller.asks(), caller.asks()] == [b"5", b"5"]
