"""A counter whose definition changes, through all jobs on real parts: readers get the old one whole and live until the
new one is counted from the whole log, and nothing of the two is mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.ledger.runs import noted_runs
from jobs.process.errors import BadOption, JobError
from jobs.process.spark import session as spark_session
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import published, read_progress
from stitch.definitions import stored_names
from stitch.runs import How, tag
from stitch.settings import Settings, load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, write_config
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "duration_s": 30}


def redefined(fresh: Stack, folder: Path, **changes: Any) -> Settings:
    """The settings with other weights, or another key, of the first counter, plays."""
    counters = [counter.model_dump(exclude_none=True) for counter in fresh.settings.counters]
    counters[0] |= changes
    return load_settings(write_config(folder / "redefined.toml", base=fresh.config_path, counters=counters))


def brought_in(stack: Stack, streamed_by: Settings, *events: bytes) -> None:
    produce(stack.settings.kafka, list(events))
    run_in(streamed_by, "streaming_counts")
    run_in(stack.settings, "archive_events")
    wait_for_the_window_to_end(stack)


def counted_live(settings: Settings) -> set[str]:
    with connected(settings.realtime, "realtime") as cassandra:
        progress = read_progress(cassandra, "streaming_counts")
    assert progress
    return {stored for stored in progress.counters if stored.startswith("plays@")}


@pytest.mark.slow
def test_readers_get_the_old_definition_live_until_the_new_one_is_published_and_never_a_mixture(
    fresh: Stack, reader: Reader, run_job: Run, spark: Any, cassandra: Any, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    old, double = fresh.settings, redefined(fresh, tmp_path, weights={"play": 2})
    before, after = stored_names(old)["plays"], stored_names(double)["plays"]
    assert stored_names(old)["creator_plays"] == stored_names(double)["creator_plays"]
    clients = [reader(old), reader(double)]

    def plays(layer: str = "merged") -> list[int]:
        """By readers with the old settings and with the new ones."""
        return [count(client, "plays", "t0", layer) for client in clients]

    brought_in(fresh, old, *[event(f"e{n}", "play", track_id=f"t{n % 2}", **PLAY) for n in range(20)])
    run_job("batch_totals")
    first = published_run(old)
    assert plays() == [10, 10]

    # The batch has the new settings before the stream: the other counters go on, and this one waits.
    brought_in(fresh, old, event("e20", "play", track_id="t0", **PLAY))
    with pytest.raises(JobError, match=r"definitions changed, of plays; .* streaming_counts does not count by them"):
        run_in(double, "batch_totals")
    assert (count(clients[1], "creator_plays", "c1", "batch"), plays("batch"), plays()) == (21, [10, 10], [11, 11])
    kept = how_published(spark, double).behind  # so that the settings of before could go on from there
    assert (kept.keys(), kept[before].by, kept[before].cutoff) == ({before}, tag(first), first.cutoff)

    # The stream counts by both.
    capfd.readouterr()
    brought_in(fresh, double, event("e21", "play", track_id="t0", **PLAY))
    said = capfd.readouterr().out
    assert f"readers get {before}, which is counted on, until batch_totals has counted {after}" in said
    assert "counters or their definitions are new" in said and counted_live(double) == {before, after}
    assert (plays(), plays("batch"), plays("realtime")) == ([12, 12], [10, 10], [12, 12])
    found = run_in(double, "audit_counts")
    assert found["right"], found

    # One run switches, for all readers at once.
    capfd.readouterr()
    run_in(double, "batch_totals")
    said = capfd.readouterr().out
    assert f"its definition changed: it is counted from the whole log as {after}, and readers get {before}" in said
    assert "recounted=plays records=22 " in said
    brought_in(fresh, double, event("e22", "play", track_id="t0", **PLAY))
    assert counted_live(double) == {after}  # the stream was started again, and readers no longer get the old one
    assert (plays(), plays("batch")) == ([26, 26], [24, 24])
    found = run_in(double, "audit_counts")
    assert found["right"], found
    assert cutoffs_of(cassandra, double) == {before, after} and expiring(cassandra, double) == {
        before: False,
        after: False,
    }
    run_in(double, "batch_totals")
    assert "its definition changed" not in capfd.readouterr().out and plays("batch") == [26, 26]
    assert cutoffs_of(cassandra, double) == {after} and expiring(cassandra, double) == {before: True, after: False}
    assert keys_of(spark, double) == {(after, "t0"), (after, "t1")}

    # What is kept by the old definition is not loaded in place of the new one; by the settings of then it is.
    run_in(double, "batch_totals", restore=tag(first))
    assert f"does not have it as {after}: it is left as it is" in capfd.readouterr().out and plays() == [26, 26]
    run_in(old, "streaming_counts")
    run_in(old, "batch_totals", restore=tag(first))
    assert plays("batch") == [10, 10]
    run_in(old, "batch_totals", accept=True)
    assert (plays(), plays("batch")) == ([13, 13], [13, 13])
    found = run_in(old, "audit_counts")
    assert found["right"], found


def how_published(spark: Any, settings: Settings) -> How:
    with spark_session("test", settings):
        table = TotalsTable(spark, settings)
        return table.how(table.named(None))


def cutoffs_of(cassandra: Any, settings: Settings) -> set[str]:
    rows = cassandra.execute(f"SELECT counter FROM {settings.batch.keyspace}.cutoffs")
    return {row.counter for row in rows if row.counter.startswith("plays@")}


def expiring(cassandra: Any, settings: Settings) -> dict[str, bool]:
    """Stored name → whether all its totals and charts expire, or none."""
    found = set[tuple[str, bool]]()
    for column in ("count) AS ttl FROM {}.totals", "counts) AS ttl FROM {}.ranked_keys"):
        rows = cassandra.execute(f"SELECT counter, ttl({column.format(settings.batch.keyspace)}")
        found |= {(row.counter, row.ttl is not None) for row in rows if row.counter.startswith("plays@")}
    assert len(found) == len(dict(found))
    return dict(found)


def keys_of(spark: Any, settings: Settings) -> set[tuple[str, str]]:
    """The counters and keys of plays in the table of totals."""
    with spark_session("test", settings):
        rows = spark.sql(
            f"SELECT DISTINCT counter, key FROM {settings.lake.totals} WHERE counter LIKE 'plays@%'"
        ).collect()
    return {tuple(row) for row in rows}


def published_run(settings: Settings) -> Any:
    with connected(settings.batch, "batch") as cassandra:
        (at,) = set(published(cassandra).values())
        assert noted_runs(cassandra)[0].at == at
    return at


@pytest.mark.slow
def test_a_value_is_erased_from_every_definition_of_its_counters_published_or_not(
    fresh: Stack, reader: Reader, run_job: Run, spark: Any, cassandra: Any, tmp_path: Path
) -> None:
    double, by_country = redefined(fresh, tmp_path, weights={"play": 2}), redefined(fresh, tmp_path, key="country")
    events = [event(f"e{n}", "play", track_id=f"t{n % 2}", country=f"t{n % 2}", **PLAY) for n in range(8)]
    brought_in(fresh, fresh.settings, *events[:4])
    run_job("batch_totals")
    brought_in(fresh, by_country, *events[4:])  # which is never published
    run_in(double, "streaming_counts")
    run_in(double, "batch_totals", full=True)
    run_in(double, "erase_key", field="track_id", value="t0")
    for keyspace, table in (
        (fresh.settings.batch.keyspace, "totals"),
        (fresh.settings.realtime.keyspace, "increments"),
    ):
        rows = cassandra.execute(f"SELECT counter, key FROM {keyspace}.{table}")
        keys = {(row.counter, row.key) for row in rows if row.counter.startswith("plays@")}
        assert len({stored for stored, _ in keys}) == (2 if table == "totals" else 3)
        assert {key for _, key in keys} == {"t1"}
    with pytest.raises(BadOption, match="no counter has it as key or member"):
        run_in(double, "erase_key", field="nothing", value="t0")


@pytest.mark.thorough
def test_without_a_log_a_changed_definition_is_refused_since_its_history_cannot_be_counted_again(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path
) -> None:
    double = redefined(fresh, tmp_path, weights={"play": 2})
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t0", **PLAY) for n in range(3)])
    run_job("streaming_counts")
    wait_for_the_window_to_end(fresh)
    run_job("streaming_counts")
    run_job("rollup_increments")
    with pytest.raises(JobError, match="the definitions of the counters plays changed: without a log their history"):
        run_in(double, "rollup_increments")
    changes = {"base": fresh.config_path, "events": {"max_text": 9}}
    all_of_them = load_settings(write_config(tmp_path / "all.toml", **changes))
    with pytest.raises(JobError, match=r"the definitions of the counters .*creator_plays.* changed: without a log"):
        run_in(all_of_them, "rollup_increments")
    assert count(reader(fresh.settings), "plays", "t0") == 3
