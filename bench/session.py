"""Spark in the process of a bench, with the properties that `stitch submit` gives to jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from stitch.java import java_home
from stitch.submit import own_properties


def spark_in(folder: Path, name: str) -> SparkSession:
    """A session of that name; its properties are written into the folder."""
    properties = folder / "spark.conf"
    properties.write_text(own_properties([])[0], "utf-8")
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--properties-file {properties} pyspark-shell"
    os.environ |= {"JAVA_HOME": str(java_home()), "PYSPARK_PYTHON": sys.executable}
    return SparkSession.builder.appName(name).getOrCreate()
