"""What a process of the reader does: receive requests on an event loop, answer them in threads.

The loop waits for callers, threads wait for the layers, and neither for the other. So a caller that stalls in its body
holds no thread, and is told so at a deadline; answers that are kept are handed out by the loop at once, however many
heavy requests the threads are busy with. (granian's own WSGI hands a request to a thread before its body has come, and
a thread that waits for a body cannot give up: tried with 2.8.7, answering meanwhile stops the whole process.)
"""

from __future__ import annotations

import asyncio
import io
import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from socket import socket
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from flask import Flask
from granian.rsgi import HTTPProtocol, Scope
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    TooManyRequests,
)

from serving.api.access import REFUSAL
from serving.api.probes import probes
from serving.api.rate_limit import address
from serving.app import create_admin
from serving.observe.logs import RECEIVED
from stitch.settings import Settings

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

BODY_BYTES = 64 * 1024 * 1024  # of bodies that are received, or have been and wait for an answer
BODY_BYTES_OF_ONE = BODY_BYTES // 4  # of those from one address, where no proxy stands for many
ADMIN_SECONDS = 10  # for which a caller of the port of the probes may say nothing
THREADS_OF_MANY = 1 / 8  # of all: what is long is work in Python, of which two threads do no more than one
LONG = 1000  # bytes of query and body; what is longer names tens of keys
BODY = "stitch.body"  # in an environ: how many bytes of its body are held
REFUSED = "stitch.refused"  # in an environ: the worker does not let it be answered


class Answer:
    """What a WSGI app answers; called by it as `start_response`."""

    status = 500
    headers: Headers = []  # noqa: RUF012
    body = b""

    def __call__(self, status: str, headers: Headers, *_: Any) -> None:
        self.status, self.headers = int(status[:3]), headers


class Receiver:
    """granian's RSGI around the app. `closing`: each answer is the last of its connection."""

    def __init__(self, app: Flask, settings: Settings, closing: threading.Event) -> None:
        self._app: Wsgi = app.wsgi_app
        self._kept: Callable[[Environ], bool] = app.extensions.get("kept", lambda _: False)
        self._most = app.config["MAX_CONTENT_LENGTH"]
        self._seconds = settings.serving.timeout.total_seconds()
        self._threads = ThreadPoolExecutor(settings.serving.threads, "answer")
        self._many = ThreadPoolExecutor(max(1, int(settings.serving.threads * THREADS_OF_MANY)), "many")
        self._probes = {  # a thread for each: whether this process answers does not wait for what the layers say
            rule.rule: ThreadPoolExecutor(1, rule.endpoint)
            for rule in app.url_map.iter_rules()
            if rule.endpoint.startswith(f"{probes.name}.")
        }
        self._bodies: Counter[str] = Counter()  # address → bytes
        self._of_one = math.inf if settings.serving.trusted_proxies else BODY_BYTES_OF_ONE
        self._closing = closing

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        environ = environ_of(scope)
        answer = Answer()
        try:
            if self._kept(environ):
                self._answer(environ, answer)  # without a thread, since it waits for nothing
            elif not (refusal := await self._receive(environ, protocol)):
                await asyncio.get_running_loop().run_in_executor(self._lane(environ), self._answer, environ, answer)
            else:
                # A task of its own: frames that a refusal's traceback keeps do not lead to the request then, whose
                # connection ends when nothing holds it, and not when Python next looks for cycles.
                await asyncio.get_running_loop().create_task(self._refused(environ, answer, refusal))
        finally:
            self._forget_body(environ)
        if self._closing.is_set() or environ.get(REFUSED):
            answer.headers = [*answer.headers, ("Connection", "close")]
        protocol.response_bytes(answer.status, answer.headers, answer.body)

    def _lane(self, environ: Environ) -> ThreadPoolExecutor:
        """The threads that answer it. What asks for much has few, so that it takes the others neither threads nor,
        being at work in Python, more than a share of the interpreter."""
        if probe := self._probes.get(environ["PATH_INFO"]):
            return probe
        asked = len(environ["QUERY_STRING"]) + environ["wsgi.input"].getbuffer().nbytes
        return self._many if asked > LONG else self._threads

    async def _receive(self, environ: Environ, protocol: HTTPProtocol) -> HTTPException | None:
        """Have the body, where the app will read one; or why it cannot be had."""
        length = environ.get("CONTENT_LENGTH")
        if environ["REQUEST_METHOD"] != "POST" or (length is None and "HTTP_TRANSFER_ENCODING" not in environ):
            return None
        if length is not None and int(length) > self._most:
            return None  # the app refuses it by its length
        caller, body, ends = address(environ["REMOTE_ADDR"]), bytearray(), 0
        environ[BODY] = 0
        try:
            async with asyncio.timeout(random.uniform(0.8, 1) * self._seconds):  # not all who stall at one instant
                async for chunk in protocol:
                    body += chunk
                    environ[BODY] = len(body)  # and not what is announced, which costs nothing
                    self._bodies[caller] += len(chunk)
                    ends += not chunk
                    if len(body) > self._most:
                        return RequestEntityTooLarge()
                    if self._bodies[caller] > self._of_one:
                        return TooManyRequests("too much is being received from this address", retry_after=1)
                    if self._bodies.total() > BODY_BYTES:
                        return ServiceUnavailable("too much is being received: try again", retry_after=1)
        except TimeoutError:
            return RequestTimeout(f"the body has not come within {self._seconds:g} s")
        if ends > 1:  # granian ends a body with a chunk of nothing, and has another for an error or for trailers
            return BadRequest("the body is not whole, or trailers follow it: send it again, without any")
        environ["wsgi.input"] = io.BytesIO(body)
        return None

    def _forget_body(self, environ: Environ) -> None:
        """It is answered, or nobody waits for that any more."""
        if BODY in environ:
            caller = address(environ["REMOTE_ADDR"])
            self._bodies[caller] -= environ[BODY]
            if not self._bodies[caller]:
                del self._bodies[caller]

    def _answer(self, environ: Environ, answer: Answer) -> None:
        """By the app. Who has waited for one as long as for an answer has gone, or should."""
        if time.perf_counter() - environ[RECEIVED] > 2 * self._seconds:
            late = ServiceUnavailable("too many requests wait for an answer: try again", retry_after=1)
            self._refuse(environ, answer, late)
        else:
            self._ask(environ, answer)

    async def _refused(self, environ: Environ, answer: Answer, refusal: HTTPException) -> None:
        self._refuse(environ, answer, refusal)

    def _refuse(self, environ: Environ, answer: Answer, refusal: HTTPException) -> None:
        """By the app, which waits for nothing then (but a moment for a shared storage of the rate limit): with all that
        its other answers have, counted by the limit and logged. The connection ends: a body may be on its way."""
        environ[REFUSAL], environ[REFUSED] = refusal, True
        self._ask(environ, answer)

    def _ask(self, environ: Environ, answer: Answer) -> None:
        parts = self._app(environ, answer)
        try:
            answer.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()


