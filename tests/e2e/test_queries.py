"""The whole API on real parts: random events through Kafka, Spark and Cassandra once, then hundreds of random questions.

The oracle is a plain list of the events (tests/queries.py); schemathesis asks what nobody thought of.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from serving.app import create_app
from serving.cassandra_layers import CassandraLayers
from stitch.local.producer import produce
from tests.conftest import Stack, apart, run_in
from tests.queries import Happened, Questions, asker
from tests.steps import wait_for_the_window_to_end

SEED = random.SystemRandom().randrange(10**6)
COUNTERS = [
    {"name": "plays", "key": "track_id", "weights": {"play": 1, "unplay": -1}, "resolution": "15m"},
    {"name": "creator_plays", "key": "creator_id", "member": "track_id", "weights": {"play": 1, "unplay": -1},
     "resolution": "1m"},
]  # fmt: skip


@dataclass
class Feed:
    """Random events, and what each is to the counters."""

    rng: random.Random
    happened: list[Happened] = field(default_factory=list)
    sent: int = 0

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


@pytest.fixture(scope="module")
def served(spark: Any, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Events in both layers: some counted by a batch, which removed a duplicate of each tenth, the others live."""
    mine = apart(stack, tmp_path_factory.mktemp("queries"), counters=COUNTERS, serving={"cache": "1s"})
    layers = CassandraLayers(mine.settings)
    print(f"STITCH_SEED={SEED}")
    found = Served(mine, create_app(mine.settings, layers), Feed(random.Random(SEED)))
    first = found.feed.some(400)
    found.stream(first + first[::10])
    run_in(mine.settings, "archive_events")
    wait_for_the_window_to_end(mine)
    run_in(mine.settings, "batch_totals", accept=True)
    found.stream(found.feed.some(200))
    yield found
    layers.close()


def test_hundreds_of_random_questions_are_answered_as_by_the_list_of_events(served: Served) -> None:
    ask = asker(served.app.test_client())
    Questions(served.feed.happened, ask, random.Random(SEED), "creator_plays").ask_some(200)


def test_while_events_flow_points_add_up_to_the_totals_asked_before_and_after(served: Served) -> None:
    """Plays without unplays only grow: Σ points lies between the totals around it, in every zone and granularity."""
    ask, over = asker(served.app.test_client()), threading.Event()
    rng, wrong, asked = random.Random(SEED), [], 0

    def total() -> int:
        return ask("/v1/totals", {"counters": "plays", "keys": "flow"})["data"][0]["counts"]["plays"]

    def watch() -> None:
        nonlocal asked
        while not over.is_set():
            zone = rng.choice(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
            period, granularity = rng.choice(
                [("7d", "hour"), ("7d", "quarter_hour"), ("12mo", "day"), ("all", "month")]
            )
            before = total()
            series = ask("/v1/series", {"counters": "plays", "key": "flow", "granularity": granularity, "tz": zone,
                                        "period": period})  # fmt: skip
            after = total()
            asked += 1
            found = sum(point["counts"]["plays"] for point in series["points"])
            if not before <= found <= after:
                wrong.append((zone, granularity, before, found, after))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for step in range(2):
            now = datetime.now(UTC)
            served.stream(
                [
                    json.dumps({"event_id": f"f{step}-{n}", "type": "play", "track_id": "flow", "creator_id": "flow",
                                "occurred_at": (now - timedelta(hours=rng.random() * 24)).isoformat()}).encode()
                    for n in range(100)
                ]
            )  # fmt: skip
    finally:
        over.set()
        watcher.join(30)
    assert (wrong, total()) == ([], 200) and asked >= 10


# What JSON Schema cannot say (a range on the edges of buckets, a start before its end, `keys` or `key`) is refused with 400 all
# the same, so schemathesis cannot know of each request whether it is a good one.
BEYOND_A_SCHEMA = [positive_data_acceptance, negative_data_rejection]


def test_whatever_schemathesis_asks_is_answered_as_the_document_says(served: Served) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", served.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 9
    for operation in operations:

        @given(case=operation.as_strategy())
        @hypothesis_settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            case.call_and_validate(headers={"Accept-Encoding": "identity"}, excluded_checks=BEYOND_A_SCHEMA)

        ask()
