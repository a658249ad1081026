"""The whole API on real parts: random events through Kafka, Spark and Cassandra once, then hundreds of random
questions.

The oracle is a plain list of the events (tests/queries.py); schemathesis asks what nobody thought of.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter as Tally
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from serving.app import create_app
from serving.layers.cassandra import CassandraLayers
from tests.e2e.served import SEED, Served
from tests.queries import Questions, asker


@pytest.mark.thorough
def test_hundreds_of_random_questions_are_answered_as_by_the_list_of_events(served: Served) -> None:
    ask = asker(served.app.test_client())
    Questions(served.feed.happened, ask, random.Random(SEED), "creator_plays").ask_some(200)


@pytest.mark.slow
def test_any_chart_is_that_of_the_list_of_events(served: Served) -> None:
    held = served.feed.happened[: 2 * served.feed.counted]
    asked = Questions(
        served.feed.happened, asker(served.app.test_client()), random.Random(SEED), "creator_plays", held=held
    )
    for _ in range(30):
        asked.ask_chart()


def test_corrections_say_on_which_days_the_batch_removed_duplicates(served: Served) -> None:
    start = datetime.now(UTC).date() - timedelta(days=500)
    for counter in ("plays", "creator_plays"):
        asked = {"counter": counter, "start": f"{start}", "end": f"{start + timedelta(days=502)}"}
        found = asker(served.app.test_client())("/v1/corrections", asked)["data"]
        expected: Tally[str] = Tally()
        for one in served.feed.twice:
            if one.counter == counter:
                expected[f"{one.at:%F}"] -= one.amount
        assert {row["day"]: row["difference"] for row in found} == {day: n for day, n in expected.items() if n}


@pytest.mark.slow
def test_while_events_flow_points_add_up_to_the_totals_asked_before_and_after(served: Served) -> None:
    """Plays without unplays only grow: Σ points lies between the totals around it, in every zone and granularity.
    (Of a reader without a cache: one that has it may answer two questions as of instants that are a second apart.)"""
    settings = served.stack.settings
    serving = settings.serving.model_copy(update={"cache": timedelta(0)})
    layers = CassandraLayers(settings)
    app = create_app(settings.model_copy(update={"serving": serving}), layers)
    ask, over = asker(app.test_client()), threading.Event()
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
    layers.close()


# What JSON Schema cannot say (a range on the edges of buckets, a start before its end, `keys` or `key`) is refused with
# 400 all the same, so schemathesis cannot know of each request whether it is a good one.
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
