"""Several topics on the archive's command line, and in its turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobs.archive.accepted import id_of, of_topics
from jobs.archive.rounds import Turns
from jobs.process.errors import BadOption
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
