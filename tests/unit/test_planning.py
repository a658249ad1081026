"""What a run checks of the ledger before it counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from jobs.process.errors import JobError
from jobs.totals.planning import check_exclusions
from stitch.cutoff import Published
from stitch.runs import Noted, State


class Rules(NamedTuple):
    """The table of exclusions: how many are in force, and its snapshot."""

    number: int
    snapshot: int
    name: str = "lake.stitch.exclusions"

    def mark(self) -> tuple[int, int]:
        return self.number, self.snapshot


def noted(**figures: int) -> Noted:
    return Noted(Published(datetime(2026, 11, 26, tzinfo=UTC), 0), "full", State.PUBLISHED, figures=figures)


@pytest.mark.parametrize("before", [noted(exclusions=2, exclusions_digest=7), noted(exclusions=2)])
def test_a_run_without_the_rules_of_the_published_totals_is_refused(before: Noted) -> None:
    nobody: Any = Rules(0, 0)
    with pytest.raises(JobError, match=r"leave out events by 2 exclusions, and lake\.stitch\.exclusions has none"):
        check_exclusions(nobody, before)


@pytest.mark.parametrize(
    ("rules", "before"),
    [
        (Rules(0, 0), noted()),  # there never were any
        (Rules(0, 0), noted(exclusions=0)),
        (Rules(2, 5), noted(exclusions=2, exclusions_digest=7)),  # they were brought in
        (Rules(0, 6), noted(exclusions=2, exclusions_snapshot=5)),  # somebody took them out
    ],
)
def test_rules_that_are_there_or_were_taken_out_are_no_hindrance(rules: Any, before: Noted) -> None:
    check_exclusions(rules, before)
