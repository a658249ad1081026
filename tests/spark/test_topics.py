"""An event log of several topics: each record is decoded as its topic's, and events of two topics are never one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.archive.importing import note_topic
from jobs.archive.rounds import note_topics
from jobs.frames.log_rows import topic_rows
from jobs.process.errors import JobError
from jobs.process.spark import session
from jobs.proof import contiguity
from jobs.sinks.event_log import append
from jobs.sources.event_log import read_log, read_offsets, undecoded
from jobs.totals.counting import first_events, read_events
from stitch.lake import KAFKA_RECORD
from stitch.settings import Settings
from tests.logs import begun, log_settings

APPENDED = datetime(2024, 3, 1, 12, 0, 30, tzinfo=UTC)
LATER = datetime(2024, 3, 2, tzinfo=UTC)
AT = "2024-03-01T12:00:00Z"
COUNTERS = [
    {"name": "plays", "key": "track_id", "weights": {"play": 1}},
    {"name": "likes", "key": "track_id", "weights": {"like": 1}},
]
LIKES = {"name": "likes", "constant_type": "like", "event_id": "id", "paths": {"track_id": "song.id"}}
PLAY = json.dumps({"event_id": 1, "type": "play", "occurred_at": AT, "track_id": "t1"}).encode()
LIKE = json.dumps({"id": 1, "occurred_at": AT, "song": {"id": "t1"}}).encode()


def several(folder: Path, *topics: dict[str, Any], **sections: Any) -> Settings:
    named = list(topics) or [{"name": "plays"}, LIKES]
    return log_settings(folder, counters=COUNTERS, topics=named, **sections)


def archived(spark: SparkSession, settings: Settings, name: str, topic: str, values: list[bytes]) -> None:
    """Append the records to partition 0 of the topic with that name and id, as the archive does."""
    log = begun(spark, settings)
    rows = [(0, offset, APPENDED, 1, None, bytearray(value)) for offset, value in enumerate(values)]
    of_topic = topic_rows(spark.createDataFrame(rows, KAFKA_RECORD), settings.by_topic[name], topic)
    append(log, of_topic, topic, {0: len(values)})
    log.note_topics({topic: name})


def counted(spark: SparkSession, settings: Settings) -> list[tuple[str, str, str]]:
    rows = first_events(spark, settings, LATER, {}).collect()
    return sorted((row.type, row.event_id, row.fields.track_id) for row in rows)


def test_each_record_is_decoded_as_its_topics_and_equal_ids_of_two_topics_are_two_events(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = several(tmp_path)
    both = [("like", "1", "t1"), ("play", "1", "t1")]
    with session("test", settings):
        archived(spark, settings, "plays", "id-of-plays", [PLAY, PLAY, LIKE])
        archived(spark, settings, "likes", "id-of-likes", [LIKE, b"{}"])
        archived(spark, settings, "likes", "id-of-likes-recreated", [LIKE])  # the same event, fed again
        assert undecoded(read_log(spark, settings, None, LATER), settings) is None
        assert counted(spark, settings) == both
        # Other rules of one topic: its records are decoded again, and the others stand.
        songs = several(tmp_path, {"name": "plays"}, {**LIKES, "event_id": "song.id", "paths": {}})
        songs = songs.model_copy(update={"lake": settings.lake})
        again = undecoded(read_log(spark, songs, None, LATER), songs)
        assert again is not None and {row.topic_id for row in again.collect()} == {
            "id-of-likes",
            "id-of-likes-recreated",
        }
        found = sorted((row.type or "", row.event_id or "") for row in read_events(spark, songs, None, LATER).collect())
        assert found == [("", ""), ("", ""), ("like", "t1"), ("like", "t1"), ("play", "1"), ("play", "1")]


def test_settings_that_do_not_say_how_records_of_the_log_are_decoded_are_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    one = log_settings(tmp_path, counters=COUNTERS, kafka={"topic": "plays"})
    settings = several(tmp_path).model_copy(update={"lake": one.lake})
    with session("test", one):
        rows = spark.createDataFrame([(0, 0, APPENDED, 1, None, bytearray(PLAY))], KAFKA_RECORD)
        for topic in ("id-1", "id-2"):
            append(begun(spark, one), topic_rows(rows, one, topic), topic, {0: 1})
        with pytest.raises(
            JobError, match=r"records of id-1, id-2, and nobody noted of which topic .* archive_events once"
        ):
            read_log(spark, settings, None, LATER)
        note_topics(begun(spark, settings), settings)  # with several nobody knows
        note_topics(begun(spark, one), one)
        assert counted(spark, settings) == [("play", "1", "t1")]
        others = several(tmp_path, LIKES, {"name": "plays_2"}).model_copy(update={"lake": one.lake})
        with pytest.raises(
            JobError, match=r"records of the topics plays, which \[\[topics\]\] does not name: .*read = false"
        ):
            read_log(spark, others, None, LATER)
        left = several(tmp_path, LIKES, {"name": "plays", "read": False}).model_copy(update={"lake": one.lake})
        assert counted(spark, left) == [("play", "1", "t1")]


def test_a_source_has_the_events_of_one_topic_and_of_no_other_later(spark: SparkSession, tmp_path: Path) -> None:
    def of(topic: str) -> Settings:
        source = {"name": "history", "path": str(tmp_path), "format": "json", "topic": topic}
        return several(tmp_path, sources=[source])

    likes, plays = of("likes"), of("plays").model_copy(update={"lake": of("likes").lake})
    plays = plays.model_copy(update={"lake": likes.lake})
    with session("test", likes):
        log = begun(spark, likes)
        note_topic(log, likes, likes.sources[0])
        assert log.topics() == {"history": "likes"}
        assert likes.of_source(likes.sources[0]).rules.constant_type == "like"
        note_topic(log, likes, likes.sources[0])
        with pytest.raises(
            JobError, match=r"sources.history: topic: its events in .* are those of likes, .* say plays"
        ):
            note_topic(log, plays, plays.sources[0])


def test_gaps_of_each_topic_are_asked_of_its_own_broker_and_losses_are_those_of_one_topic(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"plays": [0, 1, 3], "likes": [0, 1, 2, 3]}  # of plays, 2 is the marker of a transaction

    def read_range(_: object, kafka: Any, ranges: dict[int, tuple[int, int]], isolation: str = "") -> DataFrame:
        there = [(p, at, 1) for p, (first, end) in ranges.items() for at in held[kafka.topic] if first <= at < end]
        return spark.createDataFrame(there, "partition int, offset bigint, timestamp_type int")

    settings = several(tmp_path)
    monkeypatch.setattr(contiguity, "edges", lambda _: {0: (0, 4)})
    monkeypatch.setattr(contiguity, "read_range", read_range)
    topics = {"id-of-plays": settings.by_topic["plays"], "id-of-likes": settings.by_topic["likes"]}
    with session("test", settings):
        for name in ("plays", "likes"):
            archived(spark, settings, name, f"id-of-{name}", [PLAY] * 4)
        spark.sql(f"DELETE FROM {settings.lake.events} WHERE offset = 2")
        log, offsets = begun(spark, settings), read_offsets(spark, settings)

        def lacking() -> dict[str, Any]:
            return {one.topic_id: one.lacking for one in contiguity.find_gaps(spark, topics, offsets, {})}

        assert lacking() == {"id-of-plays": None, "id-of-likes": (1, 2, 2)}
        log.note_loss("id-of-plays", {0: (2, 2)}, None, None)
        assert lacking() == {"id-of-plays": None, "id-of-likes": (1, 2, 2)}
        log.note_loss("id-of-likes", {0: (2, 2)}, None, None)
        assert lacking() == {"id-of-plays": None, "id-of-likes": None}
