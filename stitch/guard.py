"""The publish guard: a counter that a run would change too much for readers stays as it was until a person accepts it.

An archive that lost hours, a spam filter that catches everybody, a renamed field: all of them count well and publish
nonsense. Against that stands the real-time layer, which counted the same events by another way; where that cannot be
asked, the totals that the run replaces; where there are none either, a person.

What is compared are amounts, not sums: of the increments the movement (Σ |amount|), so that likes and unlikes that
cancel out are many events and not none, and changes key by key, so that one key's gain does not hide another's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import NamedTuple


class Day(NamedTuple):
    """A counter's count of one day, over all keys.

    previous: the totals before; live: the increments that the run replaces; after: the new totals
    changed:  Σ over keys of what the run changes, up or down; not what exclusions leave out that readers know already
    lost:     Σ over keys of what is gone of the previous totals, at most all
    moved:    Σ |amount| of the events behind `live`
    held:     Σ over keys of |previous|
    """

    counter: str
    day: date
    previous: int
    live: int
    after: int
    changed: int
    lost: int
    moved: int
    held: int

    @property
    def before(self) -> int:
        """What readers saw until now."""
        return self.previous + self.live

    @property
    def difference(self) -> int:
        """What the run changes."""
        return self.after - self.before


class Limits(NamedTuple):
    """How much a run may change unasked: that share of a counter, and in any case that many events."""

    share: float
    events: int

    def exceeded(self, changed: int, compared: int) -> bool:
        """Whether the change is too large a part of what was compared."""
        return changed > self.events and changed > self.share * compared


def corrected(days: Iterable[Day]) -> list[Day]:
    """The days that a run changes."""
    return sorted(day for day in days if day.difference)


class Refusal(NamedTuple):
    """Why a counter is not published, in a sentence; and how many events it was compared with."""

    said: str
    compared: int


def objections(
    days: Iterable[Day], recount: Collection[str], limits: Limits, before: Mapping[str, int] | None = None
) -> dict[str, Refusal]:
    """The counters that differ too much from what the real-time layer counted; none: publish.

    Compared is what the run replaces: the increments of its windows, and for a counter in `recount` the previous totals
    too.

    before: counters that were refused before → what they were compared with. It is no more now, or what is refused
            today would be accepted some nights later, as a small part of many nights
    """
    found = {}
    for counter, mine in _by_counter(days):
        changed, worst = _sum_and_worst(mine, lambda day: day.changed)
        compared = sum(day.moved + (day.held if counter in recount else 0) for day in mine)
        compared = min(compared, (before or {}).get(counter, compared))
        if limits.exceeded(changed, compared):
            said = f"{changed} of {compared} counted events differ, most on {worst.day}"
            found[counter] = Refusal(f"{said}: readers saw {worst.before}, the log gives {worst.after}", compared)
    return found


def losses(days: Iterable[Day], recount: Collection[str], limits: Limits) -> dict[str, Refusal]:
    """The same where the real-time layer cannot be asked: the counters in `recount` that lose too much of their
    previous totals. What they gain may be new events; and to other counters events are only added."""
    found = {}
    for counter, mine in _by_counter(day for day in days if day.counter in recount):
        lost, worst = _sum_and_worst(mine, lambda day: day.lost)
        held = sum(day.held for day in mine)
        if limits.exceeded(lost, held):
            said = f"{lost} of {held} events of the totals are gone, most on {worst.day}"
            found[counter] = Refusal(f"{said}: the totals were {worst.previous}, the log gives {worst.after}", held)
    return found


def unknown(days: Iterable[Day], limits: Limits) -> dict[str, Refusal]:
    """The same where there are no previous totals either: the counters that are not small."""
    counted = [(counter, sum(abs(day.after) for day in mine)) for counter, mine in _by_counter(days)]
    said = "{} events, and nothing to compare them with"
    return {counter: Refusal(said.format(n), 0) for counter, n in counted if n > limits.events}


def _by_counter(days: Iterable[Day]) -> list[tuple[str, list[Day]]]:
    by_counter: dict[str, list[Day]] = {}
    for day in days:
        by_counter.setdefault(day.counter, []).append(day)
    return sorted(by_counter.items())


def _sum_and_worst(days: list[Day], of: Callable[[Day], int]) -> tuple[int, Day]:
    return sum(map(of, days)), max(days, key=of)
