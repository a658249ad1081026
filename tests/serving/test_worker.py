"""Which requests wait for which others in a process of the reader. Layers in memory, which answer some reads when they
are let go."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from serving.app import create_app
from serving.layers.interface import IncrementsSince, Pending, TotalsRange
from serving.server import collect_the_young
from serving.worker import Receiver
from stitch.buckets import EPOCH
from stitch.merge import Increment, Total
from stitch.sections import ServingSettings
from stitch.settings import load_settings
from tests.fakes import FakeLayers

NOW = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 1, 10, tzinfo=UTC)
KEYS = [f"t{n}" for n in range(300)]
ONE = "counters=plays&keys="


class Cycle:
    """Something that holds itself."""

    itself: Cycle


class Held(FakeLayers):
    """Reads of many at once, and those of the progress, are answered when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.published, self.through = {"plays": CUTOFF}, NOW
        self.total_rows = {("plays", key, "all", EPOCH): Total(5, CUTOFF) for key in [*KEYS, "other"]}
        self.go, self.progress = threading.Event(), threading.Event()
        self.at_once: list[int] = []  # how many reads of totals
        self.progress.set()

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        self.at_once.append(len(reads))
        return self._held(self.go, super().totals(reads), len(reads) > 100)

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._held(self.go, super().increments(reads), len(reads) > 100)

    def realtime_through(self) -> Pending[datetime | None]:
        return self._held(self.progress, super().realtime_through(), True)

    def _held(self, go: threading.Event, found: Pending[Any], many: bool) -> Pending[Any]:
        def answered() -> Any:
            assert not many or go.wait(10)
            return found()

        return answered


class Protocol:
    """granian's of one request."""

    def __init__(self, body: bytes) -> None:
        self.body, self.status, self.answer = body, 0, b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body
        yield b""

    def response_bytes(self, status: int, _: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.answer = status, body


Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def layers() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()
    held.progress.set()


def asking(layers: Held, **serving: Any) -> Ask:
    settings = load_settings("conf/stitch.toml").model_copy(update={"serving": ServingSettings(**serving)})
    receiver = Receiver(create_app(settings, layers, lambda: NOW), settings, threading.Event())

    async def ask(path: str, query: str = "", keys: Sequence[str] = (), body: bytes = b"") -> tuple[int, Any]:
        """With keys or a body: by POST."""
        body = json.dumps({"counters": ["plays"], "keys": keys}).encode() if keys else body
        scope = SimpleNamespace(
            method="POST" if body else "GET", path=path, query_string=query, headers={"content-length": str(len(body))},
            client="127.0.0.1:5000", server="127.0.0.1:18080", http_version="1.1", scheme="http",
        )  # fmt: skip
        protocol = Protocol(body)
        await receiver.__rsgi__(scope, protocol)  # type: ignore[arg-type]
        return protocol.status, json.loads(protocol.answer or "null")

    return ask


@pytest.fixture
def ask(layers: Held) -> Ask:
    return asking(layers)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), 5)

    asyncio.run(within())


async def many(ask: Ask, how_many: int = 6) -> list[asyncio.Task[tuple[int, Any]]]:
    """So many POSTs of hundreds of keys, which have all come and wait."""
    found = [asyncio.ensure_future(ask("/v1/totals", keys=KEYS)) for _ in range(how_many)]
    await asyncio.sleep(0.2)
    assert not any(one.done() for one in found)
    return found


WHILE_MANY_WAIT: dict[str, tuple[str, str, list[str]]] = {
    "a key": ("/v1/totals", ONE + "other", []),
    "a key that they ask for": ("/v1/totals", ONE + "t5", []),
    "a key by POST": ("/v1/totals", "", ["other"]),
    "a few of their keys by POST": ("/v1/totals", "", KEYS[10:20]),
    "readiness": ("/readyz", "", []),
}


@pytest.mark.parametrize(("path", "query", "keys"), WHILE_MANY_WAIT.values(), ids=WHILE_MANY_WAIT)
def test_who_asks_for_little_does_not_wait_for_those_who_ask_for_much(
    ask: Ask, layers: Held, path: str, query: str, keys: list[str]
) -> None:
    async def test() -> None:
        waiting = await many(ask)
        status, answer = await ask(path, query, keys)
        assert status == 200 and not any(one.done() for one in waiting)
        assert all(row["counts"] == {"plays": 5} for row in answer.get("data", ()))
        layers.go.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}

    run(test)


