"""Counters: which fields they read, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from stitch.conditions import condition_fields, qualified
from stitch.counters import Counter

PLAYS: dict[str, Any] = {"name": "plays", "key": "track_id", "weights": {"play": 1}}

CONDITIONS = {
    "country <> 'T1'": {"country"},
    "dep_delay > 15 AND NOT cancelled": {"dep_delay", "cancelled"},
    "lower(country) IN ('de', 'fr') OR country IS NULL": {"country"},
    "name = 'it''s country' ": {"name"},
    "1 = 1": set(),
    'country = "DE"': {"country"},
    "`in` = 'x' and a.b > 1e5": {"in", "a"},
    "at > timestamp '2024-02-29' and timestamp > 5": {"at", "timestamp"},
    "cast(country as int) > 1 and size is distinct from 3": {"country", "size"},
    "at > now + interval 1 day -- day": {"at", "now"},
    "r'it\\'s' = x": {"x"},
    "min > 3 and max < 5": {"min", "max"},
}


@pytest.mark.parametrize(("condition", "fields"), CONDITIONS.items())
def test_the_fields_of_a_condition_are_its_words_but_literals_and_functions(condition: str, fields: set[str]) -> None:
    assert condition_fields(condition) == fields


def test_a_counter_reads_its_key_member_weights_and_condition() -> None:
    counter = Counter(
        **PLAYS | {"member": "country", "where": "plan = 'x'", "weights": {"play": "seconds", "skip": -1}}
    )
    assert counter.fields == ["country", "plan", "seconds", "track_id"]
    assert counter.weight_fields == ["seconds"]


@pytest.mark.parametrize(
    ("resolution", "length"),
    {"1h": timedelta(hours=1), "15m": timedelta(minutes=15), "1m": timedelta(minutes=1)}.items(),
)
def test_the_finest_bucket_is_as_long_as_the_resolution(resolution: str, length: timedelta) -> None:
    assert Counter(**PLAYS | {"resolution": resolution}).finest == length


WRONG = {
    "a member that is the key": {"member": "track_id"},
    "no weights": {"weights": {}},
    "a name of two words": {"name": "two words"},
    "an unknown resolution": {"resolution": "2h"},
    "a condition of chance": {"where": "rand() < 0.1"},
    "a condition that asks the clock": {"where": "occurred_at > CURRENT_TIMESTAMP"},
    "another that does": {"where": "now () > occurred_at"},
    "a condition that makes ids": {"where": "uuid() = event_id"},
    "a condition that asks for its file": {"where": "input_file_name() <> ''"},
    "a condition over many events": {"where": "count(*) > 1"},
    "a condition that ranks": {"where": "row_number() over (order by occurred_at) = 1"},
    "a query within": {"where": "track_id in (select 1)"},
    "a field within an object": {"where": "listener.country = 'DE'"},
    "an unknown field": {"colour": "red"},
    "a weight that is a fraction": {"weights": {"play": 0.5}},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_counter_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Counter(**PLAYS | change)


def test_only_fields_are_given_their_columns() -> None:
    said = "lower(country) = 'country' and `in` > 1 and type = \"type\" -- country"
    assert qualified(said, lambda name: f"f.`{name}`") == (
        "lower(f.`country`) = 'country' and f.`in` > 1 and f.`type` = \"type\" -- country"
    )
