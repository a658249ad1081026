"""What a release leaves behind, kept in the repository for the tests of those after it.

    python -m tests.recorded          # ten minutes; writes tests/integration/releases/VERSION, of the code as it is

A real Kafka and Cassandra, and the jobs by `stitch submit`, count a small history, and stop in the middle of it. Kept
are the settings, the tables of Cassandra as CQL, and in folders.tar.xz their rows as JSON lines and, byte by byte, the
folders of Kafka, of the lake and of the checkpoint: only a broker that goes on from its own folder has a topic with the
id that all the others name.

Iceberg's files name each other by whole paths. So they are written below viewfs://…, which Hadoop maps to the folder
that its configuration names: they can be unpacked anywhere and stay as they were written.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from connections.kafka import librdkafka
from stitch import __version__
from stitch.cli import main as stitch
from stitch.cutoff import window_start
from stitch.settings import Settings, load_settings
from stitch.tables import SCHEMA_CHANGES, TABLES
from stitch_local import stack as local_stack
from stitch_local.producer import produce
from stitch_local.schema import connected
from tests.conftest import BASE_CONFIG, Stack, free_ports, submit_command, write_config
from tests.steps import event, wait_for_the_window_to_end

RELEASES = Path(__file__).parent / "integration/releases"
KEPT = ("kafka/formatted.txt", "kafka/data", "lake", "checkpoint", "rows.jsonl")
COUNTERS = ("plays", "likes", "creator_plays", "listened_seconds")  # of conf/stitch.toml
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}

# tests/integration/test_upgrade.py has the right counts of these, for every release: change neither.
FIRST = [
    *[event(f"e{n}", "play", track_id="t1", **PLAY) for n in (1, 2, 3, 3)],  # of a run; e3 twice
    event("e4", "play", track_id="t2", **PLAY),
    event("e5", "like", track_id="t1"),
    event("e6", "like", track_id="t2"),
    b"{",
]
SECOND = [  # of the run after it, with an exclusion
    event("e7", "play", track_id="t1", **PLAY),
    event("e8", "unlike", track_id="t1"),
    event("e9", "play", track_id="t9", **PLAY),
]
THIRD = [  # in increments and log, and in no run
    event("e10", "play", track_id="t2", **PLAY),
    event("e11", "play", track_id="t1", **PLAY),
    event("e12", "like", track_id="t1"),
    event("e13", "play", track_id="t9", **PLAY),
]
FOURTH = [  # in the topic alone, in the ingest window of the third: their counts need the state of the checkpoint
    event("e10", "play", track_id="t2", **PLAY),
    event("e14", "play", track_id="t1", **PLAY),
]
EXCLUDED = '{"track_id": "t9", "reason": "bought plays"}\n'


def write_settings(folder: Path) -> Path:
    """The settings of the recording; what depends on the machine comes in `on_this_machine`."""
    base, named = load_settings(BASE_CONFIG), __version__.replace(".", "_")
    counters = [one.model_dump(exclude_none=True) for one in base.counters if one.name in COUNTERS]
    return write_config(
        folder / "stitch.toml",
        kafka={"partitions": 2},
        # What is kept gets older than any retention that is usual.
        realtime={"keyspace": f"realtime_{named}", "retention": "3650d"},
        batch={"keyspace": f"batch_{named}"},
        streaming={"ingest_window": "2m", "deduplicate": True},
        lake={"catalog": f"lake_{named}"},
        log={"grace": "1s"},
        counters=counters,
    )


def on_this_machine(recorded: Path, folder: Path, cassandra_port: int | None = None) -> Stack:
    """The recorded settings with ports and folders of this machine; of a Cassandra that runs already, its port."""
    kafka, controller, cassandra, storage = free_ports(4)
    cassandra = cassandra_port or cassandra
    config = write_config(
        folder / "stitch.toml",
        base=recorded,
        kafka={"bootstrap_servers": f"127.0.0.1:{kafka}"},
        realtime={"port": cassandra},
        batch={"port": cassandra},
        streaming={"checkpoint": str(folder / "checkpoint")},
        serving={"cache": "0s"},
        local={
            "folder": str(folder),
            "kafka_port": kafka,
            "kafka_controller_port": controller,
            "cassandra_port": cassandra,
            "cassandra_storage_port": storage,
        },
    )
    return Stack(load_settings(config), config)


def lake_conf(settings: Settings, folder: Path) -> dict[str, str]:
    """Spark's configuration of the catalog whose tables lie below `folder`."""
    lake, named = f"spark.sql.catalog.{settings.lake.catalog}", settings.lake.catalog.replace("_", "-")
    return {
        lake: "org.apache.iceberg.spark.SparkCatalog",
        f"{lake}.type": "jdbc",
        f"{lake}.uri": f"jdbc:sqlite:{folder}/lake/catalog.db?busy_timeout=30000",
        f"{lake}.jdbc.schema-version": "V1",
        f"{lake}.cache-enabled": "false",
        f"{lake}.warehouse": f"viewfs://{named}/lake",
        f"{lake}.hadoop.fs.viewfs.mounttable.{named}.link./lake": f"file://{folder}/lake",
    }


