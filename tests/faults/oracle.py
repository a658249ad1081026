"""The independent oracle of the fault tests: a plain dict over what was produced, and a watcher of the reader
meanwhile."""

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

from stitch.clusters import KafkaSettings
from stitch_local.producer import produce

KEYS = [f"t{n}" for n in range(8)]
CREATORS = ["c0", "c1"]
COUNTERS = ["plays", "likes", "listened_seconds", "creator_plays"]
HOURS = ["2024-02-28T23:59:59Z", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999Z", "2024-03-01T00:00:00Z"]

Pair = tuple[str, str]  # counter and key; of a breakdown, counter:key and member


class Feed:
    """Produces random plays, likes and unlikes, and keeps the true counts: `counts[counter, key]`.

    What was sent is kept by sign too, acknowledged and attempted, so that of a counter that also goes down it can be
    told between which bounds it must lie.
    """

    def __init__(self, kafka: KafkaSettings, seed: int) -> None:
        self._kafka, self._random = kafka, random.Random(seed)
        self.counts: Counter[Pair] = Counter()
        self.acknowledged: tuple[Counter[Pair], Counter[Pair]] = (Counter(), Counter())  # by how much down, up
        self.attempted: tuple[Counter[Pair], Counter[Pair]] = (Counter(), Counter())
        self.sent = 0

    def send(self, events: int) -> None:
        """Produce that many events, acknowledged by the broker when this returns."""
        batch = [self._event() for _ in range(events)]
        amounts = [pair for added, _ in batch for pair in added.items()]
        _tally(self.attempted, amounts)
        produce(self._kafka, [payload for _, payload in batch])
        _tally(self.acknowledged, amounts)
        for pair, amount in amounts:
            self.counts[pair] += amount

    def _event(self) -> tuple[dict[Pair, int], bytes]:
        """What it adds to which count, and the record's value."""
        self.sent += 1
        kind = self._random.choice(["play"] * 8 + ["like", "unlike"])
        key, seconds = self._random.choice(KEYS), self._random.randint(0, 600)
        creator = CREATORS[int(key[1:]) % len(CREATORS)]
        added: dict[Pair, int] = {
            "play": {("plays", key): 1, ("listened_seconds", key): seconds, ("creator_plays", creator): 1,
                     (f"creator_plays:{creator}", key): 1},
            "like": {("likes", key): 1}, "unlike": {("likes", key): -1},
        }[kind]  # fmt: skip
        payload = {
            "event_id": f"e{self.sent}", "type": kind, "occurred_at": self._random.choice(HOURS), "track_id": key,
            "creator_id": creator, "duration_s": seconds,
        }  # fmt: skip
        return added, json.dumps(payload).encode()


def _tally(sums: tuple[Counter[Pair], Counter[Pair]], amounts: list[tuple[Pair, int]]) -> None:
    for pair, amount in amounts:
        sums[amount > 0][pair] += abs(amount)


class Eyes:
    """Polls the reader over HTTP and keeps what must never be seen.

    - A count without negative weights that goes down, or above what was sent: a plain one, a sum, a breakdown's.
    - A count of both signs (likes) outside of what can have been added since it was last known to be the truth.
    """

    def __init__(self, url: str, feed: Feed) -> None:
        self._url, self._feed = url, feed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._settled: tuple[Counter[Pair], Counter[Pair], Counter[Pair]] = (Counter(), Counter(), Counter())
        self.seen: dict[Pair, int] = {}
        self.wrong: list[str] = []
        self.answers: Counter[int] = Counter()

    def counts(self) -> dict[Pair, int]:
        """What the reader answers now; nothing where a layer is away."""
        answer = self._ask("POST", "/v1/totals", json={"counters": COUNTERS, "keys": [*KEYS, *CREATORS]})
        found = {(counter, row["key"]): n for row in answer.get("data", ()) for counter, n in row["counts"].items()}
        for creator in CREATORS:
            asked = {"counter": "creator_plays", "key": creator, "limit": "100"}
            top = self._ask("GET", "/v1/top", params=asked)
            found |= {(f"creator_plays:{creator}", row["member"]): row["count"] for row in top.get("members", ())}
        return found

    def _ask(self, method: str, path: str, **asked: Any) -> dict[str, Any]:
        answer = requests.request(method, f"{self._url}{path}", timeout=30, **asked)
        self.answers[answer.status_code] += 1
        whole = answer.status_code == 200 and not answer.json()["meta"].get("partial")
        return dict(answer.json()) if whole else {}

    def wait_for_the_truth(self, seconds: float) -> None:
        """Return when the reader's counts are the feed's; fails where they are not in time."""
        deadline = time.monotonic() + seconds
        while True:
            down, up = (Counter(tally) for tally in self._feed.acknowledged)
            found, expected = {pair: n for pair, n in self.counts().items() if n}, _nonzero(self._feed.counts)
            if found == expected:
                self._settled = (Counter(expected), down, up)
                return
            assert time.monotonic() < deadline, _difference(expected, found)
            time.sleep(0.3)

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            settled = self._settled  # before the counts are asked for: what is added meanwhile is within the bounds
            try:
                found = self.counts()
            except requests.RequestException as error:
                self.wrong.append(f"no answer: {error}")
                continue
            self.wrong += self.judge(found, settled)

    def judge(self, found: dict[Pair, int], settled: tuple[Counter[Pair], Counter[Pair], Counter[Pair]]) -> list[str]:
        """What of these counts must not be."""
        truth, down, up = settled
        wrong = []
        for pair, n in found.items():
            least = truth[pair] - (self._feed.attempted[False][pair] - down[pair])
            most = truth[pair] + (self._feed.attempted[True][pair] - up[pair])
            if not least <= n <= most:
                wrong.append(f"{pair} is {n}, and can be {least} to {most} by what was sent")
            if pair[0] != "likes" and n < self.seen.get(pair, 0):
                wrong.append(f"{pair} went down from {self.seen[pair]} to {n}")
            self.seen[pair] = max(n, self.seen.get(pair, n))
        return wrong

    def __enter__(self) -> Eyes:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()


def _nonzero(counts: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {pair: n for pair, n in counts.items() if n}


def _difference(expected: dict[Any, int], found: dict[Any, int]) -> str:
    both = {pair: (expected.get(pair), found.get(pair)) for pair in {*expected, *found}}
    return f"true and found: { {pair: counts for pair, counts in both.items() if counts[0] != counts[1]} }"


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
