"""`make bench-freshness`: how long an event takes from the broker's acknowledgement to the answer of the reader.

A stack of its own, the streaming job and a reader run as they do for users, under a steady traffic of RATE events/s.
Every 200 ms one more event is sent, a play of a track that nobody else plays, and the reader is asked over HTTP, as a
page would, until its answer has it. A line for each minute shows whether it stays so (`--seconds 3600` is a soak).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import psutil
import requests
from confluent_kafka import Producer

from bench.load import Size, reader
from connections.kafka import librdkafka
from stitch.settings import Settings, load_settings
from stitch_local import stack
from stitch_local.music import MusicService
from tests.conftest import stack_config

EVERY_S, ASK_S, WITHIN_S = 0.2, 0.02, 60.0
MINUTE = 60.0
SLICES = 20  # of a second, in which the traffic is sent


@dataclass
class Probes:
    """Events on their way: key → when (time.monotonic()) it was acknowledged; found: (acknowledged, seconds)."""

    waiting: dict[str, float] = field(default_factory=dict)
    found: list[tuple[float, float]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def ask(self, site: str, http: requests.Session) -> None:
        """Ask the reader once for all that wait, and note which have arrived."""
        waiting = list(self.waiting)
        if not waiting:
            return
        answer = http.post(f"{site}/v1/totals", json={"counters": ["plays"], "keys": waiting}, timeout=10)
        now = time.monotonic()
        counted = {row["key"]: row["counts"]["plays"] for row in answer.json()["data"]}
        for key in waiting:
            if counted[key]:
                at = self.waiting.pop(key)
                self.found.append((at, now - at))
            elif now - self.waiting[key] > WITHIN_S:
                del self.waiting[key]
                self.lost.append(key)


def play(key: str) -> bytes:
    """An event that counts for this key alone."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event = {"event_id": key, "type": "play", "occurred_at": now, "track_id": key, "duration_s": 1}
    return json.dumps(event).encode()


def traffic(config: Path, rate: int) -> None:
    """Send so many events a second, until the process is ended."""
    settings = load_settings(config)
    producer = Producer({"acks": "all", "linger.ms": 5} | librdkafka(settings.kafka))
    service, slot = MusicService(seed=os.getpid()), time.monotonic()
    while True:
        for event in service.events(rate // SLICES, time.time()):
            producer.produce(settings.kafka.topic, event)
        producer.poll(0)
        slot += 1 / SLICES
        time.sleep(max(0.0, slot - time.monotonic()))


def probe(settings: Settings, site: str, seconds: float, say: Callable[[str], None]) -> Probes:
    """Send events for that long, and ask for them until the last has arrived; a line for each minute, and of all."""
    probes, http, began = Probes(), requests.Session(), time.monotonic()
    producer = Producer({"acks": "all", "linger.ms": 0} | librdkafka(settings.kafka))
    following, minute = began, 0
    while (now := time.monotonic()) < began + seconds or probes.waiting:
        if following <= now < began + seconds:
            key = f"probe-{uuid.uuid4()}"
            producer.produce(settings.kafka.topic, play(key), on_delivery=acknowledged(probes, key))
            following += EVERY_S
        producer.poll(0)
        probes.ask(site, http)
        if now - began >= (minute + 1) * MINUTE:
            since = began + minute * MINUTE
            minute += 1
            say(line(str(minute), [took for at, took in probes.found if since <= at < since + MINUTE]))
        time.sleep(ASK_S)
    say(line("all", [took for _, took in probes.found]))
    return probes


def acknowledged(probes: Probes, key: str) -> Callable[[object, object], None]:
    def note(error: object, _: object) -> None:
        if error:
            raise click.ClickException(f"the broker took no event: {error}")
        probes.waiting[key] = time.monotonic()

    return note


def line(name: str, seconds: list[float]) -> str:
    """A row of the table."""
    if not seconds:
        return f"| {name} | 0 | | | |"
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return f"| {name} | {len(ordered)} | {p50:.2f} s | {p99:.2f} s | {ordered[-1]:.2f} s |"


@contextmanager
def streaming(config: Path, trigger: str) -> Iterator[psutil.Process]:
    """The streaming job, as a process of its own."""
    env = {**os.environ, "STITCH_STREAMING__TRIGGER": trigger}
    command = [sys.executable, "-m", "stitch.cli", "--config", str(config), "submit", "streaming_counts"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(120)


@contextmanager
def sending(config: Path, rate: int) -> Iterator[None]:
    """Traffic of so many events a second, from a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=traffic, args=(config, rate), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def measure(config: Path, rate: int, seconds: float, trigger: str, say: Callable[[str], None]) -> Probes:
    """All of it over a stack that runs; the jobs warm up with the same traffic before."""
    settings, size = load_settings(config), Size(workers=1)
    with streaming(config, trigger) as job, reader(config, size) as (site, _), sending(config, rate):
        with ThreadPoolExecutor(1) as one:  # first batches take long: until their events come within the present
            one.submit(probe, settings, site, min(seconds, 30.0), lambda _: None).result()
        say(f"\n{rate:,} events/s, streaming.trigger {trigger}, serving.cache 1s\n")
        say("| minute | events | p50 | p99 | most |\n| --- | --- | --- | --- | --- |")
        found = probe(settings, site, seconds, say)
        memory = sum(one.memory_info().rss for one in [job, *job.children(recursive=True)])
        say(f"\nmemory of the streaming job {memory / 1e9:.1f} GB; not answered within a minute: {len(found.lost)}")
    return found


@click.command()
@click.option("--rate", default=5_000, show_default=True, help="events a second")
@click.option("--seconds", default=120.0, show_default=True, help="how long it is measured")
@click.option("--trigger", "triggers", multiple=True, default=("2s", "0s"), show_default=True, help="one after one")
def main(rate: int, seconds: float, triggers: tuple[str, ...]) -> None:
    """Measure, and print the tables of bench/README.md."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an end by SIGTERM takes the stack down, too
    with tempfile.TemporaryDirectory(prefix="freshness") as folder:
        config = stack_config(Path(folder))
        settings = load_settings(config)
        stack.up(settings)
        try:
            for trigger in triggers:
                measure(config, rate, seconds, trigger, print)
        finally:
            stack.down(settings)


if __name__ == "__main__":
    main()
