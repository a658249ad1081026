"""Every figure that jobs export to Prometheus, in one literal: name, type, labels, and what it means.

Names end in their unit, which is a base unit; a counter is exported as `…_total`. Each has the label JOB, too:
`job` is Prometheus' own, for what it scraped. A label has few values, whatever events hold. Where time is told it is an
instant and not an age: what does not move any more is still what it was, and the alert knows the time.

The reader's are in serving.observe.metrics; docs/metrics.md documents both.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

JOB = "stitch_job"


class Figure(NamedTuple):
    """One metric; `labels` without JOB."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str

    @property
    def exported(self) -> str:
        """Its name as Prometheus has it."""
        return f"{self.name}_total" if self.type == "counter" else self.name


# What is read
LAG = Figure("stitch_lag_records", "gauge", ("topic", "partition"), "offsets that the last micro-batch left unread")
THROUGH = Figure(
    "stitch_job_through_timestamp_seconds", "gauge", (), "what was appended before it has been read, and written"
)
READ = Figure("stitch_records_read", "counter", (), "records read")
REJECTED = Figure("stitch_records_rejected", "counter", ("reason",), "records that are no events, by kind of reason")
ABSENT = Figure("stitch_fields_absent", "counter", ("field",), "fields left out, since their values are wrong")
DROPPED = Figure(
    "stitch_rows_dropped", "counter", (), "sums that came too late for the watermark; their windows are counted again"
)
DUPLICATES = Figure("stitch_duplicates", "counter", (), "events left out, since they were counted before")
EXCLUDED = Figure("stitch_records_excluded", "counter", (), "records that the rules of exclusions leave out")
# What is written
WRITTEN = Figure("stitch_rows_written", "counter", (), "rows upserted into Cassandra")
CORRECTED = Figure("stitch_corrections", "counter", ("counter",), "how much the batch changed what readers saw")
REFUSED = Figure("stitch_guard_refused", "gauge", ("counter",), "1 where the publish guard refused it in the last run")
CUTOFF = Figure("stitch_job_cutoff_timestamp_seconds", "gauge", (), "the cutoff that the job published last")
# How it works
PHASES = Figure("stitch_micro_batch_seconds", "histogram", ("phase",), "time of a micro-batch, by Spark's phase")
RETRIES = Figure("stitch_retries", "counter", ("what",), "a query started again, or a commit that came second")
STATE_ROWS = Figure("stitch_state_rows", "gauge", ("operator",), "rows of the query's state")
STATE_BYTES = Figure("stitch_state_bytes", "gauge", ("operator", "place"), "the state's size, in memory and on disk")
TABLE_FILES = Figure("stitch_table_files", "gauge", ("table",), "data files of the Iceberg table")
TABLE_BYTES = Figure("stitch_table_bytes", "gauge", ("table",), "their size")
TABLE_ROWS = Figure("stitch_table_rows", "gauge", ("table",), "the rows in them")
# How it ended
SUCCESS = Figure("stitch_job_last_success_timestamp_seconds", "gauge", (), "when it last ended with exit status 0")
ENDED = Figure("stitch_job_last_end_timestamp_seconds", "gauge", (), "when it last ended")
STATUS = Figure("stitch_job_last_exit_status", "gauge", (), "the exit status it ended with")
DURATION = Figure("stitch_job_last_run_seconds", "gauge", (), "how long that run took")
# What `stitch probe` finds
FRESHNESS = Figure("stitch_freshness_seconds", "gauge", (), "from the broker's acknowledgement to the reader's answer")
PROBED = Figure("stitch_probe_last_success_timestamp_seconds", "gauge", (), "when the reader last had a probe's event")
NOT_FRESH = Figure("stitch_probe_failures", "counter", (), "probes whose event the reader did not have in time")

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds of a phase
FIGURES: tuple[Figure, ...] = tuple(one for one in list(globals().values()) if isinstance(one, Figure))
