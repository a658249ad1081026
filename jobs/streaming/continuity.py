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

from jobs.process.errors import JobError
from jobs.process.schemes import tell_of_one_disk
from jobs.proof.completeness import STREAMING_JOB, check_aligned, check_ingest_window, needed_since, other_window
from jobs.sinks.progress import claim, go_back
from jobs.sources.checkpoint import Beginning, Checkpoint
from jobs.sources.topic import Offsets, edges, offsets_at, topic_ids
from stitch.cutoff import removed_offsets
from stitch.settings import Settings

Edges = Mapping[int, tuple[int, int]]
STATE = 2  # raise it with every change of what the aggregation keeps: Spark cannot go on with the state of another


def check_offsets(job: str, settings: Settings, following: Mapping[int, int], edges: Edges, accept_loss: bool) -> None:
    """Raises JobError where the broker no longer holds what the job would read next of the topic (settings:
    Settings.by_topic), unless that is accepted."""
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


def check_all_offsets(job: str, settings: Settings, following: Offsets, accept_loss: bool) -> None:
    """check_offsets of every topic that is read."""
    for name, view in settings.topics_read.items():
        check_offsets(job, view, following.get(name, {}), edges(view.kafka), accept_loss)


def noted(settings: Settings, topic_ids: Mapping[str, str]) -> dict[str, Any]:
    """What the streaming job counts, as its checkpoint notes it. topic_ids: topic → its id"""
    return {
        "topics": dict(topic_ids),
        "state": STATE,
        "ingest_window_seconds": int(settings.streaming.ingest_window.total_seconds()),
        # Of several topics the state has a column more, so it is another.
        "deduplicate": settings.streaming.deduplicate and ("by topic" if settings.topics else True),
        "counters": {counter.name: counter.model_dump(mode="json") for counter in settings.counters},
    }


def check_note(settings: Settings, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises JobError where the increments would not be right from here on."""
    name = f"streaming_counts ({settings.streaming.checkpoint})"
    if others := recreated_topics(before, now):
        raise recreated(name, settings.by_topic[others[0]], "Start once with --from-cutoff")
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


def topics_then(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Topic → the id that the checkpoint was reading; an earlier version noted the id of the only one, not its
    name."""
    if "topics" in before:
        return dict(before["topics"])
    names = {of: name for name, of in now["topics"].items()}
    return {names.get(before["topic_id"], min(now["topics"])): before["topic_id"]}


def recreated_topics(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The topics that have another id than the one the checkpoint was reading."""
    then = topics_then(before, now)
    return sorted(name for name, of in now["topics"].items() if then.get(name, of) != of)


def outdated(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Why the checkpoint cannot be gone on from, so that the job reads again from the published cutoff: what is read
    twice counts once. None where it can, or where check_note refuses."""
    if before["ingest_window_seconds"] != now["ingest_window_seconds"] or recreated_topics(before, now):
        return None
    then = topics_then(before, now)
    if new := sorted(now["topics"].keys() - then.keys()):
        return f"topics are new, and would lack the events since the published cutoff: {', '.join(new)}"
    if gone := sorted(then.keys() - now["topics"].keys()):
        return (
            f"topics are read no more: {', '.join(gone)}. Of the ingest windows since the published cutoff, what was "
            "counted of them stays until `restore_counts --apply` or the batch"
        )
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
    now, before = noted(settings, topic_ids(settings)), checkpoint.note() if checkpoint.exists() else None
    why = outdated(before, now) if before else None
    if before is None or why is None:
        return False
    check_note(settings, before, now)
    check_all_offsets(STREAMING_JOB, settings, checkpoint.next_offsets(), accept_data_loss)
    print(f"{STREAMING_JOB} reads again from the published cutoff (what is read twice counts once): {why}", flush=True)
    return True


def begin(
    cassandra: Session, checkpoint: Checkpoint, settings: Settings, from_cutoff: bool, accept_data_loss: bool
) -> Beginning | None:
    """Say where the job begins, and what it counts (settings: counted_live), to the readers of `progress` too; returns
    it where that is the published cutoff (so where there is no checkpoint, too), None where the checkpoint says it or
    nothing is published. Raises JobError where it cannot be exact."""
    before = check_ingest_window(settings)
    tell_of_one_disk(checkpoint.spark, "streaming.checkpoint", checkpoint.path)
    again = from_cutoff or not checkpoint.exists() or is_outdated(checkpoint, settings, accept_data_loss)
    beginning = begin_at_cutoff(cassandra, checkpoint, settings) if again else None
    names = {counter.name for counter in settings.counters}
    new = before is None or not names <= before.counters
    claim(cassandra, settings, STREAMING_JOB, names, {} if new and not again else None)
    for notice in without_effect(checkpoint.path, checkpoint.kept_settings()):
        print(f"stitch: {notice}", flush=True)
    return beginning


def begin_at_cutoff(cassandra: Session, checkpoint: Checkpoint, settings: Settings) -> Beginning | None:
    """Move the checkpoint away, so that the job reads again from the published cutoff; returns the first offsets behind
    that, None where nothing is published (read from the earliest). Raises JobError where the cutoff cuts an ingest
    window in two."""
    beginning = None
    if cutoff := needed_since(settings):
        check_aligned(settings, cutoff)
        at = {name: offsets_at(view.kafka, cutoff) for name, view in settings.topics_read.items()}
        beginning = Beginning(at, cutoff)
    go_back(cassandra, settings, STREAMING_JOB, beginning.offsets if beginning else {})
    if checkpoint.exists():
        print(f"{STREAMING_JOB} moved the checkpoint to {checkpoint.move_away(datetime.now(UTC))}", flush=True)
    elif cutoff:
        print(f"{STREAMING_JOB} has no checkpoint in {checkpoint.path}: it reads from the published cutoff on, "
              f"{cutoff:%FT%TZ}", flush=True)  # fmt: skip
    return beginning


def check_continuity(
    checkpoint: Checkpoint, settings: Settings, beginning: Beginning | None, accept_data_loss: bool
) -> datetime | None:
    """Raises JobError where counting on would not be exact; notes for the next start what is counted now, and from
    which ingest window on the stream has all records. Returns that; None: from the earliest."""
    now, before = noted(settings, topic_ids(settings)), checkpoint.note()
    following = checkpoint.next_offsets() or (beginning.offsets if beginning else {})
    if checkpoint.exists() and before:
        check_note(settings, before, now)
    check_all_offsets(STREAMING_JOB, settings, following, accept_data_loss)
    since = beginning.since.isoformat() if beginning else (before or {}).get("since")
    checkpoint.write_note({**now, "since": since})
    return datetime.fromisoformat(since) if since else None
