"""Plain spark-submit, from a user's home, against a Spark standalone master with a worker in another process, the
project shipped as `make pack` or `make pack-driver` packs it.

Once over history of other origin (JSON lines in folders by day), where no Kafka takes part; once over a topic, with all
that is kept in HDFS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from stitch.settings import load_settings
from stitch.shipped import PACKAGES as ROOT
from stitch.submit import environment, own_properties
from stitch_local.process import accepts
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, free_ports, run_in, write_config
from tests.steps import count, event, wait_for_the_window_to_end, wait_until
from tests.stores import hdfs, options

BIN = Path(sys.executable).parent
BARE_PYTHON = Path(sys.base_prefix, "bin/python3.11")  # what a worker may have: nothing of ours is installed there


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The URL of a master that has one worker, in a folder of its own; to it and its executors the folder `driver` is
    another one, which is empty and cannot be written to (as root: it takes a mount)."""
    (tmp_path / "driver").mkdir()
    (tmp_path / "elsewhere").mkdir()
    port, master_ui, worker_ui = free_ports(3)
    url = f"spark://127.0.0.1:{port}"
    spark_class = str(BIN / "spark-class")
    env = {**environment(None), "SPARK_WORKER_DIR": str(tmp_path / "work"), "SPARK_LOCAL_IP": "127.0.0.1"}
    commands = [
        ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port),
         "--webui-port", str(master_ui)],
        ["org.apache.spark.deploy.worker.Worker", "--cores", "2", "--memory", "2g",
         "--webui-port", str(worker_ui), url],
    ]  # fmt: skip
    log = (tmp_path / "cluster.log").open("wb")
    processes = []
    try:
        for command in commands:
            apart = hiding(tmp_path / "driver") if "worker.Worker" in command[0] else []
            started = subprocess.Popen(
                [*apart, spark_class, *command], env=env, cwd=tmp_path / "elsewhere", stdout=log, stderr=log
            )
            processes.append(started)
            wait_until(lambda: accepts(port), told=lambda: "the master did not start")
        yield url
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)
        log.close()


def hiding(folder: Path) -> list[str]:
    """What stands before a command so that it, and all that it starts, has an empty folder in the place of this one."""
    if os.geteuid():
        return []
    script = 'mount -t tmpfs -o ro,size=4k tmpfs "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(folder)]


