"""The watcher of the fault tests sees what must not be: literal counts."""

from __future__ import annotations

from collections import Counter

import pytest

from stitch.clusters import KafkaSettings
from tests.faults.oracle import Eyes, Feed, Pair

PLAYS, LIKES, SECONDS, MEMBER = ("plays", "t1"), ("likes", "t1"), ("listened_seconds", "t1"), ("creator_plays:c1", "t1")
SEEN: dict[str, tuple[dict[Pair, int], list[str]]] = {
    "the truth": ({PLAYS: 5, LIKES: 2, SECONDS: 90, MEMBER: 5}, []),
    "what was sent since, in part": ({PLAYS: 6, LIKES: 0, SECONDS: 90, MEMBER: 6}, []),
    "a play too many": ({PLAYS: 8}, ["('plays', 't1') is 8, and can be 5 to 7 by what was sent"]),
    "likes that lost more than was unliked": (
        {LIKES: -1},
        ["('likes', 't1') is -1, and can be 0 to 3 by what was sent"],
    ),
    "a like twice": ({LIKES: 4}, ["('likes', 't1') is 4, and can be 0 to 3 by what was sent"]),
    "a sum that fell": ({SECONDS: 60}, ["is 60, and can be 90 to 120", "went down from 90 to 60"]),
    "a member that fell": ({MEMBER: 4}, ["is 4, and can be 5 to 7", "went down from 5 to 4"]),
}


@pytest.mark.parametrize(("found", "wrong"), SEEN.values(), ids=SEEN.keys())
def test_a_count_is_wrong_outside_of_what_was_sent_since_it_was_the_truth(
    found: dict[Pair, int], wrong: list[str]
) -> None:
    feed = Feed(KafkaSettings(), 1)
    truth = Counter({PLAYS: 5, LIKES: 2, SECONDS: 90, MEMBER: 5})
    down, up = Counter({LIKES: 1}), Counter({PLAYS: 5, LIKES: 3, SECONDS: 90, MEMBER: 5})
    feed.attempted = (down + Counter({LIKES: 2}), up + Counter({PLAYS: 2, LIKES: 1, SECONDS: 30, MEMBER: 2}))
    eyes = Eyes("http://nowhere", feed)
    eyes.seen = dict(truth)
    told = eyes.judge(found, (truth, down, up))
    assert len(told) == len(wrong) and all(part in said for part, said in zip(wrong, told, strict=True)), told
