"""What others notice of an attack on the reader: the p99 of a hot key and of cold keys, undisturbed and beside it."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.load import Load, Size, command, wrk

STALLED = 200
AGAIN = 4  # seconds after which those who stall begin again
CONNECTIONS = 4  # of those who ask meanwhile
ATTACKERS = 8
HEADERS = b"GET /v1/totals?counters=plays HTTP/1.1\r\nHost: x\r\nX-A: "
BODY = b"POST /v1/totals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
Attack = Callable[[str, Path, Size], AbstractContextManager[None]]


def stalling(sent: bytes) -> Attack:
    @contextmanager
    def attack(address: str, _: Path, __: Size) -> Iterator[None]:
        done = threading.Event()
        at = (urlsplit(address).hostname, urlsplit(address).port)

        def stall() -> None:
            while not done.is_set():
                held = [socket.create_connection(at, timeout=20) for _ in range(STALLED)]
                for one in held:
                    one.sendall(sent)
                done.wait(AGAIN)
                for one in held:
                    one.close()

        thread = threading.Thread(target=stall)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    return attack


def asking(path: Callable[[Size], str]) -> Attack:
    @contextmanager
    def attack(address: str, folder: Path, size: Size) -> Iterator[None]:
        asked = command(address, path(size), folder, ATTACKERS, 60 + 4 * size.seconds)
        process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    return attack


def heavy(size: Size) -> str:
    """A POST at its limits: a thousand keys, other ones each time."""
    keys = min(1000, size.keys)
    return f"""(function()
      local q = {{}} for i = 1, {keys} do q[i] = '"k' .. math.random(0, {size.keys - 1}) .. '"' end
      local body = '{{"counters": ["plays"], "keys": [' .. table.concat(q, ",") .. ']}}'
      return wrk.format("POST", "/v1/totals", {{["Content-Type"] = "application/json"}}, body) end)()"""


ATTACKS: dict[str, Attack] = {
    f"{STALLED} stalled in headers": stalling(HEADERS),
    f"{STALLED} stalled in bodies": stalling(BODY),
    f"{ATTACKERS} asking for 1,000 keys": asking(heavy),
    f"{ATTACKERS} asking for unknown keys": asking(
        lambda _: '"/v1/totals?counters=plays&key=u" .. math.random(0, 999999999)'
    ),
}


def attacked(
    address: str, serving: psutil.Process, folder: Path, size: Size, asked: dict[str, str]
) -> dict[str, dict[str, Load]]:
    """attack → what is asked beside it → what was measured; first without any."""

    def measured() -> dict[str, Load]:
        return {name: wrk(address, path, folder, CONNECTIONS, size.seconds, serving) for name, path in asked.items()}

    found = {"undisturbed": measured()}
    for name, attack in ATTACKS.items():
        with attack(address, folder, size):
            found[name] = measured()
        time.sleep(AGAIN)  # what the attackers have begun comes to an end
    return found


def told(found: dict[str, dict[str, Load]]) -> Iterator[str]:
    before = found["undisturbed"]
    for name, loads in found.items():
        for asked, load in loads.items():
            took = f"p50 {load.p50:6.1f} p99 {load.p99:7.1f} ms"
            yield f"{asked:<10} {name:<30} {load.rate:7.0f}/s {took}, p99 ×{load.p99 / before[asked].p99:.2f}"
