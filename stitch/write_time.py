"""The Cassandra write timestamps (µs) by which the better-informed writer wins, whoever writes last.

Increments. A row is what one ingest window contributed to one bucket, as far as its writer has read. Its write
timestamp is

    window start + movement        movement = Σ |amount| of the contributions behind the value, at most MOST_MOVEMENT

Why writers converge, however many there are, wherever they start and in whatever order their writes arrive:
- A writer that has read the whole window has the largest movement that any can have, and the one true value. Every
  other writer has read a subset: its movement is smaller and it loses, or it is equal and what it lacks weighs nothing,
  so its value is the same. So the true value is never overwritten by another, and wins over all that was written before
  it.
- While nobody has read it all, two writers with different subsets may tie with different values. Increments expire, and
  of two expiring cells with one timestamp Cassandra keeps the one that expires later: the later written, whatever its
  value (of one second the larger bytes). That one stays until either reads on.
- Where no weight is negative, the movement IS the value: writers that tie have the same value, so a row never goes
  down.

The number of events would do for the first two points, but not for the last: of a counter that sums a field, one
writer's three events can weigh more than another's four, and a reader would see the count dip.

The cap is that of sums (stitch.amounts.MOST_SUM): a value without negative weights saturates at it together with its
movement, so at the cap, too, writers that tie have the same value. Not so with weights of both signs: where the
movement of one row reaches 2^62, values that differ tie, and the later written stays. Window start + cap, and a repair
above it, are still signed 64-bit numbers, which is all that Cassandra asks of a timestamp.

Totals, cutoffs, corrections and keys. A run writes `cutoff + revision`: a later cutoff wins, and of one cutoff the
later run. The revision is raised above what the run must overwrite, whoever wrote that (stitch.runs). Only clocks of
brokers take part (ingest windows and cutoffs are theirs), never a writer's own, save in repairs: see `of_repair`.
"""

from __future__ import annotations

from datetime import datetime

from stitch.amounts import MOST_SUM
from stitch.buckets import micros

MOST_MOVEMENT = MOST_SUM
LATEST = 2**63 - 1  # a timestamp is a signed 64-bit number


def of_increment(ingest_window: datetime, movement: int) -> int:
    """The write timestamp of an increment; jobs.frames.increments says the same in Spark."""
    return micros(ingest_window) + min(movement, MOST_MOVEMENT)


def of_repair(stored: int | None, whole: int | None, now: datetime) -> int:
    """The write timestamp that makes a finished window's value final.

    stored:  that of the row that is there
    whole:   that of a writer which has read the whole window, so that none which reads it again overwrites the repair
    now:     by the clock of whoever repairs; a clock that is behind changes nothing, for the other two are exceeded
    """
    return min(LATEST, max(micros(now), (stored or 0) + 1, (whole or 0) + 1))
