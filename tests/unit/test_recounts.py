"""Which ingest windows a stream counts again, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.process.errors import Unreachable
from jobs.sources.checkpoint import Batches, Span
from jobs.streaming import recounts
from jobs.streaming.recounts import Recounts, closed
from stitch.cutoff import window_start

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
NOW = NOON + 30 * MINUTE


def span(first: int, last: int) -> Span:
    """Of the hours from NOON on."""
    return Span(NOON + first * HOUR, NOON + last * HOUR)


@pytest.mark.parametrize(
    ("oldest", "watermark", "since", "expected"),
    [
        (NOON + MINUTE, NOON + 20 * MINUTE, None, None),
        (NOON - MINUTE, NOON - 10 * MINUTE, None, None),  # its window is not over for the stream
        (NOON - MINUTE, NOON, None, span(-1, 0)),
        (NOON - MINUTE, NOON - MINUTE, None, None),
        (NOON - 3 * HOUR, NOON + 20 * MINUTE, None, span(-3, 0)),
        (NOON + MINUTE, NOON - 10 * HOUR, NOON - HOUR, None),
        (NOON - MINUTE, NOON - 10 * HOUR, NOON, span(-1, 0)),  # it began behind it, with an empty state
        (NOON - 5 * HOUR, NOON - 2 * HOUR, NOON - 3 * HOUR, span(-5, -2)),
        (NOON + MINUTE, NOON + 5 * HOUR, None, span(0, 5)),  # a broker whose clock is ahead pushed it on
        (NOON + MINUTE, datetime(1970, 1, 1, tzinfo=UTC), None, None),  # the first micro-batch
    ],
)
def test_windows_are_counted_again_whose_state_the_stream_does_not_have(
    oldest: datetime, watermark: datetime, since: datetime | None, expected: Span | None
) -> None:
    assert closed(oldest, watermark, since, HOUR) == expected


INSTANTS = st.integers(-600, 29).map(lambda minutes: NOON + minutes * MINUTE)


@given(st.lists(INSTANTS, min_size=1), INSTANTS)
def test_every_record_that_spark_drops_is_of_a_window_that_is_counted_again(
    stamps: list[datetime], watermark: datetime
) -> None:
    found = closed(min(stamps), watermark, None, HOUR)
    for stamp in stamps:
        if window_start(stamp, HOUR) + HOUR <= watermark:  # a window that ends there or before has no state any more
            assert found and found.since <= stamp < found.until
    assert found is None or found.until <= watermark


class Noted:
    """A checkpoint that is a few facts."""

    def __init__(self) -> None:
        self.windows: Span | None = None
        self.settled, self.fails = -1, False
        self.last: Batches | None = None

    def note(self) -> dict[str, Any]:
        return {"since": None}

    def last_batches(self, _: int) -> Batches | None:
        return self.last

    def owed(self) -> tuple[Span | None, int]:
        return self.windows, self.settled

    def write_owed(self, span: Span | None, settled: int) -> None:
        if self.fails:
            raise OSError("the disk is full")
        self.windows, self.settled = span, settled


class World:
    """A stream of ingest windows of an hour, whose micro-batches say what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.counted, self.checkpoint = 0.0, list[Span](), Noted()
        self.cutoff: Any = lambda _: None
        streaming = SimpleNamespace(ingest_window=HOUR, max_offsets_per_trigger=100)
        self.settings: Any = SimpleNamespace(streaming=streaming, topics_read={"events": SimpleNamespace(kafka=None)})
        monkeypatch.setattr(recounts, "needed_since", lambda settings: self.cutoff(settings))
        monkeypatch.setattr(recounts, "first_offsets", lambda _, at: {**at, 1: 0})
        monkeypatch.setattr(recounts, "stable_ends", lambda _: {0: 9, 1: 0})
        monkeypatch.setattr(recounts, "stamps_at", lambda _, at, __: [self.stamp for p in at if p == 0])
        monkeypatch.setattr(recounts.time, "monotonic", lambda: self.seconds)
        self.stamp = NOW
        self.begin()

    def begin(self) -> None:
        """A process does."""
        self.recounts = Recounts(self.settings, self.checkpoint, self.counted.append)  # type: ignore[arg-type]
        self.recounts.settle()

    def batch(self, oldest: datetime = NOW, unread: int = 0) -> None:
        times = {"min": oldest, "max": NOW, "watermark": NOW - 10 * MINUTE}
        self.recounts.note({
            "eventTime": {name: f"{at:%FT%T}.000Z" for name, at in times.items()},
            "sources": [{"endOffset": {"events": {"0": 5}}, "latestOffset": {"events": {"0": 5 + unread}}}],
        })  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_stream_that_has_all_goes_on(world: World) -> None:
    world.seconds += 10_000
    world.batch()
    world.recounts.note({"eventTime": {}, "sources": [{"endOffset": None, "latestOffset": None}]})  # idle
    assert not world.recounts.due() and world.recounts.again() is None and world.recounts.settled
    world.recounts.settle()
    assert world.counted == [] and world.recounts.settled


