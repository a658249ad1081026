"""`stitch local flights` and `stitch local music`: every part at once on this machine, fed with a real or an
endless data set.

The flights run ends with a comparison that proves the whole: what the reader answers, before and after the batch,
beside what a loop over the CSV counts.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import TopicPartition

from connections.kafka import consumer
from stitch.clusters import KafkaSettings
from stitch.errors import ExitStatus
from stitch.jars.fetch import fetch_missing
from stitch.jars.sets import SPARK
from stitch.settings import Settings, load_settings, settings_file
from stitch.submit import submit
from stitch_local import flights as nyc
from stitch_local import stack
from stitch_local.errors import StackError
from stitch_local.music import MusicService
from stitch_local.process import Service, last_lines, local_folder, running, start, stop
from stitch_local.producer import produce

BACKGROUND = ("reader", "streaming_counts", "archive_events")
COUNT_SECONDS = 420.0
Say = Callable[[str], object]
Counts = dict[str, dict[str, int]]


def flights(path: str | None, say: Say) -> None:
    """Replay the flights, count them by both layers, print the comparison. Raises StackError where one differs."""
    config = str(settings_file(path))
    settings = load_settings(config)
    expected = {name: dict(keys) for name, keys in nyc.expected().items()}
    if missing := expected.keys() - {counter.name for counter in settings.counters}:
        raise StackError(
            f"{config} does not count the flights (it has no {', '.join(sorted(missing))}): `stitch init --example "
            "flights`, in an empty folder, writes settings that do"
        )
    began = time.monotonic()
    say("[1/5] Kafka and Cassandra")
    stack.up(settings, say)
    say("[2/5] the streaming job, the archive and the reader")
    start_background(settings, config, say)
    say("[3/5] 336,776 flights onto the topic, counted in real time")
    replay_flights(settings.kafka, say)
    realtime = wait_for(settings, expected, "realtime", say)
    say("[4/5] the nightly batch over the event log")
    total(settings, config, say)
    merged = wait_for(settings, expected, "merged", say)
    batch = wait_for(settings, expected, "batch", say)
    say("[5/5] counts")
    say(table(expected, {"real-time": realtime, "batch": batch, "merged": merged}))
    counts = sum(len(keys) for keys in expected.values())
    say(
        f"\nall {counts} counts equal the CSV's ({time.monotonic() - began:.0f} s). "
        "The reader and the jobs are running:"
    )
    say(f"  {address(settings)}/v1/totals?counters=departures,cancellations&keys=JFK,LGA,EWR")
    say(f"  {address(settings)}/v1/top?counter=departures&key=JFK&limit=5")
    say(f"  {address(settings)}/stats/origin/JFK?start=2013-01-01&end=2013-12-31&granularity=day  (a page)")
    say("`stitch local down` stops all.")


def music(config: str | None, rate: int, seconds: float | None, seed: int, say: Say) -> None:
    """Feed the music service of `stitch init` at `rate` events/s while the streaming job and the reader run."""
    path = str(settings_file(config))
    settings = load_settings(path)
    if settings.topics:
        raise StackError(
            f"{path} has [[topics]], and the music service feeds one topic: set kafka.topic in their place"
        )
    stack.up(settings, say)
    start_background(settings, path, say)
    service = MusicService(seed)
    say(f"{rate} events/s; watch {address(settings)}/stats/track_id/track-1?period=24h")
    say(
        f"and {address(settings)}/v1/top?counter=creator_plays&key=creator-1 "
        "(Ctrl-C ends the feed, `stitch local down` the rest)"
    )
    for second in itertools.count():
        if seconds is not None and second >= seconds:
            return
        began = time.time()
        produce(settings.kafka, service.events(rate, began))
        time.sleep(max(0.0, 1 - (time.time() - began)))


def background(settings: Settings, config: str) -> list[Service]:
    """The reader and the two streaming jobs, as services that run on after this command."""
    folder = local_folder(settings)
    stitch = [sys.executable, "-m", "stitch.cli", "--config", str(Path(config).absolute())]
    commands = {
        "reader": [*stitch, "serve"],
        "streaming_counts": [*stitch, "submit", "streaming_counts"],
        "archive_events": [*stitch, "submit", "archive_events"],
    }

    def service(name: str) -> Service:
        ports = {"serving.port": settings.serving.port} if name == "reader" else {}
        return Service(name, folder, ports, lambda: commands[name], lambda: True, cwd=Path.cwd())

    return [service(name) for name in BACKGROUND]


def start_background(settings: Settings, config: str, say: Say) -> None:
    """Start what is not running of them."""
    missing = [service for service in background(settings, config) if running(service.pid_file) is None]
    fetch_missing([SPARK])  # here, where somebody sees it: the jobs would do so in their logs
    for service in missing:
        start(service)
        say(f"started {service.name} (log: {service.log})")


def stop_all(settings: Settings, say: Say) -> None:
    """Stop the reader and the jobs; a job lets its micro-batch end."""
    for service in background(settings, ""):
        if running(service.pid_file):
            say(f"{service.name}: {stop(service.pid_file, patience=130)}")


def replay_flights(kafka: KafkaSettings, say: Say) -> None:
    """The flights onto the topic, once: a topic that holds them already is left alone."""
    held = records_on(kafka)
    if held == nyc.FLIGHTS:
        say("the topic holds the flights already")
        return
    if held:
        raise StackError(
            f"the topic {kafka.topic!r} holds {held} records, not the {nyc.FLIGHTS} flights: stitch local reset"
        )
    began = time.monotonic()
    sent = produce(kafka, nyc.events())
    say(f"{sent} events acknowledged in {time.monotonic() - began:.0f} s")


def records_on(kafka: KafkaSettings) -> int:
    """How many records the topic ever took."""
    with consumer(kafka) as asked:
        ends = (asked.get_watermark_offsets(TopicPartition(kafka.topic, p), 10) for p in range(kafka.partitions))
        return sum(high for _, high in ends)


def wait_for(settings: Settings, expected: Counts, layer: str, say: Say) -> Counts:
    """Poll the reader until its answer is the expected one; returns it. Raises StackError when time runs out."""
    whole = sum(sum(keys.values()) for name, keys in expected.items() if "departures" in name or "cancell" in name)
    deadline, told = time.monotonic() + COUNT_SECONDS, 0.0
    while True:
        counts = ask(settings, expected, layer)
        if counts == expected:
            return counts
        for service in background(settings, ""):
            if running(service.pid_file) is None:
                raise StackError(f"{service.name} ended; the end of {service.log}:\n{last_lines(service.log)}")
        if time.monotonic() > deadline:
            raise StackError(
                f"after {COUNT_SECONDS:.0f} s the {layer} counts are not the CSV's:\n{table(expected, {layer: counts})}"
            )
        if time.monotonic() - told > 10:
            told = time.monotonic()
            have = sum(sum(keys.values()) for n, keys in counts.items() if "departures" in n or "cancell" in n)
            say(f"  {layer}: {have * 100 // whole} % counted")
        time.sleep(1)


def ask(settings: Settings, expected: Counts, layer: str) -> Counts:
    """The reader's totals of the expected counters and keys; empty while it does not answer."""
    answer: Counts = {}
    for counter, keys in expected.items():
        query = urllib.parse.urlencode({"counters": counter, "keys": ",".join(keys), "layer": layer})
        try:
            with urllib.request.urlopen(f"{address(settings)}/v1/totals?{query}", timeout=20) as response:
                data = json.load(response)["data"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        answer[counter] = {row["key"]: row["counts"][counter] for row in data}
    return answer


def total(settings: Settings, config: str, say: Say) -> None:
    """Run the batch as soon as the log is complete: it refuses a cutoff that the archive has not reached."""
    wait = (settings.streaming.ingest_window + settings.log.grace).total_seconds()
    for attempt in range(1, 7):
        time.sleep(wait)
        status = submit("batch_totals", [], config)
        if status == ExitStatus.DONE:
            return
        if status != ExitStatus.AGAIN:
            break
        say(f"  the archive is behind; trying again ({attempt})")
    raise StackError("the batch did not run; its message stands above")


def table(expected: Counts, answers: dict[str, Counts]) -> str:
    """The first keys of each counter: the CSV's count beside the reader's."""
    lines = [f"{'counter':<22}{'key':<6}" + "".join(f"{name:>12}" for name in ("CSV", *answers))]
    for counter, keys in expected.items():
        for key, count in sorted(keys.items(), key=lambda item: -item[1])[:3]:
            found = "".join(f"{answer.get(counter, {}).get(key, '-'):>12}" for answer in answers.values())
            lines.append(f"{counter:<22}{key:<6}{count:>12}{found}")
    return "\n".join(lines)


def address(settings: Settings) -> str:
    """Where the reader answers."""
    return f"http://{settings.serving.host}:{settings.serving.port}"
