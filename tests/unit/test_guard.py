"""The publish guard: literal days, literal objections."""

from __future__ import annotations

from datetime import date

from stitch.guard import Day, Limits, Refusal, corrected, losses, objections, unknown

FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
LIMITS = Limits(share=0.1, events=1000)


def day(counter: str, of: date, previous: int, live: int, after: int, **sums: int) -> Day:
    """A day of one key whose events all weigh 1, unless `sums` says otherwise."""
    of_one = {
        "changed": abs(after - previous - live),
        "lost": max(0, previous - after),
        "moved": abs(live),
        "held": abs(previous),
    }
    return Day(counter, of, previous, live, after, **(of_one | sums))


def test_a_run_that_removes_a_few_duplicates_is_published_and_noted() -> None:
    days = [day("plays", FIRST, 90_000, 10_000, 99_950), day("plays", SECOND, 0, 5_000, 5_000)]
    assert objections(days, (), LIMITS) == {}
    assert [(day.day, day.difference) for day in corrected(days)] == [(FIRST, -50)]


def test_hours_that_the_log_lost_are_not_published() -> None:
    days = [day("plays", FIRST, 900_000, 10_000, 905_000), day("likes", FIRST, 0, 10_000, 9_990)]
    assert objections(days, (), LIMITS) == {
        "plays": Refusal(
            "5000 of 10000 counted events differ, most on 2024-05-01: readers saw 910000, the log gives 905000", 10_000
        )
    }


def test_a_recount_is_compared_with_the_previous_totals_too() -> None:
    days = [day("plays", FIRST, 900_000, 0, 880_000)]
    assert objections(days, ["plays"], LIMITS) == {}
    assert objections(days, ["plays"], Limits(0.01, 1000)) != {}


def test_one_days_or_keys_gain_does_not_hide_anothers_loss_and_small_differences_never_stop_a_run() -> None:
    days = [day("plays", FIRST, 0, 5_000, 0), day("plays", SECOND, 0, 5_000, 10_000)]
    assert objections(days, (), LIMITS) != {}
    of_two_keys = day("plays", FIRST, 0, 10_000, 10_000, changed=8_000)
    assert objections([of_two_keys], (), LIMITS) == {
        "plays": Refusal(
            "8000 of 10000 counted events differ, most on 2024-05-01: readers saw 10000, the log gives 10000", 10_000
        )
    }
    assert objections([day("plays", FIRST, 0, 3, 1)], (), LIMITS) == {}


def test_likes_and_unlikes_that_cancel_out_are_many_events_and_not_none() -> None:
    toggled = day("likes", FIRST, 0, 10, 1_500, moved=100_000)
    assert objections([toggled], (), LIMITS) == {}
    assert objections([toggled._replace(moved=10)], (), LIMITS) != {}


def test_without_the_real_time_layer_totals_may_grow_and_not_lose_much() -> None:
    grown, less = day("plays", FIRST, 9_000, 0, 90_000), day("likes", FIRST, 9_000, 0, 7_000)
    assert losses([grown, less], ["plays", "likes"], LIMITS) == {
        "likes": Refusal(
            "2000 of 9000 events of the totals are gone, most on 2024-05-01: the totals were 9000, the log gives 7000",
            9000,
        )
    }
    assert losses([day("likes", FIRST, 90_000, 0, 88_000)], ["likes"], LIMITS) == {}
    assert losses([less], (), LIMITS) == {}  # not counted again: unlikes were added


def test_with_nothing_to_compare_a_person_is_asked_save_about_a_few_events() -> None:
    assert unknown(
        [day("plays", FIRST, 0, 0, 900), day("plays", SECOND, 0, 0, 200), day("likes", FIRST, 0, 0, 1_000)], LIMITS
    ) == {"plays": Refusal("1100 events, and nothing to compare them with", 0)}


def test_what_is_refused_is_not_accepted_as_a_small_part_of_many_nights() -> None:
    first = [day("plays", FIRST, 0, 10_000, 8_800)]
    refused = objections(first, (), LIMITS)["plays"]
    second = [*first, day("plays", SECOND, 0, 90_000, 90_000)]
    assert objections(second, (), LIMITS) == {}
    assert objections(second, (), LIMITS, {"plays": refused.compared})["plays"].compared == 10_000
    mended = [day("plays", FIRST, 0, 10_000, 9_500), second[1]]
    assert objections(mended, (), LIMITS, {"plays": refused.compared}) == {}
    counted_again = [day("plays", FIRST, 900_000, 10_000, 908_800)]
    assert objections(counted_again, ["plays"], LIMITS, {"plays": refused.compared}) != {}
