"""`stitch status`: what is told where all parts answer, and where some do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from connections.kafka_refusals import NoAnswer, Refused
from stitch.cli import main
from stitch.commands import status
from stitch.cutoff import Published
from stitch.errors import StitchError
from stitch.overview import Overview, Part, TopicState, ago
from stitch.runs import Noted, State

AT = datetime(2026, 11, 27, 10, 0, 5, tzinfo=UTC)
CUTOFF = datetime(2026, 11, 27, 2, tzinfo=UTC)
RUN = Noted(Published(CUTOFF, 0), "incremental", State.PUBLISHED, figures={"events": 7}, noted_at=CUTOFF, noted_by="h")
WHOLE = Overview(
    AT,
    [Part("realtime"), Part("batch"), Part("kafka")],
    AT - timedelta(seconds=4),
    [TopicState("events", {0: (0, 10), 1: (40, 60)}, {0: 10, 1: 57}, {})],
    {"plays": CUTOFF, "likes": CUTOFF, "skips": None},
    [RUN],
)
PAGE = """\
stitch status 2026-11-27T10:00:05Z
realtime  up
batch     up
kafka     up
counted through 2026-11-27T10:00:01Z, 4 s ago
topic events: 30 offsets; streaming_counts 3 behind (partition 1: 3); archive_events told of no offset yet
published to 2026-11-27T02:00:00Z, 8 h 0 min ago: plays, likes
not published yet: skips
last runs:
cutoff=2026-11-27T02:00:00Z revision=0 incremental published 2026-11-27 02:00:00 h events=7"""


def test_a_person_gets_a_page() -> None:
    assert WHOLE.text() == PAGE


def test_a_program_gets_the_same_as_json() -> None:
    said = json.loads(json.dumps(WHOLE.as_json()))
    assert said["parts"]["kafka"] == {"up": True, "reason": None}
    assert said["realtime_lag_seconds"] == 4.0
    assert said["topics"] == [
        {"name": "events", "offsets": 30, "lag": {
            "streaming_counts": {"offsets": 3, "partitions": {"0": 0, "1": 3}}, "archive_events": None}}
    ]  # fmt: skip
    assert said["cutoffs"] == {"plays": CUTOFF.isoformat(), "likes": CUTOFF.isoformat(), "skips": None}
    assert (said["runs"][0]["state"], said["runs"][0]["figures"]) == ("published", {"events": 7})


BEHIND: dict[str, tuple[dict[int, int], dict[int, int] | None]] = {
    "by partition": ({0: 7, 1: 60}, {0: 3, 1: 0}),
    "a partition that it has not begun, of which the broker removed the beginning": ({0: 10}, {0: 0, 1: 20}),
    "ahead of a topic that was recreated": ({0: 99, 1: 60}, {0: 0, 1: 0}),
    "nothing told": ({}, None),
}


@pytest.mark.parametrize(("at", "behind"), BEHIND.values(), ids=BEHIND.keys())
def test_lag_is_what_the_topic_holds_behind_a_job(at: dict[int, int], behind: dict[int, int] | None) -> None:
    assert TopicState("events", {0: (0, 10), 1: (40, 60)}, {}, {}).behind(at) == behind


AGO = {0: "0 s ago", 59: "59 s ago", 60: "1 min 0 s ago", 3700: "1 h 1 min ago", 90_000: "1 d 1 h ago", -5: "0 s ago"}


@pytest.mark.parametrize(("seconds", "said"), AGO.items())
def test_a_length_of_time_is_said_in_two_units(seconds: int, said: str) -> None:
    assert ago(timedelta(seconds=seconds)) == said


def failing(error: StitchError, name: str, found: Any) -> Callable[..., Any]:
    def look(*args: Any) -> Any:
        args[-1][name] = error
        return found

    return look


ENDS = {
    "a part that is away": (NoAnswer("no Kafka"), 75),
    "a part that refuses": (Refused("the password"), 1),
}


@pytest.mark.parametrize(("error", "ends_with"), ENDS.values(), ids=ENDS.keys())
def test_what_can_be_told_is_told_where_a_part_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, error: StitchError, ends_with: int
) -> None:
    monkeypatch.setattr(status, "_realtime", lambda *_: (AT, {"events": {0: 1}}))
    monkeypatch.setattr(status, "_batch", failing(NoAnswer("no Cassandra"), "batch", ({}, [])))
    monkeypatch.setattr(status, "_topics", failing(error, "kafka", []))
    result = CliRunner().invoke(main, ["--config", "conf/stitch.toml", "status"])
    assert result.exit_code == ends_with
    assert "realtime  up\nbatch     no Cassandra\nkafka     " + str(error) in result.output
    assert "counted through 2026-11-27T10:00:05Z" in result.output and "no run" not in result.output
