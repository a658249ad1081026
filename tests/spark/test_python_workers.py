"""Python workers as conf/spark-defaults.conf has Spark start them."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.python_workers import forget_archives


def test_a_worker_has_no_archive_that_it_would_read_again_before_each_task(spark: SparkSession) -> None:
    def asked(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import gc
        import sys
        import zipimport

        import pyspark.sql.streaming.query  # noqa: F401 - of an archive, and not imported yet

        list(batches)
        archives = [path for path, found in sys.path_importer_cache.items() if isinstance(found, zipimport.zipimporter)]
        daemon = sys.modules["__main__"].__spec__
        facts = {
            "daemon": daemon.name if daemon else "",
            "archives": " ".join(archives),
            "apart": gc.get_freeze_count(),
        }
        yield pd.DataFrame([facts])

    (row,) = spark.range(1).mapInPandas(asked, "daemon string, archives string, apart long").collect()
    assert row.daemon == "jobs.python_workers"
    assert row.archives == "" or row.archives.endswith("pyspark/sql/streaming")
    assert row.apart > 10_000


def test_a_package_of_a_forgotten_archive_still_finds_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = str(tmp_path / "py4j-0.10.9.7-src.zip")
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("once_imported/__init__.py", "")
        files.writestr("once_imported/later.py", "answer = 42")
    monkeypatch.setattr(sys, "path", [archive, str(tmp_path), *sys.path])
    import once_imported  # type: ignore[import-not-found]  # noqa: F401

    assert archive in sys.path_importer_cache
    forget_archives()
    assert sys.path[0] == str(tmp_path)
    assert archive not in sys.path_importer_cache
    from once_imported.later import answer  # type: ignore[import-not-found]

    assert answer == 42
