"""The endpoints of the API: each parses, asks, and returns. Every answer says what was understood and what it rests
on."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import parse_qs

from flask import Blueprint, Response, current_app, request

from serving.api import answers, parameters, parsing, rendering
from serving.api.access import ScopedReader, reader, settings
from serving.api.answers import iso, number, number_or_none
from serving.api.form import Raw
from serving.api.openapi import Operation, documented
from serving.api.responses import Lifetime, csv_response, json_response, lifetime, preferred_format
from serving.layers.interface import LayerName
from serving.reading.queries import BadRequest, Mistake, SeriesQuery, Span, TotalsQuery
from serving.reading.view import View
from stitch.settings import Settings

RUNS_SHOWN = 5
REASON = "does not answer; the reader's log says more"  # which may name hosts
api = Blueprint("api", __name__)


@api.get("/v1/counters")
@documented(Operation(answers.Counters, problems=(400, 401, 429)))
def counters() -> Response:
    """The counters that can be asked for. What each counts, and by what it is broken down."""
    parsing.parse_nothing(_raw(), _settings())
    view, _ = _reader().status()
    shown = _settings().counters
    body: answers.Counters = {
        "query": {},
        "meta": rendering.meta(view, shown),
        "data": [rendering.counter(counter, _settings()) for counter in shown],
    }
    return json_response(body, _lifetime(view, bool(view.missing), False))


@api.get("/v1/totals")
@documented(Operation(answers.Totals, parameters=parameters.TOTALS, csv=True))
def totals() -> Response:
    """Counts of several keys, of all time or a range. Up to a thousand keys by several counters, from one view of the
    cutoff."""
    return _totals(parsing.parse_totals(_raw(), _settings(), _now(), preferred_format()))


@api.post("/v1/totals")
@documented(Operation(answers.Totals, body=parameters.TOTALS_BODY, csv=True, problems=(400, 401, 403, 413, 429, 503)))
def many_totals() -> Response:
    """The same, asked by a JSON body. For more keys than an address holds, and for keys with commas."""
    parsing.parse_nothing(_raw(), _settings())
    return _totals(parsing.parse_totals_body(_body(), _settings(), _now(), preferred_format()))


@api.get("/v1/series")
@documented(Operation(answers.Series, answers.ManySeries, parameters=parameters.SERIES, csv=True))
def series() -> Response:
    """Counts by minute, hour, day, week or month. Every bucket of the range is a point, empty ones too; of one `key`,
    or as `data` of several `keys`."""
    return _series(parsing.parse_series(_raw(), _settings(), _now(), preferred_format()))


@api.post("/v1/series")
@documented(
    Operation(answers.ManySeries, body=parameters.SERIES_BODY, csv=True, problems=(400, 401, 403, 413, 429, 503))
)
def many_series() -> Response:
    """The same of many keys, asked by a JSON body. For more keys than an address holds, and for keys with commas."""
    parsing.parse_nothing(_raw(), _settings())
    return _series(parsing.parse_series_body(_body(), _settings(), _now(), preferred_format()))


@api.get("/v1/top")
@documented(Operation(answers.Top, parameters=parameters.TOP, csv=True))
def top() -> Response:
    """The members of a key that counted most, of all time or a range. In a stable order, page by page, and the rest as
    one number."""
    query = parsing.parse_top(_raw(), _settings(), _now(), preferred_format())
    found, view = _reader().top(query)
    max_age = _lifetime(view, found.partial, view.closed([query.counter], query.span.end), query.span)
    if query.format == "csv":
        rest = {"Stitch-Next": found.next, "Stitch-Others": found.others, "Stitch-Total": found.total}
        return csv_response(["member", "count"], found.members, view, max_age, rest | _told(found.partial))
    body: answers.Top = {
        "query": {
            "counter": query.counter.name, "key": query.key, **rendering.span(query.span), "limit": query.limit,
            "layer": query.layer,
        },
        "meta": rendering.meta(view, [query.counter], found.partial),
        "members": [{"member": member, "count": number(count)} for member, count in found.members],
        "others": number(found.others),
        "total": number(found.total),
        "next": found.next,
    }  # fmt: skip
    if found.comparison:
        body["comparison"] = {
            **rendering.bounds(query.span, found.comparison),  # type: ignore[typeddict-item]
            "data": [{"member": name, **rendering.change(*pair)} for name, pair in found.changes.items()],
        }
    return json_response(body, max_age)


@api.get("/v1/chart")
@documented(Operation(answers.Chart, parameters=parameters.CHART, csv=True))
def chart() -> Response:
    """The keys of a counter that counted most, of all time or whole days. Or that rose most. Who is among them is as of
    the cutoff, their counts and order are live."""
    query = parsing.parse_chart(_raw(), _settings(), _now(), preferred_format())
    found, view = _reader().chart(query)
    max_age = _lifetime(view, found.partial, view.closed([query.counter], query.span.end), query.span)
    as_of = iso(view.cutoff(query.counter)) or ""
    if query.format == "csv":
        told = {"Stitch-As-Of": as_of, "Stitch-Exact": str(found.exact).lower()} | _told(found.partial)
        return csv_response(*rendering.chart_table(found), view, max_age, told)
    body: answers.Chart = {
        "query": {
            "counter": query.counter.name, **rendering.span(query.span), "order": query.order, "limit": query.limit,
        },
        "meta": rendering.meta(view, [query.counter], found.partial),
        "keys": [{"key": key, "count": number(count)} for key, count in found.keys],
        "as_of": as_of,
        "exact": found.exact,
    }  # fmt: skip
    if found.comparison:
        body["comparison"] = {
            **rendering.bounds(query.span, found.comparison),  # type: ignore[typeddict-item]
            "data": [{"key": key, **rendering.change(*pair)} for key, pair in found.changes.items()],
        }
    return json_response(body, max_age)


@api.get("/v1/keys")
@documented(Operation(answers.Keys, parameters=parameters.KEYS, csv=True))
def keys() -> Response:
    """The keys of a counter, by prefix. Those that the batch has counted; a newer key can be asked for all the same."""
    query = parsing.parse_keys(_raw(), _settings(), preferred_format())
    found, more = _reader().keys(query)
    if query.format == "csv":
        return csv_response(["key"], [[key] for key in found], None, Lifetime(60), {"Stitch-Next": more})
    asked = {"counter": query.counter.name, "prefix": query.prefix, "limit": query.limit}
    body: answers.Keys = {"query": asked, "data": [{"key": key} for key in found], "next": more}
    return json_response(body, Lifetime(60))


@api.get("/v1/corrections")
@documented(Operation(answers.Corrections, parameters=parameters.CORRECTIONS, csv=True))
def corrections() -> Response:
    """What the batch changed of a counter, by day. Why did my plays drop? Duplicates, spam, or a repair."""
    query = parsing.parse_corrections(_raw(), _settings(), _now(), preferred_format())
    data: list[answers.Correction] = [
        {
            "day": row.day.isoformat(),  # type: ignore[typeddict-item]  # a date in the schema, its text in JSON
            "cutoff": iso(row.cutoff) or "",
            "before": number(row.before),
            "after": number(row.after),
            "difference": number(row.after - row.before),
        }
        for row in _reader().corrections(query)
    ]
    if query.format == "csv":
        header = ["day", "cutoff", "before", "after", "difference"]
        rows = [[r["day"], r["cutoff"], *map(rendering.cell, (r["before"], r["after"], r["difference"]))] for r in data]
        return csv_response(header, rows, None, Lifetime(60))
    asked = {"counter": query.counter.name, "start": iso(query.range.start), "end": iso(query.range.end)}
    body: answers.Corrections = {"query": asked, "data": data}
    return json_response(body, Lifetime(60))


@api.get("/v1/status")
@documented(Operation(answers.Status, problems=(400, 401, 429)))
def status() -> Response:
    """Which layers answer, how far each counter is published, and how the last runs ended. Always 200."""
    parsing.parse_nothing(_raw(), _settings())
    view, failures = _reader().status()
    shown = _settings().counters
    body: answers.Status = {
        "query": {},
        "meta": rendering.meta(view, shown),
        "layers": {
            layer: {"up": layer not in failures, "reason": REASON if layer in failures else None}
            for layer in get_args(LayerName)
        },
        "cutoffs": {counter.name: iso(view.cutoff(counter)) for counter in shown},
        "runs": [] if "batch" in failures else [rendering.run(run) for run in _reader().runs(RUNS_SHOWN)],
    }
    return json_response(body, _lifetime(view, bool(view.missing), False))


def _series(query: SeriesQuery) -> Response:
    found, view = _reader().series(query)
    names = [counter.name for counter in query.counters]
    partial = any(one.partial for one in found)
    max_age = _lifetime(view, partial, view.closed(query.counters, query.span.end), query.span)
    data = [rendering.key_series(key, one, query) for key, one in zip(query.keys, found, strict=True)]
    if query.format == "csv":
        rows = [row for one in data for row in rendering.rows(one, query)]
        return csv_response(rendering.columns(query), rows, view, max_age, _told(partial))
    asked = {"keys": query.keys} if query.many else {"key": query.keys[0]}
    said: dict[str, Any] = {
        "query": {
            "counters": names, **asked, "granularity": query.granularity, **rendering.span(query.span),
            "cumulative": query.cumulative, "fill": query.fill, "layer": query.layer,
        },
        "meta": rendering.meta(view, query.counters, partial),
    }  # fmt: skip
    if query.many:
        return json_response({**said, "data": data}, max_age)
    return json_response({**said, **{name: value for name, value in data[0].items() if name != "key"}}, max_age)


def _totals(query: TotalsQuery) -> Response:
    found, view = _reader().totals(query)
    names, span = [counter.name for counter in query.counters], query.span
    max_age = _lifetime(view, found.partial, view.closed(query.counters, span.end), span)
    if query.format == "csv":
        rows = [[key, *(counts[name] for name in names)] for key, counts in found.counts.items()]
        return csv_response(["key", *names], rows, view, max_age, _told(found.partial))
    body: answers.Totals = {
        "query": {"counters": names, "keys": query.keys, **rendering.span(span), "layer": query.layer},
        "meta": rendering.meta(view, query.counters, found.partial),
        "data": [
            {"key": key, "counts": {name: number_or_none(count) for name, count in counts.items()}}
            for key, counts in found.counts.items()
        ],
    }
    if found.comparison:
        body["comparison"] = {
            **rendering.bounds(span, found.comparison),  # type: ignore[typeddict-item]
            "data": [
                {"key": key, "changes": {name: rendering.change(*pair) for name, pair in changes.items()}}
                for key, changes in found.changes.items()
            ],
        }
    return json_response(body, max_age)


def _lifetime(view: View, partial: bool, closed: bool, span: Span | None = None) -> Lifetime:
    serving = _settings().serving
    open_seconds = serving.cache.total_seconds()
    found = lifetime(partial, closed, open_seconds, serving.cache_closed.total_seconds())
    fresh_until = view.fresh_until
    if span and span.changes:  # then it is another answer: who is given this one just before keeps it for the rest
        left = max(0.0, (span.changes - _now()).total_seconds())
        fresh_until = min(fresh_until, time.monotonic() + min(open_seconds, left))
        found = found.within(left - open_seconds)
    return replace(found, fresh_until=fresh_until)


def _told(partial: bool) -> dict[str, Any]:
    """What a header of CSV says of an answer that is not whole."""
    return {"Stitch-Partial": "true"} if partial else {}


def _raw() -> Raw:
    """The parameters. What is not UTF-8 stays what it is, for the form to refuse: Flask's own would take `%ff` for the
    three characters."""
    return parse_qs(request.query_string.decode(errors="surrogateescape"), True, errors="surrogateescape")


def _body() -> Any:
    try:
        return json.loads(request.get_data(), object_pairs_hook=_object)
    except (ValueError, RecursionError):  # or of arrays in arrays in arrays
        said = "is not JSON: an object with `counters` and `keys` is expected"
        raise BadRequest([Mistake("body", said)]) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # of which Python would take the last
        names = Counter(name for name, _ in pairs)
        raise BadRequest([Mistake(name[:60], "given more than once") for name, often in names.items() if often > 1])
    return found


def _now() -> Any:
    return current_app.extensions["now"]()


def _settings() -> Settings:
    return settings()


def _reader() -> ScopedReader:
    return reader()
