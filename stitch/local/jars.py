"""Fetches the jars of Kafka, Cassandra and Spark's connectors into .cache, with the Ivy that ships inside pyspark.

So a machine needs Python alone to set up: no Maven, no Docker. Spark's packages are resolved here too, into the cache
that `spark.jars.ivy` names, so that the first job does not spend a minute on it. A folder is whole only once its
marker names these very versions; the marker is written last, so a set-up that was stopped half-way is redone.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stitch.local.errors import StackError
from stitch.local.java import java_home

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
MARKER = "complete.txt"


@dataclass(frozen=True)
class JarSet:
    """One class path: its folder below .cache/jars, and what it is resolved from."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return CACHE / "jars" / self.name

    @property
    def complete(self) -> bool:
        marker = self.folder / MARKER
        return marker.exists() and marker.read_text("utf-8").split() == list(self.packages)


# Kafka's own jar leaves the choice of a log back end to its distribution: log4j's is the one that it configures.
KAFKA = JarSet("kafka", ("org.apache.kafka:kafka_2.13:4.1.2", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"))
CASSANDRA = JarSet("cassandra", ("org.apache.cassandra:cassandra-all:5.0.6",))
SPARK = JarSet(
    "spark",
    (
        "com.datastax.spark:spark-cassandra-connector_2.12:3.5.1",
        "org.apache.spark:spark-sql-kafka-0-10_2.12:3.5.7",
    ),
)
# What the pages of the reader show charts and documentation with: npm packages, as jars so that no npm is needed.
WEB = JarSet("web", ("org.webjars.npm:uplot:1.6.30", "org.webjars:swagger-ui:5.34.1"))
ALL = (KAFKA, CASSANDRA, SPARK, WEB)


def class_path(jars: JarSet) -> str:
    """The set as a class path. Raises StackError where set-up did not finish."""
    if not jars.complete:
        raise StackError(f"the jars of {jars.name} are not in {jars.folder}: run `make setup`")
    return f"{jars.folder}/*"


def ivy_jar() -> Path:
    spec = importlib.util.find_spec("pyspark")
    found = sorted(Path(spec.origin).parent.glob("jars/ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise StackError("pyspark, whose Ivy fetches the jars, is not installed: run `make setup`")
    return found[-1]


def ivy_module(jars: JarSet) -> str:
    """An ivy.xml that asks for the runtime jars of the set: no sources, no optional dependencies."""
    rows = []
    for package in jars.packages:
        org, name, rev = package.split(":")
        rows.append(f'    <dependency org="{org}" name="{name}" rev="{rev}" conf="default->default"/>')
    return "\n".join(
        [
            '<ivy-module version="2.0">',
            f'  <info organisation="stitch" module="{jars.name}-jars"/>',
            '  <configurations><conf name="default"/></configurations>',
            "  <dependencies>",
            *rows,
            "  </dependencies>",
            "</ivy-module>",
        ]
    )


def fetch(jars: JarSet) -> None:
    """Resolve and retrieve the set into an empty folder. Raises StackError with the end of Ivy's log."""
    shutil.rmtree(jars.folder, ignore_errors=True)
    jars.folder.mkdir(parents=True)
    module, log = CACHE / f"jars/{jars.name}.ivy.xml", CACHE / f"jars/{jars.name}.log"
    module.write_text(ivy_module(jars), "utf-8")
    pattern = f"{jars.folder}/[organisation]_[artifact]-[revision](-[classifier]).[ext]"
    with log.open("w", encoding="utf-8") as out:
        status = subprocess.run(
            [
                str(java_home() / "bin/java"),
                "-jar",
                str(ivy_jar()),
                "-settings",
                str(ROOT / "conf/ivysettings.xml"),
                "-cache",
                str(CACHE / "ivy/cache"),
                "-ivy",
                str(module),
                "-confs",
                "default",
                "-retrieve",
                pattern,
                "-types",
                "jar",
                "bundle",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=CACHE,
        ).returncode
    if status or not any(jars.folder.glob("*.jar")):
        last = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-12:])
        raise StackError(f"the jars of {jars.name} could not be fetched; the end of {log}:\n{last}")
    (jars.folder / MARKER).write_text("\n".join(jars.packages) + "\n", "utf-8")


def main() -> int:
    for jars in ALL:
        if jars.complete:
            continue
        print(f"[setup] jars of {jars.name}: {', '.join(jars.packages)}", flush=True)
        try:
            fetch(jars)
        except StackError as error:
            print(f"stitch: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
