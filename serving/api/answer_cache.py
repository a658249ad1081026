"""Whole answers, remembered in front of Flask: a page that thousands look at is made once, and handed out.

Handing out a finished answer costs a tenth of making one, even from remembered rows. It stands for as long as the rows
that it was made from (Lifetime.fresh_until). Who asks first after that has the next one made; others are given the
one before meanwhile, for at most as long again as what may still change is kept (RFC 5861's stale-while-revalidate). So
a page that thousands look at waits for nothing, also while heavy requests take their turns.

Only GETs of the API that may be cached at all, told apart by all that an answer depends on. Who asks, and how often, is
found out before (access.Callers): it tells answers apart by what the caller may read, and hands none to whom is
refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from serving.api.access import REFUSAL, SCOPE
from serving.api.responses import FRESH_UNTIL
from serving.layers.memory import Kept, Memory
from serving.observe.logs import RECEIVED, finished, request_id
from serving.observe.metrics import CACHE_READS

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

LARGEST = 1024 * 1024
_VARY = ("HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING", "HTTP_ORIGIN")
HEADERS = 3000  # bytes that Python takes for those of an answer
_NOT_IN_304 = {"content-length", "content-type", "content-encoding"}
KEPT = "stitch.kept"  # in an environ: the answer to it
MAKES = "stitch.makes"  # in an environ: the next answer is made for it
_HIT = CACHE_READS.labels("answers", "hit")
_MISS = CACHE_READS.labels("answers", "miss")


@dataclass(frozen=True)
class Answer:
    headers: list[tuple[str, str]]
    body: bytes
    etag: str


class AnswerCache:
    """WSGI middleware around `app`."""

    def __init__(self, app: Wsgi, seconds: float, memory: Memory) -> None:
        """`seconds`: for what no row says it of."""
        self._app, self._seconds, self._memory = app, seconds, memory

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not self._may_keep(environ):
            return self._app(environ, start_response)
        if self.kept(environ):
            return self._hand_out(environ.pop(KEPT), environ, start_response)
        _MISS.inc()
        return self._make(self._key(environ), environ, start_response)

    def kept(self, environ: Environ) -> bool:
        """Whether an answer is kept for this request. It is put into the environ, so that none need be made now."""
        if KEPT not in environ and MAKES not in environ and self._may_keep(environ):
            key = self._key(environ)
            found = self._memory.get("answers", key) or self._before(key, environ)
            if found:
                environ[KEPT] = found.value
        return KEPT in environ

    def _before(self, key: tuple[Any, ...], environ: Environ) -> Kept | None:
        """The answer that has just run out, if another caller has the next one made."""
        old = self._memory.recall("answers", key)
        if old and not self._memory.get("answers that are made", key):
            environ[MAKES] = True
            self._memory.keep("answers that are made", key, True, old.recalled_until, size_of(key))
            return None
        return old

    def _may_keep(self, environ: Environ) -> bool:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        return method == "GET" and path.startswith("/v1/") and REFUSAL not in environ

    def _key(self, environ: Environ) -> tuple[Any, ...]:
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        return (environ[SCOPE], path, query, *(environ.get(name, "") for name in _VARY))

    def _hand_out(self, answer: Answer, environ: Environ, start_response: StartResponse) -> list[bytes]:
        began = environ.get(RECEIVED) or time.perf_counter()
        _HIT.inc()
        headers, body, status = answer.headers, answer.body, "200 OK"
        if answer.etag in environ.get("HTTP_IF_NONE_MATCH", ""):  # quoted: no other can contain it
            headers = [(name, value) for name, value in headers if name.lower() not in _NOT_IN_304]
            body, status = b"", "304 NOT MODIFIED"
        identity = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        start_response(status, [*headers, ("X-Request-ID", identity)])
        finished(environ, identity, environ["PATH_INFO"].rpartition("/")[2], int(status[:3]), len(body), began)
        return [body]

    def _make(self, key: tuple[Any, ...], environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            started[:] = [status, headers]
            return start_response(status, headers, *more)

        until = time.monotonic() + self._seconds
        parts = self._app(environ, start)
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        status, headers = started
        said = {name.lower(): value for name, value in headers}
        if status.startswith("200") and "max-age" in said.get("cache-control", "") and len(body) <= LARGEST:
            kept = [(name, value) for name, value in headers if name.lower() != "x-request-id"]
            answer = Answer(kept, body, said["etag"].removeprefix("W/"))
            size = len(body) + size_of(key) + HEADERS
            until = min(until, environ.get(FRESH_UNTIL, until))
            self._memory.keep("answers", key, answer, until, size, recall=self._seconds)
        return [body]


def size_of(key: tuple[Any, ...]) -> int:
    return sum(map(len, key[1:]))
