"""A line now and then from a job that works for long and says nothing meanwhile.

On a terminal Spark shows its own bar (stitch.submit asks it to); elsewhere, in a log, these lines say that the job
lives and how far its stage is. The streaming jobs have a line for each batch.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from stitch.submit_args import STREAMING

FIRST_S, THEN_S = 5.0, 15.0


class Stage(NamedTuple):
    """What Spark is at. done, tasks: of the stage."""

    number: int
    name: str
    done: int
    tasks: int


@contextmanager
def told(job: str, args: Sequence[str]) -> Iterator[None]:
    """Tell of the stages that run meanwhile, where nobody sees Spark's bar, nor reads a report: spark-submit makes one
    stream of both that a job writes to."""
    if job in STREAMING or "--json" in args or sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    threading.Thread(target=tell, args=(job, stages, over), name="progress", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def tell(
    job: str,
    look: Callable[[], list[Stage]],
    over: threading.Event,
    first: float = FIRST_S,
    then: float = THEN_S,
) -> None:
    """Print what runs after some seconds, and again and again where it has changed, until it is over."""
    began, said = time.monotonic(), ""
    while not over.wait(then if said else first):
        now = line(look())
        if now and now != said:
            said = now
            print(f"{job} has worked for {time.monotonic() - began:.0f} s: {now}", flush=True)


def line(running: Sequence[Stage]) -> str:
    """The stages in a line; empty where none runs."""
    return "; ".join(f"stage {one.number} ({one.name}) {one.done} of {one.tasks} tasks" for one in running)


def stages() -> list[Stage]:
    """The stages that run now; none before there is a session, and after."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is None:
        return []
    try:
        tracker = context.statusTracker()
        found = [tracker.getStageInfo(number) for number in sorted(tracker.getActiveStageIds())]
    except Exception:  # the JVM goes at any moment, and this is for people only
        return []
    return [Stage(one.stageId, one.name.partition(" at ")[0], one.numCompletedTasks, one.numTasks)
            for one in found if one]  # fmt: skip
