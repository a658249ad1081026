"""A repository in Maven's layout on loopback, or a proxy in front of one, that misbehaves as real ones do."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit


class Mirror(ThreadingHTTPServer):
    """Serves `files`, by path. What it was asked stands in `asked` as (path, Range or None)."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[tuple[str, str | None]] = []
        self.authorizations: set[str | None] = set()
        self.cuts: list[int] = []  # an answer is cut after so many bytes, one after the other
        self.ranges = True
        self.busy: list[int] = []  # the first answers, in place of files
        self.status: int | None = None  # in place of every answer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no matter here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mirror

    def do_GET(self) -> None:
        mirror, path, wanted = self.server, urlsplit(self.path).path, self.headers.get("Range")
        mirror.asked.append((path, wanted))
        mirror.authorizations.add(self.headers.get("Authorization"))
        found = mirror.files.get(path)
        status = mirror.busy.pop(0) if mirror.busy else mirror.status
        if status or found is None:
            self.answer(status or 404, b"no")
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "") if mirror.ranges else None
        self.answer(206 if match else 200, found[int(match[1]) if match else 0 :])

    def do_CONNECT(self) -> None:
        self.server.asked.append((self.path, None))
        self.answer(self.server.status or 502, b"")

    def answer(self, status: int, body: bytes) -> None:
        cut = self.server.cuts.pop(0) if self.server.cuts and status < 300 else None
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(mirror: Mirror, certificate: Path | None = None) -> Iterator[str]:
    """The mirror's URL while it serves; by TLS where it is given the certificate with its key."""
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        mirror.socket = context.wrap_socket(mirror.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=mirror.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{mirror.server_address[1]}/"
    finally:
        mirror.shutdown()
        mirror.server_close()
        thread.join()
