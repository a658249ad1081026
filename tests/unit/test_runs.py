"""Which run of the batch is due: literal published cutoffs, literal plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stitch.buckets import micros
from stitch.cutoff import Published, next_run
from stitch.runs import (
    HalfLoaded,
    Held,
    How,
    Noted,
    PlanError,
    Run,
    State,
    described,
    earliest_cutoff,
    going_back,
    half_loaded,
    latest_cutoff,
    newest,
    of_tag,
    overwriting,
    plan,
    publication,
    refused_since,
    restoring,
    tag,
)
from stitch.write_time import LATEST

MIDNIGHT = datetime(2024, 5, 1, tzinfo=UTC)
NIGHT = timedelta(days=1)
FIRST = Published(MIDNIGHT, 0)
NEXT = Published(MIDNIGHT + NIGHT, 0)
BOTH = {"plays": FIRST, "likes": FIRST}
NAMES = ("plays", "likes")
ALL = frozenset(NAMES)
SECOND = Published(MIDNIGHT + NIGHT, 0)
LEFT = dict.fromkeys(NAMES, SECOND) | {"likes": FIRST}  # the guard left likes where the first run published them
OF_FIRST = Held(MIDNIGHT, {("t", 0): 7}, 5, tag(FIRST), 100)


def test_the_first_run_counts_everything() -> None:
    assert plan(NAMES, {}, MIDNIGHT, held=False) == Run(None, FIRST, ALL, "full")


def test_the_next_night_counts_on_from_the_last() -> None:
    run = plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True)
    assert run == Run(FIRST, NEXT, frozenset(), "incremental")
    assert run.goes_on_from("plays") == Held(MIDNIGHT)


def test_a_counter_that_is_new_is_counted_anew_and_the_others_go_on() -> None:
    run = plan((*NAMES, "reposts"), BOTH, MIDNIGHT + NIGHT, held=True)
    assert run == Run(FIRST, NEXT, frozenset({"reposts"}), "incremental")
    assert (run.goes_on_from("reposts"), run.goes_on_from("likes")) == (None, Held(MIDNIGHT))


def test_a_counter_is_backfilled_alone_at_the_cutoff_that_is_published() -> None:
    run = plan((*NAMES, "reposts"), BOTH, MIDNIGHT, held=True, full=True, only="reposts")
    assert run == Run(FIRST, Published(MIDNIGHT, 1), frozenset({"reposts"}), "incremental")


def test_without_the_snapshot_all_is_counted_anew() -> None:
    assert plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=False) == Run(FIRST, NEXT, ALL, "full")


def test_a_cutoff_that_is_published_is_nothing_to_do_unless_a_full_run_is_asked_for() -> None:
    assert plan(NAMES, BOTH, MIDNIGHT, held=True) is None
    assert plan(NAMES, BOTH, MIDNIGHT, held=True, full=True) == Run(FIRST, Published(MIDNIGHT, 1), ALL, "full")


def test_a_cutoff_that_goes_back_is_refused() -> None:
    with pytest.raises(PlanError, match="is before the published one, 2024-05-01T00:00:00Z"):
        plan(NAMES, BOTH, MIDNIGHT - NIGHT, held=True)


def test_restored_totals_win_over_later_ones_and_are_overwritten_by_the_next_night() -> None:
    later = {"plays": NEXT, "likes": NEXT}
    restored = restoring(NAMES, later, MIDNIGHT).target
    assert restored.cutoff == MIDNIGHT and restored.write_time == NEXT.write_time + 1
    again = next_run(NEXT.cutoff, restored.write_time)
    assert again.cutoff == NEXT.cutoff and again.write_time == restored.write_time + 1
    assert next_run(NEXT.cutoff + NIGHT, restored.write_time).revision == 0


def test_after_a_run_that_died_its_rows_are_overwritten_and_what_it_counted_anew_is_counted_anew() -> None:
    died = HalfLoaded(NEXT.write_time, frozenset({"likes"}))
    assert plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True, died=died) == Run(
        FIRST, Published(MIDNIGHT + NIGHT, 1), frozenset({"likes"}), "incremental", died=True
    )


def test_after_a_run_that_died_whatever_was_written_since_the_published_one_is_written_again() -> None:
    died = HalfLoaded(NEXT.write_time)
    run = plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True, died=died)
    assert run and run.loaded_since == FIRST.write_time
    first = plan(NAMES, {}, MIDNIGHT, held=True, died=died)
    assert first and first.loaded_since is None  # it recounts all, and finds all
    quiet = plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True)
    assert quiet and quiet.loaded_since is None


THIRD = Published(MIDNIGHT + 2 * NIGHT, 0)
LEDGERS = {
    "nothing": ([], FIRST, None),
    "published ones": ([Noted(NEXT, "full", State.PUBLISHED), Noted(FIRST, "full", State.PUBLISHED)], FIRST, None),
    "one that was refused, one that died while it counted": (
        [Noted(THIRD, "incremental", State.COUNTING), Noted(NEXT, "incremental", State.REFUSED)], FIRST, None,
    ),
    "two that died while they loaded": (
        [Noted(THIRD, "incremental", State.LOADING, frozenset({"plays"})),
         Noted(NEXT, "incremental", State.LOADING, frozenset({"likes"}))], FIRST, HalfLoaded(THIRD.write_time, ALL),
    ),
    "one that died, then one that published": (
        [Noted(THIRD, "full", State.PUBLISHED), Noted(NEXT, "incremental", State.LOADING)], THIRD, None,
    ),
    "the first that ever was": ([Noted(FIRST, "full", State.LOADING, ALL)], None, HalfLoaded(FIRST.write_time, ALL)),
}  # fmt: skip


@pytest.mark.parametrize(("runs", "base", "found"), LEDGERS.values(), ids=LEDGERS.keys())
def test_the_ledger_says_what_runs_that_died_may_have_loaded(
    runs: list[Noted], base: Published | None, found: HalfLoaded | None
) -> None:
    assert half_loaded(runs, base) == found


def test_a_counter_whose_definition_changed_is_counted_again_in_the_next_run() -> None:
    run = plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True, redefined=frozenset({"likes"}))
    assert run and (run.recount, run.kind) == ({"likes"}, "incremental")
    assert (run.goes_on_from("likes"), run.goes_on_from("plays")) == (None, Held(MIDNIGHT))
    at_once = plan(NAMES, BOTH, MIDNIGHT, held=True, redefined=frozenset({"likes"}))
    assert at_once and at_once.target == Published(MIDNIGHT, 1)


def test_the_ledger_says_which_definition_published_totals_have() -> None:
    runs = [
        Noted(NEXT, "incremental", State.LOADING, counters=frozenset({"plays@c"})),
        Noted(FIRST, "full", State.PUBLISHED, counters=frozenset({"plays@b"})),
    ]
    found = publication(runs, FIRST)
    assert found and found.counters == {"plays@b"}
    assert publication(runs, NEXT) is None and publication(runs, None) is None


def test_a_run_is_described_in_a_line_and_why_it_was_refused_below() -> None:
    at = datetime(2024, 5, 2, 0, 3, 12, tzinfo=UTC)
    done = Noted(
        NEXT, "incremental", State.PUBLISHED, frozenset({"likes"}), frozenset(), {("topic", 0): 7}, "",
        {"events": 7, "b": 1}, at, "host, pid 1",
    )  # fmt: skip
    assert described(done) == (
        "cutoff=2024-05-02T00:00:00Z revision=0 incremental published 2024-05-02 00:03:12 host, pid 1 recounted=likes "
        "b=1 events=7"
    )
    refused = Noted(NEXT, "full", State.REFUSED, ALL, reason="too much:\n  plays: 11 of 20\nLook")
    assert described(refused) == (
        "cutoff=2024-05-02T00:00:00Z revision=0 full refused\n    too much:\n    plays: 11 of 20\n    Look"
    )


def test_a_run_that_tries_again_at_a_cutoff_has_a_write_timestamp_of_its_own() -> None:
    refused = NEXT.write_time
    run = plan(NAMES, BOTH, MIDNIGHT + NIGHT, held=True, stored=refused)
    assert run and run.target == Published(MIDNIGHT + NIGHT, 1)


def test_only_counters_that_a_restore_takes_back_are_published_before_their_rows_are_there() -> None:
    ahead, behind = NEXT, Published(MIDNIGHT - NIGHT, 0)
    assert going_back({"plays": ahead, "likes": behind}, restoring(NAMES, {"plays": ahead}, MIDNIGHT).target) == {
        "plays"
    }


def test_a_restore_is_published_under_another_revision_when_its_rows_are_there_and_the_next_night_still_wins() -> None:
    back = restoring(NAMES, {"plays": NEXT, "likes": NEXT}, MIDNIGHT)
    done = back.done
    assert done.cutoff == MIDNIGHT and done.write_time == back.target.write_time + 1
    again = plan(NAMES, {"plays": done, "likes": done}, NEXT.cutoff, held=True)
    assert again and again.target.write_time > done.write_time


NOON = micros(MIDNIGHT) + 12 * 3600 * 10**6  # of the day behind the first cutoff
STORED = {
    "nothing": (None, 0),
    "older than the run": (micros(MIDNIGHT) - 1, 0),
    "as old as the run": (micros(MIDNIGHT), 1),
    "by hand, at noon": (NOON, 12 * 3600 * 10**6 + 1),
    "in ns, by a client that takes them for µs": (NOON * 1000, NOON * 1000 + 1 - micros(MIDNIGHT)),
}


@pytest.mark.parametrize(("stored", "revision"), STORED.values(), ids=STORED.keys())
def test_a_run_is_given_a_revision_above_what_it_must_overwrite(stored: int | None, revision: int) -> None:
    run = overwriting(Run(None, FIRST, ALL, "full"), stored, "totals")
    assert run.target == Published(MIDNIGHT, revision) and run.target.write_time > (stored or 0)


@pytest.mark.parametrize("stored", [NOON, NOON * 1000], ids=["by hand", "far in the future"])
def test_after_a_run_that_overwrote_a_foreign_row_every_later_run_and_restore_overwrites_it_too(stored: int) -> None:
    full = overwriting(Run(FIRST, next_run(MIDNIGHT, FIRST.write_time), ALL, "full"), stored, "totals").target
    nights = [full]
    for night in range(1, 4):
        run = plan(NAMES, dict.fromkeys(NAMES, nights[-1]), MIDNIGHT + night * NIGHT, held=True)
        assert run and run.kind == "incremental"
        nights.append(run.target)
    back = restoring(NAMES, dict.fromkeys(NAMES, nights[-1]), MIDNIGHT).done
    written = [stored, *(at.write_time for at in (*nights, back))]
    assert written == sorted(set(written))


def test_a_cutoff_written_by_a_clock_that_is_ahead_is_overwritten_by_the_next_publication() -> None:
    """Versions before this one wrote cutoffs by the client's clock: the same cutoff again, under a revision, must
    win."""
    again = plan(NAMES, BOTH, MIDNIGHT, held=True, full=True, stored=NOON)
    back = restoring(NAMES, {"plays": NEXT, "likes": NEXT}, MIDNIGHT, stored=NEXT.write_time + NOON)
    assert again and again.target.write_time == NOON + 1
    assert back.target.write_time == NEXT.write_time + NOON + 1


def test_a_row_that_nothing_can_overwrite_is_told_with_the_way_out() -> None:
    with pytest.raises(
        PlanError, match=r"a row of the table totals has the write timestamp 9223372036854775807 .* TRUNCATE"
    ):
        overwriting(Run(None, FIRST, ALL, "full"), LATEST, "totals")


def test_a_restore_back_publishes_its_cutoffs_later_than_those_that_it_takes_back() -> None:
    """Cutoffs are written with the run's write timestamp: one that goes back must exceed all that were published."""
    known = {"plays": NEXT, "likes": Published(NEXT.cutoff, 7)}
    back = restoring(NAMES, known, MIDNIGHT)
    assert going_back(known, back.target) == ALL
    assert back.done.write_time > back.target.write_time > max(at.write_time for at in known.values())


