"""Other engines read event log and totals by their catalog alone, as docs/storage.md shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stitch.submit import environment
from stitch_local.producer import produce
from tests.conftest import Stack
from tests.steps import event, wait_for_the_window_to_end

PAGE = (Path(__file__).parents[2] / "docs/storage.md").read_text("utf-8")


def shown(begin: str, stack: Stack) -> str:
    """The lines of the page from the one that begins so to the next empty one, for the stack's lake."""
    lines = re.search(rf"^    ({re.escape(begin)}.*?)(?=\n\n(?!    ))", PAGE, re.MULTILINE | re.DOTALL)
    assert lines, begin
    lake = stack.settings.lake
    code = re.sub(r"^    ", "", lines[1], flags=re.MULTILINE)
    here = code.replace(".local/lake", lake.warehouse).replace('"lake"', f'"{lake.catalog}"')
    for table in ("events", "totals"):
        here = here.replace(f"stitch.{table}", f"{lake.namespace}.{table}")
    return here.replace("lake.stitch", f"{lake.catalog}.stitch")


@pytest.mark.thorough
def test_pyiceberg_and_duckdb_read_log_and_totals_by_their_catalog(fresh: Stack, run_job: Callable[..., Any]) -> None:
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 2}") for n in range(10)])
    produce(fresh.settings.kafka, [b"no event"])
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals", accept=True)
    code = shown("from pyiceberg", fresh)
    code += "\nprint(scan.to_arrow().num_rows)"
    code += "\nprint(sum(row['count'] for row in totals.to_arrow().to_pylist() if row['counter'].startswith('plays@')))"
    code += (
        "\nprint(scan.to_duckdb('events').sql(\"SELECT fields.track_id, count(*) FROM events GROUP BY 1 ORDER BY 1\"))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10\n10\n") and re.search(r"t0 .* 5 .*\n.* t1 .* 5 ", done.stdout), done.stdout


@pytest.mark.slow
def test_spark_sql_reads_the_log_with_the_properties_that_stitch_prints(
    fresh: Stack, run_job: Callable[..., Any], tmp_path: Path
) -> None:
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1") for n in range(10)])
    run_job("archive_events")
    bin = Path(sys.executable).parent
    spark_conf = subprocess.run([str(bin / "stitch"), "spark-conf"], capture_output=True, text=True, check=True).stdout
    lake = fresh.settings.lake
    prefix = f"spark.sql.catalog.{lake.catalog}"
    catalog = {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.type": "jdbc",
        f"{prefix}.warehouse": lake.warehouse,
        f"{prefix}.uri": f"jdbc:sqlite:{lake.warehouse}/catalog.db",
        f"{prefix}.jdbc.schema-version": "V1",
    }
    (tmp_path / "spark.conf").write_text(
        spark_conf + "\n".join(f"{key} {said}" for key, said in catalog.items()), "utf-8"
    )
    statement = (
        f"SELECT to_json(struct(type, count(*) AS n)) FROM {lake.events} WHERE verdict = 'accepted' GROUP BY type"
    )
    done = subprocess.run(
        [str(bin / "spark-sql"), "--properties-file", str(tmp_path / "spark.conf"), "-e", statement],
        capture_output=True, text=True, timeout=180, cwd=tmp_path,
        env={**environment(None), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == {"type": "play", "n": 10}
