"""Stitch's nights in Airflow 3: archive up to the cutoff → totals → audit → the asset stitch://totals.

Copy this file into the folder of DAGs, and make its pool, once: airflow pools set stitch 1 "Stitch: one job at a time"
What it reads of the environment, that of the DAG processor and of the workers, with the defaults:

STITCH_COMMAND       /opt/stitch/bin/stitch --config /etc/stitch/stitch.toml   (or: ssh spark-edge stitch --config …)
STITCH_SCHEDULE      10 1 * * *     some minutes behind a full hour, up to which it counts
STITCH_AUDIT_SAMPLE  0.01           the share of the keys that the audit recounts

Jobs are run by `stitch submit`, in an environment of their own, and not by SparkSubmitOperator. That one makes the same
exception of every exit status, so that a counter which the publish guard refused would be tried again until nobody
looks; its SIGTERM ends Spark in the middle; and its package wants a pyspark 4, where Stitch has 3.5.
"""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

COMMAND = shlex.split(os.environ.get("STITCH_COMMAND", "/opt/stitch/bin/stitch --config /etc/stitch/stitch.toml"))
SCHEDULE = os.environ.get("STITCH_SCHEDULE", "10 1 * * *")
SAMPLE = os.environ.get("STITCH_AUDIT_SAMPLE", "0.01")
TOTALS = Asset("stitch://totals")  # for the schedule of a DAG that reads what was published

AGAIN = 75  # a reason that may pass
ENDED = (143, 137)  # by SIGTERM, by SIGKILL: nobody asked the job
NOTHING_NEW = "nothing to do: the cutoff is published"
GRACE = timedelta(minutes=1)  # how far brokers' clocks may differ from Airflow's
ARCHIVE = ["submit", "archive_events", "--available-now"]


def last_full_hour(instant: datetime) -> str:
    """The last full hour that has surely passed: an edge of an ingest window, whatever its length."""
    passed = (instant - GRACE).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return f"{passed:%Y-%m-%dT%H:%M:%SZ}"


def judge(status: int, said: str) -> None:
    """Return where it was done; else raise what Airflow tries again, or what it fails without another try."""
    if status == AGAIN or status in ENDED or status < 0:
        raise AirflowException(f"exit status {status}, which may pass: {said}")
    if status:
        raise AirflowFailException(f"exit status {status}: a person must look at the lines above. {said}")


class StitchOperator(BaseOperator):
    """Runs a command of Stitch and acts on its exit status.

    arguments: behind `stitch --config …`; those that are empty are left out
    before_retry: the same, of a command that comes first from the second try on
    """

    template_fields = ("arguments",)

    def __init__(self, *, arguments: list[str], before_retry: list[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.arguments = arguments
        self.before_retry = before_retry
        self.hook: SubprocessHook | None = None

    def execute(self, context: Any) -> None:
        retried = context["ti"].try_number > 1
        if self.before_retry and retried:
            self.run_stitch(self.before_retry)
        said = self.run_stitch([argument for argument in self.arguments if argument])
        if said.endswith(NOTHING_NEW) and not retried:  # a try before may have published, and died then
            raise AirflowSkipException(said)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"audited": said}

    def run_stitch(self, arguments: list[str]) -> str:
        """Run it to its end; returns the last line that it printed."""
        self.hook = SubprocessHook()
        result = self.hook.run_command([*COMMAND, *arguments])
        judge(result.exit_code, result.output)
        return str(result.output)

    def on_kill(self) -> None:
        """SIGTERM to `stitch submit`, which ends the job and all of Spark."""
        if self.hook:
            self.hook.send_sigterm()


def reason(description: str) -> Param:
    """A parameter of runs by hand alone: empty in those of the schedule."""
    return Param("", type="string", title=description, description="Say why: it is kept with the run.")


with DAG(
    "stitch_nightly",
    description="Event log → totals, published and audited",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a run counts all that came before its cutoff: nothing of nights that were left out is missing
    max_active_runs=1,
    render_template_as_native_obj=False,
    user_defined_macros={"last_full_hour": last_full_hour},
    default_args={"pool": "stitch", "retries": 12},  # an hour, by core.default_task_retry_delay (five minutes)
    params={
        "accept": reason("Publish what the guard refused (--accept)"),
        "full": reason("Recount the whole log (--full)"),
        "counter": Param("", type="string", title="With --full: this counter alone"),
        "cutoff": Param("", type="string", title="Count up to this edge of an ingest window (default: a full hour)"),
    },
    tags=["stitch"],
    doc_md=__doc__,
) as dag:
    archive = StitchOperator(
        task_id="archive_events",
        arguments=ARCHIVE,
        doc_md="All that the topic holds, and so all from before the cutoff. Beside the service of this name it adds "
        "what that has not yet.",
    )
    totals = StitchOperator(
        task_id="batch_totals",
        arguments=[
            "submit",
            "batch_totals",
            "{{ '' if params.counter else '--cutoff=' ~ (params.cutoff or last_full_hour(dag_run.run_after)) }}",
            "{{ '--full' if params.full else '' }}",
            "{{ '--counter=' ~ params.counter if params.counter else '' }}",
            "{{ '--accept' if params.accept else '' }}",
        ],
        before_retry=ARCHIVE,  # 75 may mean that the log was not up to the cutoff
        doc_md="Failed without another try: a counter stays as it was until somebody has looked. When the new counts "
        "are right, trigger the DAG with `accept` and the reason.",
    )
    audit = StitchOperator(
        task_id="audit",
        arguments=["audit", "--sample", SAMPLE],
        outlets=[TOTALS],
        doc_md="Failed without another try: counts are wrong. The log says which; docs/reliability.md what to do.",
    )
    maintain = StitchOperator(
        task_id="maintain_log",
        arguments=["submit", "maintain_log"],
        doc_md="Few large files in the event log. It may run beside everything, and be killed.",
    )
    archive >> [totals, maintain]
    totals >> audit
