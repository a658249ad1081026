"""Random events, the stack that counted them, and the reader over it."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flask import Flask

from stitch_local.producer import produce
from tests.conftest import Stack, run_in
from tests.queries import Happened

SEED = int(os.environ.get("STITCH_SEED", random.SystemRandom().randrange(10**6)))
COUNTERS = [
    {"name": "plays", "key": "track_id", "weights": {"play": 1, "unplay": -1}, "resolution": "15m", "chart": True},
    {"name": "creator_plays", "key": "creator_id", "member": "track_id", "weights": {"play": 1, "unplay": -1},
     "resolution": "1m"},
]  # fmt: skip


@dataclass
class Feed:
    """Random events, and what each is to the counters."""

    rng: random.Random
    happened: list[Happened] = field(default_factory=list)
    twice: list[Happened] = field(default_factory=list)  # what duplicates would have counted
    sent: int = 0
    counted: int = 0  # of those that were sent, by the batch

    def some(self, how_many: int) -> list[bytes]:
        now = datetime.now(UTC)
        payloads = []
        for _ in range(how_many):
            at = (now - timedelta(days=self.rng.choice([0.1, 2, 40, 400]) * self.rng.random())).replace(microsecond=0)
            track, creator = self.rng.choice(["a", "b/c", "ü 🎵"]), self.rng.choice(["a", "c1"])
            kind = self.rng.choice(["play"] * 9 + ["unplay"])
            self.sent += 1
            payloads.append(
                json.dumps({"event_id": f"e{self.sent}", "type": kind, "occurred_at": at.isoformat(),
                            "track_id": track, "creator_id": creator}).encode()
            )  # fmt: skip
            amount = 1 if kind == "play" else -1
            self.happened += [
                Happened("plays", track, None, amount, at),
                Happened("creator_plays", creator, track, amount, at),
            ]
        return payloads


@dataclass
class Served:
    stack: Stack
    app: Flask
    feed: Feed

    def stream(self, payloads: list[bytes]) -> None:
        produce(self.stack.settings.kafka, payloads)
        run_in(self.stack.settings, "streaming_counts")
