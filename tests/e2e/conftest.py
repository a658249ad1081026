"""What the tests of the reader share: one stack that counted random events, the reader as a process, a browser."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serving.app import create_app
from serving.layers.cassandra import CassandraLayers
from tests.conftest import Stack, apart, free_ports, run_in
from tests.e2e.served import COUNTERS, SEED, Feed, Served
from tests.steps import wait_for_the_window_to_end


@pytest.fixture(scope="session")
def served(spark: Any, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Events in both layers: some counted by a batch, which removed a duplicate of each tenth, the others live."""
    # Half a year of hours in a zone half an hour off is 173,000 rows of minutes, which the default would refuse.
    serving = {"cache": "1s", "max_rows": 1_000_000}
    mine = apart(stack, tmp_path_factory.mktemp("queries"), counters=COUNTERS, serving=serving)
    layers = CassandraLayers(mine.settings)
    print(f"STITCH_SEED={SEED}")
    found = Served(mine, create_app(mine.settings, layers), Feed(random.Random(SEED)))
    first = found.feed.some(400)
    found.feed.twice = [one for n in range(0, 400, 10) for one in found.feed.happened[2 * n : 2 * n + 2]]
    found.stream(first + first[::10])
    run_in(mine.settings, "archive_events")
    wait_for_the_window_to_end(mine)
    run_in(mine.settings, "batch_totals", accept=True)
    found.feed.counted = 400
    found.stream(found.feed.some(200))
    yield found
    layers.close()


@pytest.fixture(scope="session")
def serve(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """serve(STITCH_SERVING__WORKERS="2") is the address of a reader process over the served stack."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**env: str) -> str:
        (port,) = free_ports(1)
        log = Path(tmp_path_factory.mktemp("reader"), "reader.log")
        command = [sys.executable, "-m", "stitch.cli", "--config", str(served.stack.config_path), "serve"]
        with log.open("wb") as out:
            own = {**os.environ, "STITCH_SERVING__PORT": str(port), **env}
            started.append(subprocess.Popen(command, stdout=out, stderr=out, env=own))
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                if requests.get(f"{address}/readyz", timeout=5).ok:
                    return address
            except requests.ConnectionError:
                assert time.monotonic() < deadline and started[-1].poll() is None, log.read_text("utf-8")
            time.sleep(0.1)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(30)
