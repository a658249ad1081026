"""Log, totals and checkpoint on storage that is no folder of this machine: the same jobs, the same counts."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, submit_command, write_config
from tests.faults.conftest import Job
from tests.steps import count, event, wait_for_the_window_to_end
from tests.stores import ByHadoop, ByIceberg, Store, hdfs, options, s3_client


@pytest.fixture(params=["s3", "s3a", "hdfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each storage in turn."""
    if request.param == "hdfs":
        with hdfs(tmp_path / "hdfs") as found:
            yield found
    else:
        with s3_client() as client:
            yield ByIceberg(client) if request.param == "s3" else ByHadoop(client)


@pytest.fixture
def stored(fresh: Stack, store: Store, tmp_path: Path) -> Stack:
    """The fresh stack with its checkpoint in the store, where it can lie there."""
    if not store.checkpoints:
        return fresh
    checkpoint = f"{store.checkpoints}/streaming_counts"
    config = write_config(tmp_path / "stored.toml", base=fresh.config_path, streaming={"checkpoint": checkpoint})
    return Stack(load_settings(config), config)


def held(store: Store) -> set[str | None]:
    """The tracks of all records in all data files of log and totals, also of those that no snapshot knows; of totals,
    None. (What is erased stays as an exclusion.)"""
    data = [
        content for name, content in store.files().items() if name.endswith(".parquet") and "/exclusions/" not in name
    ]
    rows = [row for content in data for row in pq.read_table(io.BytesIO(content)).to_pylist()]
    return {json.loads(row["value"])["track_id"] if row.get("value") else None for row in rows}


@pytest.mark.slow
def test_what_lies_on_other_storage_is_counted_killed_totalled_audited_maintained_and_erased(
    stored: Stack, store: Store, reader: Reader, tmp_path: Path
) -> None:
    asked = [*options(store, stored.settings.lake.catalog, tmp_path), "--"]

    def job(name: str, *args: str) -> str:
        command = submit_command(stored, name, *asked, *args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    produce(stored.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 2}") for n in range(100)])
    kill_after_a_batch(stored, tmp_path, asked, lambda: produce(
        stored.settings.kafka, [event(f"f{n}", "play", track_id="t1") for n in range(50)]
    ))  # fmt: skip
    job("archive_events", "--available-now")
    said = job("streaming_counts", "--available-now")
    assert "reads again" not in said and "batch=0 " not in said, "it did not go on from its checkpoint"
    wait_for_the_window_to_end(stored)
    assert "records=150 rejected=0 excluded=0 duplicates=0 events=150" in job("batch_totals")
    client = reader(stored.settings)
    assert [count(client, "plays", key) for key in ("t0", "t1")] == [50, 100]
    assert [count(client, "plays", key, "batch") for key in ("t0", "t1")] == [50, 100]
    assert json.loads(job("audit_counts", "--json"))["right"]
    assert "files=" in job("maintain_log")
    assert "log=50" in job("erase_key", "--field", "track_id", "--value", "t0")
    assert [count(client, "plays", key, "batch") for key in ("t0", "t1")] == [0, 100]
    assert held(store) == {None, "t1"}
    assert json.loads(job("audit_counts", "--json"))["right"]
    if store.checkpoints:
        assert any("checkpoints/streaming_counts/state/" in name for name in store.files())
        assert not list(tmp_path.glob("checkpoints/*")), "a checkpoint on this machine's disk"
    assert not Path(stored.settings.lake.warehouse, stored.settings.lake.namespace).exists()


def kill_after_a_batch(stack: Stack, folder: Path, asked: list[str], meanwhile: Callable[[], None]) -> None:
    """Run both streaming jobs until each has written a micro-batch, do something, and kill them (-9)."""
    jobs = [Job(stack, folder / f"{name}.log", name, *asked) for name in ("streaming_counts", "archive_events")]
    try:
        for job, name in zip(jobs, ("streaming_counts", "archive_events"), strict=True):
            job.wait_for_line(f"{name} batch=", seconds=240)
        meanwhile()
    finally:
        for job in jobs:
            job.kill()
