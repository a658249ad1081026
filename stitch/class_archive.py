"""`python -m stitch.class_archive`: the file of Spark's classes that lets jobs start sooner (stitch.jars.classes), made
by a run of jobs/load_classes.py. Set-up runs it; who installed a wheel may."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from stitch.errors import StitchError
from stitch.jars.classes import LOADER, QUIET, archive, outdated
from stitch.shipped import PACKAGES
from stitch.submit import JVM_OPTIONS, command, environment, own_properties

WITHIN_S = 600.0  # a minute is usual


def make() -> None:
    """Write the file where there is none. Where that fails it is told: jobs start without, as slowly as ever."""
    properties, _ = own_properties([])  # fetches the jars
    env = environment(None) | {"PYTHONPATH": str(PACKAGES)}
    target = archive(Path(env["JAVA_HOME"]))
    if target.exists():
        return
    print("[setup] Spark's classes in one file, so that jobs start sooner (up to a minute)", flush=True)
    for old in outdated(Path(env["JAVA_HOME"])):
        old.unlink()
    _begin(Path(env["JAVA_HOME"]))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="classes-") as name:
        folder = Path(name)
        made = folder / "made.jsa"
        (folder / "spark.conf").write_text(properties, "utf-8")
        env[JVM_OPTIONS] = f"-XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={made} {QUIET}"
        run = subprocess.run(
            command(LOADER, [name], folder / "spark.conf"), env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=WITHIN_S,
        )  # fmt: skip
        if run.returncode == 0 and made.exists():
            made.rename(target)
        else:
            print(f"[setup] there is none, and jobs start without it: {(run.stderr or run.stdout)[-1000:]}")


def _begin(java: Path) -> None:
    """Ours goes on from the file of Java's own classes, which the Java packaged on the Python index comes without."""
    if not (java / "lib/server/classes.jsa").exists():
        subprocess.run([java / "bin/java", "-Xshare:dump"], capture_output=True)


def main() -> int:
    try:
        make()
    except (OSError, subprocess.TimeoutExpired, StitchError) as error:
        print(f"stitch: no file of Spark's classes, and jobs start without it: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
