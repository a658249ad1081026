"""Which run published each counter last, by the ledger, and what the audit says of cutoffs that are others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from jobs.audit.counts import publications
from stitch.cutoff import Published
from stitch.runs import Held, How, Noted, State, tag

NAMES = ["plays", "likes"]
FIRST, SECOND, THIRD = (Published(datetime(2026, 11, day, tzinfo=UTC), 0) for day in (1, 2, 3))
BOTH = frozenset(NAMES)


class Kept(NamedTuple):
    """The table of totals: the runs that it keeps, and which counters each left as an earlier one published them."""

    runs: dict[Published, dict[str, Held]]

    def holds(self, at: Published) -> bool:
        return at in self.runs

    def how(self, at: Published) -> How:
        return How(behind=self.runs[at])


def run(at: Published, state: State = State.PUBLISHED, of: frozenset[str] = BOTH, kind: str = "incremental") -> Noted:
    return Noted(at, kind, state, counters=of)


def test_of_each_counter_the_last_run_counts_that_published_it() -> None:
    ledger = [run(THIRD, State.REFUSED), run(SECOND), run(FIRST)]
    kept = Kept({SECOND: {"likes": Held(FIRST.cutoff, by=tag(FIRST))}, FIRST: {}})
    found = publications(kept, NAMES, {"plays": SECOND, "likes": FIRST}, ledger)
    assert (found.right, found.details) == (True, [])
    found = publications(kept, NAMES, {"plays": FIRST, "likes": SECOND}, ledger)
    assert found.details == [
        f"plays: published is {tag(FIRST)}, and by the ledger {tag(SECOND)} published it last",
        f"likes: published is {tag(SECOND)}, and by the ledger {tag(FIRST)} published it last",
    ]
    found = publications(kept, NAMES, {"plays": SECOND}, ledger)
    assert found.details == [f"likes: no cutoff is published, and by the ledger {tag(FIRST)} published it last"]


def test_a_counter_that_a_run_did_not_have_is_as_the_run_before_published_it() -> None:
    ledger = [run(SECOND, of={"plays": "an id"}), run(FIRST)]
    assert publications(Kept({SECOND: {}, FIRST: {}}), NAMES, {"plays": SECOND, "likes": FIRST}, ledger).right


@pytest.mark.parametrize(
    ("likes", "wrong"),
    [(FIRST, []), (THIRD, [f"likes: published is {tag(THIRD)}, and by the ledger no run published that"]), (None, [])],
)
def test_of_runs_whose_totals_are_gone_it_is_known_only_that_they_published(
    likes: Published | None, wrong: list[str]
) -> None:
    ledger = [run(SECOND, of={"plays": "an id"}), run(FIRST)]
    known = {"plays": SECOND} | ({"likes": likes} if likes else {})
    assert publications(Kept({SECOND: {}}), NAMES, known, ledger).details == wrong


def test_a_restore_that_is_loading_has_published_under_the_revision_before_its_own() -> None:
    back = FIRST._replace(revision=9)
    ledger = [run(back, State.LOADING, kind="restore"), run(SECOND), run(FIRST)]
    at = back._replace(revision=8)
    assert publications(Kept({SECOND: {}, FIRST: {}}), NAMES, {"plays": at, "likes": at}, ledger).right


def test_without_a_ledger_it_says_that_it_does_not_know() -> None:
    assert publications(Kept({}), NAMES, {"plays": FIRST}, []).said.startswith("not known")
    assert publications(Kept({}), NAMES, {}, []).said == "nothing is published"