def packed(target: str = "pack", name: str = "stitch-environment") -> Path:
    """What `make pack` makes; set-up is done."""
    subprocess.run(["make", "--silent", "-o", "setup", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / f"dist/{name}.tar.gz"


def json_log(folder: Path) -> None:
    """Two days of likes: one duplicate across the days, one line that is no event."""
    days = {
        "2024-02-28": [("e1", "like", "t1"), ("e2", "like", "t2")],
        "2024-02-29": [("e1", "like", "t1"), ("e3", "unlike", "t2"), ("e4", "like", "t1")],
    }
    for day, events in days.items():
        (folder / f"day={day}").mkdir(parents=True)
        lines = [
            json.dumps({"event_id": i, "type": kind, "track_id": track, "occurred_at": f"{day}T12:00:00Z"})
            for i, kind, track in events
        ]
        (folder / f"day={day}/part-0.json").write_text("\n".join([*lines, "{broken"]) + "\n", "utf-8")


@pytest.mark.slow
def test_history_of_other_origin_is_totalled_on_a_standalone_cluster(
    fresh: Stack, reader: Reader, master: str, tmp_path: Path
) -> None:
    json_log(tmp_path / "foreign")
    config = write_config(
        tmp_path / "foreign.toml",
        base=fresh.config_path,
        kafka={"bootstrap_servers": "127.0.0.1:1"},
        log={"kafka": False},
        sources=[{"name": "history", "path": str(tmp_path / "foreign"), "format": "json", "ingest_time": "folder:day"}],
    )
    properties, home = tmp_path / "spark.conf", tmp_path / "home"
    home.mkdir()
    by_hand = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(home), "JAVA_HOME": environment(None)["JAVA_HOME"],
               "PYSPARK_PYTHON": sys.executable}  # fmt: skip
    with properties.open("wb") as out:
        subprocess.run([str(BIN / "stitch"), "spark-conf"], env=by_hand, cwd=home, stdout=out, check=True)
    command = [
        "spark-submit", "--properties-file", str(properties), "--master", master,
        "--archives", f"{packed()}#environment", "--conf", "spark.executorEnv.PYTHONPATH=environment",
        "--conf", f"spark.pyspark.python={BARE_PYTHON}", "--conf", f"spark.pyspark.driver.python={sys.executable}",
    ]  # fmt: skip
    said = ""
    for job in (["archive_events.py", "--available-now"], ["batch_totals.py", "--cutoff", "2024-03-01T00:00:00Z"]):
        asked = [*command, str(ROOT / "jobs" / job[0]), "--config", str(config), *job[1:]]
        done = subprocess.run(asked, env=by_hand, cwd=home, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        said += done.stdout
    assert "source=history files=2 records=7 rejected=2" in said
    assert "records=7 rejected=2 excluded=0 duplicates=1 events=4" in said
    assert any((tmp_path / "work").glob("app-*/*/stderr")), "no executor ran in the worker's folder"

    client = reader(load_settings(config))
    answer = client.get("/v1/totals?counters=likes&keys=t1,t2&layer=batch").json
    assert [row["counts"]["likes"] for row in answer["data"]] == [2, 0]
    day = client.get("/v1/totals?counters=likes&keys=t1,t2&layer=batch&start=2024-02-29&end=2024-03-01").json
    assert [row["counts"]["likes"] for row in day["data"]] == [1, -1]


@pytest.mark.slow
def test_a_cluster_whose_machines_share_no_disk_counts_a_topic_through_hdfs(
    fresh: Stack, reader: Reader, master: str, tmp_path: Path
) -> None:
    """As in a container of cluster deploy mode: driver and executors have a Python 3.11 and what `make pack-driver`
    packs, the settings file and what Spark brings; nothing but HDFS, Kafka and Cassandra is common to all. With
    conf/spark-cluster.conf, but for the size of this machine."""
    driver = tmp_path / "driver"
    archive = packed("pack-driver", "stitch-driver")
    (driver / "environment").mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(driver / "environment")], check=True)
    (driver / "tmp").mkdir()
    env = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(driver), "JAVA_HOME": environment(None)["JAVA_HOME"],
           "PYTHONPATH": str(driver / "environment"), "TMPDIR": str(driver / "tmp")}  # fmt: skip
    own = own_properties(["--properties-file", str(ROOT / "conf/spark-cluster.conf")])[0]
    (driver / "spark.conf").write_text(own, "utf-8")
    (tmp_path / "spark-logs").mkdir()
    small = {
        "spark.executor.memory": "1g",
        "spark.executor.memoryOverhead": "512m",
        "spark.sql.shuffle.partitions": "4",
        "spark.driver.host": "127.0.0.1",
        "spark.eventLog.dir": f"file://{tmp_path}/spark-logs",
    }
    with hdfs(tmp_path / "hdfs") as store:
        settings = load_settings(write_config(
            driver / "stitch.toml", base=fresh.config_path,
            streaming={"checkpoint": f"{store.checkpoints}/streaming_counts"},
            lake={"warehouse": "lake"}, local={"folder": "local"},
        ))  # fmt: skip
        spark = [
            "spark-submit", "--properties-file", "spark.conf", "--master", master,
            "--archives", f"{archive}#environment", "--conf", "spark.executorEnv.PYTHONPATH=environment",
            "--conf", f"spark.pyspark.python={BARE_PYTHON}", "--conf", f"spark.local.dir={driver}/tmp",
            *(word for name, value in small.items() for word in ("--conf", f"{name}={value}")),
            *options(store, settings.lake.catalog, driver),
        ]  # fmt: skip

        def job(name: str, *args: str) -> str:
            command = [*spark, f"environment/jobs/{name}.py", "--config", "stitch.toml", *args]
            done = subprocess.run(command, env=env, cwd=driver, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            return done.stdout

        for begin in "ab":  # the second time with executors that have not seen the state
            produce(settings.kafka, [event(f"{begin}{n}", "play", track_id=f"t{n % 2}") for n in range(50)])
            said = job("streaming_counts", "--available-now")
        assert "batch=0 " not in said and "is a folder of this machine" not in said
        assert "events=100" in job("archive_events", "--available-now")
        wait_for_the_window_to_end(fresh)
        assert "records=100 rejected=0 excluded=0 duplicates=0 events=100" in job("batch_totals")
        assert json.loads(job("audit_counts", "--json"))["right"]
        there = store.files()
    client = reader(settings)
    assert [[count(client, "plays", key, layer) for key in ("t0", "t1")] for layer in ("merged", "batch")] == [
        [50] * 2
    ] * 2
    assert any("checkpoints/streaming_counts/state/" in name for name in there)
    assert any(name.startswith("lake/") and "/totals/" in name and name.endswith(".parquet") for name in there)
    assert any((tmp_path / "work").glob("app-*/*/stderr")), "no executor ran in the worker's folder"
    written = [path for path in (tmp_path / "work").rglob("*.parquet") if "environment" not in path.parts]
    assert not written and not list((tmp_path / "elsewhere").iterdir())
    logged = sorted((tmp_path / "spark-logs").glob("eventlog_v2_*"))  # one of each job, for the history server
    assert len(logged) == 5
    left = {path.name for path in driver.iterdir()}
    assert left <= {"environment", "tmp", "spark.conf", "stitch.toml", "catalog.db", ".cache"}, left


@pytest.mark.thorough
def test_parquet_of_other_origin_is_totalled_by_its_own_ingest_time(
    fresh: Stack, reader: Reader, spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        ("e1", "like", "t1", "2024-02-28T12:00:00Z", "2024-02-28 12:00:01"),
        ("e1", "like", "t1", "2024-02-28T12:00:00Z", "2024-02-28 12:00:02"),
        ("e2", "like", "t1", "2024-02-28T12:00:00Z", "2024-03-01 00:00:00"),  # after the cutoff
        ("e3", "like", "t1", "2024-02-28T12:00:00Z", None),  # in no ingest window
    ]
    names = "event_id string, type string, track_id string, occurred_at string, received string"
    frame = spark.createDataFrame(rows, names).withColumn("received", F.col("received").cast("timestamp"))
    frame.write.parquet(str(tmp_path / "foreign"))
    config = write_config(
        tmp_path / "foreign.toml",
        base=fresh.config_path,
        log={"kafka": False},
        sources=[{"name": "history", "path": str(tmp_path / "foreign"), "format": "parquet",
                  "ingest_time": "column:received"}],
    )  # fmt: skip
    run_in(load_settings(config), "archive_events")
    assert "records=4 rejected=1" in capfd.readouterr().out
    run_in(load_settings(config), "batch_totals", cutoff=datetime(2024, 3, 1, tzinfo=UTC))
    assert "records=2 rejected=0 excluded=0 duplicates=1 events=1" in capfd.readouterr().out
    client = reader(load_settings(config))
    answer = client.get("/v1/totals?counters=likes&keys=t1&layer=batch").json
    assert answer["data"] == [{"key": "t1", "counts": {"likes": 1}}]
