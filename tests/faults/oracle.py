"""The independent oracle of the fault tests: a plain dict over what was produced, and eyes on the reader meanwhile."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from flask import Flask
from werkzeug.serving import make_server

from stitch.local.producer import produce
from stitch.sections import KafkaSettings

KEYS = [f"t{n}" for n in range(8)]
HOURS = ["2024-02-28T23:59:59Z", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999Z", "2024-03-01T00:00:00Z"]


class Feed:
    """Produces random plays, likes and unlikes, and keeps the true counts: `counts[counter, key]`."""

    def __init__(self, kafka: KafkaSettings, seed: int) -> None:
        self._kafka, self._random = kafka, random.Random(seed)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.attempted: Counter[tuple[str, str]] = Counter()
        self.sent = 0

    def send(self, events: int) -> None:
        """Produce that many events, acknowledged by the broker when this returns."""
        batch = [self._event() for _ in range(events)]
        for counter, key, amount, _ in batch:
            self.attempted[counter, key] += amount
        produce(self._kafka, [payload for *_, payload in batch])
        for counter, key, amount, _ in batch:
            self.counts[counter, key] += amount

    def _event(self) -> tuple[str, str, int, bytes]:
        self.sent += 1
        kind, counter, amount = self._random.choice(
            [("play", "plays", 1)] * 8 + [("like", "likes", 1), ("unlike", "likes", -1)]
        )
        key = self._random.choice(KEYS)
        payload = {
            "event_id": f"e{self.sent}",
            "type": kind,
            "occurred_at": self._random.choice(HOURS),
            "track_id": key,
        }
        return counter, key, amount, json.dumps(payload).encode()


class Eyes:
    """Polls the reader over HTTP and keeps what must never be seen: a count of plays that went down or above the truth."""

    def __init__(self, url: str, feed: Feed) -> None:
        self._url, self._feed = url, feed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: dict[str, int] = {}
        self.wrong: list[str] = []
        self.answers: Counter[int] = Counter()

    def counts(self) -> dict[tuple[str, str], int]:
        """What the reader answers now."""
        answer = requests.post(
            f"{self._url}/v1/totals", json={"counters": ["plays", "likes"], "keys": KEYS}, timeout=30
        )
        self.answers[answer.status_code] += 1
        if answer.status_code != 200 or answer.json()["meta"].get("partial"):
            return {}
        return {(counter, row["key"]): n for row in answer.json()["data"] for counter, n in row["counts"].items()}

    def wait_for_the_truth(self, seconds: float) -> None:
        """Return when the reader's counts are the feed's; fails where they are not in time."""
        deadline = time.monotonic() + seconds
        while (found := {pair: n for pair, n in self.counts().items() if n}) != (
            expected := _nonzero(self._feed.counts)
        ):
            assert time.monotonic() < deadline, _difference(expected, found)
            time.sleep(0.3)

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            try:
                found = self.counts()
            except requests.RequestException as error:
                self.wrong.append(f"no answer: {error}")
                continue
            bound = dict(self._feed.attempted)
            for (counter, key), n in found.items():
                if counter != "plays":
                    continue
                if n < self.seen.get(key, 0):
                    self.wrong.append(f"{key} went down from {self.seen[key]} to {n}")
                if n > bound.get((counter, key), 0):
                    self.wrong.append(f"{key} is {n}, but {bound.get((counter, key), 0)} were sent")
                self.seen[key] = max(n, self.seen.get(key, 0))

    def __enter__(self) -> Eyes:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()


def _nonzero(counts: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {pair: n for pair, n in counts.items() if n}


def _difference(expected: dict[Any, int], found: dict[Any, int]) -> str:
    return f"true and found: { {pair: (expected.get(pair), found.get(pair)) for pair in {*expected, *found} if expected.get(pair) != found.get(pair)} }"


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The reader on a real port; yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
