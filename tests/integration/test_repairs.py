"""The tools to check and repair one's own data: the Restorator, the audit, backfill, exclusions, guard and undo,
rollup."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import PySparkException

from jobs.ledger.runs import noted_runs
from jobs.process.errors import JobError
from jobs.process.spark import session as spark_session
from jobs.sinks.cassandra import connected, forget_connections
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import read_totals
from stitch.definitions import name_of, stored_names
from stitch.runs import State, tag
from stitch.settings import Settings, load_settings
from stitch_local.producer import produce
from stitch_local.schema import apply_schema
from tests.conftest import Reader, Stack, run_in, write_config
from tests.faults.failpoints import armed
from tests.logs import kept_totals
from tests.steps import count, damage_increments, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}


def right(report: dict[str, Any]) -> dict[str, bool]:
    return {finding["about"]: finding["right"] for finding in report["findings"]}


@pytest.mark.slow
def test_damaged_increments_are_reported_and_repaired_and_the_audit_tells(
    fresh: Stack, reader: Reader, run_job: Run, cassandra: Any
) -> None:
    client = reader(fresh.settings)
    plays = [event(f"e{n}", "play", track_id=f"t{n % 4}", **PLAY) for n in range(40)]
    produce(fresh.settings.kafka, [*plays, plays[0], event("x", "like", track_id="t1"), b"{broken"])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    assert run_job("restore_counts")["rows"] == 0

    damaged = damage_increments(cassandra, fresh.settings)
    report = run_job("restore_counts")
    found = {row["key"]: (row["stored"], row["expected"]) for row in report["differences"]}
    assert found == damaged == {"t0": (1011, 11), "t1": (9, 10), "t2": (None, 10), "nobody": (7, None)}
    assert right(run_job("audit_counts"))["increments: log"] is False

    repaired = run_job("restore_counts", apply=True)
    assert (repaired["rows"], repaired["repaired"], repaired["left"]) == (4, 4, 0)
    assert run_job("restore_counts", apply=True)["rows"] == 0  # repeatable
    assert [count(client, "plays", key) for key in ("t0", "t1", "t2", "nobody")] == [11, 10, 10, 0]

    run_job("streaming_counts", from_cutoff=True)  # the whole topic once more: what was repaired stays
    assert [count(client, "plays", key) for key in ("t0", "t1", "t2", "nobody")] == [11, 10, 10, 0]

    run_job("batch_totals")
    report = run_job("audit_counts")
    assert all(right(report).values()), report
    conserved = next(one for one in report["findings"] if one["about"] == "conservation")
    assert conserved["said"].startswith("43 appended = 41 counted + 1 duplicates + 1 rejected + 0 excluded")
    plays = stored_names(fresh.settings)["plays"]
    cassandra.execute(
        f"UPDATE {fresh.settings.batch.keyspace}.totals SET count = 99 WHERE counter = '{plays}' AND key = 't1' "
        "AND granularity = 'day' AND bucket = '2024-02-29'"
    )
    assert {about for about, fine in right(run_job("audit_counts")).items() if not fine} == {
        "totals: recount",
        "totals: zoom",
        "totals: charts",
    }


@pytest.mark.slow
def test_a_new_counter_is_backfilled_alone_and_a_spammers_plays_are_excluded_and_brought_back(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plays = [event(f"e{n}", "play", track_id=f"t{n % 2}", **PLAY) for n in range(20)]
    produce(fresh.settings.kafka, [*plays, plays[1]])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)

    more = [*(c.model_dump(exclude_none=True) for c in fresh.settings.counters),
            {"name": "german_plays", "key": "track_id", "weights": {"play": 1}, "where": "country = 'DE'"}]  # fmt: skip
    config = write_config(tmp_path / "more.toml", base=fresh.config_path, counters=more)
    settings, capture = load_settings(config), capfd.readouterr
    client = reader(settings)
    capture()
    run_in(settings, "streaming_counts")  # by itself from the published cutoff, or the beginning
    assert "cutoff (what is read twice counts once): counters or their definitions are new, " in capture().out
    assert [count(client, "german_plays", track) for track in ("t0", "t1")] == [10, 11]
    run_in(settings, "streaming_counts")
    assert "reads again" not in capture().out

    run_job("batch_totals")
    capture()
    run_in(settings, "batch_totals", full=True, counter="german_plays")
    assert "recounted=german_plays records=21" in capture().out
    assert (count(client, "german_plays", "t0"), count(client, "plays", "t1")) == (10, 10)
    assert count(client, "german_plays", "t1", "batch") == 10

    spam = tmp_path / "spam.jsonl"
    spam.write_text('{"event_id": "e0", "reason": "bot"}\n{"track_id": "t1"}\n')
    strict = load_settings(write_config(tmp_path / "strict.toml", base=config, batch={"min_difference": 5}))
    with pytest.raises(
        JobError, match=r"plays: 11 of 20 counted events differ, most on 2024-02-29: readers saw 20, the log gives 9"
    ):
        run_in(strict, "batch_totals", full=True, exclude=str(spam))
    assert count(client, "plays", "t1") == 10  # nothing was loaded
    with connected(settings.batch, "batch") as cassandra:
        refused = noted_runs(cassandra)[0]
    assert refused.state == State.REFUSED
    with pytest.raises(JobError, match=r"no totals cutoff=.* in .*; there are: cutoff="):
        run_in(settings, "batch_totals", restore=tag(refused.at))
    run_in(strict, "batch_totals", full=True, accept=True)
    assert "rejected=0 excluded=12 duplicates=0 events=9" in capture().out
    assert [count(client, "plays", key) for key in ("t0", "t1")] == [9, 0]
    assert [count(client, "creator_plays", "c1"), count(client, "german_plays", "t1")] == [9, 0]

    before_the_counter, before_the_spam, without_the_spam = kept_totals(fresh.settings)
    run_in(settings, "batch_totals", restore=tag(before_the_spam))
    assert [count(client, "plays", key) for key in ("t0", "t1")] == [10, 10]
    run_in(settings, "batch_totals", restore=tag(without_the_spam))  # and forward again
    assert [count(client, "plays", key) for key in ("t0", "t1")] == [9, 0]
    with pytest.raises(JobError, match=r"no totals yesterday in .*; there are: cutoff="):
        run_in(settings, "batch_totals", restore="yesterday")
    # To before there was the counter: that is left as it is, and so is what readers see of it.
    run_in(settings, "batch_totals", restore=tag(before_the_counter))
    assert [count(client, "plays", key) for key in ("t0", "t1")] == [10, 10]
    assert [count(client, "german_plays", key) for key in ("t0", "t1")] == [9, 0]
    # The next run counts it again, and compares it with what readers see of it: nothing of the counter changes.
    run_in(settings, "batch_totals", full=True, counter="german_plays", accept=True)
    assert [count(client, "german_plays", key, "batch") for key in ("t0", "t1")] == [9, 0]
    assert [change for counter, change in corrected(fresh) if counter == "german_plays"] == [-11]
    corrections = corrected(fresh)
    assert ("plays", -1) in corrections and ("plays", -11) in corrections
    # The rules are taken out, and what they named comes back in all history.
    capture()
    run_in(settings, "batch_totals", full=True, include=str(spam), accept=True)
    assert "batch_totals took 2 exclusions out of " in capture().out
    assert [count(client, name, key) for name in ("plays", "german_plays") for key in ("t0", "t1")] == [10] * 4


@pytest.mark.thorough
def test_an_erased_track_is_gone_from_totals_increments_and_kept_totals_and_stays_gone(
    fresh: Stack, reader: Reader, run_job: Run
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 2}", **PLAY) for n in range(20)])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert keys_of(client, "plays") == ["t0", "t1"]
    erased = run_job("erase_key", field="track_id", value="t1")
    assert keys_of(client, "plays") == ["t0"]
    assert all(erased.values()), erased
    assert (count(client, "plays", "t0"), count(client, "plays", "t1")) == (10, 0)
    assert count(client, "plays", "t1", "realtime") == 0
    top = client.get("/v1/top?counter=creator_plays&key=c1").json
    assert [member["member"] for member in top["members"]] == ["t0"]
    (published,) = kept_totals(fresh.settings)
    with spark_session("test", fresh.settings) as spark:
        rows = TotalsTable(spark, fresh.settings).read(published)
        assert rows.where("key = 't1' or member = 't1'").count() == 0 and rows.count() > 0
    run_job("streaming_counts", from_cutoff=True)
    run_job("batch_totals", full=True, accept=True)
    assert (count(client, "plays", "t0"), count(client, "plays", "t1")) == (10, 0)
    assert keys_of(client, "plays") == ["t0"]
    with pytest.raises(
        JobError, match=r"no counter has it as key or member; these are used: country, creator_id, track_id"
    ):
        run_job("erase_key", field="duration_s", value="1")


def keys_of(client: Any, counter: str) -> list[str]:
    return [row["key"] for row in client.get(f"/v1/keys?counter={counter}").json["data"]]


def corrected(stack: Stack) -> list[tuple[str, int]]:
    from stitch_local.schema import connected

    with connected(stack.settings.batch) as session:
        rows = session.execute(f"SELECT counter, before, after FROM {stack.settings.batch.keyspace}.corrections")
        return sorted((name_of(row.counter), row.after - row.before) for row in rows)


@pytest.mark.thorough
def test_without_a_log_the_rollup_folds_increments_into_totals_and_may_die_anywhere(
    fresh: Stack, reader: Reader, run_job: Run
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "like", track_id=f"t{n % 3}", creator_id="c1") for n in range(30)])
    wait_for_the_window_to_end(fresh)
    with pytest.raises(JobError, match="the increments are not complete before"):
        run_job("rollup_increments")
    run_job("streaming_counts")
    with armed("half_loaded"), pytest.raises(JobError, match="half_loaded"):
        run_job("rollup_increments")
    assert [count(client, "likes", f"t{n}") for n in range(3)] == [10, 10, 10]
    run_job("rollup_increments")
    assert [count(client, "likes", f"t{n}", "batch") for n in range(3)] == [10, 10, 10]

    produce(fresh.settings.kafka, [event("u1", "unlike", track_id="t1"), event("u2", "like", track_id="t9")])
    run_job("streaming_counts")
    assert [count(client, "likes", key) for key in ("t0", "t1", "t9")] == [10, 9, 1]
    wait_for_the_window_to_end(fresh)
    run_job("rollup_increments")
    run_job("rollup_increments")  # again: nothing to do, or nothing new
    assert [count(client, "likes", key, "batch") for key in ("t0", "t1", "t9")] == [10, 9, 1]
    assert [count(client, "likes", key) for key in ("t0", "t1", "t9")] == [10, 9, 1]
    assert json.loads(client.get("/v1/totals?counters=creator_likes&keys=c1").text)["data"][0]["counts"] == {
        "creator_likes": 30
    }


@pytest.mark.thorough
def test_a_cassandra_that_lost_everything_or_some_rows_is_loaded_again_from_the_kept_totals(
    fresh: Stack, reader: Reader, run_job: Run, spark: Any, cassandra: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    client, keyspace = reader(fresh.settings), fresh.settings.batch.keyspace
    with pytest.raises(JobError, match=r"no totals \(published\) in .*; there are: none"):
        run_job("batch_totals", reload=True)
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 2}", **PLAY) for n in range(20)])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    whole, plays = stored(cassandra, keyspace), stored_names(fresh.settings)["plays"]

    cassandra.execute(f"DELETE FROM {keyspace}.totals WHERE counter = '{plays}' AND key = 't1' AND granularity = 'all'")
    assert count(client, "plays", "t1", "batch") == 0
    capfd.readouterr()
    run_job("batch_totals", reload=True)
    assert "rows_written=1" in capfd.readouterr().out
    assert stored(cassandra, keyspace) == whole

    cassandra.execute(f"DROP KEYSPACE {keyspace}")
    apply_schema(fresh.settings)
    wait_until_the_connector_finds_the_tables(spark, fresh.settings)
    run_job("batch_totals", reload=True)
    assert stored(cassandra, keyspace) == whole and keys_of(client, "plays") == ["t0", "t1"]
    produce(fresh.settings.kafka, [event("later", "play", track_id="t1", **PLAY)])
    run_job("streaming_counts")
    run_job("archive_events")
    assert (count(client, "plays", "t1"), count(client, "plays", "t1", "batch")) == (11, 10)
    wait_for_the_window_to_end(fresh)
    capfd.readouterr()
    run_job("batch_totals")
    assert "run=incremental records=1 " in capfd.readouterr().out  # it goes on from there
    assert count(client, "plays", "t1", "batch") == 11


def wait_until_the_connector_finds_the_tables(spark: Any, settings: Settings) -> None:
    """A job is a process of its own, which knows no keyspaces from before; this one has open connections that do, and
    are told of new tables after a while."""
    deadline = time.monotonic() + 60
    with spark_session("test", settings):
        while True:
            forget_connections(spark)
            try:
                read_totals(spark, settings)
                return
            except PySparkException:
                assert time.monotonic() < deadline
                time.sleep(0.5)


def stored(cassandra: Any, keyspace: str) -> set[tuple[Any, ...]]:
    rows = cassandra.execute(f"SELECT counter, key, granularity, bucket, count, cutoff FROM {keyspace}.totals")
    members = cassandra.execute(f"SELECT counter, member, granularity, bucket, count FROM {keyspace}.member_totals")
    return {tuple(row) for row in [*rows, *members]}


@pytest.mark.slow
def test_the_rollup_takes_totals_that_are_not_in_the_table_from_cassandra(
    fresh: Stack, reader: Reader, run_job: Run, spark: Any, cassandra: Any
) -> None:
    client = reader(fresh.settings)

    def night(*events: bytes, died: bool = False) -> None:
        produce(fresh.settings.kafka, [*events])
        run_job("streaming_counts")
        wait_for_the_window_to_end(fresh)
        if died:
            with armed("before_publish"), pytest.raises(JobError, match="before_publish"):
                run_job("rollup_increments")
        else:
            run_job("rollup_increments")

    night(*[event(f"e{n}", "like", track_id=f"t{n % 2}", creator_id="c1") for n in range(10)])
    with spark_session("test", fresh.settings):
        spark.sql(f"DROP TABLE {fresh.settings.lake.totals} PURGE")
    night(event("like", "like", track_id="t1"), died=True)  # it has taken them over, so it may die
    night(event("unlike", "unlike", track_id="t1"))  # what that one wrote is written again, though nothing has changed
    assert [count(client, "likes", key, "batch") for key in ("t0", "t1")] == [5, 5]

    with spark_session("test", fresh.settings):
        spark.sql(f"DROP TABLE {fresh.settings.lake.totals} PURGE")
    cassandra.execute(f"TRUNCATE {fresh.settings.batch.keyspace}.cutoffs")
    cassandra.execute(f"TRUNCATE {fresh.settings.batch.keyspace}.runs")
    night(event("first", "like", track_id="t1"))  # as for the first time: what is still held of increments
    assert [count(client, "likes", key, "batch") for key in ("t0", "t1")] == [5, 6]
    cassandra.execute(f"TRUNCATE {fresh.settings.batch.keyspace}.cutoffs")
    with pytest.raises(
        JobError, match=r"Cassandra has no published totals, .* by `stitch submit batch_totals --reload`"
    ):
        night(event("last", "like", track_id="t1"))
    run_job("batch_totals", reload=True)
    run_job("rollup_increments")
    assert [count(client, "likes", key, "batch") for key in ("t0", "t1")] == [5, 7]
