"""Storage that is no folder of this machine: a server that speaks S3 (moto's) and HDFS (Hadoop's own MiniDFSCluster).

Each says with which options of spark-submit jobs reach it, and lets a test look at what lies there without Spark.
"""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import boto3
from moto.server import ThreadedMotoServer

from stitch.jars.fetch import fetch_missing
from stitch.jars.sets import HDFS, S3, S3A, JarSet
from stitch.java import java_home

BUCKET = "music"
KEY, SECRET = "stitch", "secret"


class Store(Protocol):
    """Where tables lie, and checkpoints where Hadoop knows it.

    url:         a folder there, for the tables
    checkpoints: one for checkpoints; None: Hadoop does not know this storage
    jars:        what jobs need beside Stitch's own
    catalog:     options of the Iceberg catalog
    hadoop:      properties of spark-submit
    """

    url: str
    checkpoints: str | None
    jars: JarSet | None
    catalog: dict[str, str]
    hadoop: dict[str, str]

    def files(self) -> dict[str, bytes]:
        """All that lies there: path → content."""


class Bucket:
    """A bucket of an S3 server."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def files(self) -> dict[str, bytes]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        names = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {name: self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}


class ByIceberg(Bucket):
    """Reached by Iceberg's own access to S3, which Hadoop does not know: no checkpoint can lie there."""

    url, checkpoints, jars, hadoop = f"s3://{BUCKET}/lake", None, S3, dict[str, str]()

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.catalog = {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            "s3.endpoint": client.meta.endpoint_url,
            "s3.path-style-access": "true",
            "s3.access-key-id": KEY,
            "s3.secret-access-key": SECRET,
            "client.region": "us-east-1",
        }


class ByHadoop(Bucket):
    """Reached by Hadoop's access to S3, tables and checkpoints."""

    url, checkpoints, jars, catalog = f"s3a://{BUCKET}/lake", f"s3a://{BUCKET}/checkpoints", S3A, dict[str, str]()

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.hadoop = {
            "spark.hadoop.fs.s3a.endpoint": client.meta.endpoint_url,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.access.key": KEY,
            "spark.hadoop.fs.s3a.secret.key": SECRET,
        }


class Hdfs:
    """An HDFS of one node; what it keeps beside is in the folder."""

    jars, catalog = None, dict[str, str]()

    def __init__(self, port: int, folder: Path) -> None:
        self.hadoop = {"spark.hadoop.dfs.replication": "1"}
        self._root, self._folder = f"hdfs://127.0.0.1:{port}", folder
        self.url, self.checkpoints = f"{self._root}/lake", f"{self._root}/checkpoints"

    def files(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as copy:
            get = java_command(self._folder, "org.apache.hadoop.fs.FsShell", "-get", f"{self._root}/", f"{copy}/all")
            subprocess.run(get, check=True, capture_output=True)
            found = [path for path in Path(copy, "all").rglob("*") if path.is_file()]
            return {str(path.relative_to(f"{copy}/all")): path.read_bytes() for path in found}


@contextmanager
def s3_client() -> Iterator[Any]:
    """A client of a server that speaks S3, with a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each of thousands of requests
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield client
    finally:
        server.stop()


@contextmanager
def hdfs(folder: Path) -> Iterator[Hdfs]:
    """An HDFS of one name node and one data node, with all that they keep in the folder."""
    fetch_missing([HDFS])
    folder.mkdir()
    (folder / "core-site.xml").write_text("<configuration/>", "utf-8")
    details = folder / "details.json"
    command = java_command(
        folder, "org.apache.hadoop.test.MiniDFSClusterManager", "-format", "-datanodes", "1",
        "-nnport", "0", "-D", "dfs.replication=1", "-writeDetails", str(details),
    )  # fmt: skip
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while not (details.exists() and details.read_text("utf-8").endswith("}")):
                assert time.monotonic() < deadline and process.poll() is None, (folder / "out.log").read_text("utf-8")
                time.sleep(0.2)
            yield Hdfs(json.loads(details.read_text("utf-8"))["namenode_port"], folder)
        finally:
            process.kill()
            process.wait(30)


def java_command(folder: Path, *args: str) -> list[str]:
    """A program of Hadoop's, with the configuration and the data of the folder."""
    java = [str(java_home() / "bin/java"), "-Xmx300m", "-cp", f"{folder}:{HDFS.folder}/*"]
    return [*java, f"-Dtest.build.data={folder}/data", f"-Dhadoop.log.dir={folder}", *args]


def options(store: Store, catalog: str, folder: Path) -> list[str]:
    """The options of spark-submit for a catalog whose tables are in the store; the catalog itself, a file of SQLite
    that the driver alone opens, is in the folder."""
    lake = f"spark.sql.catalog.{catalog}"
    said = {
        lake: "org.apache.iceberg.spark.SparkCatalog",
        f"{lake}.type": "jdbc",
        f"{lake}.uri": f"jdbc:sqlite:{folder}/catalog.db?busy_timeout=30000",
        f"{lake}.jdbc.schema-version": "V1",
        f"{lake}.cache-enabled": "false",
        f"{lake}.warehouse": store.url,
        **{f"{lake}.{name}": value for name, value in store.catalog.items()},
        **store.hadoop,
    }
    jars: list[str] = []
    if store.jars:
        fetch_missing([store.jars])
        jars = ["--jars", ",".join(str(path) for path in sorted(store.jars.folder.glob("*.jar")))]
    return [*jars, *(part for name, value in said.items() for part in ("--conf", f"{name}={value}"))]
