"""The publish guard: literal days, literal objections."""

from __future__ import annotations

from datetime import date

from stitch.guard import Day, corrected, objections

FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)


def test_a_run_that_removes_a_few_duplicates_is_published_and_noted() -> None:
    days = [Day("plays", FIRST, 90_000, 10_000, 99_950), Day("plays", SECOND, 0, 5_000, 5_000)]
    assert objections(days, (), 0.1, 1000) == []
    assert [(day.day, day.difference) for day in corrected(days)] == [(FIRST, -50)]


def test_hours_that_the_log_lost_are_not_published() -> None:
    days = [Day("plays", FIRST, 900_000, 10_000, 905_000), Day("likes", FIRST, 0, 10_000, 9_990)]
    assert objections(days, (), 0.1, 1000) == [
        "plays: 5000 of 10000 counted events differ, most on 2024-05-01: readers saw 910000, the log gives 905000"
    ]


def test_a_recount_is_compared_with_the_previous_totals_too() -> None:
    days = [Day("plays", FIRST, 900_000, 0, 880_000)]
    assert objections(days, ["plays"], 0.1, 1000) == []
    assert objections(days, ["plays"], 0.01, 1000) != []


def test_gains_do_not_hide_losses_and_small_differences_never_stop_a_run() -> None:
    days = [Day("plays", FIRST, 0, 5_000, 0), Day("plays", SECOND, 0, 5_000, 10_000)]
    assert objections(days, (), 0.1, 1000) != []
    assert objections([Day("plays", FIRST, 0, 3, 1)], (), 0.1, 1000) == []
