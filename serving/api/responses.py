"""An answer as an HTTP response: JSON or CSV, with an ETag and the lifetime that its data has.

What is wholly before the cutoff changes only by late events and corrections: caches keep it for `serving.cache_closed`,
an hour, and never permanently. What is open changes every second or two. A partial answer is kept by nobody.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from flask import Response, request

from serving.api.access import scope
from serving.api.answers import iso
from serving.reading.view import View

STALE = 30  # seconds at most, and no more than max-age, for which a cache may give an old one while it asks for a new
FRESH_UNTIL = "stitch.fresh_until"  # in an environ: Lifetime.fresh_until of the answer
STALE_IF_ERROR = 86_400  # the same where the reader answers 5xx: a whole count of before, in place of none
BOM = b"\xef\xbb\xbf"
# As OWASP lists them, for CSV injection. Where semicolons separate cells, as in much of Europe, one begins after each.
FORMULA = re.compile("(^|;)(?=[=+\\-@\t\r\n＝＋－＠])")
Row = Sequence[Any]


@dataclass(frozen=True)
class Lifetime:
    """For how many seconds an answer may be kept (None: by nobody), and whether it is of a range that is closed."""

    seconds: int | None
    closed: bool = False
    stale: int = STALE  # seconds at most for which an old one may be given while a new one is asked for
    fresh_until: float = math.inf  # by time.monotonic(), when the first row that it was made from runs out

    def within(self, seconds: float) -> Lifetime:
        """The same of an answer that is another one after so many seconds."""
        if self.seconds is None:
            return self
        kept = max(0, min(self.seconds, int(seconds)))
        return replace(self, seconds=kept, stale=max(0, min(self.stale, int(seconds) - kept)))


def json_response(body: Mapping[str, Any], lifetime: Lifetime) -> Response:
    """With a strong ETag, of these very bytes. `meta` says how far the layers are and moves with every micro-batch, so
    of a closed range, whose counts do not move with it, the ETag is weak, and of the rest of the answer."""
    response = Response(_dumped(body), content_type="application/json")
    told = {name: part for name, part in body.items() if name != "meta"} if lifetime.closed else body
    return _finish(response, _dumped(told), lifetime)


def csv_response(
    header: Row, rows: Iterable[Row], view: View | None, lifetime: Lifetime, more: Mapping[str, Any] | None = None
) -> Response:
    """RFC 4180. What the answer rests on, which JSON has as `meta`, is in headers, and so is what else it has: `more`,
    percent-encoded, as a query takes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    download = request.args.get("download") == "true"
    body = (BOM if download else b"") + text.getvalue().encode()
    response = Response(body, content_type="text/csv; charset=utf-8; header=present")
    if download:
        response.headers.set("Content-Disposition", "attachment", **_file_names())
    if view and view.realtime_through:
        response.headers["Stitch-Realtime-Through"] = iso(view.realtime_through)
    if view and view.missing:
        response.headers["Stitch-Missing"] = ", ".join(view.missing)
    for name, value in (more or {}).items():
        if value is not None:
            response.headers[name] = quote(str(value), safe="")
    return _finish(response, body, replace(lifetime, closed=False))  # of these bytes alone, which have no `meta`


def lifetime(partial: bool, closed: bool, seconds_open: float, seconds_closed: float) -> Lifetime:
    """How long a cache may keep the answer; with jitter, so that pages opened at once do not ask at once."""
    if partial:
        return Lifetime(None)
    if closed:
        return Lifetime(int(random.uniform(0.9, 1) * seconds_closed), True)
    return Lifetime(random.randint(1, max(1, round(2 * seconds_open))))


def preferred_format() -> str:
    """What the Accept header asks for: the format where the request has no `format`."""
    accept = request.accept_mimetypes
    return "csv" if accept["text/csv"] > accept["application/json"] else "json"


def _dumped(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it, which it hides. Keys and members
    are what somebody sent; numbers are numbers."""
    return FORMULA.sub(r"\1'", cell) if isinstance(cell, str) else cell


def _file_names() -> dict[str, str]:
    """By what was asked: `plays-t1.csv`. RFC 6266: letters of ASCII for clients that know no others."""
    asked = (request.args.get(name) for name in ("counters", "counter", "key", "keys"))
    words = [word for text in asked if text for word in re.findall(r"\w+", text)]
    name = "-".join(words or [request.path.rpartition("/")[2]])[:80]
    plain = "-".join(re.findall(r"[A-Za-z0-9_]+", name)) or "counts"
    return {"filename": f"{plain}.csv"} | ({"filename*": f"UTF-8''{quote(name)}.csv"} if plain != name else {})


def _finish(response: Response, told: bytes, lifetime: Lifetime) -> Response:
    """Caching, by what the answer tells. Nothing keeps the answer to a POST, so it has no ETag either."""
    response.vary.update(("Accept", "Accept-Encoding"))
    request.environ[FRESH_UNTIL] = lifetime.fresh_until
    if request.method == "POST" or lifetime.seconds is None:
        response.headers["Cache-Control"] = "no-store"
    else:
        who = "public" if scope().token is None else "private"
        stale = min(lifetime.stale, lifetime.seconds)
        response.headers["Cache-Control"] = (
            f"{who}, max-age={lifetime.seconds}, stale-while-revalidate={stale}, stale-if-error={STALE_IF_ERROR}"
        )
    if request.method != "POST":
        response.set_etag(hashlib.blake2b(told, digest_size=16).hexdigest(), weak=lifetime.closed)
        response.make_conditional(request)
    return response
