"""Several topics on the archive's command line, and in its turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.archive.accepted import id_of, of_topics
from jobs.archive.rounds import Turns
from jobs.process.errors import BadOption
from jobs.streaming import continuity
from stitch.cutoff import Reached
from stitch.settings import Settings

PLAYS = [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]
ONE = Settings.model_validate({"counters": PLAYS})
SEVERAL = Settings.model_validate(
    {"counters": PLAYS, "topics": [{"name": "plays"}, {"name": "likes"}, {"name": "old", "read": False}]}
)


class Log:
    """A log that has records of the topic with this id."""

    name = "lake.stitch.events"

    def topic_ids(self) -> set[str]:
        return {"an-id"}


def test_offsets_are_of_the_only_topic_and_of_several_each_says_of_which() -> None:
    assert of_topics(ONE, [(None, 0, 5, 6), ("an-id", 1, 0, 0)]) == [("events", 0, 5, 6), ("an-id", 1, 0, 0)]
    assert of_topics(SEVERAL, [("likes", 0, 5, 6)]) == [("likes", 0, 5, 6)]
    with pytest.raises(
        BadOption, match=r"0:5-6: there are several topics, plays, likes, old; say whose .*: plays/0:5-6"
    ):
        of_topics(SEVERAL, [("likes", 0, 5, 6), (None, 0, 5, 6)])


def test_what_is_no_topics_name_is_an_id_that_the_log_must_have() -> None:
    log: Any = Log()
    assert id_of(SEVERAL, log, "an-id") == "an-id"
    for unknown in ("lykes", "old"):
        with pytest.raises(BadOption, match=f"'{unknown}' is neither a topic that is read nor the id of one"):
            id_of(SEVERAL, log, unknown)


def test_the_topics_have_their_turns_and_again_after_a_pause_or_never() -> None:
    rounds: list[Any] = ["plays", "likes"]
    minute = timedelta(minutes=1)
    for again in (None, minute):
        turns = Turns(rounds, again)
        seen = []
        for _ in range(4):
            seen.append((turns.current, turns.begins, turns.next()))
        assert seen == [("plays", True, timedelta(0)), ("likes", False, again)] * 2


@pytest.mark.parametrize(
    ("settings", "oldest", "told"),
    [
        (SEVERAL, timedelta(hours=23), False),
        (SEVERAL, timedelta(hours=25), True),
        (ONE, timedelta(days=9), False),  # partitions of one topic are alike
    ],
)
def test_a_job_that_catches_up_over_more_than_the_watermark_says_what_may_come_too_late(
    settings: Settings, oldest: timedelta, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = datetime(2026, 11, 26, 12, tzinfo=UTC), []

    def first_stamped(kafka: Any, positions: dict[int, int], _: str) -> dict[int, Reached]:
        asked.append((kafka.topic, positions))
        at = now - oldest if kafka.topic == "likes" else now
        return {0: Reached(7, at), 1: Reached(9, None, at_end=True)}

    monkeypatch.setattr(continuity, "edges", lambda _: {0: (5, 20), 1: (0, 9), 2: (0, 1)})
    monkeypatch.setattr(continuity, "first_stamped", first_stamped)
    found = continuity.catching_up(settings, {"likes": {0: 7, 1: 9, 2: 3}}, now)
    assert [line.partition("on, longer")[0] for line in found] == [
        "there are records to be read from 2026-11-25T11:00:00Z "
    ] * told
    if settings is SEVERAL:  # what is behind the end is no place to read from
        assert asked == [("plays", {0: 5, 1: 0, 2: 0}), ("likes", {0: 7, 1: 9})]
