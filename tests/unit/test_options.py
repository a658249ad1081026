"""What is written on the jobs' command lines: ranges of offsets."""

from __future__ import annotations

from typing import Any

import click
import pytest

from jobs.process.options import parse_records

NOBODY: Any = None


def test_ranges_of_offsets_name_a_partition_and_perhaps_a_topic() -> None:
    assert parse_records(NOBODY, NOBODY, ("0:5-5", "12:0-9", "Vd+/brteS/1:5-6", "plays.v2/0:0-0")) == [
        (None, 0, 5, 5), (None, 12, 0, 9), ("Vd+/brteS", 1, 5, 6), ("plays.v2", 0, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["0:6-5", "0:5", "x:1-2", "0:1-2 ", "/0:1-2", "0:1-2x"])
def test_what_is_no_range_of_offsets_is_told_with_its_form(value: str) -> None:
    with pytest.raises(click.BadParameter, match=r"write \[TOPIC/\]PARTITION:FIRST-LAST, both offsets included"):
        parse_records(NOBODY, NOBODY, (value,))
