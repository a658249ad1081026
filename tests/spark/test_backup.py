"""A copy of the lake is made by the commands of docs/backup.md while the archive runs on, and put back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.lake.log import Log
from jobs.process.spark import _catalog, session
from tests.logs import TOPIC, append_records, log_settings
from tests.spark.test_event_log import records

PAGE = (Path(__file__).parents[2] / "docs/backup.md").read_text("utf-8")
COMMANDS = re.findall(r"^    ((?:python3|cp) .*/backup/.*)$", PAGE, re.MULTILINE)


def test_a_copy_made_under_the_archive_is_a_whole_log_that_reads_on_from_its_position(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings, backup = log_settings(tmp_path), tmp_path / "backup"
    lake, following = Path(settings.lake.warehouse), 0
    backup.mkdir()

    def archive(commits: int) -> None:
        nonlocal following
        for _ in range(commits):
            following += 2
            append_records(spark, settings, records(0, following - 2, following), {0: following})

    with session("test", settings):
        archive(5)
        for command, meanwhile in zip(COMMANDS, (5, 25, 0), strict=True):  # metadata of twenty commits before go
            subprocess.run(command.replace("/backup/", f"{backup}/"), shell=True, cwd=lake, check=True)
            archive(meanwhile)
        shutil.rmtree(lake)
        shutil.copytree(backup, lake)
        afresh = spark.newSession()  # which has not opened the catalog
        _catalog(afresh, settings)
        log = Log(afresh, settings)
        assert log.position(TOPIC)[1] == {0: 10}
        assert log.rows().count() == 10
