"""`stitch submit`: a job by spark-submit, with the packages and settings of conf/spark-defaults.conf.

spark-submit is a JVM with the Python driver as its child, and a SIGTERM to the JVM would end Spark in the middle of a
micro-batch. So this process stays above both and hands the signal to the driver, which stops between two batches;
before there is a driver it ends the JVM. The driver in turn watches this process (jobs.process.parents): when it is
killed, nothing stays.

The packages are not resolved at each start but given as jars that were fetched once: that saves seconds, and Ivy talks
on the stdout that a job's JSON goes to.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import click
import psutil

from stitch import properties as spark_properties
from stitch.errors import ExitStatus, StitchError
from stitch.jars import classes
from stitch.jars.fetch import fetch_missing
from stitch.jars.sets import CACHE, SPARK, JarSet
from stitch.java import java_home
from stitch.shipped import CONF, PACKAGES
from stitch.submit_args import LOG_FORMAT, RUN_ID, STREAMING, SUBMITTER, taken

DEFAULTS = CONF / "spark-defaults.conf"
LOG4J = CONF / "log4j2.properties"
JOBS = (
    "streaming_counts", "archive_events", "batch_totals", "maintain_log", "rollup_increments", "restore_counts",
    "audit_counts", "erase_key", "rejected_records",
)  # fmt: skip
END_WITHIN_S = 10.0
CLASS_PATH = "spark.driver.extraClassPath"
JVM_OPTIONS = "SPARK_SUBMIT_OPTS"  # the variable whose options spark-submit gives to its own JVM alone


class SubmitError(StitchError):
    """A job cannot be submitted as was asked; the message says why."""

    exit_status = ExitStatus.USAGE


def command(job: str, args: Sequence[str], properties: Path, spark_args: Sequence[str] = ()) -> list[str]:
    """The spark-submit call of a job: flags of ours before the job, its own arguments after it."""
    spark_submit = str(classes.spark_home() / "bin/spark-submit")
    return [spark_submit, "--properties-file", str(properties), *spark_args, str(PACKAGES / f"jobs/{job}.py"), *args]


def properties(
    defaults: str, jars: JarSet, own_jars: Sequence[str] = (), own_packages: Sequence[str] = (), one_jvm: bool = False
) -> str:
    """The text of conf/spark-defaults.conf as it is to be on this machine, from any directory: with the fetched jars in
    place of the packages they were resolved from; where they are not these, or not there, Ivy resolves them.

    own_jars, own_packages: those of the command line, which come beside the file's
    one_jvm: no executor gets jars; then they are on the class path that the JVM begins with, whose classes it may have
        in one file (stitch.jars.classes). Not beside jars of one's own, which those on the class path would not see
    """
    settings = spark_properties.parse(defaults)
    packages = _listed(settings.pop("spark.jars.packages", ""))
    files = [*_listed(settings.pop("spark.jars", "")), *_listed(",".join(own_jars))]
    if jars.complete and set(packages) == set(jars.packages):
        fetched, packages = [str(file) for file in jars.files], []
        if one_jvm and not files and not own_packages and CLASS_PATH not in settings:
            settings[CLASS_PATH] = ":".join(fetched)
        else:
            files = [*fetched, *files]
    packages += _listed(",".join(own_packages))
    for name, values in (("spark.jars", files), ("spark.jars.packages", packages)):
        if values:
            settings[name] = ",".join(values)
    if packages:  # else Ivy would tell of its settings on stdout all the same
        settings.setdefault("spark.jars.ivy", f"{CACHE}/ivy")
        settings.setdefault("spark.jars.ivySettings", f"{CONF}/ivysettings.xml")
    java = settings.get("spark.driver.extraJavaOptions", "")
    if "log4j2.configurationFile" not in java:
        log4j = LOG4J.with_name("log4j2-json.properties") if os.environ.get(LOG_FORMAT) == "json" else LOG4J
        settings["spark.driver.extraJavaOptions"] = f'{java} "-Dlog4j2.configurationFile={log4j.as_uri()}"'.strip()
    return spark_properties.written(settings)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def environment(config: str | None) -> dict[str, str]:
    """The environment of spark-submit: this Python, a Java 17 and the classes it has in one file, the settings file."""
    java = java_home()
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(java)}
    env[JVM_OPTIONS] = f"{classes.options(java)} {env.get(JVM_OPTIONS, '')}".strip()
    env.pop("SPARK_HOME", None)
    env.setdefault(RUN_ID, uuid.uuid4().hex[:12])
    if config or env.get("STITCH_CONFIG"):
        env["STITCH_CONFIG"] = str(Path(config or env["STITCH_CONFIG"]).absolute())
    return env


def submit(job: str, args: Sequence[str], config: str | None, spark_args: Sequence[str] = ()) -> int:
    """Run the job to its end and return its exit status; SIGTERM and SIGINT let its running micro-batch end."""
    text, rest = own_properties(spark_args)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return _run(job, command(job, args, Path(file.name), [*spark_bar(job), *rest]), environment(config))


def spark_bar(job: str) -> list[str]:
    """Spark's bar for the stage that runs, for who sees it; elsewhere jobs tell in lines (jobs.process.progress)."""
    seen = sys.stderr.isatty() and job not in STREAMING and os.environ.get(LOG_FORMAT) != "json"
    return ["--conf", "spark.ui.showConsoleProgress=true"] if seen else []