def test_late_records_have_the_stream_started_again_at_once_but_once_in_a_window_at_most(world: World) -> None:
    world.seconds += 5
    world.batch(NOON - MINUTE)
    assert world.recounts.due() and world.recounts.again() == timedelta(0) and world.checkpoint.windows
    world.checkpoint.fails = True
    world.batch(NOON - MINUTE)  # nothing is new, and so nothing is written
    world.checkpoint.fails = False
    world.batch()  # the stop waits for a micro-batch
    assert world.recounts.due() and not world.recounts.settled
    world.recounts.settle()
    assert world.counted == [span(-1, 0)] and world.checkpoint.windows is None
    assert world.recounts.settled and not world.recounts.due()
    world.batch(NOON - HOUR)
    assert not world.recounts.due() and world.recounts.again() == timedelta(0)  # at its end, it is now
    world.seconds += 3601
    assert world.recounts.due()


def test_a_stream_that_fell_far_behind_is_started_again_once_in_a_window_at_most(world: World) -> None:
    world.batch(unread=1000)
    assert not world.recounts.due()
    world.batch(unread=1001)  # ten of the largest micro-batches, and more
    assert not world.recounts.due()
    world.seconds += 3601
    assert world.recounts.due() and world.recounts.again() is None and world.recounts.settled
    world.recounts.settle()
    world.batch(unread=1001)
    assert not world.recounts.due() and world.counted == []


@pytest.mark.parametrize(("cutoff", "expected"), [(-2, [span(-2, 0)]), (0, []), (-9, [span(-3, 0)])])
def test_what_is_before_the_published_cutoff_is_left_to_the_batch(
    world: World, cutoff: int, expected: list[Span]
) -> None:
    world.cutoff = lambda _: NOON + cutoff * HOUR
    world.batch(NOON - 3 * HOUR)
    world.recounts.settle()
    assert world.counted == expected and world.checkpoint.windows is None


def test_windows_stay_noted_while_the_batch_layer_is_away_or_counting_fails(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(_: Any) -> None:
        raise Unreachable("Cassandra does not answer")

    world.cutoff = away
    world.batch(NOON - MINUTE)
    assert not world.recounts.settle()  # the stream goes on without it
    assert "counted again when the batch layer says" in capsys.readouterr().out
    assert world.checkpoint.windows and not world.recounts.due() and world.recounts.again() is None
    assert not world.recounts.settled
    world.seconds += 3601
    assert world.recounts.due()  # it asks again

    def fail(_: Span) -> None:
        raise Unreachable("Kafka does not answer")

    world.cutoff, world.recounts._count = lambda _: None, fail
    with pytest.raises(Unreachable, match="Kafka"):
        world.recounts.settle()
    assert world.checkpoint.windows
    world.recounts._count = world.counted.append
    assert world.recounts.settle()
    assert world.counted == [span(-1, 0)] and world.checkpoint.windows is None


def test_windows_that_could_not_be_noted_are_counted_when_the_stream_is_started_again(world: World) -> None:
    world.checkpoint.fails = True
    with pytest.raises(OSError, match="full"):  # which ends the query
        world.batch(NOON - MINUTE)
    assert not world.recounts.settled
    world.checkpoint.fails = False
    assert world.recounts.settle() and world.counted == [span(-1, 0)]


def test_a_start_looks_at_the_last_micro_batches_once(world: World) -> None:
    world.checkpoint.last = Batches(7, NOON - 10 * MINUTE, {"events": {0: 5}})
    world.stamp = NOON - MINUTE
    world.begin()
    assert world.counted == []  # its window was in the state
    world.stamp = NOON - 2 * HOUR
    world.begin()
    assert world.counted == [span(-2, -1)]
    world.begin()
    assert world.counted == [span(-2, -1)]
    world.checkpoint.last = Batches(3, NOON - 10 * MINUTE, {"events": {0: 5}})  # of another checkpoint
    world.begin()
    assert world.counted == [span(-2, -1)] * 2
