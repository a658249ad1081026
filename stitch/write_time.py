"""The Cassandra write timestamps (µs) by which the better-informed writer wins, whoever writes last.

Increments. A row is what one ingest window contributed to one bucket, as far as its writer has read. Its write timestamp is

    window start + movement        movement = Σ |amount| of the contributions behind the value, capped at MOST_MOVEMENT

Why writers converge, however many there are, wherever they start and in whatever order their writes arrive:
- A writer that has read the whole window has the largest movement that any can have, and the one true value: every
  other writer has read a subset, so its movement is smaller, or it is equal and what it lacks weighs nothing.
  So the true value is never overwritten by less, and it wins over all that was written before it.
- While nobody has read it all, two writers with different subsets may tie. Cassandra then keeps the larger value (it
  compares the bytes), for a moment, until either reads on.
- Where no weight is negative, the movement IS the value: the larger value wins, so a row never goes down.

The number of events would do for the first two points, but not for the last: of a counter that sums a field, one
writer's three events can weigh more than another's four, and a reader would see the count dip.

The cap keeps a sum of huge values from reaching centuries ahead, where no repair could overwrite it. At the cap the
timestamps tie and the larger value wins, which for weights that are not negative is still right.

Totals. A run writes `cutoff + revision`: a later cutoff wins, and of one cutoff the later run. Only clocks of brokers
take part (ingest windows and cutoffs are theirs), never a writer's own, save in repairs: see `repair`.
"""

from __future__ import annotations

from datetime import datetime

from stitch.buckets import micros

MOST_MOVEMENT = 10**15  # µs: 31 years; 10^15 plays of a track in one window, or seconds of listening


def of_increment(ingest_window: datetime, movement: int) -> int:
    """The write timestamp of an increment; jobs.frames.increments says the same in Spark."""
    return micros(ingest_window) + min(movement, MOST_MOVEMENT)


def of_repair(stored: int | None, now: datetime) -> int:
    """The write timestamp that makes a finished window's value final: later than what is stored and than any writer's.

    A writer that reads the finished window again writes `start + movement`, which lies before `now` as long as the window
    held fewer than a million movements a second; the stored one is beaten in any case.
    """
    return max(micros(now), (stored or 0) + 1)
