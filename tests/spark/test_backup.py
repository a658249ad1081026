"""The lake is copied while the archive runs on, and moved to another place, by the commands of docs/backup.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.lake.log import Log
from jobs.maintain_log import maintain
from jobs.process.spark import _catalog, session
from jobs.sinks.totals_table import TotalsTable
from tests.logs import TOPIC, append_records, log_settings
from tests.spark.test_event_log import records
from tests.spark.test_totals_table import FIRST, SECOND, night, rows_of

PAGE = (Path(__file__).parents[2] / "docs/backup.md").read_text("utf-8")
COMMANDS = re.findall(r"^    ((?:python3|cp) .*/backup/.*)$", PAGE, re.MULTILINE)
MOVING = re.findall(r"^    ((?:CALL lake.system.re|CREATE|while).*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)


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


def test_tables_that_were_moved_to_another_place_are_read_and_written_on_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    before, after, staged = tmp_path / "before", tmp_path / "after", tmp_path / "moved"
    old, new = log_settings(before), log_settings(after)
    rewrite, copy, *register = MOVING
    for folder in (before, after):
        (folder / "lake").mkdir(parents=True)

    def said(command: str, table: str, latest: str = "") -> str:
        named = command.replace("stitch.events", f"stitch.{table}").replace("stitch/events", f"stitch/{table}")
        for shown, path in (("/srv/lake", before / "lake"), ("/mnt/lake", after / "lake"), ("/tmp/moved", staged)):
            named = named.replace(shown, str(path))
        catalog = (new if latest else old).lake.catalog
        return re.sub(r"\blake\.s", f"{catalog}.s", named).replace("LATEST_VERSION", latest)

    def move(table: str) -> str:
        """Returns the name of its newest metadata."""
        shutil.rmtree(staged, ignore_errors=True)
        latest = spark.sql(said(rewrite, table)).collect()[0].latest_version
        subprocess.run(said(copy, table), shell=True, check=True)
        return str(latest)

    with session("test", old):
        for end in (2, 4, 6):
            log = append_records(spark, old, records(0, end - 2, end), {0: end})
        for n in range(25):  # more than the metadata that is kept
            log.write_note("n", n)
        maintain(old, datetime(2100, 1, 1, tzinfo=UTC))  # lets snapshots go that this metadata still names
        totals = TotalsTable(spark, old)
        night(spark, totals, None, FIRST, {("plays", "t1", 1): 2})
        night(spark, totals, FIRST, SECOND, {("plays", "t1", 1): 3})
        latest = {table: move(table) for table in ("events", "totals")}
    before.rename(tmp_path / "gone")

    with session("test", new):
        for table, name in latest.items():
            for command in register:
                spark.sql(said(command, table, name))
        log, totals = Log(spark, new), TotalsTable(spark, new)
        assert (log.position(TOPIC)[1], log.rows().count()) == ({0: 6}, 6)
        assert [rows_of(totals.read(at)) for at in totals.kept()] == [
            {("plays", "t1", 1): 2}, {("plays", "t1", 1): 5},
        ]  # fmt: skip
        append_records(spark, new, records(0, 6, 8), {0: 8})
        assert (log.position(TOPIC)[1], log.rows().count()) == ({0: 8}, 8)
        assert maintain(new, datetime(2100, 1, 1, tzinfo=UTC))["files"] == 4
        assert log.rows().count() == 8
