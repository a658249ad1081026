"""deploy/nginx.conf as it is shipped, but for ports, with Debian's nginx before a reader."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from tests.conftest import free_ports, needs
from tests.integration.readers import QUICK, Reader, start, wait

__all__ = ["start"]  # a fixture
CONFIG = Path(__file__).parents[2] / "deploy/nginx.conf"


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """before(reader) is the address of an nginx before it; below=True: below /counts, as the file's comments say."""
    nginx = needs("nginx")
    started: list[subprocess.Popen[bytes]] = []

    def begin(reader: Reader, below: bool = False) -> str:
        (port,) = free_ports(1)
        text = CONFIG.read_text("utf-8").replace("127.0.0.1:18080", f"127.0.0.1:{reader.port}")
        text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
        if below:
            text = re.sub(r"^( *)#below ", r"\1", text, flags=re.M)
        folder = tmp_path / f"nginx-{port}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(text, "utf-8")
        who = "user root;" if os.geteuid() == 0 else ""  # else its workers may not look into the test's folder
        command = [nginx, "-p", str(folder), "-c", "nginx.conf", "-g", f"daemon off; {who}"]
        log = folder / "log"
        with log.open("wb") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=out))
        address = f"http://127.0.0.1:{port}{'/counts' if below else ''}"
        assert wait(lambda: listens(address) or started[-1].poll() is not None, 10), log.read_text("utf-8")
        assert started[-1].poll() is None, log.read_text("utf-8")
        return address

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(10)


def listens(address: str) -> bool:
    try:
        return requests.get(address + QUICK, timeout=5).ok
    except requests.RequestException:
        return False


def test_nginx_keeps_what_the_reader_lets_it_and_answers_while_the_reader_makes_it_anew(
    start: Callable[..., Reader], before: Callable[..., str]
) -> None:
    reader = start(trusted_proxies=1)
    address = before(reader)
    found = [requests.get(address + QUICK, timeout=5) for _ in range(30)]
    kept = [one.headers["X-Cache"] for one in found]
    assert "HIT" in kept and kept.count("MISS") <= 1
    assert {one.json()["data"][0]["counts"]["plays"] for one in found} == {7}
    time.sleep(3.2)  # an open answer may be kept for two seconds at most, and nginx counts whole ones
    assert requests.get(address + QUICK, timeout=5).headers["X-Cache"] in ("STALE", "UPDATING", "EXPIRED")
    requests.get(address + QUICK, headers={"Accept": "text/csv", "X-Forwarded-For": "1.2.3.4"}, timeout=5)
    assert requests.get(address + QUICK, headers={"Accept": "text/csv"}, timeout=5).text.startswith("key,plays")
    etag = {"If-None-Match": requests.get(address + QUICK, timeout=5).headers["ETag"]}
    assert requests.get(address + QUICK, headers=etag, timeout=5).status_code in (200, 304)
    asked = [line for line in reader.lines() if line["name"] == "stitch.access"]
    assert len(asked) < 30 and all(line["address"] == "127.0.0.1" for line in asked)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert requests.get(address + path, timeout=5).status_code == 404


def test_nginx_shares_no_answer_that_is_for_one_token(start: Callable[..., Reader], before: Callable[..., str]) -> None:
    reader = start(trusted_proxies=1)
    address = before(reader)
    reader.set(tokens={"one": {"sha256": sha256(b"one").hexdigest()}})
    before_it = reader.workers()[0].pid
    reader.process.send_signal(signal.SIGHUP)
    assert wait(lambda: len(reader.workers()) == 1 and reader.workers()[0].pid != before_it)
    mine = {"Authorization": "Bearer one"}
    for _ in range(2):
        found = requests.get(address + QUICK + "&tz=UTC", headers=mine, timeout=5)
        assert found.ok and found.headers["X-Cache"] == "MISS"
    assert requests.get(address + QUICK + "&tz=UTC", timeout=5).status_code == 401


def test_the_reader_works_below_a_path_of_nginx(start: Callable[..., Reader], before: Callable[..., str]) -> None:
    address = before(start(trusted_proxies=1), below=True)
    home = requests.get(f"{address}/", timeout=5)
    assert home.url == f"{address}/stats" and 'href="/counts/static/page.css"' in home.text
    assert requests.get(f"{address}/static/page.css", timeout=5).ok
    assert requests.get(f"{address}/openapi.json", timeout=5).json()["servers"] == [{"url": "/counts"}]
    assert requests.get(f"{address}/metrics", timeout=5).status_code == 404
