"""Totals that are kept, loaded again: an older or a newer run's (--restore), or the published ones (--reload)."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from pyspark.sql import functions as F

from jobs.frames.totals import ROW, replaced
from jobs.ledger.runs import note, noted_runs, statement
from jobs.process.errors import BadOption
from jobs.proof.completeness import held_since
from jobs.sinks.cutoffs import publish
from jobs.sources.stored import latest_write, published, uncharted, unranked
from jobs.totals.counting import standing
from jobs.totals.figures import note_published
from jobs.totals.loading import keep, load, stored_totals
from jobs.totals.planning import EXCLUSIONS, Ask, no_earlier_than
from jobs.totals.work import Work
from stitch.cutoff import Published
from stitch.definitions import name_of
from stitch.runs import How, Run, State, going_back, half_loaded, newest, restoring, tag


def restore(work: Work, ask: Ask) -> tuple[Published, int]:
    """Bring kept totals back, or forward again; returns which, and how many rows were written.

    A counter that they do not have, or as of an earlier cutoff, is left as it is, and the next run counts it from the
    whole log; the published ones are loaded as they are. Raises BadOption for totals that cannot be restored.
    """
    settings, table = work.settings, work.table
    names, known = work.names, published(work.cassandra)
    table.settle(newest(known, known))
    kept = table.named(ask.restore)
    back_in_time = any(at.cutoff > kept.cutoff for at in known.values())
    if settings.log.kafka and back_in_time and kept.cutoff < held_since(settings, work.now):
        raise BadOption(f"{tag(kept)}: increments since its cutoff have expired, so counts would drop; use --full")
    how, behind, written = table.how(kept), {}, 0
    for name, held in how.behind.items():
        if ask.reload and name in names:
            figures = {**how.figures, EXCLUSIONS[1]: held.excluding}
            of_it = How(frozenset({name}), held.position, figures)
            part, rows = restore_counters(work, kept, of_it, [name], held.cutoff, last=False)
            behind[name], written = replace(held, by=tag(part.done)), written + rows
        else:
            print(f"stitch: counter {name}: {tag(kept)} has it as of {held.by}, so it is left as it is", flush=True)
    lacking = [name for name in names if name not in how.counters]
    names = [name for name in names if name in how.counters and name not in how.behind]
    if not names:
        raise BadOption(
            f"{tag(kept)} has none of the counters of the settings by their definitions: it has "
            f"{', '.join(sorted(how.counters)) or 'none'}, and the settings say {', '.join(lacking)}. The settings of "
            "then restore it"
        )
    for name in lacking:
        print(
            f"stitch: counter {name_of(name)}: {tag(kept)} does not have it as {name}: it is left as it is", flush=True
        )
    whole = replace(how, counters=frozenset({*names, *behind}), behind=behind)
    back, rows = restore_counters(work, kept, whole, names, kept.cutoff, last=True)
    keep(table, back.done)
    return kept, written + rows


def restore_counters(
    work: Work, kept: Published, how: How, names: Collection[str], cutoff: datetime, last: bool
) -> tuple[Run, int]:
    """Load the kept totals of the counters and publish them at the cutoff that they have; returns the run, and how many
    rows were written.

    how: of the table's totals then; last: whether the table is to follow, so that --reload can be repeated until it has
    published all
    """
    cassandra = work.cassandra
    known, runs = {name: at for name, at in published(cassandra).items() if name in names}, noted_runs(cassandra)
    died = half_loaded(runs, newest(names, known))
    back = restoring(names, known, cutoff, died, no_earlier_than(work.now, latest_write(cassandra, runs)))
    back, written = load_kept(work, kept, how, back)
    work.lease.check()
    if not last:
        work.table.drop()
    figures = {**how.figures, "rows_written": written}
    publish(
        cassandra, back.done, work.named(names),
        statement(replace(back, upto=how.position), State.PUBLISHED, tag(kept), names, figures),
    )  # fmt: skip
    note_published(back.done.cutoff, written, {})
    return back, written


def load_kept(work: Work, kept: Published, how: How, back: Run) -> tuple[Run, int]:
    """Write the kept totals of the run's counters into Cassandra, where it has others, and into the run's branch."""
    settings, cassandra, table = work.settings, work.cassandra, work.table
    stored, back = stored_totals(work.spark, settings, back)
    of_run = F.col("counter").isin(sorted(back.recount))
    note(cassandra, back, State.COUNTING)
    work.lease.check()
    table.begin(back, how)
    current = table.written().where(of_run).select(*ROW).unionByName(stored.where(of_run).select(*ROW))
    rows = replaced(current, table.read(kept).where(of_run), standing(stored, back), back.target.write_time)
    table.recount(rows, back.recount)
    stored.unpersist()
    note(cassandra, back, State.LOADING)
    work.lease.check()
    known = {name: at for name, at in published(cassandra).items() if name in back.recount}
    if first := going_back(known, back.target):
        publish(cassandra, back.target, work.named(first), unranked=unranked(cassandra), uncharted=uncharted(cassandra))
        no_longer = settings.serving.timeout + settings.serving.cache
        time.sleep(no_longer.total_seconds())  # than that goes a request on with the cutoff it read before
    written = load(work, back, back.recount)
    work.lease.check()
    return back, written