def test_totals_are_kept_under_a_name_and_with_how_they_were_counted() -> None:
    assert tag(Published(MIDNIGHT, 12)) == f"cutoff={MIDNIGHT:%Y%m%d}T000000Z-r12"
    for at in (FIRST, Published(MIDNIGHT, 12)):
        assert of_tag(tag(at)) == at
    for name in (
        "main",
        "run_17",
        "",
        "cutoff=20241399T000000Z-r0",
        "cutoff=yesterday-r0",
        f"{tag(FIRST)} ",
        f"x{tag(FIRST)}",
    ):
        assert of_tag(name) is None
    how = How(frozenset({"plays@a1"}), {("of:colons", 3): 9}, {"exclusions": 2}, {"likes": OF_FIRST})
    assert How.of(how.text()) == how and How.of(How().text()) == How()
    assert (
        How.of('{"definitions": {}, "position": {}, "figures": {}}') == How()
    )  # as it was before it said who is behind


def test_no_run_goes_back_behind_a_counter_that_a_restore_has_left_as_it_was() -> None:
    restored = Published(FIRST.cutoff - 3 * NIGHT, 10**12)
    known = dict.fromkeys(NAMES, restored) | {NAMES[0]: FIRST}
    assert newest(NAMES, known) == restored and latest_cutoff(NAMES, known) == FIRST.cutoff
    with pytest.raises(PlanError, match=f"is before the published one, {FIRST.cutoff:%FT%TZ}"):
        plan(NAMES, known, FIRST.cutoff - NIGHT, held=True)
    run = plan(NAMES, known, FIRST.cutoff, held=True)
    assert run and run.base == restored and run.recount == {NAMES[0]} and run.cutoffs == {NAMES[0]: FIRST.cutoff}
    assert latest_cutoff(NAMES, {}) is None


