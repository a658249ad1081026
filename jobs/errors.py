"""The one named error of the jobs, and the one place where it becomes an exit message."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from jobs.causes import cause_of
from stitch.errors import StitchError


class JobError(StitchError):
    """The job cannot go on; the message says what was wrong, where, and what to do."""


class Unreachable(JobError):
    """A part that the job needs does not answer (yet)."""


def run(main: Callable[[], None]) -> None:
    """Call a job's main; a named error, or one of Spark or of Cassandra, becomes one message on stderr and exit status 1."""
    try:
        main()
    except (StitchError, OSError) as error:  # OSError: a disk that is full, a folder that may not be written
        print(f"stitch: {error}", file=sys.stderr)
        sys.exit(1)
    except (PySparkException, Py4JError, DriverException, RequestExecutionException, NoHostAvailable) as error:
        print(f"stitch: {cause_of(error)}", file=sys.stderr)
        sys.exit(1)
