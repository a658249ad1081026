"""Is the scheme of a path one that Spark's Hadoop knows? Asked at the start, for Hadoop's own answer comes late, as a
stack trace, and does not say which setting it was.

Hadoop knows a scheme by the jars that are there: file and hdfs are in Spark, s3a is in hadoop-aws, gs and abfs are in
others.
"""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.process.errors import BadOption
from stitch.values import scheme_of

# What Hadoop reads by, but no job can write to or list.
_NO_STORAGE = frozenset({"http", "https", "har", "nullscan", "ftp"})


def check_scheme(spark: SparkSession, setting: str, path: str) -> None:
    """Raises BadOption, with the schemes that are known, where no file system of Hadoop's has that of the path. A path
    without a scheme is one of the default file system's (fs.defaultFS)."""
    scheme = scheme_of(path)
    if scheme is None or _is_known(spark, scheme):
        return
    version = spark._jvm.org.apache.hadoop.util.VersionInfo.getVersion()
    wanted = spark._jsc.hadoopConfiguration().get(f"fs.{scheme}.impl")
    why = f"its file system, {wanted}, is in no jar that is here" if wanted else "no file system that is here has it"
    raise BadOption(
        f"{setting} = {path}: the scheme {scheme} is unknown: {why}. Known are {', '.join(known_schemes(spark))}. "
        f"Correct the path, or add the jars of its file system by --packages (of s3a: "
        f"org.apache.hadoop:hadoop-aws:{version}; docs/deploy.md)"
    )


def tell_of_one_disk(spark: SparkSession, setting: str, path: str) -> None:
    """Say, on a cluster, that the path is on a disk which executors on other machines do not have."""
    if spark.sparkContext.master.startswith("local"):
        return
    at = spark._jvm.org.apache.hadoop.fs.Path(path)
    if at.getFileSystem(spark._jsc.hadoopConfiguration()).getUri().getScheme() == "file":
        print(
            f"stitch: {setting} = {path} is a folder of this machine: executors must have the same one mounted there. "
            "Else name one that all machines reach, such as hdfs://… or s3a://… (docs/deploy.md)",
            flush=True,
        )


def known_schemes(spark: SparkSession) -> list[str]:
    """The schemes of all storage that Hadoop can reach with the jars that are here."""
    jvm: Any = spark._jvm
    hadoop = jvm.java.lang.Class.forName("org.apache.hadoop.fs.FileSystem")
    listed = jvm.java.util.ServiceLoader.load(hadoop).iterator()
    named = {"file", "hdfs"}  # and whatever comes before one that is listed and cannot be made
    try:
        while listed.hasNext():
            named.add(str(listed.next().getScheme()))
    except (Py4JJavaError, PySparkException):
        pass
    by_class = spark._jsc.hadoopConfiguration().getValByRegex(r"^fs\.[^.]+\.impl$")
    named |= {str(name).split(".")[1] for name in by_class}
    return sorted(scheme for scheme in named if _is_known(spark, scheme))


def _is_known(spark: SparkSession, scheme: str) -> bool:
    if scheme in _NO_STORAGE:
        return False
    try:
        spark._jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(scheme, spark._jsc.hadoopConfiguration())
    except (Py4JJavaError, PySparkException):
        return False
    return True
