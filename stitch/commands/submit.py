"""`stitch submit`, `stitch audit` and `stitch spark-conf`: jobs by spark-submit."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from stitch.commands.group import Passing, set_log_format
from stitch.extras import require

SUBMIT = "JOB [SPARK-SUBMIT'S OPTIONS] [--] [JOB'S OPTIONS]"


class Submitting(Passing):
    """Completed by the jobs, and by the options of the one that is named."""

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        from stitch.submit import JOBS, job_command

        words = list(JOBS)
        if context.args:
            words = [one for parameter in job_command(context.args[0]).params for one in parameter.opts]
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


@click.command(
    "submit", cls=Submitting, add_help_option=False, options_metavar=SUBMIT, short_help="Run a job by spark-submit."
)
@click.pass_context
def submit_job(context: click.Context) -> None:
    """Run JOB by spark-submit, with conf/spark-defaults.conf or, in its place, --properties-file FILE.

    Options that spark-submit knows go there (--master URL, --conf NAME=VALUE, --driver-memory 4g, …), all others to the
    job. With a -- it is said which: what stands before it goes to spark-submit, what stands behind it to the job.
    --jars and --packages come beside those of Stitch.

    `stitch submit JOB --help` is the job's help.
    """
    from stitch.submit import JOBS

    jobs = f"the jobs are {', '.join(JOBS)}"
    job, *args = context.args or [""]
    if job == "--help":
        click.echo(f"{context.get_help()}\n\n{jobs}")
    elif job in JOBS:
        run_job(context, job, args)
    else:
        raise click.UsageError(f"{job!r} is no job, and the job comes first: {jobs}" if job else f"name a job: {jobs}")


@click.command(cls=Passing, add_help_option=False, short_help="Are the counts right, and how do you know?")
@click.pass_context
def audit(context: click.Context) -> None:
    """The job audit_counts: one page, and exit status 3 where something is not right."""
    run_job(context, "audit_counts", context.args)


@click.command(cls=Passing, add_help_option=False, short_help="Why records are no events: reason, count, example.")
@click.pass_context
def rejected(context: click.Context) -> None:
    """The job rejected_records, over the event log: --since 24h says how far back."""
    run_job(context, "rejected_records", context.args)


def run_job(context: click.Context, job: str, args: Sequence[str]) -> None:
    """Run it, and end with its exit status; or print its help, for which no Spark is needed."""
    require("jobs")
    from stitch.submit import job_command, submit
    from stitch.submit_args import split

    spark, own = split(log_format_taken(args))
    if "--help" in own:
        command = job_command(job)
        click.echo(command.get_help(click.Context(command, info_name=f"stitch submit {job}")))
        return
    context.exit(submit(job, own, context.obj, spark))


def log_format_taken(args: Sequence[str]) -> list[str]:
    """The arguments without --log-format, which is the job's process's: it may stand behind the job's name, too."""
    left: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name != "--log-format":
            left.append(word)
        elif equals or words:
            set_log_format(value if equals else words.pop(0))
        else:
            raise click.UsageError("--log-format needs a value: text or json")
    return left


@click.command("spark-conf")
@click.option("--properties-file", metavar="FILE", help="In place of conf/spark-defaults.conf.")
def spark_conf(properties_file: str | None) -> None:
    """Print conf/spark-defaults.conf as jobs get it on this machine, for a spark-submit by hand from any directory."""
    require("jobs")
    from stitch.submit import own_properties

    file = ["--properties-file", properties_file] if properties_file else []
    click.echo(own_properties(file, for_any_master=True)[0], nl=False)