def own_properties(spark_args: Sequence[str], for_any_master: bool = False) -> tuple[str, list[str]]:
    """(the properties for spark-submit, its arguments without those that went into them)."""
    files, rest = taken(spark_args, "--properties-file")
    jars, rest = taken(rest, "--jars", "--conf spark.jars")
    packages, rest = taken(rest, "--packages", "--conf spark.jars.packages")
    path = Path(files[-1] if files else DEFAULTS).absolute()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SubmitError(f"--properties-file {path} cannot be read: {error}") from None
    if set(_listed(spark_properties.parse(text).get("spark.jars.packages", ""))) == set(SPARK.packages):
        with redirect_stdout(sys.stderr):  # a job's JSON goes to stdout, and to it alone
            fetch_missing([SPARK])
    one_jvm = not for_any_master and _in_one_jvm(text, rest)
    return properties(text, SPARK, jars, packages, one_jvm), rest


def _in_one_jvm(text: str, spark_args: Sequence[str]) -> bool:
    """Whether the driver has all executors in its own JVM, with a class path that is ours to say."""
    own_class_path, _ = taken(spark_args, "--driver-class-path", f"--conf {CLASS_PATH}")
    masters, _ = taken(spark_args, "--master", "--conf spark.master")
    master = masters[-1] if masters else spark_properties.parse(text).get("spark.master", "")
    return master.partition("[")[0] == "local" and not own_class_path


def job_command(job: str) -> click.Command:
    """The command line of a job, read from its file: Spark is not started for its help."""
    found = importlib.import_module(f"jobs.{job}").main
    assert isinstance(found, click.Command)
    return found


def _run(job: str, command: Sequence[str], env: dict[str, str]) -> int:
    """Run it below this process. A signal that comes before there is a process to give it to is not lost."""
    child: subprocess.Popen[bytes] | None = None
    asked: list[int] = []

    def hand_on(number: int, _: Any) -> None:
        asked.append(number)
        if child:
            _end(job, child, at_once=len(asked) > 1)

    me = psutil.Process()
    env = {**env, SUBMITTER: f"{me.pid} {me.create_time()}"}
    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        child = subprocess.Popen(command, env=env, start_new_session=True)
        if asked:
            _end(job, child, at_once=True)
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status  # as shells say it


def _end(job: str, child: subprocess.Popen[bytes], at_once: bool) -> None:
    """Ask the driver to end; where there is none yet, or a second signal came, end the JVM and all below it."""
    try:
        below = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    drivers = [process for process in below if _is_driver(process, job)]
    if at_once or not drivers:
        _signal_all(child, signal.SIGTERM)
        last = threading.Timer(END_WITHIN_S, _signal_all, (child, signal.SIGKILL))
        last.daemon = True
        last.start()
    else:
        for process in drivers:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)


def _is_driver(process: psutil.Process, job: str) -> bool:
    try:
        return "python" in process.name() and any(part.endswith(f"{job}.py") for part in process.cmdline())
    except psutil.Error:
        return False


def _signal_all(child: subprocess.Popen[bytes], number: int) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)  # it began a session: nobody else is in its group
