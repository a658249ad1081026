"""What the parts of a run that makes totals work with, handed from one to the next."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cassandra.cluster import Session
from pyspark.sql import SparkSession

from jobs.ledger.lease import Lease
from jobs.sinks.totals_table import TotalsTable
from stitch.counters import Counter
from stitch.settings import Settings


class Work(NamedTuple):
    """settings: by definition; cassandra: of the batch layer; lease: on the totals; now: when the job was asked for;
    started: the same, by time.monotonic(); asked_for: all stored names of the settings file, where `settings` lack some
    that wait"""

    spark: SparkSession
    settings: Settings
    cassandra: Session
    lease: Lease
    table: TotalsTable
    now: datetime
    started: float
    asked_for: Collection[str] = ()

    @property
    def names(self) -> list[str]:
        """Of the settings' counters."""
        return [counter.name for counter in self.settings.counters]

    def named(self, names: Collection[str]) -> list[Counter]:
        """The counters of the settings that have these names."""
        return [counter for counter in self.settings.counters if counter.name in names]
