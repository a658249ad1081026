"""`stitch submit`: a job by spark-submit, with the packages and settings of conf/spark-defaults.conf.

spark-submit is a JVM with the Python driver as its child, and a SIGTERM to the JVM would end Spark in the middle of a
micro-batch. So this process stays above both and hands the signal to the driver, which stops between two batches.

The packages are not resolved at each start but given as the jars that set-up fetched: that saves seconds, and Ivy talks on
the stdout that a job's JSON goes to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from stitch.local.jars import SPARK, JarSet
from stitch.local.java import java_home

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = ROOT / "conf/spark-defaults.conf"
JOBS = (
    "streaming_counts", "archive_events", "batch_totals", "rollup_increments", "restore_counts", "audit_counts", "erase_key",
)  # fmt: skip


def command(job: str, args: Sequence[str], properties: Path, spark_args: Sequence[str] = ()) -> list[str]:
    """The spark-submit call of a job: flags of ours before the job, its own arguments after it."""
    spark_submit = Path(sys.executable).with_name("spark-submit")
    return [
        str(spark_submit), "--properties-file", str(properties), *spark_args, str(ROOT / f"jobs/{job}.py"), *args
    ]  # fmt: skip


def properties(defaults: str, jars: JarSet) -> str:
    """The text of conf/spark-defaults.conf as it is to be on this machine: with the fetched jars in place of the packages they
    were resolved from; where they are not these, or not there, with absolute paths for Ivy."""
    settings = dict(line.split(maxsplit=1) for line in defaults.splitlines() if line.startswith("spark."))
    if jars.complete and settings["spark.jars.packages"] == ",".join(jars.packages):
        settings = {name: value for name, value in settings.items() if not name.startswith("spark.jars.")}
        settings["spark.jars"] = ",".join(str(jar) for jar in sorted(jars.folder.glob("*.jar")))
    else:
        settings |= {
            "spark.jars.ivy": f"{ROOT}/.cache/ivy",
            "spark.jars.ivySettings": f"{ROOT}/conf/ivysettings.xml",
        }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def environment(config: str | None) -> dict[str, str]:
    """The environment of spark-submit: this Python, a Java 17, the settings file."""
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(java_home())}
    env.pop("SPARK_HOME", None)
    if config:
        env["STITCH_CONFIG"] = str(config)
    return env


def submit(job: str, args: Sequence[str], config: str | None, spark_args: Sequence[str] = ()) -> int:
    """Run the job to its end and return its exit status; SIGTERM and SIGINT let its running micro-batch end."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(properties(DEFAULTS.read_text("utf-8"), SPARK))
        file.flush()
        return _run(job, command(job, args, Path(file.name), spark_args), environment(config))


def _run(job: str, command: Sequence[str], env: dict[str, str]) -> int:
    child = subprocess.Popen(command, env=env, start_new_session=True)

    def hand_on(*_: Any) -> None:
        for process in psutil.Process(child.pid).children(recursive=True):
            if "python" in process.name() and any(f"{job}.py" in part for part in process.cmdline()):
                process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