def test_of_those_who_ask_for_much_one_is_at_work_at_a_time(ask: Ask, layers: Held) -> None:
    async def test() -> None:
        waiting = [asyncio.ensure_future(ask("/v1/totals", keys=KEYS[n:])) for n in range(6)]
        while not layers.at_once:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert layers.at_once == [len(KEYS)]
        layers.go.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}

    run(test)


def test_bodies_that_wait_for_an_answer_are_held_and_no_more_than_there_is_room_for(
    ask: Ask, layers: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.worker.BODY_BYTES", 10_000)

    async def test() -> None:
        waiting = await many(ask, 4)  # of 2.4 kilobytes each
        status, answer = await ask("/v1/totals", keys=KEYS)
        assert (status, answer["detail"]) == (503, "too much is being received: try again")
        assert (await ask("/v1/totals", ONE + "other"))[0] == 200
        layers.go.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}
        assert (await ask("/v1/totals", keys=KEYS))[0] == 200

    run(test)


def test_whether_the_process_answers_does_not_wait_for_what_the_layers_say(ask: Ask, layers: Held) -> None:
    async def test() -> None:
        layers.progress.clear()
        waiting = [asyncio.ensure_future(ask(path)) for path in ("/readyz", "/readyz")]
        await asyncio.sleep(0.1)
        assert await ask("/healthz") == (200, {"status": "ok"})
        assert not any(one.done() for one in waiting)
        layers.progress.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}

    run(test)


class Body(io.BytesIO):
    """One that can be asked whether it is still held."""

    made: ClassVar[list[weakref.ref[Body]]] = []

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(content)
        self.made.append(weakref.ref(self))


ANSWERED: dict[str, tuple[int, dict[str, Any], bytes]] = {
    "counts": (200, {}, b'{"counters":["plays"],"keys":["t1"]}'),
    "no JSON": (400, {}, b"{"),
    "a mistake": (400, {}, b'{"counters":["plays"],"keys":["t1"],"x":1}'),
    "nobody's": (401, {"tokens": {"one": {"sha256": "0" * 64}}}, b'{"counters":["plays"],"keys":["t1"]}'),
    "both layers are away": (503, {}, b'{"counters":["plays"],"keys":["t1"]}'),
    "too many": (429, {"rate_limit": "1/hour"}, b'{"counters":["plays"],"keys":["t1"]}'),
}


@pytest.mark.parametrize(("status", "serving", "body"), ANSWERED.values(), ids=ANSWERED)
def test_a_body_is_let_go_with_its_answer_and_not_when_python_next_looks_for_cycles(
    layers: Held, monkeypatch: pytest.MonkeyPatch, status: int, serving: dict[str, Any], body: bytes
) -> None:
    monkeypatch.setattr("serving.worker.io", SimpleNamespace(BytesIO=Body))
    ask = asking(layers, **serving)
    layers.down = {"batch", "realtime"} if status == 503 else set()

    async def test() -> None:
        gc.disable()
        for _ in range(2):  # of the second a rate limit has heard enough
            Body.made.clear()
            told, _ = await ask("/v1/totals", body=body)
        assert told == status and len(Body.made) == 2  # none yet, and what came
        while any(one() for one in Body.made):  # the thread that answered may not have come to its end yet
            await asyncio.sleep(0.01)

    try:
        run(test)
    finally:
        gc.enable()


def test_rows_that_are_kept_are_not_looked_through_for_cycles_and_requests_cycles_are() -> None:
    before = gc.get_threshold()
    try:
        collect_the_young()
        full = gc.get_stats()[2]["collections"]
        kept = [{n: [n]} for n in range(400_000)]
        assert gc.get_stats()[2]["collections"] == full and len(kept) == 400_000
        cycle = Cycle()
        gone = weakref.ref(cycle)
        cycle.itself = cycle
        del cycle
        young = [[n] for n in range(12_000)]
        assert gone() is None and young
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
