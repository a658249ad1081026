"""May the streaming job go on from its checkpoint? What it noted at its last start beside what it would count now."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.process.errors import JobError
from jobs.streaming.continuity import check_note, noted, outdated, without_effect
from stitch.settings import load_settings

SETTINGS = load_settings("conf/stitch.toml")


def note(**changes: Any) -> dict[str, Any]:
    return {**noted(SETTINGS, {"events": "topic-1"}), **changes}


def of_earlier_version(topic_id: str) -> dict[str, Any]:
    """The note of a version that knew one topic, and noted its id."""
    return {**{name: said for name, said in note().items() if name != "topics"}, "topic_id": topic_id}


def without_plays() -> dict[str, Any]:
    return {name: said for name, said in note()["counters"].items() if name != "plays"}


REFUSED = [
    (note(topics={"events": "topic-0"}), "the topic 'events' was deleted and recreated"),
    (of_earlier_version("topic-0"), "the topic 'events' was deleted and recreated"),
    (note(ingest_window_seconds=60), "windows of both lengths would overlap"),
]


@pytest.mark.parametrize(("before", "why"), REFUSED)
def test_what_would_not_be_exact_is_refused_with_the_way_out(before: dict[str, Any], why: str) -> None:
    with pytest.raises(JobError, match=why) as refused:
        check_note(SETTINGS, before, note())
    assert "--from-cutoff" in str(refused.value)
    assert outdated({**before, "state": 1}, note()) is None  # refused, and not read again


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (note(deduplicate=True), "streaming.deduplicate changed, and with it what the job keeps as its state"),
        (note(state=1), "its state is of another version of Stitch"),
        ({name: said for name, said in note().items() if name != "state"}, "its state is of another version of Stitch"),
        (
            note(counters=without_plays()),
            "counters or their definitions are new, and would lack the events since it: plays",
        ),
        (
            note(topics={}),
            "topics are new, and would lack the events since the published cutoff: events",
        ),
        (
            note(topics={"events": "topic-1", "likes": "topic-2"}),
            "topics are read no more: likes. Of the ingest windows since the published cutoff, what was counted of "
            "them stays until `restore_counts --apply` or the batch",
        ),
        (of_earlier_version("topic-1"), None),
        (note(), None),
        (note(decoder="other"), None),
        (note(counters={**note()["counters"], "gone": {}}), None),
    ],
)
def test_a_checkpoint_that_lacks_something_is_read_again_from_the_published_cutoff(
    before: dict[str, Any], why: str | None
) -> None:
    assert outdated(before, note()) == why


def test_the_same_again_goes_on_without_a_word() -> None:
    check_note(SETTINGS, note(), note())
    check_note(SETTINGS, of_earlier_version("topic-1"), note())


def test_a_setting_that_the_checkpoint_decides_is_told_with_the_way_to_change_it() -> None:
    (told,) = without_effect("hdfs://nn/c", {"spark.sql.shuffle.partitions": ("4", "8")})
    assert told.startswith("spark.sql.shuffle.partitions = 8 has no effect: the state in hdfs://nn/c was begun with 4")
    assert "--from-cutoff" in told and "\n" not in told
