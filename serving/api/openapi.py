"""The OpenAPI 3.1 document, made from the endpoints: their parameters (parameters.py), answers (answers.py) and
docstrings.

Not by APIFlask or another framework: they stop at the first layer of validation that finds a mistake, and know
parameters that the settings decide (which counters, which granularities) only by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from serving.api.answers import Problem
from serving.api.parameters import MAX_LIMIT, PARAMETERS, Parameter
from stitch import __version__
from stitch.settings import Settings

View = TypeVar("View", bound=Callable[..., Any])
Schema = dict[str, Any]

PROBLEMS = {
    400: "something in the request is wrong; `errors` lists everything that is",
    401: "a token is needed, or is not known",
    403: "the token may not read one of the counters",
    413: "the body is too large",
    429: "too many requests; `Retry-After` says when to come again",
    503: "no layer that could answer can be read now; `Retry-After` says when to come again",
}
_HEADERS = {
    "ETag": "send it back as If-None-Match for a 304; weak where the range is closed: it stays while no count changes",
    "Cache-Control": "follows the data: an hour where all is before the cutoff, else seconds",
    "X-Request-ID": "the request's, or a new one; in the reader's log too",
}
_CSV_HEADERS = {
    "Content-Disposition": "with `download`: the name of the file",
    "Stitch-Next": "of CSV: what JSON has as `next`, as `after` takes it",
    "Stitch-Others": "of CSV: what JSON has as `others`",
    "Stitch-Total": "of CSV: what JSON has as `total`",
    "Stitch-As-Of": "of CSV: what JSON has as `as_of`",
    "Stitch-Exact": "of CSV: what JSON has as `exact`",
    "Stitch-Missing": "of CSV: the layers that did not answer",
    "Stitch-Partial": "of CSV: `true` where a count is null or ends with the cutoff",
    "Stitch-Realtime-Through": "of CSV: what JSON has as `meta.realtime_through`",
}
_LIMITED = {
    "RateLimit-Policy": '`"requests";q=600;w=60`: 600 requests in 60 seconds',
    "RateLimit": '`"requests";r=599;t=42`: 599 are left for 42 seconds',
}


@dataclass(frozen=True)
class Operation:
    """What is said of an endpoint beside its docstring."""

    answer: Any
    or_answer: Any = None
    parameters: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    csv: bool = False
    problems: tuple[int, ...] = (400, 401, 403, 429, 503)
    ok: tuple[int, ...] = (200,)
    content: str = "application/json"


def documented(operation: Operation) -> Callable[[View], View]:
    """Say what the endpoint takes and answers."""

    def keep(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return keep


def operations(app: Flask) -> dict[tuple[str, str], tuple[Operation, str, str]]:
    """(path, method) → operation, name and docstring of every endpoint that is documented."""
    found = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = getattr(view, "operation", None)
        if operation:
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                name = rule.endpoint.rpartition(".")[2]
                found[rule.rule, method.lower()] = (operation, name, " ".join((view.__doc__ or "").split()))
    return found


def document(app: Flask, settings: Settings) -> Schema:
    """The whole document; its enumerations are those of the settings."""
    said = [operation for operation, _, _ in operations(app).values()]
    kinds = {Problem, *(kind for one in said for kind in (one.answer, one.or_answer) if kind)}
    adapters: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (kind.__name__, "serialization", TypeAdapter(kind)) for kind in sorted(kinds, key=lambda k: k.__name__)
    ]
    schemas, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    paths: dict[str, Schema] = {}
    for (path, method), (operation, name, text) in sorted(operations(app).items()):
        answers = [schemas[kind.__name__, "serialization"] for kind in (operation.answer, operation.or_answer) if kind]
        answer = answers[0] if len(answers) == 1 else {"oneOf": answers}
        paths.setdefault(path, {})[method] = _operation(operation, name, text, answer, settings)
    secured: Schema = (
        {"security": [{"token": []}, {}]} if settings.serving.tokens or settings.serving.token_secrets else {}
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stitch", "version": __version__, "description": DESCRIPTION + _limits(settings)},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        **secured,
    }


def _limits(settings: Settings) -> str:
    serving = settings.serving
    rate = f", {serving.rate_limit.replace('/', ' requests a ')}" if serving.rate_limit else ""
    return (
        f"\n\nLimits: {serving.max_keys:,} keys in a request, {serving.max_points:,} counts in an answer "
        f"(points × counters, keys × counters), {MAX_LIMIT:,} rows of a list, "
        f"keys of {min(settings.events.max_text, serving.max_key):,} bytes{rate}."
    )


def _operation(operation: Operation, name: str, said: str, answer: Schema, settings: Settings) -> Schema:
    contents: Schema = {operation.content: {"schema": answer}}
    if operation.csv:
        contents["text/csv"] = {"schema": {"type": "string"}}
    told = _HEADERS | (_CSV_HEADERS if operation.csv else {}) | (_LIMITED if settings.serving.rate_limit else {})
    headers = {header: {"description": text, "schema": {"type": "string"}} for header, text in told.items()}
    found: Schema = {
        "operationId": name,
        "tags": ["counts" if operation.problems else "the reader"],
        "summary": said.split(". ")[0].rstrip("."),
        "description": said,
        "responses": {
            str(status): {"description": "the answer", "headers": headers, "content": contents}
            for status in operation.ok
        },
    }
    if operation.csv:
        found["responses"]["304"] = {"description": "unchanged since the ETag that was sent"}
    for status in operation.problems:
        found["responses"][str(status)] = {
            "description": PROBLEMS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    if operation.parameters:
        found["parameters"] = [
            _parameter(parameter, PARAMETERS[parameter], name, settings) for parameter in operation.parameters
        ]
    if operation.body:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(operation.body, settings)}},
        }
    return found


def _parameter(name: str, parameter: Parameter, endpoint: str, settings: Settings) -> Schema:
    if name == "counter" and endpoint in ("top", "chart"):
        shown = [one for one in settings.counters if (one.member if endpoint == "top" else one.chart)]
        settings = settings.model_copy(update={"counters": shown})
    schema = parameter.schema(settings)
    if name == "key" and endpoint == "totals":  # as many as one likes, beside or in place of `keys`
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": settings.serving.max_keys}
    if name == "keys":  # what a comma would cut is asked for by `key`
        schema = schema | {"items": schema["items"] | {"pattern": r"^[^,\s]([^,]*[^,\s])?$"}}
    needed = parameter.required or (name == "key" and endpoint == "top")
    found = {"name": name, "in": "query", "required": needed, "description": parameter.description, "schema": schema}
    if schema["type"] == "array":
        found |= {"style": "form", "explode": parameter.explode}
    return found


def _body(names: tuple[str, ...], settings: Settings) -> Schema:
    """The body of a POST: the parameters of GET, whose lists are never split."""
    properties = {
        name: PARAMETERS[name].schema(settings) | {"description": PARAMETERS[name].description} for name in names
    }
    return {"type": "object", "additionalProperties": False, "required": ["counters", "keys"], "properties": properties}


DESCRIPTION = """Exact counts of events, live.

Every count merges two layers: totals, exact up to the counter's `cutoff`, and increments, seconds old, since then; it
has everything that was appended before `as_of`. A count that is not known, because a layer is away and nothing is
remembered of it, is null, and 503 where there is no other in the answer: a number is never a part of one, unless
`partial=allow` asks for what is left. `"partial": true` says that a count is null or ends with the cutoff.

Ranges are half-open, `[start, end)`; instants are ISO-8601. Counts beyond ±(2^53 − 1), which JavaScript would round,
are decimal strings: `BigInt(count)` takes both. An unknown parameter is refused, and an error lists everything that
was wrong (`application/problem+json`, RFC 9457). Every answer to a GET has an ETag and a Cache-Control that follows
its data; one to a POST is kept by no cache. The Date header is the reader's clock."""
