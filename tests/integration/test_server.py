"""The reader's server as a process with real sockets, over layers in memory (tests/reader_process.py)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.conftest import free_ports, write_config
from tests.integration.readers import QUICK, Reader, answers, start, wait
from tests.reader_process import SLOW

__all__ = ["start"]  # a fixture

BODY = b'{"counters":["plays"],"keys":["quick"]}'
LARGEST = 4 * 1024 * 1024  # of a body
STALLED = {
    "line": b"GET /v1/tot",
    "headers": b"GET /v1/totals HTTP/1.1\r\nHost: x\r\nX-A: ",
    "body": b"POST /v1/totals HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "chunks": b"POST /v1/totals HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    "body of a GET": b"GET " + QUICK.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.fixture
def shared(start: Callable[..., Reader]) -> Reader:
    return start()


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


@pytest.mark.parametrize("part", STALLED)
def test_callers_that_stall_hold_nobody_up(start: Callable[..., Reader], part: str) -> None:
    reader = start()
    stalled = [reader.connected(STALLED[part]) for _ in range(200)]
    time.sleep(0.3)
    for _ in range(20):
        began = time.monotonic()
        assert requests.get(reader.address + QUICK, timeout=5).ok
        assert requests.get(f"{reader.address}/healthz", timeout=5).ok
        assert time.monotonic() - began < 1
    body = {"counters": ["plays"], "keys": ["quick"]}
    assert requests.post(f"{reader.address}/v1/totals", json=body, timeout=5).json()["data"][0]["counts"] == {
        "plays": 7
    }
    for one in stalled:
        one.close()


def test_a_body_that_does_not_come_is_told_so_and_its_connection_ends(start: Callable[..., Reader]) -> None:
    reader = start()
    for part in ("body", "chunks"):
        began = time.monotonic()
        for connection in [reader.connected(STALLED[part]) for _ in range(20)]:  # every one, whatever is collected when
            answer = received(connection)
            assert answer.startswith(b"HTTP/1.1 408 ") and b"the body has not come within 1 s" in answer
            assert 0.7 < time.monotonic() - began < 5
    refused = [line for line in reader.lines() if line.get("status") == 408]
    assert len(refused) == 40
    assert all(line["level"] == "INFO" and line["method"] == "POST" for line in refused)
    assert all(line["milliseconds"] > 700 for line in refused)


BROKEN = {
    "shorter than announced": (b"Content-Length: 500\r\n\r\n" + BODY, 400),
    "a chunk that is none": (b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + BODY + b"\r\nzz\r\n", 400),
    "without the last chunk": (b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + BODY + b"\r\n", 400),
    "too long by chunks": (
        b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + BODY + b"\r\n400000\r\n" + b" " * LARGEST + b"\r\n0\r\n\r\n",
        413,
    ),
    "too long as announced": (b"Content-Length: 4194305\r\n\r\n", 413),
    "whole": (b"Content-Length: 39\r\n\r\n" + BODY, 200),
    "whole in chunks": (b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + BODY + b"\r\n0\r\n\r\n", 200),
}


@pytest.mark.parametrize("body", BROKEN)
def test_a_body_that_is_broken_off_or_too_long_is_refused_and_not_taken_for_whole(shared: Reader, body: str) -> None:
    sent, status = BROKEN[body]
    connection = shared.connected(b"POST /v1/totals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + sent)
    if status == 400:  # else hyper takes the caller to have gone
        connection.shutdown(socket.SHUT_WR)
    assert received(connection).startswith(b"HTTP/1.1 %d " % status)


def test_what_the_server_refuses_by_itself_has_the_headers_of_other_answers_and_counts(
    start: Callable[..., Reader],
) -> None:
    tokens = {"one": {"sha256": "0" * 64}}
    reader = start(rate_limit="9/hour", cors_origins=["https://a.example"], public=["plays"], tokens=tokens)
    stalled = STALLED["body"].replace(b"\r\n\r\n", b"\r\nOrigin: https://a.example\r\n\r\n")
    answer = received(reader.connected(stalled)).lower()
    assert answer.startswith(b"http/1.1 408 ") and answer.count(b"connection: close") == 1
    for header in (b"x-content-type-options: nosniff", b"content-security-policy: ", b"x-request-id: ",
                   b"access-control-allow-origin: https://a.example", b"cache-control: no-store",
                   b"ratelimit: "):  # fmt: skip
        assert header in answer
    assert b"authorization" in answer and b"origin" in answer.partition(b"vary: ")[2]
    many = [reader.connected(stalled) for _ in range(40)]
    assert [received(one)[9:12] for one in many].count(b"429") >= 30  # and each of the 40 connections has ended


DECLARED = b"POST /v1/totals HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{" % LARGEST


def test_more_bodies_than_a_process_may_hold_are_told_to_come_again(start: Callable[..., Reader]) -> None:
    reader = start(timeout="5s", trusted_proxies=1)
    large = [reader.connected(DECLARED + b" " * (LARGEST - 2)) for _ in range(16)]
    time.sleep(0.5)
    answer = received(reader.connected(DECLARED + b" " * 1000))
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer
    assert all(one.recv(13) == b"HTTP/1.1 408 " for one in large)
    assert requests.post(f"{reader.address}/v1/totals", data=BODY, timeout=5).ok


def test_one_address_takes_no_more_than_its_share_of_the_room_for_bodies(start: Callable[..., Reader]) -> None:
    reader = start(timeout="5s")
    held = [reader.connected(source="127.0.0.2") for _ in range(20)]
    for one in held:
        with suppress(ConnectionError):  # it is refused in the middle of what it sends
            one.sendall(DECLARED + b" " * (LARGEST - 2))
    assert requests.post(f"{reader.address}/v1/totals", data=BODY, timeout=5).ok
    assert wait(lambda: [line["address"] for line in reader.lines() if line.get("status") == 429])


def test_who_announces_much_and_sends_nothing_takes_no_room_of_the_others(start: Callable[..., Reader]) -> None:
    reader = start(timeout="5s")
    idle = [reader.connected(DECLARED) for _ in range(100)]
    time.sleep(0.3)
    assert requests.post(f"{reader.address}/v1/totals", data=BODY, timeout=5).ok
    for one in idle:
        one.close()


def test_kept_answers_and_probes_pass_by_heavy_requests(start: Callable[..., Reader]) -> None:
    reader = start(cache="30s", timeout="5s")
    assert answers(reader)  # from now on it is kept
    with ThreadPoolExecutor(8) as pool:
        slow = [
            pool.submit(requests.get, f"{reader.address}/v1/totals?counters=plays&key=slow&key=s{n}", timeout=30)
            for n in range(8)
        ]
        time.sleep(SLOW / 2)
        began = time.monotonic()
        assert answers(reader) and requests.get(f"{reader.address}/healthz", timeout=5).ok
        assert time.monotonic() - began < SLOW and not all(one.done() for one in slow)
        assert all(one.result().ok for one in slow)


def test_requests_of_many_keys_take_no_threads_of_the_others(start: Callable[..., Reader]) -> None:
    reader = start(cache="0s", timeout="10s", threads=4)
    many = {"counters": ["plays"], "keys": ["slow", *(f"key{n}" for n in range(200))]}
    long = "&".join(f"key=slow{n}" for n in range(200))
    with ThreadPoolExecutor(12) as pool:
        slow = [
            *(pool.submit(requests.post, f"{reader.address}/v1/totals", json=many, timeout=30) for _ in range(6)),
            *(pool.submit(requests.get, f"{reader.address}{QUICK}&key=slow&{long}", timeout=30) for _ in range(6)),
        ]
        time.sleep(SLOW / 2)
        began = time.monotonic()
        assert answers(reader)
        assert time.monotonic() - began < 1.5 * SLOW and not all(one.done() for one in slow)
        assert all(one.result().ok for one in slow)


def test_a_header_with_underscores_does_not_pass_for_one_with_dashes(start: Callable[..., Reader]) -> None:
    reader = start(trusted_proxies=1)
    requests.get(reader.address + QUICK, headers={"X_Forwarded_For": "1.2.3.4"}, timeout=5)
    requests.get(reader.address + QUICK + "0", headers={"X-Forwarded-For": "5.6.7.8"}, timeout=5)
    addresses = {line["address"] for line in reader.lines() if line["name"] == "stitch.access"}
    assert "5.6.7.8" in addresses and "1.2.3.4" not in addresses


def test_a_token_that_is_not_ascii_is_a_bad_one_and_not_none(start: Callable[..., Reader]) -> None:
    reader = start(public=["plays"], tokens={"one": {"sha256": "0" * 64}})
    for token in (b"\xff.\xfe", "é".encode()):
        sent = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
        assert received(reader.connected(sent % (QUICK.encode(), token))).startswith(b"HTTP/1.1 401 ")


def test_keys_of_any_bytes_come_through(start: Callable[..., Reader]) -> None:
    reader = start()
    for path in ("/stats/track_id/%C3%A9%2F%2F%20x", "/stats/track_id/%E2%82%AC", "/stats/track_id/a;b=c,d"):
        assert requests.get(reader.address + path, timeout=5).ok
    page = requests.get(f"{reader.address}/stats/track_id/%C3%A9t%C3%A9", timeout=5)
    assert "été" in page.text
    assert requests.get(f"{reader.address}/stats/track_id/%FF", timeout=5).status_code < 500
    assert requests.get(f"{reader.address}/{'x' * 400_000}", timeout=5).status_code in (414, 431)


def test_probes_and_metrics_have_a_port_of_their_own(start: Callable[..., Reader]) -> None:
    reader = start(admin=True, workers=2)
    admin = f"http://127.0.0.1:{reader.admin}"
    for path in ("/healthz", "/readyz", "/metrics"):
        assert requests.get(admin + path, timeout=5).ok
        assert requests.get(reader.address + path, timeout=5).status_code == 404
    assert 'stitch_http_requests_total{endpoint="totals"' in requests.get(f"{admin}/metrics", timeout=5).text
    assert requests.get(admin + QUICK, timeout=5).status_code == 404
    stalled = [socket.create_connection(("127.0.0.1", reader.admin)) for _ in range(50)]
    assert requests.get(f"{admin}/healthz", timeout=5).ok
    for one in stalled:
        one.close()


def test_sigterm_refuses_nothing_that_was_accepted(start: Callable[..., Reader]) -> None:
    reader = start(workers=2, timeout="5s")
    slow = [
        reader.connected(b"GET /v1/totals?counters=plays&key=slow&key=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
        for n in range(12)
    ]
    time.sleep(0.2)
    reader.process.send_signal(signal.SIGTERM)
    found = [received(one) for one in slow]
    assert all(one.startswith(b"HTTP/1.1 200 ") and b"connection: close" in one.lower() for one in found)
    assert reader.process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        reader.connected()


def test_sighup_reads_settings_and_tokens_again_without_a_gap(start: Callable[..., Reader]) -> None:
    reader = start(workers=2)
    failures: list[str] = []
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not done.is_set():
                try:
                    statuses.append(session.get(reader.address + QUICK, timeout=10).status_code)
                except requests.RequestException as error:
                    failures.append(str(error))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for one in askers:
        one.start()
    try:
        before = {worker.pid for worker in reader.workers()}
        reader.set(tokens={"one": {"sha256": "0" * 64}}, threads=3)
        reader.process.send_signal(signal.SIGHUP)
        assert reader.says("the settings have been read again")
        assert wait(lambda: len(reader.workers()) == 2 and not before & {one.pid for one in reader.workers()})
        assert wait(lambda: statuses[-1] == 401)  # a token is needed now
    finally:
        done.set()
        for one in askers:
            one.join()
    assert not failures and set(statuses) == {200, 401}


def test_settings_that_cannot_be_used_leave_the_old_ones_running(start: Callable[..., Reader]) -> None:
    reader = start()
    before = [worker.pid for worker in reader.workers()]
    good = reader.config.read_text("utf-8")
    for wrong, why in ((good + "\nx = ", "not valid TOML"), (good.replace("threads", "thread"), "serving.thread")):
        reader.config.write_text(wrong, "utf-8")
        reader.process.send_signal(signal.SIGHUP)
        assert reader.says(why)
    assert answers(reader) and [worker.pid for worker in reader.workers()] == before
    reader.config.write_text(good, "utf-8")
    reader.set(port=1, workers=2)
    reader.process.send_signal(signal.SIGHUP)
    assert reader.says("serving.port has changed, which takes effect at the next start alone")
    assert wait(lambda: len(reader.workers()) == 2) and answers(reader)


def test_a_worker_that_dies_is_replaced_and_workers_that_cannot_live_end_the_reader(
    start: Callable[..., Reader], tmp_path: Path
) -> None:
    reader = start(admin=True)
    (worker,) = reader.workers()
    worker.kill()
    assert reader.says("worker-1 has ended unexpectedly, with status -9")
    assert wait(lambda: answers(reader)) and reader.workers()[0].pid != worker.pid
    assert requests.get(f"http://127.0.0.1:{reader.admin}/metrics", timeout=5).ok
    (tmp_path / "broken").touch()
    reader.workers()[0].kill()
    assert reader.process.wait(20) == 1
    assert reader.says("workers end as soon as they are started")


@pytest.mark.parametrize("just_begun", [False, True])
def test_workers_end_with_their_parent(start: Callable[..., Reader], just_begun: bool) -> None:
    reader = start()
    (worker,) = first = reader.workers()
    if just_begun:  # it does not know its parent yet
        worker.kill()
        while (found := reader.workers()) in ([], first):
            pass
        (worker,) = found
    reader.process.kill()
    assert wait(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_taken_port_is_told_before_anything_starts(start: Callable[..., Reader], tmp_path: Path) -> None:
    reader = start()
    other = tmp_path / "other.toml"
    for serving, setting in (
        ({"port": reader.port}, "port"),
        ({"port": free_ports(1)[0], "admin_port": reader.port}, "admin_port"),
    ):
        write_config(other, serving=serving)
        command = [sys.executable, "-m", "stitch.cli", "--config", str(other), "serve"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ})
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{reader.port} (Address already in use): stop what uses it" in done.stderr
        assert f"or set serving.{setting} (STITCH_SERVING__{setting.upper()})" in done.stderr


def test_it_listens_on_ipv6(start: Callable[..., Reader]) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    reader = start(host="::")
    assert requests.get(f"http://[::1]:{reader.port}{QUICK}", timeout=5).ok
    assert {line.get("address") for line in reader.lines() if line["name"] == "stitch.access"} >= {"::1"}
