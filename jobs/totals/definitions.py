"""Which definitions of the counters a job counts: the settings' own, and earlier ones that readers still get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cassandra.cluster import Session

from jobs.process.errors import JobError, NotYet, Unreachable
from jobs.proof.completeness import STREAMING_JOB, behind_increments
from jobs.sinks.cassandra import NoLayer, connected
from jobs.sources.stored import publications, published, read_progress
from stitch.buckets import EPOCH
from stitch.cutoff import Published, missing_before
from stitch.definitions import Publication, by_definition, from_note, name_of, replacing, with_earlier
from stitch.settings import Settings


def counted_live(settings: Settings, noted: Mapping[str, Any] | None = None) -> Settings:
    """The settings by definition, with all definitions of which readers need increments.

    noted: stored name → its definition, as a checkpoint says, which is believed where the batch layer is unavailable
    """
    own = by_definition(settings)
    try:
        with connected(settings.batch, "batch") as cassandra:
            known = publications(cassandra)
    except (Unreachable, NoLayer):
        then = Published(EPOCH, 0)
        known = {name: Publication(then, from_note(said)) for name, said in (noted or {}).items()}
    both = with_earlier(own, known)
    counted = {counter.name for counter in both.counters}
    for stored, before in replacing(own, {name: one.at for name, one in known.items()}).items():
        until = f"until batch_totals has counted {stored} from the whole log"
        if before in counted:
            said = f"its definition changed: readers get {before}, which is counted on, {until}"
        else:
            said = f"its definition changed, and the events are read by other rules: {before} stays as it is {until}"
        print(f"stitch: counter {name_of(stored)}: {said}", flush=True)
    return both


def without_waiting(settings: Settings, cassandra: Session) -> tuple[Settings, JobError | None]:
    """The settings (by definition) without the counters that would replace a published definition before the real-time
    layer counts by the new one: readers would lack what came since the cutoff. And the error that says so; None where
    all can be counted."""
    before = replacing(settings, published(cassandra)) if settings.log.kafka else {}
    counted, caught_up = counted_by_stream(settings) if before else (frozenset[str](), True)
    waiting = sorted(before if not caught_up else before.keys() - counted)
    if not waiting:
        return settings, None
    ready = [counter for counter in settings.counters if counter.name not in waiting]
    names, so_far = ", ".join(map(name_of, waiting)), ", ".join(before[name] for name in waiting)
    because = f"definitions changed, of {names}; until they can be published readers get {so_far}"
    error = (
        NotYet(f"{because}. streaming_counts has not caught up: run again when it has")
        if counted >= set(waiting)
        else JobError(f"{because}. streaming_counts does not count by them: restart it with these settings")
    )
    return settings.model_copy(update={"counters": ready}), error


def counted_by_stream(settings: Settings) -> tuple[frozenset[str], bool]:
    """What the streaming job counts, and whether the increments hold it up to the instant up to which readers believe
    them; nothing where that cannot be told."""
    try:
        with connected(settings.realtime, "realtime") as cassandra:
            progress = read_progress(cassandra, STREAMING_JOB)
        if progress is None or progress.realtime_through is None:
            return frozenset(), False
        return progress.counters, not missing_before(behind_increments(settings), progress.realtime_through)
    except (Unreachable, NoLayer):
        return frozenset(), False
