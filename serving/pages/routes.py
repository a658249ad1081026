"""The pages for people: the counts of one thing, a finder of things, charts of things, a count to embed, the state of
the counting, and the documentation of the API.

Each is a small document without data: its script asks the API, as every other page could. A key that a path cannot
carry (`..`, one that begins with a slash) is had by `?key=`.

A browser that opens a page sends no token. What is not public is answered by a page that knows nothing but how to ask
again with a token: that of a link, in the part of its address that no server and no log sees (`#token=…`), or a
person's.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from serving.api.access import challenge, scope, settings
from serving.api.rendering import label_of, spoken
from stitch.counters import Counter

pages = Blueprint("pages", __name__)

EMBEDDED = "default-src 'self'; style-src 'self'; frame-ancestors *; base-uri 'none'; form-action 'none'"
# What a page with names of another host may do: ask that host as well (see serving.api.access for the others).
WITH_NAMES = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' {hosts}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
PERIODS = {
    "1h": "Last hour", "24h": "Last 24 hours", "48h": "Last 48 hours", "yesterday": "Yesterday", "7d": "Last 7 days",
    "28d": "Last 28 days", "30d": "Last 30 days", "week": "This week", "last_week": "Last week", "month": "This month",
    "last_month": "Last month", "quarter": "This quarter", "12mo": "Last 12 months", "year": "This year",
    "all": "All time",
}  # fmt: skip
CHARTED = ("7d", "30d", "month", "last_month", "all")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*")  # a key that a path carries as it is


@pages.get("/")
def home() -> AnyResponse:
    """To the finder."""
    return redirect(url_for("pages.finder"))


@pages.get("/stats")
def finder() -> Response:
    """Find keys by their first letters."""
    return _page("finder.html", chosen=None) if settings().counters else _not_found("")


@pages.get("/stats/<name>")
@pages.get("/stats/<name>/<path:key>")
def stats(name: str, key: str | None = None) -> AnyResponse:
    """All counters of one key of the field `name`; without a key, the finder. With a counter's name, as addresses were
    once: to the page of its field."""
    key = key or request.args.get("key")
    counters = settings().counters
    if name in {counter.key for counter in counters}:
        if not key:
            return _page("finder.html", chosen=name)
        return _page("stats.html", field=name, key=key, label=label_of(name, settings()), periods=PERIODS.items())
    found = _find(name)
    return redirect(_address(found, key, keep=True)) if found else _not_found(name)


@pages.get("/charts/<counter>")
def charts(counter: str) -> Response:
    """The keys of a counter that counted most, or rose most."""
    found = _find(counter)
    if not found or not found.chart:
        return _not_found(counter)
    label = label_of(found.key, settings())
    title = f"{found.title or spoken(found.name)} by {label.lower()}"
    periods = [(period, PERIODS[period]) for period in CHARTED]
    return _page("charts.html", counter=found, label=label, title=title, periods=periods)


@pages.get("/embed/<counter>")
@pages.get("/embed/<counter>/<path:key>")
def embed(counter: str, key: str | None = None) -> AnyResponse:
    """One live count, for an <iframe> on any other page."""
    found, key = _find(counter), key or request.args.get("key")
    if not found or not key:
        return _not_found(counter, "locked_frame.html", EMBEDDED)
    label = request.args.get("label") or found.title or spoken(found.name)
    response = make_response(
        render_template("embed.html", counter=found, key=key, label=label, address=_address(found, key))
    )
    response.headers["Content-Security-Policy"] = EMBEDDED
    return response


@pages.get("/status")
def status() -> Response:
    """The state of the counting, for operators."""
    return _page("status.html")


@pages.get("/docs")
def docs() -> Response:
    """The API, to read and to try out."""
    return _page("docs.html")


@pages.app_template_filter("visible")
def visible(text: str) -> str:
    """Characters that no font shows, as pictures of them; static/format.js does the same."""
    pictures = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
    return text.translate(pictures)


def _page(template: str, **values: object) -> Response:
    shown = {field for counter in settings().counters for field in (counter.key, counter.member)}
    names = {field: one for field, one in settings().serving.names.items() if field in shown}
    response = make_response(
        render_template(
            template, names={field: one.model_dump(exclude_defaults=True) for field, one in names.items()}, **values
        )
    )
    parts = [urlsplit(one.url) for one in names.values() if one.url and "://" in one.url]
    if parts:
        hosts = " ".join(sorted({f"{part.scheme}://{part.netloc}" for part in parts}))
        response.headers["Content-Security-Policy"] = WITH_NAMES.format(hosts=hosts)
    return response


def _address(counter: Counter, key: str | None, keep: bool = False) -> str:
    """Where the counter of the key is shown; `keep`: with what the present address asks for."""
    asked = {name: value for name, value in request.args.items() if keep and name != "key"} | {"counter": counter.name}
    plain = key if key and _PLAIN.fullmatch(key) else None
    if key and not plain:
        asked["key"] = key
    return f"{url_for('pages.stats', name=counter.key, key=plain)}?{urlencode(asked)}"


def _find(name: str) -> Counter | None:
    return next((counter for counter in settings().counters if counter.name == name), None)


def _not_found(name: str, locked: str = "locked.html", policy: str | None = None) -> Response:
    """No such page, for whoever asks; who brought no token may have one."""
    if scope().counters is not None and scope().token is None:
        response = make_response(render_template(locked), 401)
        response.www_authenticate = challenge()
    else:
        response = make_response(render_template("missing.html", name=name), 404)
    if policy:
        response.headers["Content-Security-Policy"] = policy
    return response
