"""Are the counts right, and how do you know? Everything that can be proven of log, totals and increments, on one page.

    stitch audit --help           (stitch submit audit_counts, the same)

It reads and never writes, while everything runs. Exit status: 0 where all is right, 3 where something is not; any other
where it could not be told (docs/commands.md). What is compared is compared in Spark: the driver gets sums, a line for
each partition, and the first few rows that are wrong.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from jobs.audit.counts import MOST_RUNS, charts, lists, live_window, publications, recounts, zooms
from jobs.audit.findings import printed, report_of
from jobs.audit.log import contiguity, reached, topic_fit
from jobs.audit.records import conservation, rejected
from jobs.ledger.runs import noted_runs
from jobs.process import figures
from jobs.process.errors import NotYet, run
from jobs.process.spark import session
from jobs.proof.completeness import check_ingest_window
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import published, uncharted, unranked
from jobs.totals.definitions import counted_live, judged, written_live
from stitch.cutoff import Published
from stitch.errors import ExitStatus
from stitch.runs import Noted, State, newest
from stitch.settings import Settings, load_settings

JOB = "audit_counts"


def audit(settings: Settings, sample: float, now: datetime) -> dict[str, Any]:
    """Look at everything; the report (see --json). Raises NotYet where a batch publishes meanwhile."""
    settings = counted_live(settings)
    with connected(settings.batch, "batch") as cassandra, session(JOB, settings) as spark:
        progress = check_ingest_window(settings) if settings.log.kafka else None
        before = published(cassandra)
        live, settings = written_live(settings, progress), judged(settings, before)
        names = [counter.name for counter in settings.counters]
        runs = noted_runs(cassandra, last=MOST_RUNS)
        known = {name: before[name] for name in names if name in before}
        without_lists, without_charts = unranked(cassandra), uncharted(cassandra)
        listed = {name: at for name, at in known.items() if name not in without_lists}
        charted = {name: at for name, at in known.items() if name not in without_charts}
        base = newest(names, known)
        edge, complete = reached(spark, settings, now)
        findings = [
            topic_fit(settings),
            complete,
            contiguity(spark, settings),
            rejected(spark, settings, now),
            *conservation(spark, settings, edge),
            publications(TotalsTable(spark, settings), names, known, runs),
            *recounts(spark, settings, known, runs, sample),
            *(
                [zooms(spark, settings, known), lists(spark, settings, listed), charts(spark, settings, charted)]
                if base
                else []
            ),
            *(
                [live_window(spark, live, known, edge, lambda: max(now, datetime.now(UTC)))]
                if settings.log.kafka
                else []
            ),
        ]
        if published(cassandra) != before or loading(noted_runs(cassandra, last=MOST_RUNS)) - loading(runs):
            raise NotYet("a batch loaded or published totals while the audit read: run it again")
    return report_of(findings, now, base.cutoff if base else None, sample)


def loading(runs: list[Noted]) -> set[Published]:
    """The runs that are loading, or died."""
    return {run.at for run in runs if run.state == State.LOADING}


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option(
    "--sample", type=click.FloatRange(0.0001, 1), default=1.0, show_default=True, help="recount this share of the keys"
)
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def main(config: str | None, sample: float, as_json: bool) -> None:
    """Log, totals and increments against each other."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    report = audit(settings, sample, datetime.now(UTC))
    print(json.dumps(report) if as_json else printed(report), flush=True)
    if not report["right"]:
        raise click.exceptions.Exit(ExitStatus.WRONG)


if __name__ == "__main__":
    run(main)
