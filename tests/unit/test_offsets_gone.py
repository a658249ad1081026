"""May a job read on? Where the broker no longer holds what it would read next, it says so."""

from __future__ import annotations

import pytest

from jobs.process.errors import JobError
from jobs.streaming.continuity import check_offsets
from stitch.settings import Settings

SETTINGS = Settings.model_validate({"counters": [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]})
READ = {0: 10, 1: 0}  # the next offset of each partition
FINE = {"all is there": {0: (0, 12), 1: (0, 5)}, "at the end": {0: (10, 10), 1: (0, 0)}, "a new partition": {2: (7, 9)}}
GONE = {
    "removed": (
        {0: (12, 20), 1: (0, 5)},
        r"2 records of the topic 'events' were removed .*\n  partition 0: offsets 10 to 11",
    ),
    "the end went back": (
        {0: (0, 9), 1: (0, 5)},
        r"ends before what a_job has read: .*\n.*partition 0: read up to 10, .* ends at 9",
    ),
}


@pytest.mark.parametrize("edges", FINE.values(), ids=FINE.keys())
def test_a_job_reads_on_where_the_broker_holds_what_comes_next(edges: dict[int, tuple[int, int]]) -> None:
    check_offsets("a_job", SETTINGS, READ, edges, accept_loss=False)


@pytest.mark.parametrize(("edges", "told"), GONE.values(), ids=GONE.keys())
def test_records_that_are_gone_stop_a_job_until_that_is_accepted(edges: dict[int, tuple[int, int]], told: str) -> None:
    with pytest.raises(JobError, match=told) as said:
        check_offsets("a_job", SETTINGS, READ, edges, accept_loss=False)
    assert "--accept-data-loss" in str(said.value)
    check_offsets("a_job", SETTINGS, READ, edges, accept_loss=True)
