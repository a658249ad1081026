"""How large the tables of Iceberg are, as figures (stitch.figures)."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.lake.log import iceberg_table
from jobs.process.figures import harmless, put
from stitch.figures import TABLE_BYTES, TABLE_FILES, TABLE_ROWS

OF_SUMMARY = {TABLE_FILES: "total-data-files", TABLE_BYTES: "total-files-size", TABLE_ROWS: "total-records"}


@harmless
def note_table(spark: SparkSession, name: str) -> None:
    """Note what the current snapshot of the table says of it; files that only older ones have are not in that."""
    snapshot = iceberg_table(spark, name).currentSnapshot()
    summary = snapshot.summary() if snapshot else {}
    for figure, said in OF_SUMMARY.items():
        put(figure, float(summary.get(said) or 0), name.rpartition(".")[2])
