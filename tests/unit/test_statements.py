"""Statements that write a row: its columns are those of stitch.tables."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.sinks.statements import upserting


def test_a_row_becomes_an_upsert_of_the_columns_that_it_names() -> None:
    assert upserting("progress", {"job": "j", "offsets": {0: 7}}) == (
        "INSERT INTO progress (job, offsets) VALUES (%s, %s)",
        ("j", {0: 7}),
    )
    assert upserting("cutoffs", {"counter": "plays", "revision": 2}, 1_000) == (
        "INSERT INTO cutoffs (counter, revision) VALUES (%s, %s) USING TIMESTAMP %s",
        ("plays", 2, 1_000),
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"job": "j", "offset": 7}, r"the table progress has no columns \['offset'\]"),
        ({"offsets": {0: 7}}, r"a row of the table progress needs \['job'\]: its key"),
    ],
)
def test_a_column_that_the_table_does_not_have_and_a_key_that_is_not_whole_are_refused(
    row: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        upserting("progress", row)