def environ_of(scope: Scope) -> Environ:
    """WSGI's environ of a request; its body is empty as yet."""
    client, _, port = scope.client.rpartition(":")
    host, _, host_port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method, "SCRIPT_NAME": "", "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string, "SERVER_NAME": host.strip("[]"), "SERVER_PORT": host_port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}", "REMOTE_ADDR": client.strip("[]"), "REMOTE_PORT": port,
        "wsgi.version": (1, 0), "wsgi.url_scheme": scope.scheme, "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
        RECEIVED: time.perf_counter(),
    }  # fmt: skip
    for name, value in scope.headers.items():
        if "_" in name:  # else it could pass for one with dashes, which a proxy sets
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        joint = ";" if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    if "authorization" in scope.headers:  # one whose value is not ASCII has none for granian; it is a bad token
        environ.setdefault("HTTP_AUTHORIZATION", "Bearer \ufffd")
    return environ


class AdminServer(ThreadingMixIn, WSGIServer):
    """The standard library's: its callers are few and known, and its threads are not those that answer the API."""

    daemon_threads = True


class AdminRequest(WSGIRequestHandler):
    timeout = ADMIN_SECONDS

    def log_message(self, *_: Any) -> None:
        """Nothing: the app logs what it answers."""


def admin_server(app: Flask, settings: Settings, listener: socket) -> AdminServer:
    """A server of probes and metrics on a socket that listens. Every process has one: any of them may accept."""
    address = listener.getsockname()[:2]
    found = AdminServer(address, AdminRequest, bind_and_activate=False)
    found.socket.close()
    found.socket = listener
    listener.setblocking(False)  # another process may have accepted what this one was woken for
    found.server_name, found.server_port = address
    found.setup_environ()
    found.set_app(create_admin(app, settings))
    return found
