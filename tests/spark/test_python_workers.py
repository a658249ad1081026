"""Python workers as conf/spark-defaults.conf has Spark start them."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyspark
import pytest
from pyspark.sql import SparkSession

from jobs.python_workers import prefer_installed, same_version, shipped


def test_a_worker_has_read_nothing_from_an_archive_that_it_would_read_again_before_each_task(
    spark: SparkSession,
) -> None:
    def asked(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import gc
        import sys
        import zipimport

        list(batches)
        archives = [path for path, found in sys.path_importer_cache.items() if isinstance(found, zipimport.zipimporter)]
        daemon = sys.modules["__main__"].__spec__
        yield pd.DataFrame(
            {
                "daemon": [daemon.name if daemon else ""],
                "archives": [" ".join(archives)],
                "pyspark": [sys.modules["pyspark"].__file__],
                "set_apart": [gc.get_freeze_count()],
            }
        )

    schema = "daemon string, archives string, pyspark string, set_apart long"
    (row,) = spark.range(1).mapInPandas(asked, schema).collect()
    assert (row.daemon, row.archives, row.pyspark) == ("jobs.python_workers", "", pyspark.__file__)
    assert row.set_apart > 10_000


def archive(folder: Path, version: str, name: str = "pyspark.zip") -> str:
    with zipfile.ZipFile(folder / name, "w") as files:
        files.writestr("pyspark/version.py", f"__version__: str = '{version}'\n")
    return str(folder / name)


def test_another_pyspark_than_that_of_spark_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "py4j-0.10.9.7-src.zip").touch()
    (tmp_path / "theirs.zip").touch()
    path = [archive(tmp_path, "3.5.0"), f"{tmp_path}/py4j-0.10.9.7-src.zip", f"{tmp_path}/theirs.zip", *sys.path]
    monkeypatch.setattr(sys, "path", [*path])
    prefer_installed()
    assert sys.path == path

    archive(tmp_path, pyspark.__version__)
    prefer_installed()
    assert sys.path == path[2:]


def test_a_version_is_read_in_either_kind_of_quotes_and_a_lack_of_archives_is_no_match(tmp_path: Path) -> None:
    found = archive(tmp_path, pyspark.__version__)
    assert same_version([found])
    with zipfile.ZipFile(found, "w") as files:
        files.writestr("pyspark/version.py", f'__version__ = "{pyspark.__version__}"')
    assert same_version([found])
    assert not same_version([])
    assert not same_version([archive(tmp_path, pyspark.__version__ + "1")])


def test_only_archives_that_are_there_and_are_of_spark_are_taken_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "spark-core_2.12-3.5.7.jar").touch()
    names = ["pyspark", "spark-core_2.12-3.5.7.jar", "py4j-9-src.zip", "jobs.zip"]
    assert shipped([f"{tmp_path}/{name}" for name in names]) == [f"{tmp_path}/spark-core_2.12-3.5.7.jar"]
