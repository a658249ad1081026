"""The publish guard: a run that would change what readers saw by too much loads nothing until a person accepts it.

An archive that lost hours, a spam filter that catches everybody, a renamed field: all of them count well and publish
nonsense. Against that stands the real-time layer, which counted the same events by another way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import NamedTuple


class Day(NamedTuple):
    """A counter's count of one day, over all keys: previous totals, increments that the run replaces, new totals."""

    counter: str
    day: date
    previous: int
    live: int
    after: int

    @property
    def before(self) -> int:
        """What readers saw until now."""
        return self.previous + self.live

    @property
    def difference(self) -> int:
        """What the run changes."""
        return self.after - self.before


def corrected(days: Iterable[Day]) -> list[Day]:
    """The days that a run changes."""
    return sorted(day for day in days if day.difference)


def objections(days: Iterable[Day], recount: Collection[str], max_difference: float, min_difference: int) -> list[str]:
    """One sentence for each counter that changes by more than a share of what was compared; none: publish.

    Compared is what the run replaces: the increments of its windows, and for a counter in `recount` the previous totals
    too.
    """
    by_counter: dict[str, list[Day]] = {}
    for day in days:
        by_counter.setdefault(day.counter, []).append(day)
    found = []
    for counter, mine in sorted(by_counter.items()):
        changed = sum(abs(day.difference) for day in mine)
        compared = sum(abs(day.live) + (abs(day.previous) if counter in recount else 0) for day in mine)
        if changed > min_difference and changed > max_difference * compared:
            worst = max(mine, key=lambda day: abs(day.difference))
            found.append(
                f"{counter}: {changed} of {compared} counted events differ, most on {worst.day}: readers saw {worst.before}, "
                f"the log gives {worst.after}"
            )
    return found
