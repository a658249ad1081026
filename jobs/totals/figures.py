"""What a run that makes totals did, as figures (stitch.figures): what the ledger has of it, in Prometheus' words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from jobs.process.figures import harmless, put
from stitch.definitions import name_of
from stitch.figures import CORRECTED, CUTOFF, DUPLICATES, EXCLUDED, READ, REFUSED, WRITTEN
from stitch.guard import Day

OF_FACTS = {"records": READ, "duplicates": DUPLICATES, "excluded": EXCLUDED}


@harmless
def note_published(cutoff: datetime, written: int, facts: Mapping[str, int], corrected: Iterable[Day] = ()) -> None:
    """Note what was published: its cutoff, the rows written for it, what was read, and the days it corrected."""
    put(CUTOFF, cutoff.timestamp())
    put(WRITTEN, written)
    for name, figure in OF_FACTS.items():
        if name in facts:
            put(figure, facts[name])
    for day in corrected:
        put(CORRECTED, abs(day.difference), name_of(day.counter))


@harmless
def note_judged(counters: Iterable[str], refused: Collection[str]) -> None:
    """Note which of the counters the publish guard refused."""
    for counter in counters:
        put(REFUSED, counter in refused, name_of(counter))
