"""The layers on two clusters: one, the other or both away, and back."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stitch.settings import Settings, load_settings
from stitch_local import cassandra
from stitch_local.process import start, stop
from stitch_local.schema import apply_schema
from stitch_local.stack import wait_until_all_answer
from tests.conftest import Reader, Stack, free_ports, run_in, write_config
from tests.faults.conftest import away
from tests.faults.oracle import Feed
from tests.steps import wait_for_the_window_to_end, wait_until


@pytest.fixture
def two_clusters(fresh: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The fresh stack with the batch layer on a second Cassandra."""
    port, storage = free_ports(2)
    config = write_config(
        tmp_path / "two.toml",
        base=fresh.config_path,
        batch={"port": port},
        local={"folder": str(tmp_path / "second"), "cassandra_port": port, "cassandra_storage_port": storage,
               "cassandra_heap": "512m"},
    )  # fmt: skip
    settings = load_settings(config)
    second = cassandra.service(settings)
    start(second)
    try:
        wait_until_all_answer([second], lambda _: None)
        apply_schema(settings)
        yield Stack(settings, config)
    finally:
        stop(second.pid_file)


@pytest.mark.slow
def test_one_layer_down_is_answered_from_the_other_and_marked_and_both_recover_by_themselves(
    fresh: Stack, two_clusters: Stack, feed: Feed, reader: Reader, spark: Any
) -> None:
    settings = two_clusters.settings
    remembering = settings.serving.model_copy(update={"cache": timedelta(seconds=1)})
    client = reader(settings.model_copy(update={"serving": remembering}))
    totals = a_night_and_a_morning(fresh, settings, feed)

    def answer(key: str = "t1", more: str = "") -> tuple[int, Any, int]:
        response = client.get(f"/v1/totals?counters=plays&keys={key}{more}")
        if response.status_code != 200:
            return response.status_code, None, 0
        return 200, response.json["meta"].get("missing"), response.json["data"][0]["counts"]["plays"]

    truth = feed.counts["plays", "t1"]
    assert answer() == (200, None, truth)
    with away(settings, "cassandra", signal.SIGTERM):  # the batch layer's
        wait_until(lambda: answer() == (200, ["batch"], truth))  # by what is remembered
        assert answer(more="&layer=batch")[0] == answer("t2")[0] == 503
        assert answer("t2", "&partial=allow") == (200, ["batch"], feed.counts["plays", "t2"])  # increments are held
        feed.send(100)
        run_in(settings, "streaming_counts")
        truth = feed.counts["plays", "t1"]
        wait_until(lambda: answer() == (200, ["batch"], truth))
    wait_until(lambda: answer() == (200, None, truth))
    with ExitStack() as gone:
        gone.enter_context(away(fresh.settings, "cassandra", signal.SIGTERM))  # the real-time layer's
        wait_until(lambda: answer() == (200, ["realtime"], totals["plays", "t1"]))
        gone.enter_context(away(settings, "cassandra", signal.SIGTERM))
        wait_until(lambda: answer()[0] == 503)
    wait_until(lambda: answer() == (200, None, truth))


@pytest.mark.slow
def test_a_batch_cluster_that_lost_its_disks_is_loaded_again_by_one_command(
    fresh: Stack, two_clusters: Stack, feed: Feed, reader: Reader, spark: Any
) -> None:
    settings = two_clusters.settings
    client = reader(settings)

    def of_keys(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        return {pair: n for pair, n in counts.items() if n and ":" not in pair[0]}

    def answer(layer: str = "merged") -> dict[tuple[str, str], int]:
        """(counter, key) → count of what the feed has sent; what is 0 is left out."""
        found = {}
        for counter in {counter for counter, _ in feed.counts if ":" not in counter}:
            keys = sorted(key for name, key in feed.counts if name == counter)
            asked = client.post("/v1/totals", json={"counters": [counter], "keys": keys, "layer": layer})
            assert asked.status_code == 200 and not asked.json["meta"].get("missing"), asked.text
            found |= {(counter, row["key"]): row["counts"][counter] for row in asked.json["data"]}
        return {pair: n for pair, n in found.items() if n}

    totals = of_keys(a_night_and_a_morning(fresh, settings, feed))

    second = cassandra.service(settings)
    stop(second.pid_file)
    shutil.rmtree(second.folder / "cassandra")
    start(second)
    wait_until_all_answer([second], lambda _: None)
    apply_schema(settings)
    assert answer("batch") == {}
    run_in(settings, "batch_totals", reload=True)
    wait_until(lambda: answer() == of_keys(feed.counts))
    assert answer("batch") == totals != of_keys(feed.counts)


def a_night_and_a_morning(fresh: Stack, settings: Settings, feed: Feed) -> dict[tuple[str, str], int]:
    """Events that are in the totals, and more that are in increments alone; returns the counts of the former."""
    feed.send(200)
    run_in(settings, "streaming_counts")
    run_in(settings, "archive_events")
    wait_for_the_window_to_end(fresh)
    run_in(settings, "batch_totals")
    totals = dict(feed.counts)
    feed.send(100)
    run_in(settings, "streaming_counts")
    return totals
