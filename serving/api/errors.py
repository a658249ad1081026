"""Every error becomes an HTTP answer here and nowhere else: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from serving.api.access import refuse, scope
from serving.layers.interface import Unavailable
from serving.reading.queries import BadRequest


def problem(status: int, detail: str, **more: Any) -> Response:
    """One problem as a response."""
    title = HTTP_STATUS_CODES.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    response = Response(json.dumps(body), status, content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"  # else a cache may keep some of them (404, 405, 414)
    return response


def handle_errors(app: Flask) -> None:
    """Make the app answer every error as a problem."""

    @app.errorhandler(BadRequest)
    def bad_request(error: BadRequest) -> Response:
        if error.unknown and scope().counters is not None:
            try:
                refuse(error.unknown)
            except HTTPException as refusal:
                return refused(refusal)
        return problem(400, str(error), errors=[asdict(mistake) for mistake in error.mistakes])

    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> Response:
        answer = problem(503, str(error))
        answer.headers["Retry-After"] = "1"
        return answer

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        answer = problem(error.code or 500, error.description or "")
        kept = {
            name: value
            for name, value in error.get_headers()
            if name in ("Allow", "Location", "Retry-After", "WWW-Authenticate")
        }
        answer.headers.update(kept)
        return answer

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        app.logger.exception("unexpected error", exc_info=error)
        return problem(500, "an unexpected error; the reader's log says more")
