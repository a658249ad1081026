"""A loopback proxy that can lose answers: requests arrive and are applied, and whoever asked never hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any


class Proxy:
    """Forwards connections to a port of 127.0.0.1; `lose_answers` drops what the server says and then the
    connections."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = target
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.asked = 0  # bytes from clients
        self.lost = 0  # bytes of answers
        self._losing = threading.Event()
        self._open: set[socket.socket] = set()

    def lose_answers(self, seconds: float) -> None:
        """Drop every answer for that long, then close the connections, as a network that fails does."""
        self._losing.set()
        threading.Event().wait(seconds)
        self._close_all()
        self._losing.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open |= {client, server}
            threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if answers and self._losing.is_set():
                    self.lost += len(data)
                    continue
                self.asked += 0 if answers else len(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self._shut(end)

    def _shut(self, end: socket.socket) -> None:
        self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

    def _close_all(self) -> None:
        for end in list(self._open):
            self._shut(end)

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._shut(self._listener)
        self._close_all()
