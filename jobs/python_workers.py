"""What Spark runs to fork its Python workers (`spark.python.daemon.module`): pyspark's own daemon, quick between tasks.

Before each task a worker reads again the directory of every archive that it has imported from, and behind each it looks
through all objects for cycles: with pyspark from Spark's pyspark.zip that was 0.2 to 0.4 s of CPU per task, and a
micro-batch has a task for each partition of the topic. So pyspark comes from the environment instead, where it is
compiled too, and what workers need is imported once, before they are forked, and set apart from the search.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
import zipfile
from collections.abc import Sequence


def shipped(entries: Sequence[str]) -> list[str]:
    """The archives among the entries of a path that Spark itself puts there: pyspark.zip, py4j's, a jar."""
    of_spark = ("pyspark.zip", "py4j-", "spark-core_")
    return [entry for entry in entries if os.path.basename(entry).startswith(of_spark) and os.path.isfile(entry)]


def same_version(archives: Sequence[str]) -> bool:
    """Whether the environment has the pyspark that is in Spark's archive. Another one might speak otherwise with the
    JVM."""
    try:
        installed = importlib.metadata.version("pyspark")
        archive = next(path for path in archives if path.endswith("pyspark.zip"))
        with zipfile.ZipFile(archive) as files:
            return repr(installed) in files.read("pyspark/version.py").decode().replace('"', "'")
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError, KeyError):
        return False


def prefer_installed() -> None:
    """Import pyspark from the environment and not from Spark's archives, where both are the same."""
    archives = shipped(sys.path)
    if not same_version(archives):
        return
    sys.path[:] = [entry for entry in sys.path if entry not in archives]
    for entry in list(sys.path_importer_cache):
        if entry.startswith(tuple(archives)):
            del sys.path_importer_cache[entry]


def main() -> None:
    """Run the daemon until Spark ends it."""
    prefer_installed()
    import pandas  # noqa: F401 - pyspark imports it for the first Arrow batch
    import pyspark.daemon
    import pyspark.worker

    import jobs.frames.arrow  # noqa: F401

    gc.collect()
    gc.freeze()
    pyspark.daemon.manager()


if __name__ == "__main__":
    main()
