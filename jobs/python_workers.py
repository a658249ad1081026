"""What Spark runs to fork its Python workers (`spark.python.daemon.module`): pyspark's own daemon, quick between tasks.

Before each task a worker reads again the directory of every archive that it has imported from (pyspark.zip once for
each package in it), and behind each it searches all objects for cycles: 0.2 to 0.4 s of CPU per task, and a micro-batch
has a task for each partition of the topic. So what workers need is imported once, before they are forked; then the
archives are forgotten, and the objects set apart from the search.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import zipimport

OF_SPARK = ("pyspark.zip", "py4j-", "spark-core_")  # archives that Spark puts on the path of its workers


def forget_archives() -> None:
    """Leave nothing for a worker to read again. What is in a package that was imported is found by the package."""
    sys.path[:] = [entry for entry in sys.path if not os.path.basename(entry).startswith(OF_SPARK)]
    for entry, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimport.zipimporter):
            del sys.path_importer_cache[entry]


def main() -> None:
    """Run the daemon until Spark ends it."""
    with contextlib.suppress(ImportError):  # pyspark takes it for the first Arrow batch, where it is
        import pandas  # noqa: F401
    import pyspark.daemon
    import pyspark.worker

    import jobs.frames.arrow  # noqa: F401

    forget_archives()
    gc.collect()
    gc.freeze()
    pyspark.daemon.manager()


if __name__ == "__main__":
    main()