def test_a_counter_that_the_guard_left_behind_goes_on_from_where_it_stands() -> None:
    run = plan(NAMES, LEFT, MIDNIGHT + 2 * NIGHT, held=True, behind={"likes": OF_FIRST})
    assert run and (run.base, run.recount, run.kind) == (SECOND, frozenset(), "incremental")
    assert (run.goes_on_from("likes"), run.goes_on_from("plays")) == (OF_FIRST, Held(MIDNIGHT + NIGHT))
    assert run.by_held(NAMES) == [(Held(MIDNIGHT + NIGHT), ["plays"]), (OF_FIRST, ["likes"])]
    assert run.cutoffs == {"likes": MIDNIGHT}


def test_at_the_same_cutoff_a_counter_that_was_left_behind_can_be_brought_up() -> None:
    run = plan(NAMES, LEFT, MIDNIGHT + NIGHT, held=True, behind={"likes": OF_FIRST})
    assert run and run.target == Published(MIDNIGHT + NIGHT, 1) and not run.recount
    assert not run.can_leave(["likes"], NAMES) and run.can_leave(["plays"], NAMES)


@pytest.mark.parametrize(
    ("asked", "recounted"),
    [
        ({"behind": {}}, {"likes"}),  # nobody knows what the totals hold of it
        ({"behind": {"likes": OF_FIRST}, "redefined": frozenset({"likes"})}, {"likes"}),
        ({"behind": {"likes": OF_FIRST}, "died": HalfLoaded(SECOND.write_time + 1, frozenset({"likes"}))}, {"likes"}),
        ({"behind": {"likes": OF_FIRST}, "full": True, "only": "plays"}, {"plays"}),
        ({"behind": {"likes": OF_FIRST}, "full": True}, {"plays", "likes"}),
    ],
)
def test_what_is_counted_again_goes_on_from_nowhere(asked: dict[str, Any], recounted: set[str]) -> None:
    run = plan(NAMES, LEFT, MIDNIGHT + 2 * NIGHT, held=True, **asked)
    assert run and run.recount == recounted
    assert [run.goes_on_from(name) is None for name in NAMES] == [name in recounted for name in NAMES]


