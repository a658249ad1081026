"""Paths on storage that Spark cannot reach are refused at the start, and the message says what can."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import jobs.process.spark
from jobs.process.errors import BadOption
from jobs.process.schemes import known_schemes
from jobs.process.spark import session
from jobs.sources.checkpoint import Checkpoint
from tests.logs import bring_sources, log_settings


def test_a_checkpoint_of_an_unknown_scheme_is_refused_with_those_that_are_known(spark: SparkSession) -> None:
    for path, why in (
        ("gcs://bucket/c", "no file system that is here has it"),
        ("s3://bucket/c", "no file system that is here has it"),  # Iceberg's own access knows it, Hadoop does not
        ("s3a://bucket/c", r"its file system, org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem, is in no jar that is here"),
        ("https://host/c", "no file system that is here has it"),
        ("HDFS://host/c", "no file system that is here has it"),
    ):
        told = (
            rf"streaming\.checkpoint = {path}: the scheme \w+ is unknown: {why}\. Known are file, .*hdfs.* --packages"
        )
        with pytest.raises(BadOption, match=told):
            Checkpoint(spark, path)
    assert {"file", "hdfs", "webhdfs"} <= set(known_schemes(spark)) and "https" not in known_schemes(spark)


def test_paths_of_known_schemes_and_without_one_are_taken(spark: SparkSession, tmp_path: Path) -> None:
    for path in (f"{tmp_path}/c", f"file:{tmp_path}/c", f"file://{tmp_path}/c"):
        assert not Checkpoint(spark, path).exists()


def test_a_source_of_an_unknown_scheme_is_refused_at_the_start(spark: SparkSession, tmp_path: Path) -> None:
    source = {"name": "history", "path": "gcs://bucket/in", "format": "json"}
    settings = log_settings(tmp_path, log={"kafka": False}, sources=[source])
    with pytest.raises(BadOption, match=r"sources\.history\.path = gcs://bucket/in: the scheme gcs is unknown"):
        bring_sources(settings)


def test_a_warehouse_of_an_unknown_scheme_is_refused_and_one_without_a_catalog_too(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = log_settings(tmp_path, lake={"catalog": "elsewhere", "warehouse": "s3a://bucket/lake"})
    refused = r"lake\.warehouse=s3a://bucket/lake: the catalog that needs no server is a file on this machine"
    with pytest.raises(BadOption, match=refused), session("test", settings):
        pass
    prefix = "spark.sql.catalog.elsewhere"
    said = {"": "org.apache.iceberg.spark.SparkCatalog", ".type": "jdbc", ".warehouse": "gcs://bucket/lake"}
    try:
        for name, value in said.items():
            spark.conf.set(f"{prefix}{name}", value)
        refused = r"spark\.sql\.catalog\.elsewhere\.warehouse = gcs://bucket/lake: the scheme gcs is unknown"
        with pytest.raises(BadOption, match=refused), session("test", settings):
            pass
        spark.conf.set(f"{prefix}.io-impl", "org.apache.iceberg.gcp.gcs.GCSFileIO")  # reaches it without Hadoop
        with session("test", settings):
            pass
    finally:
        for name in (*said, ".io-impl"):
            spark.conf.unset(f"{prefix}{name}")


def test_in_cluster_deploy_mode_the_catalog_of_one_machine_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.process.spark, "deploy_mode", lambda _: "cluster")
    refused = "in cluster deploy mode the catalog that needs no server would be a file"
    with pytest.raises(BadOption, match=refused), session("test", log_settings(tmp_path)):
        pass
