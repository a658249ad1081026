"""`stitch probe`: how long an event takes from the broker's acknowledgement to the reader's answer.

One event goes the whole way that every event goes, and counts for a key of its own; so what is measured is what callers
see, caches included, and not what each part says of itself. Nothing is set up for it in the jobs or the reader.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from confluent_kafka import KafkaException, Producer

from connections.kafka import librdkafka
from connections.kafka_refusals import NotConnected
from jobs.process import figures
from stitch.counters import Counter
from stitch.decoding import Decoder
from stitch.errors import ExitStatus, StitchError
from stitch.figures import FRESHNESS, NOT_FRESH, PROBED
from stitch.settings import Settings

JOB = "probe"
KEY = "stitch-probe"
ACKNOWLEDGED_WITHIN_S = 30
ASK_S = 0.25


class NoProbe(StitchError):
    """There can be no such probe; the message says what to change."""

    exit_status = ExitStatus.USAGE


class NotFresh(StitchError):
    """The event did not come to the reader; the message says how far it came."""

    exit_status = ExitStatus.AGAIN


class Probe:
    """Of one counter and key. Raises NoProbe where its event would not count."""

    def __init__(
        self, settings: Settings, counter: str, key: str, fields: Mapping[str, Any], site: str | None, token: str | None
    ) -> None:
        known = {one.name: one for one in settings.counters}
        if counter not in known:
            raise NoProbe(f"no counter {counter!r}; there are {', '.join(known)}")
        if not settings.log.kafka:
            raise NoProbe("log.kafka is false: there is no topic that an event could be sent to")
        self._counter, self._key, self._fields, self._token = known[counter], key, fields, token
        self._view = view_of(settings, known[counter])
        self._type, self._amount = counted_type(known[counter])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.serving.host, settings.serving.host)
        local = f"http://{f'[{host}]' if ':' in host else host}:{settings.serving.port}"
        query = urlencode({"counters": counter, "keys": key})
        self._url = f"{(site or local).rstrip('/')}/v1/totals?{query}"
        self.event(datetime.now(UTC))

    def event(self, now: datetime) -> bytes:
        """A new event, by the settings' paths. Raises NoProbe where it would not count."""
        view, counter = self._view, self._counter
        events, paths = view.events, {name: path for name, (path, _) in view.fields.items()}
        said = {events.event_id: f"{KEY}-{uuid.uuid4()}", events.occurred_at: now.isoformat(timespec="milliseconds")}
        if not events.constant_type:
            said[events.type] = self._type
        given: dict[str, Any] = {
            **dict.fromkeys(counter.weight_fields, 1),
            counter.key: self._key,
            **self._fields,
        }
        said |= {paths.get(name, name): value for name, value in given.items()}
        payload = json.dumps(_nested(said)).encode()
        decoded = Decoder(view.rules).decode(payload, int(now.timestamp() * 1e6), 1)
        wrong = decoded.reject_reason or ", ".join(decoded.notes or [])
        if wrong:
            raise NoProbe(
                f"the probe's event {payload.decode()} would not count: {wrong}. --fields and --key change it"
            )
        return payload

    def seconds(self, within: timedelta) -> float:
        """Send an event, and ask the reader until it has counted it. Raises NotFresh where that takes longer."""
        before = self._count()
        acknowledged = send(self._view, self.event(datetime.now(UTC)))
        deadline = acknowledged + within.total_seconds()
        why = "it has not counted it; does the event meet the counter's `where`?"
        while time.monotonic() < deadline:
            try:
                if abs(self._count() - before) >= abs(self._amount):
                    return time.monotonic() - acknowledged
            except NotFresh as error:
                why = str(error)
            time.sleep(ASK_S)
        raise NotFresh(f"the event was acknowledged, and the reader did not have it within {within}: {why}")

    def _count(self) -> int:
        """What the reader has counted of the key."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            with urlopen(Request(self._url, headers=headers), timeout=10) as answer:
                found = json.load(answer)
            return int(found["data"][0]["counts"][self._counter.name])
        except HTTPError as error:
            hint = ": a token is needed that reads it (--token-file)" if error.code in (401, 403) else ""
            raise NotFresh(f"{self._url}: the reader answers with status {error.code}{hint}") from None
        except (URLError, OSError) as error:
            raise NotFresh(f"{self._url}: no reader answers: {getattr(error, 'reason', error)}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise NotFresh(f"{self._url}: that is no answer of a reader: is --site right?") from None


def parse_fields(text: str) -> dict[str, Any]:
    """`{"name": value}`. Raises NoProbe."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise NoProbe(f'--fields is no JSON ({error}): write {{"name": value}}') from None
    if not isinstance(said, dict):
        raise NoProbe('--fields is no JSON object: write {"name": value}')
    return said


def view_of(settings: Settings, counter: Counter) -> Settings:
    """The settings of the topic that the event goes to: the first whose events the counter may count."""
    found = (view for view in settings.topics_read.values() if view.may_have_events_of(counter))
    if view := next(found, None):
        return view
    raise NoProbe(f"no topic that is read has events of the types that {counter.name} counts")


def counted_type(counter: Counter) -> tuple[str, int]:
    """(a type of event that the counter counts, how much such a one adds; of a summed field: 1)."""
    types = [(name, 1 if isinstance(weight, str) else weight) for name, weight in counter.weights.items()]
    return max(types, key=lambda one: one[1] > 0)


def _nested(said: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted path → value, as JSON nests it."""
    whole: dict[str, Any] = {}
    for path, value in said.items():
        *outer, last = path.split(".")
        at = whole
        for name in outer:
            at = at.setdefault(name, {})
        at[last] = value
    return whole


def send(view: Settings, payload: bytes) -> float:
    """When (time.monotonic()) the broker acknowledged the event. Raises NotFresh."""
    told: list[tuple[str, float]] = []
    try:
        producer = Producer({"acks": "all", "linger.ms": 0} | librdkafka(view.kafka))
        producer.produce(
            view.kafka.topic, payload,
            on_delivery=lambda error, _: told.append((str(error) if error else "", time.monotonic())),
        )  # fmt: skip
        producer.flush(ACKNOWLEDGED_WITHIN_S)
    except (KafkaException, NotConnected) as error:
        raise NotFresh(f"no broker took the probe's event: {error}") from None
    why, at = told[0] if told else (f"no acknowledgement within {ACKNOWLEDGED_WITHIN_S} s", 0.0)
    if why:
        raise NotFresh(f"the topic {view.kafka.topic!r} of {view.kafka.bootstrap_servers}: {why}")
    return at


def probe(
    settings: Settings,
    make: Callable[[], Probe],
    within: timedelta,
    every: timedelta | None,
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Probe once, or each time after so long. Raises StitchError: once, or where there can be no probe at all."""
    figures.begin(JOB, settings.metrics, settings.metrics.probe_port, runs_on=every is not None)
    try:
        one = make()
        figures.put(NOT_FRESH, 0)
        while True:
            began = time.monotonic()
            try:
                found = one.seconds(within)
                figures.put(FRESHNESS, found)
                figures.put(PROBED, time.time())
                say(f"{JOB} seconds={found:.2f}")
            except NotFresh as error:
                figures.put(NOT_FRESH, 1)
                if every is None:
                    raise
                say(f"stitch: {error}")
            if every is None:
                break
            wait(max(0.0, every.total_seconds() - (time.monotonic() - began)))
    except StitchError as error:
        figures.end(error.exit_status)
        raise
    figures.end(ExitStatus.DONE)
