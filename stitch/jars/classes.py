"""The classes of Spark and its connectors in one file, which a JVM maps in place of loading and checking each of them
(class data sharing, JEP 350).

A job loads some twenty thousand classes, and without work does little else (bench/README.md). The file is made at
set-up by stitch.class_archive. It is good for one Java and one class path and is named by both: where either is
another, jobs start without it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from stitch.jars.sets import CACHE, SPARK
from stitch.shipped import PACKAGES

LOADER = "load_classes"  # of jobs/
# Else the JVM says on stdout, to which a job's JSON goes, where it could not use the file.
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"


def spark_home() -> Path:
    """Where pyspark has its programs and jars."""
    spark = importlib.util.find_spec("pyspark")
    assert spark and spark.origin, "the extra [jobs] is asked for before"
    return Path(spark.origin).parent


def archive(java: Path) -> Path:
    """Where the file for the Java of this home and these jars is, or would be."""
    release = java / "release"  # says version and vendor
    of = [str(java), release.read_text("utf-8") if release.is_file() else ""]
    files = (*SPARK.files, spark_home() / "jars", PACKAGES / f"jobs/{LOADER}.py")
    of += [f"{file} {file.stat().st_mtime_ns}" for file in files]
    return CACHE / f"jars/classes-{_digest(sys.prefix)}-{_digest(*of)}.jsa"


def outdated(java: Path) -> list[Path]:
    """The files that this environment of Python had for another Java or other jars; a cache may be of several."""
    current = archive(java)
    return [file for file in current.parent.glob(f"classes-{_digest(sys.prefix)}-*.jsa") if file != current]


def options(java: Path) -> str:
    """What a JVM is told to use the file; nothing where there is none."""
    found = archive(java)
    return f"-XX:SharedArchiveFile={found} {QUIET}" if found.is_file() else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]
