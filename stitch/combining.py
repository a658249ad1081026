"""Which events count alike, so that they may be added up before they are weighed: one row in place of many.

Counters read some fields of an event, and of its instant the finest bucket that any of them keeps. Events that are
equal in these add the same to every count, so `times` the one is as good as all of them. A field that is a weight and
nothing else need not be equal: it is summed, of events in which it has one sign, for the movement behind a count is the
sum of what each event moves (stitch.write_time).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stitch.amounts import MOST_SUM
from stitch.counters import Counter
from stitch.decoding import OWN
from stitch.settings import Settings

TIMES = "times"  # the column that says how many events a row is of


class Combining(NamedTuple):
    """How events are added up, as plain data. Lengths in seconds.

    equal:  the fields in which they are equal
    summed: the fields that are summed
    own:    of what makes an event itself, what they must be equal in, too
    bucket: the length of the bucket that they occurred in; ingest_window: the one they were appended in
    most:   how many may be one row: as many as can add up to no sum that wraps
    """

    equal: tuple[str, ...]
    summed: tuple[str, ...]
    own: tuple[str, ...]
    bucket: int
    ingest_window: int
    most: int


def summed_fields(counters: Sequence[Counter]) -> set[str]:
    """The fields that are weights and nothing else."""
    return {name for one in counters for name in one.weight_fields} - _deciding(counters)


def combining(settings: Settings, counters: Sequence[Counter]) -> Combining:
    """How the events of these counters of the settings may be added up."""
    read, summed = _deciding(counters), summed_fields(counters)
    return Combining(
        tuple(name for name in settings.fields if name in read),
        tuple(name for name in settings.fields if name in summed),
        tuple(name for name in OWN if name in read | {"type"}),
        min(int(one.finest.total_seconds()) for one in counters),
        int(settings.streaming.ingest_window.total_seconds()),
        MOST_SUM // settings.events.max_amount,
    )


def _deciding(counters: Iterable[Counter]) -> set[str]:
    return {name for one in counters for name in one.deciding}
