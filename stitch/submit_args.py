"""Which arguments of `stitch submit JOB …` are spark-submit's and which are the job's.

With a `--` it is said: what stands before is spark-submit's, what stands behind is the job's. Without one, options that
spark-submit knows go there and everything else to the job; a test holds that no job has an option of such a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

# In a job's environment: pid and birth of the `stitch submit` above it; json: lines of JSON, each with the run's id.
SUBMITTER, LOG_FORMAT, RUN_ID = "STITCH_SUBMITTER", "STITCH_LOG_FORMAT", "STITCH_RUN_ID"
STREAMING = ("streaming_counts", "archive_events")  # jobs which have a line for each batch

# Of Spark 3.5 (SparkSubmitOptionParser); --help is the job's, --name and the others take a value.
SWITCHES = frozenset({"--verbose", "-v", "--supervise", "--usage-error", "--version"})
WITH_VALUE = frozenset({
    "--archives", "--class", "--conf", "-c", "--deploy-mode", "--driver-class-path", "--driver-cores",
    "--driver-java-options", "--driver-library-path", "--driver-memory", "--exclude-packages", "--executor-cores",
    "--executor-memory", "--files", "--jars", "--keytab", "--kill", "--master", "--name", "--num-executors",
    "--packages", "--principal", "--properties-file", "--proxy-user", "--py-files", "--queue", "--remote",
    "--repositories", "--status", "--total-executor-cores",
})  # fmt: skip


def split(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """(spark-submit's, the job's). Raises click.UsageError where one before `--` is none of spark-submit's."""
    said = "--" in args
    before = list(args[: args.index("--")]) if said else list(args)
    behind = list(args[args.index("--") + 1 :]) if said else []
    spark: list[str] = []
    job: list[str] = []
    while before:
        word = before.pop(0)
        if word in WITH_VALUE:
            if not before:
                raise click.UsageError(f"{word} of spark-submit needs a value")
            spark += [word, before.pop(0)]
        elif word in SWITCHES or (word.startswith("--") and word.partition("=")[0] in WITH_VALUE):
            spark.append(word)
        else:
            job.append(word)
    if said and job:
        raise click.UsageError(
            f"{job[0]} is no option of spark-submit, which those before -- go to: put it behind the --"
        )
    return spark, job + behind


def taken(args: Sequence[str], *names: str) -> tuple[list[str], list[str]]:
    """(the values of these options among spark-submit's, the arguments without them): taken(["--jars", "a"], "--jars").

    A name such as `--conf spark.jars` asks for that property.
    """
    values: list[str] = []
    rest: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in WITH_VALUE and not equals:
            value = words.pop(0)
        name, _, of_property = value.partition("=")
        if option in names:
            values.append(value)
        elif option in ("--conf", "-c") and f"--conf {name}" in names:
            values.append(of_property)
        else:
            rest += [word] if equals or option not in WITH_VALUE else [word, value]
    return values, rest
