"""One line of JSON for each request, with an id that the caller gets too; and what it counts for /metrics."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid

from flask import Flask, Response, g, request
from pythonjsonlogger.json import JsonFormatter

from serving.metrics import REQUESTS, SECONDS

ACCESS = logging.getLogger("stitch.access")
_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


def configure() -> None:
    """Log as JSON lines to stderr; called by the server, so that tests and other hosts keep their own logging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter("{levelname}{name}{message}", style="{", timestamp="time", rename_fields={"levelname": "level"})
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("cassandra").setLevel(logging.ERROR)  # it warns of each lost connection; /readyz says it once


def observe(app: Flask) -> None:
    """Time, count and log every request."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _ID.match(given) else uuid.uuid4().hex

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        endpoint = (request.endpoint or "none").rpartition(".")[2]
        REQUESTS.labels(endpoint, request.method, response.status_code).inc()
        SECONDS.labels(endpoint).observe(seconds)
        response.headers["X-Request-ID"] = g.request_id
        if ACCESS.isEnabledFor(logging.INFO):
            ACCESS.info("request", extra=_line(response, endpoint, seconds))
        return response


def _line(response: Response, endpoint: str, seconds: float) -> dict[str, object]:
    scope = g.get("scope")
    return {
        "request_id": g.request_id, "method": request.method, "path": request.path,
        "query": request.query_string.decode("ascii", "replace")[:1000], "endpoint": endpoint,
        "status": response.status_code, "milliseconds": round(1000 * seconds, 2),
        "bytes": response.content_length, "address": request.remote_addr, "token": scope.token if scope else None,
    }  # fmt: skip
