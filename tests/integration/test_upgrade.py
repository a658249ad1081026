"""What an earlier release left is opened, and gone on with, by the code of today.

`tests/recorded.py` recorded it, once for each release, and says what the history is: two published runs, increments and
event log behind them, a topic behind those. The topic is the one of then: the broker of today starts on the folder that
the release's broker left, for log, ledger and checkpoint all name the topic by its id, which only Kafka can give.
Nothing in any file is rewritten; rows of Cassandra are written with the write timestamps that they had.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.maintain_log import maintain
from jobs.streaming.continuity import STATE
from stitch.cli import main
from stitch.cutoff import Published
from stitch.runs import tag
from stitch.settings import load_settings
from stitch.tables import TABLES
from stitch_local import kafka
from stitch_local.process import start, stop
from stitch_local.stack import wait_until_all_answer
from tests.conftest import Reader, Stack, run_in, write_config
from tests.recorded import RELEASES, lake_conf, on_this_machine, put_back
from tests.steps import count

Counts = dict[tuple[str, str], int]
FIRST_RUN: Counts = {("plays", "t1"): 3, ("plays", "t2"): 1, ("plays", "t9"): 0, ("likes", "t1"): 1,
                     ("creator_plays", "c1"): 4, ("listened_seconds", "t1"): 90}  # fmt: skip
SECOND_RUN: Counts = {**FIRST_RUN, ("plays", "t1"): 4, ("likes", "t1"): 0, ("creator_plays", "c1"): 5,
                      ("listened_seconds", "t1"): 120}  # fmt: skip
# What was counted behind the second run. t9 is excluded, which real time does not know.
LEFT: Counts = {("plays", "t1"): 5, ("plays", "t2"): 2, ("plays", "t9"): 1, ("likes", "t1"): 1,
                ("creator_plays", "c1"): 8, ("listened_seconds", "t1"): 150}  # fmt: skip
COUNTED_ON: Counts = {**LEFT, ("plays", "t1"): 6, ("creator_plays", "c1"): 9, ("listened_seconds", "t1"): 180}
THIRD_RUN: Counts = {**COUNTED_ON, ("plays", "t9"): 0, ("creator_plays", "c1"): 8}


@pytest.fixture(params=sorted(RELEASES.iterdir()), ids=lambda folder: folder.name)
def left(request: pytest.FixtureRequest, stack: Stack, cassandra: Any, spark: Any, tmp_path: Path) -> Iterator[Stack]:
    """The release's settings, on all that it left."""
    mine = on_this_machine(request.param / "stitch.toml", tmp_path, stack.settings.batch.port)
    put_back(request.param, mine, tmp_path, cassandra)
    for name, value in lake_conf(mine.settings, tmp_path).items():
        spark.conf.set(name, value)
    broker = kafka.service(mine.settings)
    start(broker)
    try:
        wait_until_all_answer([broker], lambda _: None)
        yield mine
    finally:
        stop(broker.pid_file)
        for layer in TABLES:
            cassandra.execute(f"DROP KEYSPACE {getattr(mine.settings, layer).keyspace}")


def stitch(stack: Stack, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["--config", str(stack.config_path), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.thorough
def test_what_a_release_left_is_served_counted_on_restored_and_maintained_by_the_code_of_today(
    left: Stack, reader: Reader, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = reader(left.settings)

    def counts(layer: str = "merged") -> Counts:
        return {(counter, key): count(client, counter, key, layer) for counter, key in FIRST_RUN}

    def run(job: str, **asked: Any) -> str:
        capfd.readouterr()
        run_in(left.settings, job, **asked)
        return capfd.readouterr().out

    stitch(left, "schema", "apply")
    assert stitch(left, "schema", "check") == "realtime: as the settings say\nbatch: as the settings say\n"
    told = json.loads(stitch(left, "status", "--json"))
    assert [(one["kind"], one["state"]) for one in told["runs"]] == [
        ("incremental", "published"), ("full", "published"),
    ]  # fmt: skip
    (topic,) = told["topics"]
    assert (topic["offsets"], topic["lag"]["streaming_counts"]["offsets"]) == (17, 2)
    assert (counts(), counts("batch")) == (LEFT, SECOND_RUN)

    state = json.loads((tmp_path / "checkpoint/stitch.json").read_text("utf-8"))["state"]
    assert ("reads again" in run("streaming_counts")) == (state != STATE)
    assert (counts(), counts("batch")) == (COUNTED_ON, SECOND_RUN)
    run("archive_events")
    said = run("batch_totals")
    assert "records=6 rejected=0 excluded=1 duplicates=1 events=4 " in said, said
    assert (counts(), counts("batch")) == (THIRD_RUN, THIRD_RUN)

    first = told["runs"][1]
    run("batch_totals", restore=tag(Published(datetime.fromisoformat(first["cutoff"]), first["revision"])))
    assert counts("batch") == FIRST_RUN
    run("batch_totals", accept=True)
    assert (counts(), counts("batch")) == (THIRD_RUN, THIRD_RUN)

    short = load_settings(write_config(tmp_path / "short.toml", base=left.config_path, lake={"history": "1s"}))
    done = maintain(short, datetime.now(UTC))
    assert done["files"] and not done["orphans"], done
    assert (found := run_in(left.settings, "audit_counts"))["right"], found
    assert (counts(), counts("batch")) == (THIRD_RUN, THIRD_RUN)
