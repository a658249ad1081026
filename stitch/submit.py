"""`stitch submit`: a job by spark-submit, with the packages and settings of conf/spark-defaults.conf.

spark-submit is a JVM with the Python driver as its child, and a SIGTERM to the JVM would end Spark in the middle of a
micro-batch. So this process stays above both and hands the signal to the driver, which stops between two batches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from stitch.local.java import java_home

ROOT = Path(__file__).resolve().parents[1]
JOBS = (
    "streaming_counts", "archive_events", "batch_totals", "rollup_increments", "restore_counts", "audit_counts", "erase_key",
)  # fmt: skip


def command(job: str, args: Sequence[str], spark_args: Sequence[str] = ()) -> list[str]:
    """The spark-submit call of a job: flags of ours before the job, its own arguments after it."""
    spark_submit = Path(sys.executable).with_name("spark-submit")
    properties = ["--properties-file", str(ROOT / "conf/spark-defaults.conf")]
    here = [
        "--conf",
        f"spark.jars.ivy={ROOT}/.cache/ivy",
        "--conf",
        f"spark.jars.ivySettings={ROOT}/conf/ivysettings.xml",
    ]
    return [str(spark_submit), *properties, *here, *spark_args, str(ROOT / f"jobs/{job}.py"), *args]


def environment(config: str | None) -> dict[str, str]:
    """The environment of spark-submit: this Python, a Java 17, the settings file."""
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(java_home())}
    env.pop("SPARK_HOME", None)
    if config:
        env["STITCH_CONFIG"] = str(config)
    return env


def submit(job: str, args: Sequence[str], config: str | None, spark_args: Sequence[str] = ()) -> int:
    """Run the job to its end and return its exit status; SIGTERM and SIGINT let its running micro-batch end."""
    child = subprocess.Popen(command(job, args, spark_args), env=environment(config), start_new_session=True)

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
