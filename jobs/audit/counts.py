"""The audit's looks at what is published: cutoffs by the ledger, totals by a recount of the log and by each other,
increments by the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.audit.findings import SHOWN, Finding
from jobs.frames.audits import unequal_zooms
from jobs.frames.contributions import contributions
from jobs.frames.differences import compared, differing
from jobs.frames.increments import not_before
from jobs.frames.rankings import BUCKET, KEYS, MEMBERS, unlike, unlike_charts
from jobs.frames.totals import ROW, totals
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import read_increments, read_lists, read_totals
from jobs.totals.counting import INCREMENT, expected_increments, first_events
from stitch.cutoff import Published, window_start
from stitch.runs import Noted, State, of_tag, publication, tag
from stitch.settings import Settings
from stitch.tables import RANKED_KEYS, RANKED_MEMBERS

MOST_RUNS = 1000  # of the ledger: years of nights
Clock = Callable[[], datetime]
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def publications(
    table: TotalsTable, names: Collection[str], known: Mapping[str, Published], runs: Sequence[Noted]
) -> Finding:
    """Each counter's published cutoff is that of the run which the ledger says published it last: a cutoff that was
    moved or deleted by hand makes readers leave increments out, or count them twice.

    known: what is published of each counter; runs: of the ledger, the newest first
    """
    about = "cutoffs: ledger"
    ran = {run.at for run in runs if run.state == State.PUBLISHED}
    if not ran:
        if known:
            return Finding(about, True, "not known: the ledger says of no run that it published")
        return Finding(about, True, "nothing is published")
    expected = last_published(table, names, runs)
    underway = {run.at._replace(revision=run.at.revision - more) for run in runs for more in (0, 1)
                if run.kind == "restore" and run.state == State.LOADING}  # fmt: skip
    details = []
    for name in names:
        at, last = known.get(name), expected.get(name)
        if at == last or at in underway or (last is None and at in ran):
            continue
        stored = f"published is {tag(at)}" if at else "no cutoff is published"
        noted = f"{tag(last)} published it last" if last else "no run published that"
        details.append(f"{name}: {stored}, and by the ledger {noted}")
    said = f"{len(details)} of {len(names)} counters have another cutoff than the run that published them last"
    return Finding(about, not details, said, details)


def last_published(table: TotalsTable, names: Collection[str], runs: Sequence[Noted]) -> dict[str, Published]:
    """counter → the run that published it last; a counter of which that is not known is not among them.

    The guard leaves counters behind, which the ledger does not say by name: the table does, of the runs that it keeps.
    """
    found: dict[str, Published] = {}
    for run in runs:
        if run.state != State.PUBLISHED:
            continue
        if len(found) == len(names) or not table.holds(run.at):
            break
        behind = table.how(run.at).behind
        for name in names:
            if name not in found and name in behind and (at := of_tag(behind[name].by)):
                found[name] = at
            elif name not in found and name not in behind and (name in run.counters or not run.counters):
                found[name] = run.at
    return found


def recounts(
    spark: SparkSession, settings: Settings, known: Mapping[str, Published], runs: Sequence[Noted], sample: float
) -> list[Finding]:
    """A recount for each cutoff that is published: the guard may have left counters behind."""
    if settings.log.retention:
        return [Finding("totals: recount", True, "not made: log.retention is set, and totals count what is gone, too")]
    findings = []
    for at in sorted(set(known.values()), reverse=True):
        findings.append(recount(spark, settings, [name for name in known if known[name] == at], at, runs, sample))
    if lacking := [counter.name for counter in settings.counters if counter.name not in known]:
        findings.append(unpublished(spark, settings, lacking, runs))
    return findings


def recount(
    spark: SparkSession, settings: Settings, names: list[str], at: Published, runs: Sequence[Noted], sample: float
) -> Finding:
    """The totals equal to a fresh count of the log up to the cutoff, as far as it was read. Rows under a later cutoff
    are left out where a run that is loading, or died, has it, and wrong where none has: readers count no increment
    before it."""
    counters = [counter for counter in settings.counters if counter.name in names]
    ran = publication(runs, at)
    events = first_events(spark, settings, at.cutoff, ran.position if ran else {})
    fresh = totals(contributions(events, counters), counters)
    stored = read_totals(spark, settings).where(F.col("counter").isin(names))
    sampled = F.pmod(F.xxhash64("key"), F.lit(10_000)) < F.lit(round(sample * 10_000))
    ahead = F.coalesce(F.col("cutoff") > F.lit(at.cutoff), F.lit(False))
    rows = compared(stored.where(sampled), fresh.where(sampled), ROW, "cutoff").withColumn("ahead", ahead)
    rows = rows.where(~(F.col("ahead") & _of_loading(runs, at))).persist()
    try:
        wrong, looked = rows.where(F.col("ahead") | differing()), rows.count()
        count = wrong.count()
        details = [
            f"{_named(row)} {row.granularity} {row.bucket:%FT%TZ}: stored {row.stored}, log {row.expected}"
            + (f", under the later cutoff {row.cutoff:%FT%TZ}" if row.ahead else "")
            for row in _first(wrong, ROW)
        ]
    finally:
        rows.unpersist()
    share = "" if sample >= 1 else f" ({sample:.0%} of the keys)"
    of_some = "" if len(names) == len(settings.counters) else f" ({', '.join(names)})"
    said = f"{count} of {looked} rows{share} differ from the log at {at.cutoff:%FT%TZ}{of_some}"
    return Finding("totals: recount", count == 0, said, details)


def unpublished(spark: SparkSession, settings: Settings, names: list[str], runs: Sequence[Noted]) -> Finding:
    """Counters of which nothing is published have no totals, but those of a run that is loading, or died."""
    rows = read_totals(spark, settings).where(F.col("counter").isin(names)).where(~_of_loading(runs, None))
    count = rows.count()
    details = [
        f"{_named(row)} {row.granularity} {row.bucket:%FT%TZ}: stored {row['count']}" for row in _first(rows, ROW)
    ]
    said = f"{count} rows of counters of which nothing is published ({', '.join(names)})"
    return Finding("totals: recount", count == 0, said, details)


def zooms(spark: SparkSession, settings: Settings, known: Mapping[str, Published]) -> Finding:
    """All-time = Σ months = Σ days = Σ hours (= Σ finer), of every key and member."""
    stored = read_totals(spark, settings).where(F.col("counter").isin([counter.name for counter in settings.counters]))
    wrong = unequal_zooms(stored, settings.counters, {name: at.cutoff for name, at in known.items()})
    details = [f"{_named(row)}: {row.sums}" for row in _first(wrong, ["counter", "key", "member"])]
    return Finding(
        "totals: zoom", not details, "months = Σ days = Σ hours = all-time, of every key and member", details
    )


def lists(spark: SparkSession, settings: Settings, known: Mapping[str, Published]) -> Finding:
    """Each list of the members that counted most is that of the totals. known: of the counters whose lists readers rely
    on. That a bucket has no list is no fault: readers then take the totals themselves."""
    if not known:
        return Finding("totals: lists", True, "not relied on: an earlier version published, which makes none")
    of_them = F.col("counter").isin([*known]) & (F.size("members") > 0)
    stored = read_lists(spark, settings, MEMBERS.table).where(of_them).persist()
    cutoffs = {name: at.cutoff for name, at in known.items()}
    wrong = unlike(stored, read_totals(spark, settings), cutoffs, RANKED_MEMBERS).persist()
    try:
        looked = stored.count()
        count = wrong.count() if looked else 0  # without a list, no totals are read
        details = [
            f"{row.counter} {row.key} {row.granularity} {row.bucket:%FT%TZ}: a list of {len(row.members)} members, "
            "which are not the first by the stored totals"
            for row in (_first(wrong, BUCKET) if count else ())
        ]
    finally:
        wrong.unpersist()
        stored.unpersist()
    return Finding("totals: lists", count == 0, f"{count} of {looked} lists of members differ from the totals", details)


def charts(spark: SparkSession, settings: Settings, known: Mapping[str, Published]) -> Finding:
    """Each list of the keys that counted most is that of the totals, and each bucket with keys that count has one.
    known: of the counters whose charts readers rely on."""
    if not known:
        return Finding("totals: charts", True, "not relied on: no counter was published with a chart")
    stored = read_lists(spark, settings, KEYS.table).where(F.col("counter").isin([*known])).persist()
    cutoffs = {name: at.cutoff for name, at in known.items()}
    wrong = unlike_charts(stored, read_totals(spark, settings), cutoffs, RANKED_KEYS).persist()
    try:
        count, looked = wrong.count(), stored.count()
        details = [
            f"{row.counter} {row.granularity} {row.bucket:%FT%TZ}: "
            + (
                f"a list of {len(row.keys)} keys, which are not the first by the stored totals"
                if row.keys is not None
                else "no list, where keys count by the stored totals"
            )
            for row in _first(wrong, KEYS.bucket)
        ]
    finally:
        wrong.unpersist()
        stored.unpersist()
    return Finding("totals: charts", count == 0, f"{count} of {looked} lists of keys differ from the totals", details)


def live_window(
    spark: SparkSession, settings: Settings, known: Mapping[str, Published], edge: datetime, clock: Clock
) -> Finding:
    """The increments since their counter's cutoff equal to what the log says, for the windows that are over; and none
    of a window that has not begun, which readers would count.

    clock: says what time it is, when the increments have been read
    """
    cutoffs = {name: at.cutoff for name, at in known.items()}
    since = min(cutoffs.values(), default=edge - settings.realtime.retention)
    newest_cutoff = max(cutoffs.values(), default=None)  # of counters that are new
    stored, expected = (
        read_increments(spark, settings, since, FOREVER),
        expected_increments(spark, settings, since, edge),
    )
    found = compared(stored, expected, INCREMENT, "write_time").where(not_before(cutoffs, newest_cutoff)).persist()
    try:
        found.count()  # read before the clock is: the job counts on meanwhile
        begun = window_start(clock() + settings.log.grace, settings.streaming.ingest_window)
        rows = found.withColumn("to_come", F.col("ingest_window") > F.lit(begun))
        rows = rows.where((F.col("ingest_window") < F.lit(edge)) | F.col("to_come"))
        wrong, looked = rows.where(F.col("to_come") | differing()), rows.count()
        count = wrong.count()
        details = [
            f"{_named(row)} {row.ingest_window:%FT%TZ}: stored {row.stored}, log {row.expected}"
            + (", in a window that has not begun" if row.to_come else "")
            for row in _first(wrong, INCREMENT)
        ]
    finally:
        found.unpersist()
    said = f"{count} of {looked} rows of the windows {since:%FT%TZ} to {edge:%FT%TZ} differ from the log"
    return Finding("increments: log", count == 0, said, details + (["restore_counts repairs them"] if count else []))


def _of_loading(runs: Sequence[Noted], since: Published | None) -> Column:
    """The condition on totals that a run has their cutoff which is loading, or died, since that one."""
    loading = {run.at.cutoff for run in runs
               if run.state == State.LOADING and (since is None or run.at.write_time > since.write_time)}  # fmt: skip
    return reduce(
        lambda found, cutoff: found | F.coalesce(F.col("cutoff") == F.lit(cutoff), F.lit(False)), loading, F.lit(False)
    )


def _first(wrong: DataFrame, order: list[str]) -> list[Row]:
    return list(wrong.orderBy(*order).limit(SHOWN).collect())


def _named(row: Row) -> str:
    return " ".join(part for part in (row.counter, row.key, row.member) if part)
