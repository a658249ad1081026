"""Which definitions of the counters a job counts: the settings' own, and earlier ones that readers still get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from cassandra.cluster import Session

from jobs.process.errors import JobError, NotYet, Unreachable
from jobs.proof.completeness import STREAMING_JOB, behind_increments
from jobs.sinks.cassandra import NoLayer, connected
from jobs.sources.stored import Progress, publications, published, read_progress
from stitch.cutoff import missing_before
from stitch.definitions import by_definition, from_note, name_of, names_of, replacing, with_counters, with_earlier
from stitch.settings import Settings

MOST_LAG = timedelta(minutes=1)  # of a streaming job that keeps up


def counted_live(settings: Settings, noted: Mapping[str, Any] | None = None) -> Settings:
    """The settings by definition, with all definitions of which readers need increments.

    noted: stored name → its definition, as a checkpoint says, which is believed where the batch layer is unavailable
    """
    own = by_definition(settings)
    try:
        with connected(settings.batch, "batch") as cassandra:
            known = publications(cassandra)
    except (Unreachable, NoLayer):  # of what was counted so far any may be what readers get
        return with_earlier(own, {name: from_note(said) for name, said in (noted or {}).items()})
    now = replacing(own, known)
    both = with_earlier(own, {before: known[before].counter for before in now.values()})
    counted = {counter.name for counter in both.counters}
    for stored, before in now.items():
        until = f"until batch_totals has counted {stored} from the whole log"
        if before in counted:
            said = f"its definition changed: readers get {before}, which is counted on, {until}"
        else:
            said = f"its definition changed, and the events are read by other rules: {before} stays as it is {until}"
        print(f"stitch: counter {name_of(stored)}: {said}", flush=True)
    return both


def judged(settings: Settings, published: Collection[str]) -> Settings:
    """The settings without definitions that are not published where another of their counter is: their totals, if there
    are any, nobody gets."""
    names = names_of(published)
    return _where(settings, lambda stored: stored in published or name_of(stored) not in names)


def written_live(settings: Settings, progress: Progress | None) -> Settings:
    """The settings with the definitions that the streaming job counts; all where it has not said which."""
    return _where(settings, lambda stored: stored in progress.counters) if progress and progress.counters else settings


def _where(settings: Settings, wanted: Callable[[str], bool]) -> Settings:
    return with_counters(settings, [counter for counter in settings.counters if wanted(counter.name)])


def without_waiting(
    settings: Settings, cassandra: Session, now: datetime, accept: bool = False
) -> tuple[Settings, JobError | None]:
    """The settings (by definition) without the counters that would replace a published definition before the real-time
    layer counts by the new one: readers would lack what came since the cutoff. And the error that says so; None where
    all can be counted. Where log.retention has removed history, a person must accept (`accept`) that it is not in the
    new counts."""
    before = replacing(settings, published(cassandra))
    if not before:
        return settings, None
    counted, caught_up = counted_by_stream(settings, now) if settings.log.kafka else (before.keys(), True)
    short = settings.log.retention is not None and not accept
    waiting = sorted(before if short or not caught_up else before.keys() - counted)
    if not waiting:
        return settings, None
    names, so_far = ", ".join(map(name_of, waiting)), ", ".join(before[name] for name in waiting)
    because = f"definitions changed, of {names}; until they can be published readers get {so_far}"
    error: JobError
    if not set(counted) >= set(waiting):
        error = JobError(f"{because}. streaming_counts does not count by them: restart it with these settings")
    elif not caught_up:
        error = NotYet(f"{because}. streaming_counts has not caught up: run again when it has")
    else:
        error = JobError(
            f"{because}. log.retention is set, so the log may lack history that the old counts have, and the new ones "
            "would not: run once with --accept where that is as it should be, or give the new counters other names"
        )
    return _where(settings, lambda stored: stored not in waiting), error


def counted_by_stream(settings: Settings, now: datetime) -> tuple[Collection[str], bool]:
    """What the streaming job counts, and whether it keeps up: it may have begun to read again for a definition that is
    new, and is not where it was before. Nothing where that cannot be told."""
    recent = now - settings.log.grace - 2 * settings.streaming.trigger - MOST_LAG
    try:
        with connected(settings.realtime, "realtime") as cassandra:
            progress = read_progress(cassandra, STREAMING_JOB)
        if progress is None:
            return frozenset(), False
        return progress.counters, not missing_before(behind_increments(settings), recent)
    except (Unreachable, NoLayer):
        return frozenset(), False
