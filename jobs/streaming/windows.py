"""Ingest windows that are over, counted as batches, before a stream begins that is far behind them.

Of a window that is over all records are there (brokers' clocks granted their grace). So its rows need no state and no
watermark, nothing of it comes too late, and each row is written once, with the write timestamp of whoever has read the
whole window. The stream begins behind them; a record of theirs that comes all the same is jobs.streaming.recounts'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from jobs.proof.completeness import STREAMING_JOB
from jobs.sources.checkpoint import Beginning, Checkpoint, Span
from jobs.sources.readable import first_stamped
from jobs.sources.topic import Offsets, edges, first_offsets, offsets_at, stable_ends
from jobs.streaming.queries import Stop
from stitch.clusters import KafkaSettings
from stitch.cutoff import window_start
from stitch.settings import Settings

FAR = 10  # micro-batches of the largest size: by so much a stream that is behind is left to catch up by itself
AT_ONCE = 50_000_000  # records that are counted at once, or as many as one window has
At = Callable[[datetime], Offsets]


def far_behind(settings: Settings, following: Offsets, now: datetime) -> Span | None:
    """The windows that are over of which the stream has not read all records; None where it soon has, and partitions
    cannot be far apart. following: topic → partition → the first offset that it has not."""
    ends = ends_of(settings)
    if not records(following, ends):
        return None
    length, grace = settings.streaming.ingest_window, settings.log.grace
    stamps, undecided = list[datetime](), [now]
    for name, view in settings.topics_read.items():
        unread = {p: at for p, at in following[name].items() if at < ends[name][p]}
        stamps += stamps_at(view.kafka, unread, "read_committed")
        open_ones = {p: ends[name][p] for p, (_, high) in edges(view.kafka).items() if ends[name][p] < high}
        undecided += stamps_at(view.kafka, open_ones, "read_uncommitted")
    if not stamps:
        return None
    span = Span(window_start(min(stamps) - grace, length), window_start(min(undecided) - grace, length))
    if span.since >= span.until:
        return None
    long_ago = now - min(stamps) > max(length, settings.streaming.watermark)
    most = 0 if long_ago else FAR * settings.streaming.max_offsets_per_trigger
    return span if records(following, offsets_of(settings)(span.until)) > most else None


def stamps_at(kafka: KafkaSettings, positions: Mapping[int, int], isolation: str) -> list[datetime]:
    """Those of the first records at these positions that the broker stamped."""
    return [one.appended for one in first_stamped(kafka, positions, isolation).values() if one.appended]


def ends_of(settings: Settings) -> Offsets:
    """topic → partition → the offset behind the last record that is decided."""
    return {name: stable_ends(view.kafka) for name, view in settings.topics_read.items()}


def offsets_of(settings: Settings) -> At:
    """Where to start reading, so that no record of that instant or later is left out, of all topics."""
    return lambda instant: {name: offsets_at(view.kafka, instant) for name, view in settings.topics_read.items()}


def records(first: Offsets, last: Offsets) -> int:
    """How many offsets are between."""
    return sum(max(0, at - first[name].get(p, 0)) for name, of in last.items() for p, at in of.items())


def lots(span: Span, length: timedelta, at: At, most: int) -> Iterator[Span]:
    """The windows in lots of at most so many records, or of one window."""
    windows = (span.until - span.since) // length
    if windows <= 1 or records(at(span.since), at(span.until)) <= most:
        yield span
        return
    middle = span.since + windows // 2 * length
    yield from lots(Span(span.since, middle), length, at, most)
    yield from lots(Span(middle, span.until), length, at, most)


def catch_up(
    settings: Settings,
    checkpoint: Checkpoint,
    beginning: Beginning | None,
    now: datetime,
    count: Callable[[Span], None],
    stop: Stop,
) -> Beginning | None:
    """Count what is far behind, the oldest windows first, and remove the checkpoint; returns where the stream begins,
    None where nothing is far behind, or somebody asked to stop.

    beginning: where there is no checkpoint; count: to be done for each lot of windows, whose rows are written when it
    returns
    """
    known = checkpoint.next_offsets() or (beginning.offsets if beginning else {})
    following = {name: first_offsets(view.kafka, known.get(name, {})) for name, view in settings.topics_read.items()}
    span = far_behind(settings, following, now)
    if span is None:
        return None
    length, at = settings.streaming.ingest_window, offsets_of(settings)
    beginning = Beginning(at(span.until), span.until)  # asked before: what comes meanwhile is behind it, and is read
    print(f"stitch: the ingest windows from {span.since:%FT%TZ} to {span.until:%FT%TZ} are over and not counted: they "
          "are counted as batches first", flush=True)  # fmt: skip
    for lot in lots(span, length, at, AT_ONCE):
        began, many = time.monotonic(), records(at(lot.since), at(lot.until))
        count(lot)
        if stop.asked:
            return None
        seconds = time.monotonic() - began
        print(f"{STREAMING_JOB} windows={(lot.until - lot.since) // length} until={lot.until:%FT%TZ} records={many} "
              f"records_per_s={many / seconds:.0f} seconds={seconds:.1f}", flush=True)  # fmt: skip
    checkpoint.remove(now)
    return beginning
