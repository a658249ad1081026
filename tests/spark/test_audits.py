"""What the audit asks of a log's offsets and of its records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.audit import cuts
from jobs.audit.records import balance, conservation, rejected
from jobs.frames.audits import KINDS, by_window, conserved, gaps, stretches, unbalanced, unequal_zooms
from jobs.process.spark import session
from jobs.proof import contiguity
from tests.logs import TOPIC, append_records, begun, log_settings
from tests.steps import event

SCHEMA = "topic_id string, partition int, offset bigint"
OFFSETS = [("a", 0, at) for at in (3, 4, 4, 7, 9)] + [("a", 1, 0), ("b", 0, 0), ("b", 0, 1)]


@pytest.fixture
def offsets(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(OFFSETS, SCHEMA)


def test_a_stretch_says_how_many_records_a_partition_has_and_between_which_offsets(offsets: DataFrame) -> None:
    assert [tuple(row) for row in stretches(offsets).collect()] == [
        ("a", 0, 5, 4, 3, 9, 4),
        ("a", 1, 1, 1, 0, 0, None),
        ("b", 0, 2, 2, 0, 1, None),
    ]


def test_a_gap_is_what_lies_between_two_offsets_and_not_before_the_first(offsets: DataFrame) -> None:
    assert sorted(tuple(row) for row in gaps(offsets).collect()) == [("a", 0, 5, 6), ("a", 0, 8, 8)]


EVENTS = "timestamp timestamp, topic_id string, partition int, offset bigint, event_id string, type string, "
EVENTS += "occurred_at timestamp, fields struct<track: string, country: string>, verdict string"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
# window, offset, event_id, fields (track, country), verdict: all of one topic and partition
RECORDS = [
    (0, 0, "a", ("t1", None), "wanted"),
    (0, 1, "a", ("t1", None), "wanted"),  # the same again
    (0, 2, "a", (None, "t1"), "wanted"),  # another event, whose one text stands in another field
    (0, 3, "b", ("t2", "DE"), "wanted"),
    (1, 4, "b", ("t2", "FR"), "wanted"),
    (1, 5, "c", ("t3", "FR"), "excluded"),
    (1, 6, "c", ("t4", "FR"), "excluded"),  # an excluded event counts nowhere, whatever it says
    (1, 7, None, (None, None), "rejected"),
    (1, 7, None, (None, None), "rejected"),  # in the log twice
]


@pytest.fixture
def records(spark: SparkSession) -> DataFrame:
    rows = [
        (NOON + timedelta(seconds=5 * window), "a", 0, offset, event_id, "play", NOON, fields, verdict)
        for window, offset, event_id, fields, verdict in RECORDS
    ]
    return spark.createDataFrame(rows, EVENTS)


def test_each_record_of_a_window_is_somewhere_and_duplicates_that_say_otherwise_are_told(records: DataFrame) -> None:
    parts = (
        conserved(records, timedelta(seconds=5), ["event_id"], F.lit(False), F.lit(False))
        .orderBy("ingest_window")
        .collect()
    )
    assert [[row[name] for name in KINDS] for row in parts] == [[4, 2, 2, 0, 0], [4, 0, 1, 2, 2]]
    differing = ("differing", "differing_first", "differing_last", "differing_as")
    assert [[row[name] for name in differing] for row in parts] == [[1, 2, 2, "a"], [1, 4, 4, "b"]]


def test_a_duplicate_whose_loss_was_accepted_is_not_told(records: DataFrame) -> None:
    parts = conserved(records, timedelta(seconds=5), ["event_id"], F.col("offset") == 4, F.col("offset") == 4).orderBy(
        "ingest_window"
    )
    assert [row.differing for row in parts.collect()] == [1, 0]


def test_a_window_with_a_record_that_is_there_twice_is_not_balanced(records: DataFrame) -> None:
    windows = by_window(conserved(records, timedelta(seconds=5), ["event_id"], F.lit(False), F.lit(False)))
    found = {
        row.ingest_window: row.wrong for row in windows.select("ingest_window", unbalanced().alias("wrong")).collect()
    }
    assert [found[at] for at in sorted(found)] == [False, True]
    (parts,) = {tuple(map(tuple, row.parts)) for row in windows.orderBy("ingest_window").limit(1).collect()}
    assert parts == (("a", 0, 0),)


# partition, offset, payload, type of the timestamp (0: its producer's), reject_reason
STAMPED = [
    (0, 0, event("a", "play", track_id="t1"), 1, None),
    (0, 1, b"{broken", 1, "no JSON"),
    (0, 2, event("b", "play", track_id="t1"), 0, "stamped by its producer"),
    (0, 3, event("c", "play", track_id="t1"), 0, "stamped by its producer"),
    (0, 4, b"{broken", 0, "stamped by its producer"),
    (1, 0, event("d", "play", track_id="t1"), 1, "by hand"),
]


def test_rejected_records_that_hold_an_event_are_told_until_somebody_accepts_that(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path)
    with session("test", settings):
        log = append_records(spark, settings, [(p, at, NOON, value) for p, at, value, *_ in STAMPED], {0: 5, 1: 1})
        for partition, offset, _, kind, reason in STAMPED:
            spark.sql(
                f"UPDATE {log.name} SET timestamp_type = {kind}, reject_reason = :reason "
                f"WHERE partition = {partition} AND offset = {offset}",
                args={"reason": reason},
            )
        found = rejected(spark, settings, NOON)
        assert (found.right, found.said) == (False, "3 of 5 rejected records hold an event")
        assert found.details[:2] == [
            f"partition 0, topic {TOPIC}: 2 events not counted, since their producer stamped them, offsets 2 to 3",
            f"partition 1, topic {TOPIC}: 1 events not counted, rejected though they are events by the settings, "
            "offsets 0 to 0",
        ]
        log.note_uncounted(TOPIC, 0, 2, 3)
        log.note_uncounted(TOPIC, 1, 0, 0)
        log.note_uncounted(TOPIC, 1, 0, 0)
        assert len(log.uncounted()) == 2
        found = rejected(spark, settings, NOON)
        assert (found.right, found.said, found.details) == (True, "0 of 2 rejected records hold an event", [])


def test_two_events_of_one_id_are_told_by_place_until_somebody_accepts_that(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path, log={"kafka": False})
    with session("test", settings):
        sent = [event("a", "play", track_id=track) for track in ("t1", "t1", "t2")]
        log = append_records(spark, settings, [(0, at, NOON, value) for at, value in enumerate(sent)], {0: 3})
        balanced, found = conservation(spark, settings, NOON + timedelta(hours=1))
        assert balanced.right and balanced.said.startswith("3 appended = 1 counted + 2 duplicates + 0 rejected")
        assert (found.right, found.said) == (False, "1 of 2 duplicates differ from the event that counts")
        assert found.details[0].startswith(f"2024-02-29T12:00:00Z, partition 0, topic {TOPIC}: 1 events not counted, ")
        assert found.details[0].endswith("offsets 2 to 2, such as 'a'")
        log.note_uncounted("another topic", 0, 2, 2)
        _, found = conservation(spark, settings, NOON + timedelta(hours=1))
        assert not found.right
        log.note_uncounted(TOPIC, 0, 2, 2)
        balanced, found = conservation(spark, settings, NOON + timedelta(hours=1))
        assert found.right and balanced.right


def test_of_many_windows_the_last_ones_come_and_the_first_wrong_ones_with_their_number(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path, log={"kafka": False})
    rows = [(NOON + timedelta(hours=at), 5, 5 if at % 2 else 4, 1, 0, 0, 0) for at in range(100)]
    numbers = ", ".join(f"{name} bigint" for name in (*KINDS, "accepted"))
    windows = spark.createDataFrame(rows, f"ingest_window timestamp, {numbers}")
    found = balance(settings, windows, NOON + timedelta(days=30), [])
    assert found.said.endswith("in 100 ingest windows, 50 wrong")
    said = [line.partition("Z: ")[0] for line in found.details]
    wrong = [f"{NOON + timedelta(hours=at):%FT%T}" for at in [*range(1, 20, 2), *range(91, 100, 2)]]
    assert said == [*wrong, *[f"{NOON + timedelta(hours=at):%FT%T}" for at in range(90, 100, 2)]]
    assert "5 appended = 5 counted + 1 duplicates + 0 rejected + 0 excluded  IS WRONG" in found.details[0]


# of a topic with four partitions: partition → the offsets that the broker still holds, the earliest one and the end
TOPIC_HAS = {0: (range(40), 0, 40), 1: ([99], 0, 100), 2: (range(50, 60), 50, 60), 3: ([1, 3], 0, 5)}
LOG_HAS = {0: range(2, 30), 1: [99], 2: range(40, 45), 3: [1, 3]}


def test_what_the_log_lacks_at_its_ends_and_what_compaction_removed_is_told(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_range(_: object, __: object, ranges: dict[int, tuple[int, int]], isolation: str = "") -> DataFrame:
        there = [(p, at, 1) for p, (first, end) in ranges.items() for at in TOPIC_HAS[p][0] if first <= at < end]
        return spark.createDataFrame(there, "partition int, offset bigint, timestamp_type int")

    settings = log_settings(tmp_path)
    monkeypatch.setattr(cuts, "edges", lambda _: {p: (low, end) for p, (_, low, end) in TOPIC_HAS.items()})
    for module in (cuts, contiguity):
        monkeypatch.setattr(module, "read_range", read_range)
    with session("test", settings):
        log = begun(spark, settings)
        log.note_reached(TOPIC, {0: 32, 1: 100, 2: 60, 3: 5})
        rows = [(TOPIC, p, at) for p, offsets in LOG_HAS.items() for at in offsets]
        offsets = spark.createDataFrame(rows, SCHEMA)
        held = {row.partition: row for row in stretches(offsets).collect()}
        checked = {(TOPIC, 2): contiguity.Checked(upto=48)}
        found = cuts.find_cuts(spark, settings, offsets, TOPIC, held, checked)
        assert [tuple(cut) for cut in found] == [
            (0, (4, 0, 31), 0, 0),  # 0, 1, 30 and 31: what is behind the log's position is not missing yet
            (1, None, 0, 98),
            (2, (10, 50, 59), 3, 0),  # of 45 to 47, which the broker has removed, a batch saw that they were there
        ]
        log.note_loss(TOPIC, {0: (0, 1), 1: (0, 98), 2: (45, 59)}, None, None)
        found = cuts.find_cuts(spark, settings, offsets, TOPIC, held, checked)
        assert [tuple(cut) for cut in found] == [(0, (2, 30, 31), 0, 0)]


TOTALS = (
    "counter string, key string, member string, granularity string, bucket timestamp, count bigint, cutoff timestamp"
)
LEVELS = ("hour", "day", "month", "all")


@pytest.mark.parametrize(
    ("counts", "cutoff", "wrong"),
    [
        ((5, 5, 5, 5), NOON, []),
        ((5, 6, 5, 5), NOON, ["t1"]),
        ((5, 5, 5, None), NOON, ["t1"]),
        ((0, 0, 0, None), NOON, []),  # nobody's row counts 0
        ((5, 6, 5, 5), NOON + timedelta(hours=1), []),  # a load that is running writes it
        ((5, 6, 5, 5), None, ["t1"]),  # somebody wrote it by hand
    ],
)
def test_a_key_whose_granularities_disagree_is_told_unless_a_load_is_writing_it(
    spark: SparkSession, tmp_path: Path, counts: tuple[int | None, ...], cutoff: datetime | None, wrong: list[str]
) -> None:
    settings = log_settings(tmp_path)
    rows = [
        ("plays", "t1", None, level, NOON, n, cutoff) for level, n in zip(LEVELS, counts, strict=True) if n is not None
    ]
    found = unequal_zooms(
        spark.createDataFrame(rows, TOTALS), settings.counters, {"plays": NOON, "likes": NOON - timedelta(days=1)}
    )
    assert [row.key for row in found.collect()] == wrong