LEAVING = {
    "that the run only adds to": (Run(FIRST, SECOND, frozenset(), "incremental"), ["plays"], True),
    "and all others too": (Run(FIRST, SECOND, frozenset(), "incremental"), NAMES, False),
    "that the run counts again": (Run(FIRST, SECOND, frozenset({"plays"}), "incremental"), ["plays"], False),
    "while another is counted again": (Run(FIRST, SECOND, frozenset({"likes"}), "incremental"), ["plays"], True),
    "after a run that died": (Run(FIRST, SECOND, frozenset(), "incremental", died=True), ["plays"], False),
    "at the same cutoff": (Run(FIRST, FIRST._replace(revision=1), frozenset(), "incremental"), ["plays"], False),
    "of the first run": (Run(None, FIRST, ALL, "full"), ["plays"], False),
}


@pytest.mark.parametrize(("run", "left", "can"), LEAVING.values(), ids=LEAVING.keys())
def test_a_counter_can_be_left_behind(run: Run, left: list[str], can: bool) -> None:
    assert run.can_leave(left, NAMES) == can


def test_what_a_refused_run_was_compared_with_is_remembered_until_one_is_published() -> None:
    refused = Noted(SECOND, "incremental", State.REFUSED, figures={"compared.plays": 900, "exclusions": 2})
    again = replace(refused, at=NEXT._replace(revision=1), figures={"compared.plays": 1000, "compared.likes": 5})
    assert refused_since([again, refused], FIRST) == refused_since([refused, again], None) == {"plays": 900, "likes": 5}
    assert refused_since([refused], SECOND) == refused_since([replace(refused, state=State.LOADING)], FIRST) == {}
    run = Run(FIRST, NEXT, frozenset(), "incremental", refused={"plays": 900, "reposts": 7}, behind={"plays": OF_FIRST})
    assert run.compared_before == {"plays": 100, "reposts": 7}


def test_increments_are_needed_from_the_earliest_cutoff_on() -> None:
    assert earliest_cutoff(NAMES, LEFT) == MIDNIGHT and earliest_cutoff(["plays"], LEFT) == MIDNIGHT + NIGHT
    assert earliest_cutoff(NAMES, {}) is None
