"""The class paths of Kafka, Cassandra and Spark's connectors: what each is resolved from, and its jars by jars.lock.

A lock as Python's packages have one: every jar by coordinate, SHA-256 and size. So set-up needs no Java to resolve
anything, gets the same bytes everywhere, and takes them from any mirror (stitch.jars.fetch). A folder is whole
only once its marker names these very packages and this very lock; it is written last, so a set-up that was stopped goes
on.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from stitch.jars.errors import JarsError
from stitch.shipped import cache_folder

CACHE = cache_folder()
LOCK = Path(__file__).with_name("jars.lock")
MARKER = "complete.txt"


@dataclass(frozen=True)
class Jar:
    """One file of a repository in Maven's layout, as jars.lock has it."""

    coordinate: str  # group:artifact:version[:classifier]
    sha256: str
    size: int

    @property
    def path(self) -> str:
        """Where a repository has it, below its URL."""
        group, artifact, version, *classifier = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{'-'.join((artifact, version, *classifier))}.jar"

    @property
    def file_name(self) -> str:
        """Its name in the folder of a set: with the group, as two groups may have an artifact of one name."""
        return f"{self.coordinate.split(':')[0]}_{self.path.rpartition('/')[2]}"


@dataclass(frozen=True)
class JarSet:
    """One class path: its folder below jars/ of the cache, and what it is resolved from."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return CACHE / "jars" / self.name

    @property
    def files(self) -> list[Path]:
        """The jars that are there, in an order that is the same each time."""
        return sorted(self.folder.glob("*.jar"))

    @property
    def jars(self) -> tuple[Jar, ...]:
        """Every jar of the set. Raises JarsError where jars.lock is not of these packages."""
        try:
            section = tomllib.loads(LOCK.read_text("utf-8")).get(self.name, {})
        except (OSError, ValueError) as error:
            raise JarsError(f"{LOCK} cannot be read ({error}): restore it, or write it by `make lock`") from None
        if section.get("packages") != list(self.packages):
            raise JarsError(f"{LOCK} was not resolved from {', '.join(self.packages)}: run `make lock`")
        return tuple(Jar(coordinate, jar["sha256"], jar["size"]) for coordinate, jar in section["jars"].items())

    @property
    def complete(self) -> bool:
        marker = self.folder / MARKER
        return marker.exists() and marker.read_text("utf-8") == self._marker_text()

    def mark_complete(self) -> None:
        """Write the marker, whole or not at all."""
        (self.folder / f"{MARKER}.new").write_text(self._marker_text(), "utf-8")
        os.replace(self.folder / f"{MARKER}.new", self.folder / MARKER)

    def _marker_text(self) -> str:
        locked = "\n".join(f"{jar.coordinate} {jar.sha256}" for jar in self.jars)
        return "\n".join((*self.packages, f"jars.lock {hashlib.sha256(locked.encode()).hexdigest()}", ""))


# Kafka's own jar leaves the choice of a log back end to its distribution: log4j's is the one that it configures.
KAFKA = JarSet("kafka", ("org.apache.kafka:kafka_2.13:4.1.2", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"))
CASSANDRA = JarSet("cassandra", ("org.apache.cassandra:cassandra-all:5.0.6",))
SPARK = JarSet(
    "spark",
    (
        "com.datastax.spark:spark-cassandra-connector_2.12:3.5.1",
        "org.apache.spark:spark-sql-kafka-0-10_2.12:3.5.7",
        "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.12.0",
        "org.xerial:sqlite-jdbc:3.51.1.0",
    ),
)
# What the pages of the reader show charts and documentation with: npm packages, as jars so that no npm is needed.
WEB = JarSet("web", ("org.webjars.npm:uplot:1.6.30", "org.webjars:swagger-ui:5.34.1"))
ALL = (KAFKA, CASSANDRA, SPARK, WEB)
# Of tests alone, fetched by the one that needs it: Iceberg's access to S3, Hadoop's, and a small HDFS and YARN. Hadoop
# is of the version that is in Spark.
S3 = JarSet("s3", ("org.apache.iceberg:iceberg-aws-bundle:1.12.0",))
S3A = JarSet("s3a", ("org.apache.hadoop:hadoop-aws:3.3.4",))
HDFS = JarSet(
    "hdfs", ("org.apache.hadoop:hadoop-client-minicluster:3.3.4", "org.apache.logging.log4j:log4j-1.2-api:2.25.3")
)
YARN = JarSet("yarn", ("org.apache.hadoop:hadoop-client-minicluster:3.3.4", "org.bouncycastle:bcpkix-jdk15on:1.68"))
OF_TESTS = (S3, S3A, HDFS, YARN)


def class_path(jars: JarSet) -> str:
    """The set as a class path. Raises JarsError where it was not fetched, or not whole."""
    if not jars.complete:
        raise JarsError(f"the jars of {jars.name} are not in {jars.folder}: `python -m stitch.jars.fetch {jars.name}`")
    return f"{jars.folder}/*"
