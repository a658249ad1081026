"""Conditions decided without Spark: as SQL does, with its third truth value; tests/spark holds the same to Spark."""

from __future__ import annotations

from typing import Any

import pytest

from stitch.predicates import Beyond, predicate

KINDS = {"country": "string", "duration_s": "int", "volume": "double", "premium": "boolean", "in": "string"}
EVENT = {"country": "DE", "duration_s": 31, "volume": 0.5, "premium": True, "in": "x"}
NOTHING: dict[str, Any] = dict.fromkeys(EVENT)
CONDITIONS = {  # → whether it holds for EVENT, and for an event without any field
    "country = 'DE'": (True, False),
    'country = "DE"': (True, False),
    "country <> 'FR'": (True, False),
    "country != 'DE' or duration_s >= 31": (True, False),
    "not country = 'FR'": (True, False),
    "NOT (country = 'DE' AND duration_s > 30)": (False, False),
    "country = 'FR' and premium or volume < 1": (True, False),
    "country = 'FR' and (premium or volume < 1)": (False, False),
    "country is null": (False, True),
    "country IS NOT NULL and volume is not null": (True, False),
    "premium": (True, False),
    "not premium": (False, False),
    "premium is true": (True, False),
    "premium is not true": (False, True),
    "premium is false or premium is null": (False, True),
    "country in ('FR', 'DE')": (True, False),
    "country not in ('FR', 'IT')": (True, False),
    "country not in ('FR', null)": (False, False),
    "country in ('DE', null)": (True, False),
    "duration_s between 30 and 31": (True, False),
    "duration_s not between 32 and 40": (True, False),
    "duration_s between 30 and 31 and premium": (True, False),
    "duration_s > 30.5 and duration_s < 1e3 and duration_s >= -1": (True, False),
    "volume = 0.5 and volume > .4": (True, False),
    "volume >= duration_s": (False, False),
    "country like 'D_'": (True, False),
    "country like '%E'": (True, False),
    "country like 'D.'": (False, False),
    "country not like 'F%'": (True, False),
    "country = null or null is null": (True, True),
    "`in` = 'x' and `in` in ('x')": (True, False),
    "country = 'DE' -- Germany\n and true": (True, False),
    "(country) = ('DE')": (True, False),
    "country >= 'D' and country < 'E'": (True, False),
}


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS.items(), ids=CONDITIONS.keys())
def test_a_condition_of_comparisons_is_decided(condition: str, holds: tuple[bool, bool]) -> None:
    decide = predicate(condition, KINDS)
    assert (decide(EVENT), decide(NOTHING)) == holds


LEFT_TO_SPARK = [
    "upper(country) = 'DE'", "duration_s + 1 > 3", "country = 31", "duration_s = '31'", "premium = 'true'",
    "country = 'it''s'", r"country = 'a\n'", r"country like 'a\_'", "country like 'a!_' escape '!'", "country = r'x'",
    "country rlike 'D.'", "country ilike 'de'", "case when premium then true end", "cast(volume as int) = 0",
    "duration_s::string = '31'", "date '2024-02-29' is null", "occurred_at > '2024'", "country", "31", "premium and 1",
    "country = 'DE' = true", "duration_s > 1BD", "duration_s is true", "duration_s <=> 31", "country = ",
    "country 'DE'",
    "country in ()", "country not 'DE'", "(country = 'DE'", "country = 'DE')", "country in ('DE', 1)", "", "nobody = 1",
    "duration_s > 123456789012345678901", "country like country", "volume is distinct from 1",
]  # fmt: skip


@pytest.mark.parametrize("condition", LEFT_TO_SPARK)
def test_a_condition_that_is_more_is_left_to_spark(condition: str) -> None:
    with pytest.raises(Beyond):
        predicate(condition, KINDS)
