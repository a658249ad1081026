"""The lease on a real Cassandra: one run at a time, and none that is gone in the way of the next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobs.ledger.lease import Lease, leased
from jobs.process.errors import JobError, NotYet
from jobs.sources.stored import published
from stitch.runs import SUBJECT
from stitch_local.producer import produce
from tests.conftest import Reader, Stack
from tests.steps import count, event, wait_for_the_window_to_end

LeaseOf = Callable[..., Lease]


@pytest.fixture
def lease(fresh: Stack, cassandra: Any) -> LeaseOf:
    """lease(seconds) is another process's, which does not renew it by itself."""
    cassandra.set_keyspace(fresh.settings.batch.keyspace)
    return lambda lasts: Lease(cassandra, SUBJECT, lasts)


def test_whoever_comes_second_is_told_who_writes_and_whoever_comes_after_the_end_may(
    lease: LeaseOf, cassandra: Any
) -> None:
    with leased(cassandra, SUBJECT, lasts=4) as held:
        for _ in range(2):  # also after it was renewed, and for longer than it lasts
            with pytest.raises(
                NotYet, match=rf"another run writes the totals at this moment \(.*, pid {os.getpid()}\)"
            ):
                lease(4).take()
            time.sleep(2.5)
        held.check()
    began = time.monotonic()
    lease(4).take()
    assert time.monotonic() - began < 3


def test_the_lease_of_a_run_that_was_killed_expires_and_is_waited_for(lease: LeaseOf) -> None:
    lease(4).take()
    began = time.monotonic()
    lease(4).take()
    assert 2 < time.monotonic() - began < 8


@pytest.mark.thorough
def test_a_run_that_stood_still_ends_where_another_has_begun_and_goes_on_where_none_has(lease: LeaseOf) -> None:
    stopped, other = lease(5), lease(5)
    stopped.take()
    time.sleep(6)
    stopped.check()
    time.sleep(6)
    other.take()
    with pytest.raises(NotYet, match="stood still for more than 5 s, and another began to write the totals"):
        stopped.check()
    stopped.leave()  # which is not its own
    other.check()


@pytest.mark.thorough
def test_a_batch_that_is_overtaken_before_it_publishes_leaves_what_readers_see_as_it_is(
    fresh: Stack, reader: Reader, run_job: Callable[..., Any], cassandra: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "like", track_id="t1", creator_id="c1") for n in range(10)])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    cassandra.set_keyspace(fresh.settings.batch.keyspace)
    with leased(cassandra, SUBJECT), pytest.raises(JobError, match="another run writes the totals"):
        run_job("batch_totals")

    asked = 0

    def overtaken_the_third_time(self: Lease) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:  # before it has a branch, and before it loads
            return checked(self)
        cassandra.execute(f"UPDATE leases USING TTL 20 SET holder = 'other' WHERE subject = '{SUBJECT}' IF EXISTS")
        return checked(self)

    checked = Lease.check
    monkeypatch.setattr(Lease, "check", overtaken_the_third_time)
    with pytest.raises(JobError, match="stood still for more than 20 s"):
        run_job("batch_totals")
    monkeypatch.setattr(Lease, "check", checked)
    assert count(client, "likes", "t1") == 10
    cassandra.execute(f"DELETE FROM leases WHERE subject = '{SUBJECT}' IF EXISTS")
    assert published(cassandra) == {}
    run_job("batch_totals")
    assert (count(client, "likes", "t1"), count(client, "likes", "t1", "batch")) == (10, 10)
    assert list(cassandra.execute("SELECT * FROM leases")) == []
