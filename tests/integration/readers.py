"""Reader processes over layers in memory (tests/reader_process.py), for tests of the server and what is around it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import free_ports, write_config

QUICK = "/v1/totals?counters=plays&key=quick"


@dataclass
class Reader:
    process: subprocess.Popen[bytes]
    config: Path
    log: Path
    port: int
    admin: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; every line is JSON."""
        *whole, _ = self.log.read_text("utf-8").split("\n")  # the last may be half written
        return [json.loads(line) for line in whole]

    def says(self, text: str, times: int = 1) -> bool:
        return wait(lambda: sum(text in line["message"] for line in self.lines()) >= times)

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def connected(self, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))
        found.sendall(sent)
        return found

    def set(self, **serving: Any) -> None:
        write_config(self.config, base=self.config, serving=serving)


def wait(condition: Callable[[], Any], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    """start(workers=2) is a reader that answers. All its processes end with the test."""
    started: list[Reader] = []

    def begin(**serving: Any) -> Reader:
        port, admin = free_ports(2)
        config, log = tmp_path / f"{port}.toml", tmp_path / f"{port}.log"
        admin_port = admin if serving.pop("admin", False) else None
        write_config(config, serving={"port": port, "admin_port": admin_port, "threads": 2, "timeout": "1s", **serving})
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.reader_process", str(config)], stdout=out, stderr=out
            )
        found = Reader(process, config, log, port, admin)
        started.append(found)
        assert wait(lambda: answers(found) or process.poll() is not None), log.read_text("utf-8")
        return found

    yield begin
    for reader in started:
        family = [*reader.workers(), reader.process] if reader.process.poll() is None else []
        for process in family:
            process.kill()
        reader.process.wait(10)


def answers(reader: Reader) -> bool:
    try:
        return requests.get(reader.address + QUICK, timeout=5).ok
    except requests.RequestException:
        return False
