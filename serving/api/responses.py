"""An answer as an HTTP response: JSON or CSV, with a strong ETag and the lifetime that its data has.

What is wholly before the cutoff changes only by late events and corrections: caches keep it for `serving.cache_closed`,
an hour, and never permanently. What is open changes every second or two. A partial answer is kept by nobody.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import Response, g, request

from serving.api.answers import iso
from serving.reading.view import View

STALE = 30  # seconds for which a cache may give an old answer while it asks for a new one
Row = Sequence[Any]


def json_response(body: Mapping[str, Any], max_age: int | None) -> Response:
    """`max_age` in seconds; None: to be kept by nobody."""
    return _finish(json.dumps(body, ensure_ascii=False, separators=(",", ":")), "application/json", max_age)


def csv_response(header: Row, rows: Iterable[Row], view: View | None, max_age: int | None) -> Response:
    """RFC 4180. What the answer rests on, which JSON has as `meta`, is in headers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    response = _finish(text.getvalue(), "text/csv; charset=utf-8; header=present", max_age)
    if view:
        if view.realtime_through:
            response.headers["Stitch-Realtime-Through"] = iso(view.realtime_through)
        if view.missing:
            response.headers["Stitch-Missing"] = ", ".join(view.missing)
    return response


def lifetime(view: View, closed: bool, seconds_open: float, seconds_closed: float) -> int | None:
    """How many seconds a cache may keep the answer; with jitter, so that pages opened at once do not ask at once."""
    if view.missing:
        return None
    return (
        int(random.uniform(0.9, 1) * seconds_closed) if closed else random.randint(1, max(1, round(2 * seconds_open)))
    )


def wants_csv(form_format: str) -> bool:
    """By `format=csv`, or by an Accept header that prefers it."""
    if form_format == "csv":
        return True
    accept = request.accept_mimetypes
    return "format" not in request.args and accept["text/csv"] > accept["application/json"]


def _finish(text: str, content_type: str, max_age: int | None) -> Response:
    body = text.encode()
    response = Response(body, content_type=content_type)
    response.set_etag(hashlib.blake2b(body, digest_size=16).hexdigest())
    response.vary.update(("Accept", "Accept-Encoding"))
    if g.get("scope") is not None:
        response.vary.add("Authorization")
    if max_age is None:
        response.headers["Cache-Control"] = "no-store"
    else:
        who = "private" if g.get("scope") is not None else "public"
        response.headers["Cache-Control"] = f"{who}, max-age={max_age}, stale-while-revalidate={STALE}"
    response.make_conditional(request)
    return response
