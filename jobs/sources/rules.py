"""Files of rules: which events are not to be counted (stitch.exclusions).

A path without a scheme is of the driver's disk, whoever executes; a URI (s3a://…, hdfs://…) is read by executors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.process.causes import cause_of
from jobs.sources.rule_lines import LINES, parsed_parts
from stitch.exclusions import SHOWN, ExclusionError
from stitch.settings import Settings
from stitch.values import scheme_of

_CHUNK = 4 * 2**20  # bytes of whole lines that a task parses


@contextmanager
def read_rules(spark: SparkSession, settings: Settings, path: str) -> Iterator[DataFrame]:
    """The rules of the file: (field, value, reason). Raises ExclusionError, which names the bad lines."""
    lines = _content(spark, path).mapInArrow(partial(parsed_parts, fields=frozenset(settings.fields)), LINES).persist()
    try:
        _check(lines, path)
        yield lines.select("field", "value", "reason")
    finally:
        lines.unpersist()


def _check(lines: DataFrame, path: str) -> None:
    try:
        wrong = lines.where(F.col("wrong").isNotNull())
        shown, count = wrong.orderBy("line").limit(SHOWN).collect(), wrong.count()
    except (Py4JJavaError, PySparkException) as error:
        raise ExclusionError(f"{path} cannot be read: {cause_of(error)}") from None
    if count:
        more = [f"  and {count - SHOWN} more"] if count > SHOWN else []
        told = [f"{path} cannot be used:", *(f"  line {row.line}: {row.wrong}" for row in shown), *more]
        raise ExclusionError("\n".join(told))


def _content(spark: SparkSession, path: str) -> DataFrame:
    """(first: the number of its first line, content) of the parts of a file."""
    try:
        if scheme_of(path):
            return spark.read.format("binaryFile").load(path).select(F.lit(1).alias("first"), "content")
        return spark.createDataFrame(list(_chunks(Path(path))), "first int, content binary")
    except OSError as error:
        raise ExclusionError(f"{Path(path).absolute()} cannot be read: {error.strerror}") from None
    except (Py4JJavaError, PySparkException) as error:
        raise ExclusionError(f"{path} cannot be read: {cause_of(error)}") from None


def _chunks(file: Path) -> Iterator[tuple[int, bytearray]]:
    first = 1
    with file.open("rb") as opened:
        while lines := opened.readlines(_CHUNK):
            yield first, bytearray(b"".join(lines))
            first += len(lines)
