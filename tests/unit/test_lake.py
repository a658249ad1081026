"""How the log's table follows the fields of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.lake import COLUMNS, LOG_PROPERTIES, TOTALS, TOTALS_PROPERTIES, changes, create_log

A, B, BIG, DOUBLE = "a", "b", "bigint", "double"
CHANGES = {
    "nothing": ({A: BIG}, {A: BIG}, []),
    "a new field": ({A: BIG}, {A: BIG, B: "string"}, ["ADD COLUMN fields.`b` string"]),
    "a field that nobody reads any more stays": ({A: BIG, B: "string"}, {A: BIG}, []),
    "another type": ({A: BIG}, {A: DOUBLE}, ["RENAME COLUMN fields.`a` TO `a-bigint`", "ADD COLUMN fields.`a` double"]),
    "and back": (
        {"a-bigint": BIG, A: DOUBLE},
        {A: BIG},
        ["RENAME COLUMN fields.`a` TO `a-double`", "RENAME COLUMN fields.`a-bigint` TO `a`"],
    ),
}


@pytest.mark.parametrize(("have", "want", "steps"), CHANGES.values(), ids=CHANGES.keys())
def test_the_table_follows_the_fields_of_the_settings(
    have: dict[str, str], want: dict[str, str], steps: list[str]
) -> None:
    assert changes(have, want) == steps


def altered(have: dict[str, str], step: str) -> dict[str, str]:
    """What the statement makes of the columns; KeyError, or an assertion, where SQL would refuse it."""
    if added := re.fullmatch(r"ADD COLUMN fields\.`(.+)` (\w+)", step):
        assert added[1] not in have
        return {**have, added[1]: added[2]}
    renamed = re.fullmatch(r"RENAME COLUMN fields\.`(.+)` TO `(.+)`", step)
    assert renamed and renamed[2] not in have
    kind = have[renamed[1]]
    return {**{name: kind for name, kind in have.items() if name != renamed[1]}, renamed[2]: kind}


FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "duration_s"]), st.sampled_from(["string", "bigint", "double", "boolean"])
)


@given(st.lists(FIELDS, min_size=1, max_size=8))
def test_after_any_history_of_settings_the_columns_are_those_of_the_last_and_none_is_there_twice(
    history: list[dict[str, str]],
) -> None:
    have: dict[str, str] = {}
    for want in history:
        for step in changes(have, want):
            have = altered(have, step)
        assert {name: have[name] for name in want} == want and changes(have, want) == []
    kinds = [(name.partition("-")[0], kind) for name, kind in have.items()]
    assert len(kinds) == len(set(kinds))  # a type that comes back takes its column again


def test_the_table_is_created_with_bounds_of_nothing_that_a_person_may_ask_to_be_erased() -> None:
    statement = create_log("lake.stitch.events", {"track_id": "string"})
    assert statement.startswith("CREATE TABLE IF NOT EXISTS lake.stitch.events (`topic_id` string, `partition` int, ")
    assert "`fields` struct<`track_id`: string>) USING iceberg" in statement
    assert bounded(LOG_PROPERTIES) == {"topic_id", "partition", "offset", "timestamp", "decoder", "verdict"}
    assert bounded(TOTALS_PROPERTIES) == {"counter", "granularity", "bucket", "write_time"}
    assert bounded(LOG_PROPERTIES) < set(COLUMNS) and bounded(TOTALS_PROPERTIES) < set(TOTALS)


def bounded(properties: Mapping[str, str]) -> set[str]:
    """The columns of which files' statistics say the least and the greatest value."""
    assert properties["write.metadata.metrics.default"] == "counts"
    return {name.rpartition(".")[2] for name, said in properties.items() if said == "full"}
