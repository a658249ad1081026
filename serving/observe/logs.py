"""One line of JSON for each request, with an id that the caller gets too; and what it counts for /metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from flask import Flask, Response, g, request

from serving.observe.metrics import REQUESTS, SECONDS

TOKEN = "stitch.token"  # in a request's WSGI environment: the name of the token that it came with
ACCESS = logging.getLogger("stitch.access")
METHODS = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"}  # whatever else is sent is one value
RECEIVED = "stitch.received"  # when the server had the request, by time.perf_counter(), where it says so in the environ
_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


def request_id(given: str) -> str:
    """The id that the caller gave, where it is fit for a log; else a new one."""
    return given if _ID.match(given) else uuid.uuid4().hex


def observe(app: Flask) -> None:
    """Time, count and log every request."""

    @app.before_request
    def begin() -> None:
        g.began = request.environ.get(RECEIVED) or time.perf_counter()
        g.request_id = request_id(request.headers.get("X-Request-ID", ""))

    @app.after_request
    def end(response: Response) -> Response:
        endpoint = (request.endpoint or "none").rpartition(".")[2]
        response.headers["X-Request-ID"] = g.request_id
        size = response.content_length or 0
        finished(request.environ, g.request_id, endpoint, response.status_code, size, g.began)
        return response


def finished(environ: dict[str, Any], identity: str, endpoint: str, status: int, size: int, began: float) -> None:
    """Count a request that was answered, and log it. `began` is of time.perf_counter()."""
    seconds = time.perf_counter() - began
    method = environ["REQUEST_METHOD"]
    REQUESTS.labels(endpoint, method if method in METHODS else "other", status).inc()
    SECONDS.labels(endpoint).observe(seconds)
    if ACCESS.isEnabledFor(logging.INFO):
        line = {
            "message": "request", "request_id": identity, "method": method, "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"][:1000], "endpoint": endpoint, "status": status,
            "milliseconds": round(1000 * seconds, 2), "bytes": size, "address": environ.get("REMOTE_ADDR"),
            "token": environ.get(TOKEN),
        }  # fmt: skip
        ACCESS.info(line)
