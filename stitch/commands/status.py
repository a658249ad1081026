"""`stitch status`: which parts answer, how far each has come, and how the last runs ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from stitch.commands.group import settings_of
from stitch.errors import ExitStatus, StitchError
from stitch.extras import require
from stitch.overview import Overview, Part, TopicState
from stitch.runs import Noted
from stitch.settings import Settings

STREAMING_JOB, ARCHIVE = "streaming_counts", "archive_events"


@click.command("status")
@click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="How many runs.")
@click.option("--json", "as_json", is_flag=True, help="The same, for programs.")
@click.pass_context
def status(context: click.Context, last: int, as_json: bool) -> None:
    """Layers, lag, cutoffs and the last runs, the newest first: how far each came, and what it did.

    What can be told is told; the exit status is 75 where a part does not answer, 1 where one refuses.
    """
    require("jobs")
    found, status = look(settings_of(context), last)
    click.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else found.text())
    context.exit(status)


def look(settings: Settings, last: int) -> tuple[Overview, int]:
    """(what is to be seen, the exit status)."""
    errors: dict[str, StitchError] = {}
    through, counted = _realtime(settings, errors)
    cutoffs, runs = _batch(settings, last, errors)
    topics = _topics(settings, counted, errors)
    names = ["realtime", "batch", *(["kafka"] if settings.log.kafka else [])]
    parts = [Part(name, str(errors[name]) if name in errors else None) for name in names]
    statuses = {error.exit_status for error in errors.values()}
    status = min(statuses, default=ExitStatus.DONE)  # what needs a person before what may pass
    return Overview(datetime.now(UTC), parts, through, topics, cutoffs, runs), status


def _realtime(settings: Settings, errors: dict[str, StitchError]) -> tuple[datetime | None, dict[str, dict[int, int]]]:
    """(up to where the increments are, topic → partition → the first offset not counted)."""
    from jobs.sinks.cassandra import connected
    from jobs.sources.stored import read_offsets_counted, read_progress

    if not settings.log.kafka:
        return None, {}
    try:
        with connected(settings.realtime, "realtime") as session:
            progress = read_progress(session, STREAMING_JOB)
            counted = {
                name: read_offsets_counted(session, STREAMING_JOB, name if settings.topics else None)
                for name in settings.topics_read
            }
    except StitchError as error:
        errors["realtime"] = error
        return None, {}
    return progress.realtime_through if progress else None, counted


def _batch(
    settings: Settings, last: int, errors: dict[str, StitchError]
) -> tuple[dict[str, datetime | None], list[Noted]]:
    """(counter → its cutoff, the last runs)."""
    from jobs.ledger.runs import noted_runs
    from jobs.sinks.cassandra import connected
    from jobs.sources.stored import published
    from stitch.definitions import name_of

    try:
        with connected(settings.batch, "batch") as session:
            known = {name_of(stored): at.cutoff for stored, at in published(session).items()}
            runs = noted_runs(session, last=last)
    except StitchError as error:
        errors["batch"] = error
        return {}, []
    return {counter.name: known.get(counter.name) for counter in settings.counters}, runs


def _topics(settings: Settings, counted: dict[str, dict[int, int]], errors: dict[str, StitchError]) -> list[TopicState]:
    from connections import lag

    found = []
    try:
        for name, view in settings.topics_read.items() if settings.log.kafka else ():
            ends = lag.ends(view.kafka)
            archived = lag.committed(view.kafka, ARCHIVE, ends)
            found.append(TopicState(name, ends, counted.get(name, {}), archived))
    except StitchError as error:
        errors["kafka"] = error
    return found
