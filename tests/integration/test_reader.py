"""The reader over a real Cassandra and a real memcached: what it remembers, and what it does when they hang or go."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cassandra import concurrent

from serving.app import create_app
from serving.layers.cached import CachedLayers
from serving.layers.cassandra import CassandraLayers
from serving.layers.interface import ChartOf, MembersOf, TotalsRange
from serving.layers.memcached import MemcachedLayers
from serving.layers.memory import Memory
from stitch.buckets import ALL, EPOCH, Bucket, floor
from stitch.cutoff import Published
from stitch.definitions import stored_names
from stitch.merge import Ranking, Total
from stitch.settings import Settings, load_settings
from tests.conftest import Stack, free_ports, needs, write_config
from tests.fakes import FakeLayers
from tests.faults.conftest import away
from tests.steps import send

PATH = "/v1/totals?counters=plays&key=t1"
CUTOFF = floor(datetime.now(UTC), "hour")


@pytest.fixture
def rows(fresh: Stack, cassandra: Any) -> Any:
    """rows(total=3) writes the total of track t1 and publishes its cutoff, as a run of that revision would."""
    batch, realtime = fresh.settings.batch.keyspace, fresh.settings.realtime.keyspace

    def write(total: int, live: int = 0, revision: int = 0) -> None:
        cassandra.execute(
            f"INSERT INTO {batch}.totals (counter, key, granularity, bucket, count, cutoff) "
            "VALUES ('plays', 't1', 'all', %s, %s, %s)",
            (EPOCH, total, CUTOFF),
        )
        cassandra.execute(
            f"INSERT INTO {realtime}.increments (counter, key, ingest_date, ingest_window, bucket, count)"
            " VALUES ('plays', 't1', %s, %s, %s, %s)",
            (CUTOFF.date(), CUTOFF, CUTOFF, live),
        )
        cassandra.execute(
            f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision) VALUES ('plays', %s, %s)", (CUTOFF, revision)
        )

    return write


def changed(fresh: Stack, tmp_path: Path, **serving: Any) -> Settings:
    return load_settings(write_config(tmp_path / "reader.toml", base=fresh.config_path, serving=serving))


@pytest.fixture
def memcached() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    (port,) = free_ports(1)
    process = subprocess.Popen([needs("memcached"), "-l", "127.0.0.1", "-p", str(port), "-u", "nobody", "-U", "0"])
    time.sleep(0.3)
    yield f"127.0.0.1:{port}", process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(10)


def plays(client: Any) -> int:
    response = client.get(PATH)
    assert response.status_code == 200, response.text
    return int(response.get_json()["data"][0]["counts"]["plays"])


def test_totals_come_from_memcached_for_a_second_process_and_a_new_run_is_seen_at_once(
    fresh: Stack, rows: Any, memcached: tuple[str, Any], tmp_path: Path, cassandra: Any
) -> None:
    address, process = memcached
    settings = changed(fresh, tmp_path, cache="1s", memcached=[address])
    first, second, third = (CassandraLayers(settings) for _ in range(3))
    try:
        rows(total=3, live=1)
        assert plays(create_app(settings, first).test_client()) == 4
        cassandra.execute(
            f"TRUNCATE {settings.batch.keyspace}.totals"
        )  # so the next process can have it from there alone
        client = create_app(settings, second).test_client()
        assert plays(client) == 4
        rows(total=5, live=1, revision=1)
        time.sleep(1.1)
        assert plays(client) == 6
        send(psutil.Process(process.pid), signal.SIGSTOP)  # it hangs: no answer depends on it, nor waits long
        client, began = create_app(settings, third).test_client(), time.monotonic()
        assert plays(client) == 6 and time.monotonic() - began < 3
        process.send_signal(signal.SIGKILL)
        time.sleep(1.1)
        assert plays(client) == 6
    finally:
        for layers in (first, second, third):
            layers.close()


def test_while_the_batch_layer_is_away_totals_that_another_process_read_are_recalled_from_memcached(
    fresh: Stack, memcached: tuple[str, Any], tmp_path: Path
) -> None:
    settings, at = changed(fresh, tmp_path, memcached=[memcached[0]]), Published(CUTOFF, 0)
    reads = [TotalsRange("plays", key, "all", EPOCH, ALL.end, at) for key in ("t1", "t2")]
    members = [MembersOf("plays", key, ALL, at) for key in ("t1", "t2")]
    one = FakeLayers()
    one.total_rows["plays", "t1", "all", EPOCH] = Total(3, CUTOFF)
    one.member_total_rows["plays", "t1", "all", EPOCH, "m"] = Total(2, CUTOFF)
    first = MemcachedLayers(one, settings)
    list_of_one = one.ranked_rows["plays", "t1", "all", EPOCH] = Ranking(["m"], [2], CUTOFF)
    list_of_keys = one.chart_rows["plays", "all", EPOCH] = Ranking(["t1"], [3], CUTOFF)
    first.totals(reads[:1])(), first.member_totals(members[:1])()
    first.charts([ChartOf("plays", ALL, at)])(), first.ranked(members)()
    deadline = time.monotonic() + 5
    while first.recalled_ranked(members[:1]) == [None]:  # memcached is not waited for
        assert time.monotonic() < deadline
    for layers in (
        MemcachedLayers(FakeLayers(), settings),
        CachedLayers(MemcachedLayers(FakeLayers(), settings), settings, Memory(10**6)),
    ):
        found = layers.recalled_totals(reads)
        assert [(one.rows, bool(one.lacking)) for one in found] == [({EPOCH: Total(3, CUTOFF)}, False), ({}, True)]
        assert layers.recalled_members(members) == [{"m": Total(2, CUTOFF)}, None]
        assert layers.recalled_ranked(members) == [list_of_one, None]
        assert layers.charts([ChartOf("plays", ALL, at), ChartOf("likes", ALL, at)])() == [
            list_of_keys,
            Ranking([], [], EPOCH),
        ]


def test_lists_of_members_or_keys_and_members_by_name_are_read_and_a_list_that_is_not_whole_is_none(
    fresh: Stack, cassandra: Any, tmp_path: Path
) -> None:
    settings = changed(fresh, tmp_path)
    batch, at = settings.batch.keyspace, Published(CUTOFF, 3)
    of = "(counter, key, granularity, bucket"
    none = Ranking([], [], EPOCH)
    lists = {
        "k": (["a", "ü"], [3, -1], CUTOFF),
        "few": ([], [], CUTOFF),
        "erased": (None, None, CUTOFF),
        "by hand": (["a"], None, CUTOFF),
        "by hand, too": (["a"], [1, 2], CUTOFF),
    }
    for key, row in lists.items():
        cassandra.execute(
            f"INSERT INTO {batch}.ranked_members {of}, members, counts, cutoff) "
            "VALUES ('c', %s, 'all', %s, %s, %s, %s)",
            (key, EPOCH, *row),
        )
    days = [Bucket("day", EPOCH + timedelta(days=n), EPOCH + timedelta(days=n + 1)) for n in range(len(lists))]
    for day, row in zip(days, lists.values(), strict=True):
        cassandra.execute(
            f"INSERT INTO {batch}.ranked_keys (counter, granularity, bucket, keys, counts, cutoff) "
            "VALUES ('c', 'day', %s, %s, %s, %s)",
            (day.start, *row),
        )
    for member in "abc":
        cassandra.execute(
            f"INSERT INTO {batch}.member_totals {of}, member, count, cutoff) VALUES ('c', 'k', 'all', %s, %s, 7, %s)",
            (EPOCH, member, CUTOFF),
        )
    for counter, ranked in (("with", at.write_time), ("older", at.write_time - 1), ("without", None)):
        cassandra.execute(
            f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision, ranked) VALUES (%s, %s, 3, %s)",
            (counter, CUTOFF, ranked),
        )
        cassandra.execute(
            f"INSERT INTO {batch}.cutoffs (counter, cutoff, revision, charted) VALUES (%s, %s, 3, %s)",
            (f"keys {counter}", CUTOFF, ranked),
        )
    layers = CassandraLayers(settings)
    try:
        found = layers.ranked([MembersOf("c", key, ALL) for key in [*lists, "none"]])()
        assert found == [Ranking(["a", "ü"], [3, -1], CUTOFF), None, None, None, None, None]
        keys = layers.charts([ChartOf("c", bucket) for bucket in [*days, ALL]])()
        assert keys == [found[0], none, None, None, None, none]
        reads = [MembersOf("c", "k", ALL, among=among) for among in (("c", "a", "x"), None, ("b",), ())]
        expected = [{"a", "c"}, {"a", "b", "c"}, {"b"}, set()]
        assert [one.keys() for one in layers.member_totals(reads)()] == expected
        said = layers.cutoffs()()
        assert {name: said[name].ranked for name in ("with", "older", "without")} == {
            "with": True, "older": False, "without": False
        }  # fmt: skip
        assert [name for name, one in said.items() if one.charted] == ["keys with"]
    finally:
        layers.close()


def test_a_hot_key_is_read_once_and_its_answer_handed_out_for_a_second(fresh: Stack, rows: Any, tmp_path: Path) -> None:
    settings = changed(fresh, tmp_path, cache="2s")
    layers = CassandraLayers(settings)
    try:
        rows(total=3)
        client = create_app(settings, layers).test_client()
        first = client.get(PATH)
        rows(total=9, revision=1)
        again = client.get(PATH)
        assert (again.data, again.headers["ETag"]) == (first.data, first.headers["ETag"])
        assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
        unchanged = client.get(PATH, headers={"If-None-Match": first.headers["ETag"]})
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        deadline = time.monotonic() + 5
        while plays(client) != 9:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        layers.close()


def test_a_cassandra_that_hangs_costs_a_bounded_time_then_nothing_and_is_back_by_itself(
    fresh: Stack, rows: Any, tmp_path: Path
) -> None:
    settings = changed(fresh, tmp_path, timeout="2s")
    layers = CassandraLayers(settings)
    try:
        rows(total=3)
        client = create_app(settings, layers).test_client()
        assert plays(client) == 3
        with away(fresh.settings, "cassandra", signal.SIGSTOP):
            took = []
            for _ in range(12):
                began = time.monotonic()
                answer = client.get(PATH)
                took.append(time.monotonic() - began)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
                assert "layer cannot be read" in answer.get_json()["detail"]
            assert max(took) < 2.5, took  # never longer than serving.timeout, with a little to spare
            assert sum(seconds < 0.1 for seconds in took) >= 6, took  # the circuit is open: most fail at once
            ready = client.get("/readyz")
            assert (ready.status_code, ready.get_json()["missing"]) == (503, ["batch", "realtime"])
        deadline = time.monotonic() + 20
        while client.get(PATH).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert plays(client) == 3
    finally:
        layers.close()


def test_keys_in_sixteen_shards_come_in_one_order(fresh: Stack, cassandra: Any, reader: Any) -> None:
    keyspace = fresh.settings.batch.keyspace
    keys = [f"k{n:03}" for n in range(200)] + ["k1🎵", "K", "ü"]
    of = stored_names(fresh.settings)["plays"]
    statement = cassandra.prepare(f"INSERT INTO {keyspace}.keys (counter, shard, key) VALUES ('{of}', ?, ?)")
    for n, key in enumerate(keys):
        cassandra.execute(statement, (n * 7 % 16, key))
    client, found, after = reader(fresh.settings), [], ""
    while after is not None:
        query = {"counter": "plays", "prefix": "k", "limit": 30, **({"after": after} if after else {})}
        page = client.get("/v1/keys", query_string=query).get_json()
        found += [row["key"] for row in page["data"]]
        after = page["next"]
    assert found == sorted(key for key in keys if key.startswith("k"))


def test_a_range_by_the_minute_needs_no_quarters_of_an_hour(fresh: Stack, cassandra: Any, tmp_path: Path) -> None:
    """A counter by the minute keeps minutes and hours: a range must not be covered by what it does not keep."""
    counters = [{"name": "plays", "key": "track_id", "weights": {"play": 1}, "resolution": "1m"}]
    settings = load_settings(write_config(tmp_path / "minutes.toml", base=fresh.config_path, counters=counters))
    statement = cassandra.prepare(
        f"INSERT INTO {settings.batch.keyspace}.totals (counter, key, granularity, bucket, count, cutoff)"
        f" VALUES ('{stored_names(settings)['plays']}', 't1', 'minute', ?, 1, ?)"
    )
    start = CUTOFF - timedelta(hours=3)
    for minute in range(60):
        cassandra.execute(statement, (start + timedelta(minutes=minute), CUTOFF))
    layers = CassandraLayers(settings)
    try:
        client = create_app(settings, layers).test_client()
        end = start + timedelta(minutes=45)
        found = client.get(f"{PATH}&start={start + timedelta(minutes=15):%FT%TZ}&end={end:%FT%TZ}").get_json()
        assert found["data"][0]["counts"] == {"plays": 30}
        series = client.get(
            f"/v1/series?counters=plays&key=t1&granularity=quarter_hour&start={start:%FT%TZ}&end={end:%FT%TZ}"
        ).get_json()
        assert [point["counts"]["plays"] for point in series["points"]] == [15, 15, 15]
    finally:
        layers.close()


def test_a_key_of_many_members_is_read_page_by_page_or_refused_and_hurts_no_other_key(
    fresh: Stack, rows: Any, cassandra: Any, tmp_path: Path
) -> None:
    """12,345 members are three pages of the driver's. The limits are met while they are read."""
    rows(total=3)
    of = stored_names(fresh.settings)["creator_plays"]
    statement = cassandra.prepare(
        f"INSERT INTO {fresh.settings.batch.keyspace}.member_totals"
        " (counter, key, granularity, bucket, member, count, cutoff)"
        f" VALUES ('{of}', 'c1', 'all', ?, ?, 1, ?)"
    )
    concurrent.execute_concurrent_with_args(
        cassandra, statement, [(EPOCH, f"m{n}", CUTOFF) for n in range(12_345)], concurrency=200
    )
    cassandra.execute(
        f"INSERT INTO {fresh.settings.batch.keyspace}.totals (counter, key, granularity, bucket, count, cutoff)"
        f" VALUES ('{of}', 'c1', 'all', %s, 12345, %s)",
        (EPOCH, CUTOFF),
    )
    top = "/v1/top?counter=creator_plays&key=c1&limit=1000"
    for serving, status in (({}, 200), ({"max_rows": 10_000}, 400), ({"timeout": "1s"}, None)):
        settings = changed(fresh, tmp_path, cache="0s", **serving)
        layers = CassandraLayers(settings)
        try:
            client = create_app(settings, layers).test_client()
            until = time.monotonic() + 30
            while client.get(PATH).status_code != 200:  # to connect may take longer than a request may
                assert time.monotonic() < until
            began = time.monotonic()
            answer = client.get(top)
            assert time.monotonic() - began < settings.serving.timeout.total_seconds() + 1
            assert answer.status_code in ([status] if status else [200, 503]), answer.text
            if status == 200:
                assert (answer.get_json()["total"], answer.get_json()["others"]) == (12_345, 11_345)
            for _ in range(3):
                client.get(top)
            assert plays(client) == 3 and layers.circuits() == {}
        finally:
            layers.close()
