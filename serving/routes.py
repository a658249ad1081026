"""The endpoints: each parses, asks, and returns. Every answer says what was understood and what it rests on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Flask, current_app, request

from serving import params
from serving.form import BadRequest, Mistake, Range, Raw
from serving.reader import Meta, Reader
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.settings import Settings

api = Blueprint("api", __name__)


@api.get("/v1/counters")
def counters() -> dict[str, Any]:
    """The counters that can be asked for. 200."""
    params.parse_nothing(_raw(), _settings())
    _, meta = _reader().status()
    return {"query": {}, "meta": _meta(meta), "data": [_counter(counter) for counter in _settings().counters]}


@api.get("/v1/totals")
def totals() -> dict[str, Any]:
    """Counts of several keys, ever or in a range. 200, 400, 503."""
    return _totals(params.parse_totals(_raw(), _settings()))


@api.post("/v1/totals")
def many_totals() -> dict[str, Any]:
    """The same, asked by a JSON body: for more keys than an address holds. 200, 400, 413, 503."""
    params.parse_nothing(_raw(), _settings())
    return _totals(params.parse_totals_body(_body(), _settings()))


@api.get("/v1/series")
def series() -> dict[str, Any]:
    """Counts of one key by hour, day or month, gaps filled with 0. 200, 400, 503."""
    query = params.parse_series(_raw(), _settings(), current_app.extensions["now"]())
    points, meta = _reader().series(query)
    names = [counter.name for counter in query.counters]
    return {
        "query": {
            "counters": names, "key": query.key, "granularity": query.granularity, **_range(query.range),
            "layer": query.layer,
        },
        "meta": _meta(meta),
        "totals": {name: sum(point.counts[name] for point in points) for name in names},
        "points": [
            {
                "start": _iso(p.bucket.start), "end": _iso(p.bucket.end), "counts": p.counts, "source": p.source,
                "complete": p.complete, "final": p.final,
            }
            for p in points
        ],
    }  # fmt: skip


@api.get("/v1/top")
def top() -> dict[str, Any]:
    """The members of a key that counted most, ever or in a range. 200, 400, 503."""
    query = params.parse_top(_raw(), _settings())
    found, meta = _reader().top(query)
    return {
        "query": {
            "counter": query.counter.name, "key": query.key, **_range(query.range), "limit": query.limit,
            "layer": query.layer,
        },
        "meta": _meta(meta),
        "members": [{"member": member, "count": count} for member, count in found.members],
        "others": found.others,
        "total": found.total,
    }  # fmt: skip


@api.get("/v1/status")
def status() -> dict[str, Any]:
    """Which layers answer, and how far each counter is published. Always 200."""
    params.parse_nothing(_raw(), _settings())
    found, meta = _reader().status()
    cutoffs = {name: _iso(cutoff) for name, cutoff in found["cutoffs"].items()}
    return {"query": {}, "meta": _meta(meta), "layers": found["layers"], "cutoffs": cutoffs}


@api.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether this process answers; it asks no layer, so a restart is not the answer to a cluster that is down. 200."""
    return {"status": "ok"}


def register(app: Flask) -> None:
    app.register_blueprint(api)


def _totals(query: params.TotalsQuery) -> dict[str, Any]:
    found, meta = _reader().totals(query)
    asked = {"counters": [counter.name for counter in query.counters], "keys": query.keys, **_range(query.range)}
    data = [{"key": key, "counts": counts} for key, counts in found.items()]
    return {"query": {**asked, "layer": query.layer}, "meta": _meta(meta), "data": data}


def _raw() -> Raw:
    return request.args.to_dict(flat=False)


def _body() -> Any:
    body = request.get_json(silent=True, force=True)
    if body is None:
        raise BadRequest([Mistake("body", "is not JSON: an object with `counters` and `keys` is expected")])
    return body


def _settings() -> Settings:
    return current_app.extensions["settings"]


def _reader() -> Reader:
    return current_app.extensions["reader"]


def _meta(meta: Meta) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cutoff": _iso(meta.cutoff),
        "realtime_through": _iso(meta.realtime_through),
        "generated_at": _iso(meta.generated_at),
    }
    return {**found, "partial": True, "missing": list(meta.missing)} if meta.missing else found


def _range(asked: Range | None) -> dict[str, str | None]:
    return {"start": _iso(asked.start), "end": _iso(asked.end)} if asked else {"start": None, "end": None}


def _iso(instant: datetime | None) -> str | None:
    """ISO-8601 in UTC with a Z; fractions of a second only where there are some."""
    return instant.isoformat().replace("+00:00", "Z") if instant else None


def _counter(counter: Counter) -> dict[str, Any]:
    return {
        "name": counter.name, "key": counter.key, "member": counter.member, "weights": counter.weights,
        "where": counter.where, "resolution": counter.resolution, "granularities": list(granularities_of(counter)),
    }  # fmt: skip
