"""May a streaming job go on from its checkpoint? Asked at every start, before Spark answers with a stack trace.

A topic that was recreated, records that the broker removed before the job read them: each has its own message with the
way out. What is lost is told with its offsets. A counter that is new, or has a new definition, needs nobody: the job
reads again from the published cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cassandra.cluster import Session

from jobs.completeness import STREAMING_JOB, check_aligned, needed_since, other_window
from jobs.errors import JobError
from jobs.sinks.progress import go_back
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.topic import edges, offsets_at, topic_id
from stitch.cutoff import removed_offsets
from stitch.settings import Settings

Edges = Mapping[int, tuple[int, int]]
STATE = 2  # raise it with every change of what the aggregation keeps: Spark cannot go on with the state of another


def check_offsets(job: str, settings: Settings, following: Mapping[int, int], edges: Edges, accept_loss: bool) -> None:
    """Raises JobError where the broker no longer holds what the job would read next, unless that is accepted."""
    earliest = {partition: low for partition, (low, _) in edges.items()}
    lost = removed_offsets(following, earliest)
    if lost and not accept_loss:
        facts = "\n".join(f"  partition {p}: offsets {first} to {last - 1}" for p, (first, last) in lost.items())
        raise JobError(
            f"{sum(last - first for first, last in lost.values())} records of the topic {settings.kafka.topic!r} were "
            f"removed by the broker (its retention) before {job} read them:\n{facts}\nStart once with "
            "--accept-data-loss to go on behind them, and raise the topic's retention.ms"
        )
    ahead = {p: (offset, edges[p][1]) for p, offset in following.items() if p in edges and offset > edges[p][1]}
    if ahead and not accept_loss:
        facts = "\n".join(
            f"  partition {p}: read up to {at}, the broker ends at {end}" for p, (at, end) in ahead.items()
        )
        raise JobError(
            f"the topic {settings.kafka.topic!r} ends before what {job} has read: a broker lost records that it had "
            f"acknowledged.\n{facts}\nStart once with --accept-data-loss to go on"
        )


def recreated(job: str, settings: Settings, way_out: str) -> JobError:
    """The error for a topic that has another id than the one the checkpoint was reading."""
    return JobError(
        f"the topic {settings.kafka.topic!r} was deleted and recreated since {job} last read it: its offsets begin at "
        f"0, and what {job} had not read of the old one is gone. {way_out}"
    )


def noted(settings: Settings, topic_id: str) -> dict[str, Any]:
    """What the streaming job counts, as its checkpoint notes it."""
    return {
        "topic_id": topic_id,
        "state": STATE,
        "ingest_window_seconds": int(settings.streaming.ingest_window.total_seconds()),
        "deduplicate": settings.streaming.deduplicate,
        "counters": {counter.name: counter.model_dump(mode="json") for counter in settings.counters},
    }


def check_note(settings: Settings, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises JobError where the increments would not be right from here on."""
    name = f"streaming_counts ({settings.streaming.checkpoint})"
    if before["topic_id"] != now["topic_id"]:
        raise recreated(name, settings, "Start once with --from-cutoff")
    if before["ingest_window_seconds"] != now["ingest_window_seconds"]:
        raise other_window(settings, timedelta(seconds=before["ingest_window_seconds"]))


def without_effect(checkpoint: str, settings: Mapping[str, tuple[str, str]]) -> list[str]:
    """A line for each of Spark's settings that the checkpoint (a path) decides: name → (its value there, the one that
    was asked for)."""
    return [
        f"{name} = {asked} has no effect: the state in {checkpoint} was begun with {kept}, and Spark goes on with it. "
        "To change it start once with --from-cutoff: the checkpoint is moved away, and what is read again since the "
        "published cutoff counts once"
        for name, (kept, asked) in sorted(settings.items())
    ]


def outdated(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Why the checkpoint cannot be gone on from, so that the job reads again from the published cutoff: what is read
    twice counts once. None where it can, or where check_note refuses."""
    if any(before[said] != now[said] for said in ("topic_id", "ingest_window_seconds")):
        return None
    if new := sorted(set(now["counters"]) - set(before["counters"])):
        return f"counters or their definitions are new, and would lack the events since it: {', '.join(new)}"
    if before["deduplicate"] != now["deduplicate"]:
        return "streaming.deduplicate changed, and with it what the job keeps as its state"
    if before.get("state", 1) != now["state"]:
        return "its state is of another version of Stitch"
    return None


def is_outdated(checkpoint: Checkpoint, settings: Settings, accept_data_loss: bool) -> bool:
    """Whether the job must read again from the published cutoff, for what it counts now the checkpoint did not; says
    why. Raises JobError as check_continuity, which sees no gap behind a checkpoint that was moved away."""
    now, before = noted(settings, topic_id(settings.kafka)), checkpoint.note() if checkpoint.exists() else None
    why = outdated(before, now) if before else None
    if before is None or why is None:
        return False
    check_note(settings, before, now)
    check_offsets(STREAMING_JOB, settings, checkpoint.next_offsets(), edges(settings.kafka), accept_data_loss)
    print(f"{STREAMING_JOB} reads again from the published cutoff (what is read twice counts once): {why}", flush=True)
    return True


def begin_at_cutoff(cassandra: Session, checkpoint: Checkpoint, settings: Settings) -> dict[int, int] | None:
    """Move the checkpoint away, so that the job reads again from the published cutoff; returns partition → the first
    offset behind that, None where nothing is published (read from the earliest). Raises JobError where the cutoff cuts
    an ingest window in two."""
    starting = None
    if cutoff := needed_since(settings):
        check_aligned(settings, cutoff)
        starting = offsets_at(settings.kafka, cutoff)
    go_back(cassandra, STREAMING_JOB, starting or {})
    if checkpoint.exists():
        print(f"{STREAMING_JOB} moved the checkpoint to {checkpoint.move_away(datetime.now(UTC))}", flush=True)
    return starting


def check_continuity(
    checkpoint: Checkpoint, settings: Settings, starting: dict[int, int] | None, accept_data_loss: bool
) -> None:
    """Raises JobError where counting on would not be exact; notes for the next start what is counted now."""
    now, before = noted(settings, topic_id(settings.kafka)), checkpoint.note()
    following = checkpoint.next_offsets() or starting or {}
    if checkpoint.exists() and before:
        check_note(settings, before, now)
    check_offsets(STREAMING_JOB, settings, following, edges(settings.kafka), accept_data_loss)
    checkpoint.write_note(now)
