"""`stitch probe`: its event is one that counts, by the settings; and it waits for what the reader says, no longer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs.process import figures
from stitch import probe as probes
from stitch.cli import main
from stitch.errors import ExitStatus
from stitch.probe import NoProbe, NotFresh, Probe, probe
from stitch.settings import Settings
from tests.unit.test_figures import samples

NOW = datetime(2024, 2, 29, 10, tzinfo=UTC)
PLAYS = {"name": "plays", "key": "track_id", "weights": {"unplay": -1, "play": 1}}
MINUTES = {"name": "minutes", "key": "track_id", "weights": {"play": "duration_s"}}


def settings(*counters: dict[str, Any], events: dict[str, Any] | None = None, **sections: Any) -> Settings:
    return Settings.model_validate({"counters": counters or [PLAYS], "events": events or {}, **sections})


def sent(given: Settings, counter: str = "plays", key: str = "stitch-probe", **fields: Any) -> dict[str, Any]:
    event = json.loads(Probe(given, counter, key, fields, None, None).event(NOW))
    assert isinstance(event, dict)
    return event


def test_its_event_is_made_by_the_settings() -> None:
    event = sent(settings())
    assert event.pop("event_id").startswith("stitch-probe-")
    assert event == {"type": "play", "occurred_at": "2024-02-29T10:00:00.000+00:00", "track_id": "stitch-probe"}


def test_its_event_has_fields_where_they_are_and_a_summed_one_is_1() -> None:
    given = settings(MINUTES, events={"event_id": "meta.id", "constant_type": "play", "occurred_at": "meta.at",
                                      "paths": {"track_id": "track.id"}, "types": {"duration_s": "int"}})  # fmt: skip
    event = sent(given, "minutes", "t1", country="DE")
    assert event["meta"].pop("id").startswith("stitch-probe-")
    assert event == {
        "meta": {"at": "2024-02-29T10:00:00.000+00:00"}, "duration_s": 1, "country": "DE", "track": {"id": "t1"}
    }  # fmt: skip


def test_of_several_topics_it_goes_to_one_whose_events_the_counter_counts() -> None:
    topics = [{"name": "gone", "read": False}, {"name": "likes", "constant_type": "like"},
              {"name": "radio", "paths": {"track_id": "song"}}]  # fmt: skip
    event = sent(settings(topics=topics))
    assert (event["type"], event["song"], "track_id" in event) == ("play", "stitch-probe", False)


@pytest.mark.parametrize(
    ("given", "asked", "said"),
    [
        (settings(), {"counter": "likes"}, "no counter 'likes'; there are plays"),
        (settings(events={"types": {"track_id": "int"}}), {}, "track_id is not of type int: stitch-probe"),
        (settings(events={"identity": ["track_id", "session"]}), {}, "session is missing"),
        (settings(events={"max_text": 8}), {}, "is longer than 8 bytes"),
        (settings(log={"kafka": False}, sources=[{"name": "x", "table": "a.b"}]), {}, "log.kafka is false"),
    ],
)  # fmt: skip
def test_an_event_that_would_not_count_is_refused_with_the_reason(
    given: Settings, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(NoProbe, match=said):
        sent(given, **asked)


def test_what_it_lacks_can_be_given() -> None:
    given = settings(events={"identity": ["track_id", "session"], "types": {"track_id": "int"}})
    event = sent(given, key="7", session="s1")
    assert (event["track_id"], event["session"]) == ("7", "s1")


@pytest.mark.parametrize(("fields", "said"), [("{", "is no JSON"), ("[1]", "is no JSON object")])
def test_fields_are_a_json_object(fields: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--config", "conf/stitch.toml", "probe", "plays", "--fields", fields])
    assert ended.value.code == ExitStatus.USAGE and said in capsys.readouterr().err


class Reader:
    """Answers each question with the next of the counts, or with a status; the last for ever."""

    def __init__(self, counts: Sequence[int | str]) -> None:
        self.asked: list[tuple[str, str | None]] = []
        left = list(counts)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(inner) -> None:
                self.asked.append((inner.path, inner.headers["Authorization"]))
                count = left.pop(0) if len(left) > 1 else left[0]
                inner.send_response(int(count.removeprefix("status ")) if isinstance(count, str) else 200)
                inner.end_headers()
                inner.wfile.write(json.dumps({"data": [{"key": "k", "counts": {"plays": count}}]}).encode())

            def log_message(inner, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """reader(5, 6) is one with these counts; whatever is sent is acknowledged at once."""
    started: list[Reader] = []
    monkeypatch.setattr(probes, "send", lambda *_: time.monotonic())
    monkeypatch.setattr(probes, "ASK_S", 0.02)

    def begin(*counts: int | str) -> Reader:
        started.append(Reader(counts))
        return started[-1]

    yield begin
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def run(found: Reader, given: Settings, within: float = 5, token: str | None = None, **options: Any) -> list[str]:
    said: list[str] = []
    probe(given, lambda: Probe(given, "plays", "a b", {}, found.address, token), timedelta(seconds=within),
          options.pop("every", None), said.append, **options)  # fmt: skip
    return said


def test_it_waits_until_the_reader_has_counted_the_event(reader: Any, tmp_path: Path) -> None:
    found = reader(5, 5, 5, "status 503", 6)
    (line,) = run(found, settings(metrics={"folder": str(tmp_path)}), token="secret")
    seconds = float(line.removeprefix("probe seconds="))
    assert 0.04 <= seconds < 2
    assert found.asked == [("/v1/totals?counters=plays&keys=a+b", "Bearer secret")] * 5
    told = samples((tmp_path / "stitch_probe.prom").read_text("utf-8"))
    assert told["freshness_seconds"] == pytest.approx(seconds, abs=0.01)
    assert (told["probe_failures_total"], told["job_last_exit_status"]) == (0, 0)
    assert told["probe_last_success_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((5,), "it has not counted it; does the event meet the counter's `where`"),
        ((5, "status 503"), "the reader answers with status 503"),
        (("status 401",), "status 401: a token is needed that reads it"),
    ],
)
def test_an_event_that_does_not_come_ends_it_with_try_again(
    reader: Any, tmp_path: Path, counts: tuple[int | str, ...], said: str
) -> None:
    with pytest.raises(NotFresh, match=said) as error:
        run(reader(*counts), settings(metrics={"folder": str(tmp_path)}), within=0.1)
    assert error.value.exit_status == ExitStatus.AGAIN
    told = samples((tmp_path / "stitch_probe.prom").read_text("utf-8"))
    assert (told["probe_failures_total"], told["job_last_exit_status"]) == (1, 75)
    assert "freshness_seconds" not in told


def test_what_is_no_reader_is_said(reader: Any) -> None:
    found = reader(5)
    found.server.server_close()
    with pytest.raises(NotFresh, match="no reader answers"):
        run(found, settings(), within=0.1)


def test_it_goes_on_after_failures_and_counts_them(reader: Any) -> None:
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    found = reader("status 500", 5, 6, "status 502")
    with pytest.raises(KeyboardInterrupt):
        run(found, settings(), every=timedelta(seconds=60), wait=wait)
    told = samples(figures._figures.text())
    assert told["probe_failures_total"] == 2 and told["freshness_seconds"] < 5
    assert len(pauses) == 3 and all(59 < pause <= 60 for pause in pauses)
