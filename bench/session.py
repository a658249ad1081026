"""Spark in the process of a bench, with the properties that `stitch submit` gives to jobs."""

from __future__ import annotations

import os
from pathlib import Path

from pyspark.sql import SparkSession

from stitch.submit import JVM_OPTIONS, environment, own_properties


def spark_in(folder: Path, name: str) -> SparkSession:
    """A session of that name; its properties are written into the folder."""
    properties = folder / "spark.conf"
    properties.write_text(own_properties([])[0], "utf-8")
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--properties-file {properties} pyspark-shell"
    of_jobs = environment(None)
    os.environ |= {name: of_jobs[name] for name in ("JAVA_HOME", "PYSPARK_PYTHON", JVM_OPTIONS)}
    return SparkSession.builder.appName(name).getOrCreate()
