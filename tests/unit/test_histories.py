"""Thousands of histories of the state machine of test_exactness.py, every day others: hypothesis looks for the unkind
ones, and this for the rare. `python -m tests.histories` lives through a million."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from tests.histories import live

COUNT, AT_ONCE = 2_000, 100
FIRST = int(os.environ.get("STITCH_SEED", datetime.now(UTC).date().toordinal() * COUNT))


@pytest.mark.parametrize("at", range(0, COUNT, AT_ONCE))
def test_the_reader_equals_the_truth_at_every_step_of_a_hundred_histories(at: int) -> None:
    _, failed = live(FIRST + at, AT_ONCE)
    assert not failed, f"STITCH_SEED={FIRST} repeats them:\n{failed[0]}"
