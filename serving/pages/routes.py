"""The pages for people: the counts of a key, a finder of keys, a count to embed, and the documentation of the API.

Each is a small document without data: its script asks the API, as every other page could. A key that a path cannot
carry (`..`, one that begins with a slash) is had by `?key=`.

A browser that opens a page sends no token. What is not public is answered by a page that knows nothing but how to ask
again with a token: that of a link, in the part of its address that no server and no log sees (`#token=…`), or a
person's.
"""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from serving.api.access import scope, settings
from serving.api.parameters import series_granularities
from stitch.buckets import finest_of
from stitch.counters import Counter
from stitch.periods import PERIODS

pages = Blueprint("pages", __name__)

EMBEDDED = "default-src 'self'; style-src 'self'; frame-ancestors *; base-uri 'none'; form-action 'none'"


@pages.get("/")
def home() -> AnyResponse:
    """To the finder."""
    return redirect(url_for("pages.finder"))


@pages.get("/stats")
def finder() -> str | Response:
    """Find the keys of a counter."""
    if not _counters():
        return _not_found("")
    return render_template("finder.html", counters=_counters(), chosen=None)


@pages.get("/stats/<counter>")
@pages.get("/stats/<counter>/<path:key>")
def stats(counter: str, key: str | None = None) -> str | Response:
    """Everything about one key of a counter, live; without a key, the finder."""
    found, key = _find(counter), key or request.args.get("key")
    if not found:
        return _not_found(counter)
    if not key:
        return render_template("finder.html", counters=_counters(), chosen=counter)
    offered = series_granularities(settings())
    granularities = offered[offered.index(finest_of(found)) :]
    return render_template("stats.html", counter=found, key=key, granularities=granularities, periods=PERIODS[:-1])


@pages.get("/embed/<counter>")
@pages.get("/embed/<counter>/<path:key>")
def embed(counter: str, key: str | None = None) -> Response:
    """One live count, for an <iframe> on any other page."""
    found, key = _find(counter), key or request.args.get("key")
    if not found or not key:
        return _not_found(counter, "locked_frame.html", EMBEDDED)
    response = make_response(
        render_template("embed.html", counter=found, key=key, label=request.args.get("label", counter))
    )
    response.headers["Content-Security-Policy"] = EMBEDDED
    return response


@pages.get("/docs")
def docs() -> str:
    """The API, to read and to try out."""
    return render_template("docs.html")


def _counters() -> list[Counter]:
    return settings().counters


def _find(name: str) -> Counter | None:
    return next((counter for counter in _counters() if counter.name == name), None)


def _not_found(name: str, locked: str = "locked.html", policy: str | None = None) -> Response:
    """No such counter, for whoever asks; who brought no token may have one."""
    if scope().counters is not None and scope().token is None:
        response = make_response(render_template(locked), 401)
        response.headers["WWW-Authenticate"] = 'Bearer realm="stitch"'
    else:
        response = make_response(render_template("missing.html", name=name, counters=_counters()), 404)
    if policy:
        response.headers["Content-Security-Policy"] = policy
    return response
