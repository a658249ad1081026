"""Three real nodes, three replicas: one hangs, dies and comes back without what it missed; no answer is wrong.

Hints are off (as in every Cassandra of `stitch local`), so the node that was away is told nothing of what it missed, as
one that was away for longer than hints are kept.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from connections.cassandra import WRITE, connected
from stitch.buckets import EPOCH
from stitch.settings import Settings, load_settings
from stitch_local import cassandra
from stitch_local.process import Service, running, start, stop
from stitch_local.schema import apply_schema
from stitch_local.stack import wait_until_all_answer
from tests.conftest import Reader, Stack, run_in, stack_config, write_config
from tests.faults.conftest import watching
from tests.faults.oracle import KEYS, Feed
from tests.steps import send, wait_for_the_window_to_end

pytestmark = pytest.mark.slow

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
ASKED = 600
NO_ANSWER = -1
T = TypeVar("T")
MEMORY = int(2.5 * 1024**3)


@dataclass(frozen=True)
class Ring:
    """Three nodes of one cluster."""

    services: list[Service]
    port: int
    config: Path  # settings that are of no use but as a base for others

    def signal(self, node: int, how: signal.Signals) -> None:
        process = running(self.services[node - 1].pid_file)
        assert process
        send(process, how)
        if how == signal.SIGKILL:
            process.wait(30)

    def start(self, node: int) -> None:
        """Start it, and return when it answers and the others see it."""
        service = self.services[node - 1]
        start(service)
        wait_until_all_answer([service], lambda _: None, patience=300)
        time.sleep(3)  # two rounds of gossip

    def mend(self) -> None:
        """All three run again."""
        for node, service in enumerate(self.services, 1):
            process = running(service.pid_file)
            if process is None:
                self.start(node)
            else:
                process.send_signal(signal.SIGCONT)

    def memory(self) -> int:
        processes = [running(service.pid_file) for service in self.services]
        return sum(psutil.Process(process.pid).memory_info().rss for process in processes if process)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    folder = tmp_path_factory.mktemp("ring")
    config = write_config(folder / "ring.toml", base=stack_config(folder), local={"cassandra_heap": "256m"})
    settings = load_settings(config)
    nodes = [cassandra.Node(f"cassandra{n}", host, ring_delay_ms=10_000) for n, host in enumerate(HOSTS, 1)]
    made = Ring([cassandra.service(settings, node) for node in nodes], settings.local.cassandra_port, config)
    try:
        for node in (1, 2, 3):  # one after the other: each joins a ring that stands
            made.start(node)
        yield made
    finally:
        for service in made.services:
            process = running(service.pid_file)
            if process:
                process.send_signal(signal.SIGCONT)
            stop(service.pid_file)


@pytest.fixture
def replicated(fresh: Stack, ring: Ring, tmp_path: Path) -> Iterator[Stack]:
    """The fresh stack with both layers on the ring, three replicas each."""
    yield on_three(ring, fresh.config_path, tmp_path)
    ring.mend()


def on_three(ring: Ring, base: Path, folder: Path) -> Stack:
    """The stack of these settings with both layers on the ring, three replicas each."""
    three = {"class": "NetworkTopologyStrategy", "datacenter1": 3}
    layer = {"hosts": HOSTS, "port": ring.port, "replication": three}
    config = write_config(folder / "on_three.toml", base=base, realtime=layer, batch=layer)
    settings = load_settings(config)
    apply_schema(settings)
    return Stack(settings, config)


def test_the_reader_answers_right_while_a_replica_hangs_or_is_away_and_when_it_lacks_what_it_missed(
    ring: Ring, reader: Reader, tmp_path: Path
) -> None:
    settings = on_three(ring, ring.config, tmp_path).settings
    client = reader(settings)
    write_totals(settings, 10)
    assert totals(client, 50) == {10: 50}
    ring.signal(3, signal.SIGSTOP)
    assert set(totals(client, 50)) <= {10, NO_ANSWER}  # until the others notice that it hangs
    ring.signal(3, signal.SIGKILL)
    write_totals(settings, 20)
    answers_by_itself(client)
    assert totals(client, 50) == {20: 50}
    ring.start(3)
    assert ring.memory() <= MEMORY
    asks_one = reader(one(settings))
    at_one = in_the_end(lambda: totals(asks_one, ASKED), lambda found: found[20] < ASKED)
    at_quorum = totals(client, ASKED)
    print(f"answers of {ASKED}: {at_one} at LOCAL_ONE, {at_quorum} at LOCAL_QUORUM")
    assert at_quorum == {20: ASKED}
    assert at_one[20] < ASKED, "the fault was none: LOCAL_ONE was right too"


def answers_by_itself(client: Any, seconds: float = 60) -> None:
    """Return when it answers: the nodes and the reader notice that one is away."""
    deadline = time.monotonic() + seconds
    while NO_ANSWER in totals(client, len(KEYS)):
        assert time.monotonic() < deadline, "no answer with two of three nodes"


def write_totals(settings: Settings, count: int) -> None:
    """The all-time plays of every key, as a run would write them."""
    cutoff = datetime(2026, 1, 1, tzinfo=UTC)
    keyspace = settings.batch.keyspace
    with connected(settings.batch, "batch") as session:
        for key in KEYS:
            session.execute(
                f"INSERT INTO {keyspace}.totals (counter, key, granularity, bucket, count, cutoff)"
                " VALUES ('plays', %s, 'all', %s, %s, %s)",
                (key, EPOCH, count, cutoff),
                execution_profile=WRITE,
            )
        session.execute(
            f"INSERT INTO {keyspace}.cutoffs (counter, cutoff, revision) VALUES ('plays', %s, 0)",
            (cutoff,),
            execution_profile=WRITE,
        )


def totals(client: Any, asked: int) -> Counter[int]:
    """So many answers, by what they say."""
    found: Counter[int] = Counter()
    for n in range(asked):
        answer = client.get(f"/v1/totals?counters=plays&key={KEYS[n % len(KEYS)]}&layer=batch")
        assert answer.status_code in (200, 503), answer.text
        found[answer.json["data"][0]["counts"]["plays"] if answer.status_code == 200 else NO_ANSWER] += 1
    return found


def test_a_replica_that_hangs_dies_and_comes_back_without_what_it_missed_makes_no_answer_wrong(
    replicated: Stack, ring: Ring, feed: Feed, reader: Reader, spark: Any
) -> None:
    settings = replicated.settings
    with watching(settings, feed) as eyes:
        feed.send(300)
        count_and_total(replicated)
        eyes.wait_for_the_truth(120)

        ring.signal(3, signal.SIGSTOP)
        feed.send(300)
        run_in(settings, "streaming_counts")
        eyes.wait_for_the_truth(120)
        ring.signal(3, signal.SIGKILL)
        feed.send(300)
        count_and_total(replicated)
        feed.send(100)
        run_in(settings, "streaming_counts")
        eyes.wait_for_the_truth(120)

        ring.start(3)
        assert ring.memory() <= MEMORY
        asks_one = reader(one(settings))
        at_one = in_the_end(lambda: stale(asks_one, feed, ASKED), lambda wrong: wrong > 0)
        at_quorum = stale(reader(settings), feed, ASKED)
        eyes.wait_for_the_truth(120)
    print(f"wrong answers of {ASKED}: {at_one} at LOCAL_ONE, {at_quorum} at LOCAL_QUORUM; {dict(eyes.answers)}")
    assert eyes.wrong == []
    assert at_quorum == 0
    assert at_one > 0, "the fault was none: LOCAL_ONE was right too"


def in_the_end(ask: Callable[[], T], shows: Callable[[T], bool], seconds: float = 60) -> T:
    """The first answers that show it, or the last in that time: drivers and nodes take theirs to see that a node is
    back."""
    deadline = time.monotonic() + seconds
    while not shows(found := ask()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def test_a_rollup_after_a_replica_was_away_loses_no_increment(
    replicated: Stack, ring: Ring, feed: Feed, reader: Reader, spark: Any
) -> None:
    settings = replicated.settings
    feed.send(100)
    run_in(settings, "streaming_counts")
    ring.signal(3, signal.SIGKILL)
    feed.send(300)
    run_in(settings, "streaming_counts")
    wait_for_the_window_to_end(replicated)
    ring.start(3)
    run_in(settings, "rollup_increments")
    asked = {"counters": ["plays", "likes"], "keys": KEYS, "layer": "batch"}
    answer = reader(settings).post("/v1/totals", json=asked)
    counts = {(counter, row["key"]): n for row in answer.json["data"] for counter, n in row["counts"].items()}
    assert counts == {(counter, key): feed.counts[counter, key] for counter in ("plays", "likes") for key in KEYS}


def count_and_total(stack: Stack) -> None:
    """All that was sent into both layers."""
    run_in(stack.settings, "streaming_counts")
    run_in(stack.settings, "archive_events")
    wait_for_the_window_to_end(stack)
    run_in(stack.settings, "batch_totals")


def one(settings: Settings) -> Settings:
    """The settings with reads that ask one replica."""
    layers = {name: getattr(settings, name) for name in ("realtime", "batch")}
    return settings.model_copy(
        update={name: layer.model_copy(update={"read_consistency": "LOCAL_ONE"}) for name, layer in layers.items()}
    )


def stale(client: Any, feed: Feed, asked: int) -> int:
    """How many of so many answers are wrong: the plays of a key, as the sum of its days.

    The watcher asks for totals of all time, which are other rows: it repairs none of these.
    """
    wrong = 0
    for n in range(asked):
        key = KEYS[n % len(KEYS)]
        answer = client.get(f"/v1/series?counters=plays&key={key}&granularity=day&start=2024-02-28&end=2024-03-02")
        assert answer.status_code == 200, answer.text
        wrong += answer.json["totals"]["plays"] != feed.counts["plays", key]
    return wrong