def count_a_history(stack: Stack, folder: Path) -> None:
    """Two published runs; behind them increments and log, and behind these a topic."""
    conf = [part for pair in lake_conf(stack.settings, folder).items() for part in ("--conf", "=".join(pair))]

    def job(name: str, *args: str) -> None:
        subprocess.run(submit_command(stack, name, *conf, "--", *args), check=True)

    def brought_in(events: list[bytes]) -> None:
        produce(stack.settings.kafka, events)
        job("streaming_counts", "--available-now")
        job("archive_events", "--available-now")

    brought_in(FIRST)
    wait_for_the_window_to_end(stack)
    job("batch_totals", "--accept")
    brought_in(SECOND)
    wait_for_the_window_to_end(stack)
    (folder / "excluded.jsonl").write_text(EXCLUDED, "utf-8")
    job("batch_totals", "--exclude", str(folder / "excluded.jsonl"))

    begun = wait_for_a_window(stack)
    brought_in(THIRD)
    produce(stack.settings.kafka, FOURTH)
    if window_start(datetime.now(UTC), stack.settings.streaming.ingest_window) != begun:
        raise SystemExit("the jobs took longer than an ingest window: end what else runs here, and begin again")


def wait_for_a_window(stack: Stack) -> datetime:
    """Sleep until an ingest window begins; returns its start."""
    end = wait_for_the_window_to_end(stack)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
    return end


def keep_all_records(stack: Stack) -> None:
    """The broker would remove records a week after they were recorded."""
    kafka = stack.settings.kafka
    entry = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, kafka.topic, incremental_configs=[entry])
    admin = AdminClient(librdkafka(kafka))
    admin.incremental_alter_configs([resource])[resource].result(30)


def rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every row of both keyspaces, as often as it has write timestamps: its table, that (µs), and the columns that
    were written then."""
    for layer, tables in TABLES.items():
        of = getattr(settings, layer)
        with connected(of) as session:
            found = [
                (table, json.loads(row.json))
                for table in (*tables, SCHEMA_CHANGES)
                for row in session.execute(select(of.keyspace, table))
            ]
        counted = [row for table, row in found if table != SCHEMA_CHANGES]
        first = min((at for row in counted for at in written(row).values()), default=0)
        for table, row in found:
            at = written(row)
            # Of a row that is all key Cassandra tells no write timestamp: it gets that of the first run.
            for stamp in sorted({*at.values()} or {first}):
                columns = [*table.key, *(name for name, own in at.items() if own == stamp)]
                yield {"table": f"{of.keyspace}.{table.name}", "written": stamp, "row": {c: row[c] for c in columns}}


def select(keyspace: str, table: Any) -> str:
    others = [column.name for column in table.columns if column.name not in table.key]
    asked = [*table.key, *others, *(f'maxwritetime({name}) AS "at {name}"' for name in others)]
    return f"SELECT JSON {', '.join(asked)} FROM {keyspace}.{table.name}"


def written(row: dict[str, Any]) -> dict[str, int]:
    """Column → its write timestamp, of those that have a value."""
    return {name.removeprefix("at "): at for name, at in row.items() if name.startswith("at ") and at is not None}


def pack(folder: Path, archive: Path) -> None:
    """What is kept of the folder, without who wrote it and when: so it is older than what is removed by its age."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as out:
        for name in KEPT:
            out.add(folder / name, name, filter=plain)


def put_back(recorded: Path, stack: Stack, folder: Path, cassandra: Any) -> None:
    """Unpack the folders, and recreate both keyspaces; of Kafka that must be done before it starts."""
    with tarfile.open(recorded / "folders.tar.xz") as kept:
        kept.extractall(folder)  # whose paths are all below it
    for layer in TABLES:
        cassandra.execute(f"DROP KEYSPACE IF EXISTS {getattr(stack.settings, layer).keyspace}")
    script = re.sub(r"--[^\n]*", "", (recorded / "schema.cql").read_text("utf-8"))
    for statement in filter(str.strip, script.split(";")):
        cassandra.execute(statement)
    for line in (folder / "rows.jsonl").read_text("utf-8").splitlines():
        one = json.loads(line)
        insert = f"INSERT INTO {one['table']} JSON %s DEFAULT UNSET USING TIMESTAMP {one['written']}"
        cassandra.execute(insert, [json.dumps(one["row"])])


def main() -> None:
    recorded = RELEASES / __version__
    shutil.rmtree(recorded, ignore_errors=True)
    recorded.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="stitch-") as made:
        folder = Path(made)
        stack = on_this_machine(write_settings(recorded), folder)
        (folder / "lake").mkdir()
        try:
            local_stack.up(stack.settings)
            keep_all_records(stack)
            count_a_history(stack, folder)
            lines = [json.dumps(row, ensure_ascii=False) for row in rows(stack.settings)]
            (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
            shown = CliRunner().invoke(stitch, ["--config", str(stack.config_path), "schema", "show"])
            (recorded / "schema.cql").write_text(shown.output, "utf-8")
        finally:
            local_stack.down(stack.settings)
        pack(folder, recorded / "folders.tar.xz")
    subprocess.run(["du", "-ah", str(recorded)], check=True)


if __name__ == "__main__":
    main()
