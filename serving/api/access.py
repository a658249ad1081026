"""Who may ask, how often, and from which pages: tokens, rate limit, CORS, and the headers that keep browsers careful.

A request gets at counters only through what is here, `settings()` and `reader()`: the settings name no counter that it
may not see, so that no message, document or page can, and the reader refuses what is outside of the request's scope.
A view that thinks of neither cannot show too much. Without tokens in the settings everybody reads everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Never

from flask import Flask, Response, current_app, request
from flask_cors import CORS
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized
from werkzeug.middleware.proxy_fix import ProxyFix

from serving.api.rate_limit import address, rate_limit, told
from serving.api.scope import EVERYTHING, Scope, Scopes
from serving.layers.interface import Corrected, LayerName, Ran
from serving.observe.logs import TOKEN
from serving.reading.found import Chart, Series, Top, Totals
from serving.reading.queries import ChartQuery, CorrectionsQuery, KeysQuery, SeriesQuery, TopQuery, TotalsQuery
from serving.reading.reader import Reader
from serving.reading.view import View
from stitch.counters import Counter
from stitch.grants import BadToken
from stitch.sections import ServingSettings
from stitch.settings import Settings

SCOPE, REFUSAL = "stitch.scope", "stitch.refusal"  # of a request, in its WSGI environment
NAMED = 10  # counters, in a refusal
_OPEN = {"static", "probes.healthz", "probes.readyz"}  # whatever token comes: they tell nothing of the counts
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    "Cache-Control": "no-cache",
}
_PLAIN = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")  # a path, without `..` or `%2F`
_SHARED = r"/(v1/.*|openapi\.json|static/.*)"  # what pages of the allowed origins may read
EXPOSED = ["ETag", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID", "Content-Disposition",
           "Stitch-Missing", "Stitch-Partial", "Stitch-Realtime-Through", "Stitch-Next", "Stitch-Others",
           "Stitch-Total", "Stitch-As-Of", "Stitch-Exact"]  # fmt: skip
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def scope() -> Scope:
    """What the present request may read. There is none where nobody found out: KeyError, and no answer."""
    return request.environ[SCOPE]


def settings() -> Settings:
    """The settings as the present request may see them: with the counters that it may read, and no others."""
    return current_app.extensions["access"].settings(scope())


def reader() -> ScopedReader:
    """The reader, for the present request."""
    return ScopedReader(current_app.extensions["access"].reader, scope())


def refuse(names: Sequence[str], what: str = "") -> Never:
    """Raises Unauthorized or Forbidden. A counter that is hidden and one that is not there read alike."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    said = f"{', '.join(name[:60] for name in names[:NAMED])}{more}{what}"
    if scope().token is None:
        raise _unauthorized(f"a token is needed to read {said}")
    raise Forbidden(f"the token {scope().token!r} may not read {said}")


class ScopedReader:
    """The reader as one scope may ask it. What it lacks cannot be asked, so a new question is refused until somebody
    says here who may ask it."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self._reader, self._scope = reader, scope

    def totals(self, query: TotalsQuery) -> tuple[Totals, View]:
        self._check(query.counters, query.keys)
        return self._reader.totals(query)

    def series(self, query: SeriesQuery) -> tuple[list[Series], View]:
        self._check(query.counters, query.keys)
        return self._reader.series(query)

    def top(self, query: TopQuery) -> tuple[Top, View]:
        self._check([query.counter], [query.key])
        return self._reader.top(query)

    def chart(self, query: ChartQuery) -> tuple[Chart, View]:
        """It tells keys that nobody named, so it takes the right to list all of them."""
        if not self._scope.lists(query.counter.name, ""):
            refuse([query.counter.name], ": a chart of its keys")
        return self._reader.chart(query)

    def keys(self, query: KeysQuery) -> tuple[list[str], str | None]:
        """A right of its own: whoever knows a key has not been told who else is counted."""
        if not self._scope.lists(query.counter.name, query.prefix):
            refuse([query.counter.name], f": its keys{' that begin so' if self._scope.list_keys else ''}")
        return self._reader.keys(query)

    def corrections(self, query: CorrectionsQuery) -> list[Corrected]:
        """Of all keys together, so not for a token of some keys."""
        if not self._scope.of_all_keys(query.counter.name):
            refuse([query.counter.name], " of all keys")
        return self._reader.corrections(query)

    def status(self) -> tuple[View, dict[LayerName, str]]:
        return self._reader.status()

    def concerns(self, view: View) -> list[str]:
        """Of all counters, which it does not name."""
        return self._reader.concerns(view)

    def runs(self, last: int) -> list[Ran]:
        """How many records they had is of all counters and keys together."""
        found = self._reader.runs(last)
        return found if self._scope.of_everything else [replace(run, figures={}) for run in found]

    def _check(self, counters: Sequence[Counter], keys: Sequence[str]) -> None:
        if foreign := [key for c in counters for key in keys if not self._scope.reads(c.name, key)]:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            refuse([counter.name for counter in counters], f" of the key {foreign[0][:60]!r}{more}")


class Access:
    """The whole reader and the whole settings, which requests get at through their scope alone."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self.reader = reader
        self._settings = settings
        self._of = lru_cache(256)(self._visible)

    def settings(self, scope: Scope) -> Settings:
        return self._settings if scope.counters is None else self._of(scope.counters)

    def _visible(self, names: frozenset[str]) -> Settings:
        shown = [counter for counter in self._settings.counters if counter.name in names]
        return self._settings.model_copy(update={"counters": shown})


class Callers:
    """WSGI middleware: who asks, and whether he has asked too often, found out before anything answers: the cache of
    answers tells callers apart by it, and whom it refuses is refused by the app, as an HTTP problem."""

    def __init__(self, app: Wsgi, settings: ServingSettings) -> None:
        self._app = app
        self._scopes, self._limit = Scopes(settings), rate_limit(settings)

    def identify(self, environ: Environ) -> Scope:
        """The scope of the request, kept in its environment: whoever looks for an answer before the app does asks this
        first."""
        if SCOPE not in environ:
            try:
                found = self._scopes.of(environ.get("HTTP_AUTHORIZATION", ""))
            except BadToken as error:
                found = self._scopes.nobody
                environ.setdefault(REFUSAL, _unauthorized(str(error), "invalid_token"))
            environ[SCOPE], environ[TOKEN] = found, found.token
        return environ[SCOPE]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        found, refusal = self.identify(environ), environ.get(REFUSAL)
        asks = environ["PATH_INFO"].startswith("/v1/") and environ["REQUEST_METHOD"] != "OPTIONS"
        if self._limit and (asks or refusal is not None):  # and who guesses tokens, wherever and however
            caller = found.token is not None and not found.signed
            hit = self._limit.hit(f"token:{found.token}" if caller else address(environ.get("REMOTE_ADDR", "")))
            if not hit.allowed:
                environ[REFUSAL] = TooManyRequests(f"too many: {self._limit.policy}", retry_after=hit.seconds)
            headers = [("RateLimit-Policy", self._limit.policy), ("RateLimit", told(hit))]
            start_response = _with(headers, start_response)
        return self._app(environ, start_response)


def guard(app: Flask, settings: Settings, reader: Reader) -> None:
    """Put all of it around the app, as it is now: what is put around it later is not guarded."""
    serving = settings.serving
    app.extensions["access"] = Access(settings, reader)
    app.extensions["callers"] = app.wsgi_app = Callers(app.wsgi_app, serving)  # type: ignore[method-assign]
    if serving.trusted_proxies:
        hops = dict.fromkeys(("x_for", "x_proto", "x_host", "x_prefix"), serving.trusted_proxies)
        app.wsgi_app = ProxyFix(plainly_below(app.wsgi_app), **hops)  # type: ignore[method-assign]
    if serving.cors_origins:
        CORS(
            app,
            resources={_SHARED: {"origins": serving.cors_origins}},
            allow_headers=["Authorization", "Content-Type", "If-None-Match"],
            expose_headers=EXPOSED,
            max_age=3600,
        )

    @app.before_request
    def refuse_or_go_on() -> None:
        if REFUSAL in request.environ and request.endpoint not in _OPEN:
            raise request.environ.pop(REFUSAL)  # kept nowhere: its traceback keeps the request, and the body with it

    @app.after_request
    def careful(response: Response) -> Response:
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        if scope() is not EVERYTHING and request.endpoint not in _OPEN:
            response.vary.add("Authorization")
        if serving.cors_origins:
            response.vary.add("Origin")  # for all that may have the header, in an answer to whomever
        response.headers.pop("Date", None)  # the server gives it; werkzeug's own beside it would make two
        return response


def plainly_below(app: Wsgi) -> Wsgi:
    """WSGI middleware: the path that this is below, which a proxy told, begins every link. One may pass on what callers
    send, and `//evil.example` would lead elsewhere: what is no plain path counts for nothing."""

    def checked(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        below = environ["SCRIPT_NAME"]
        environ["SCRIPT_NAME"] = below.rstrip("/") if _PLAIN.fullmatch(below) else ""
        return app(environ, start_response)

    return checked


def _with(headers: list[tuple[str, str]], start_response: Callable[..., Any]) -> Callable[..., Any]:
    def start(status: str, given: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*given, *headers], *more)

    return start


class Challenge(WWWAuthenticate):
    """Its values in quotation marks, which RFC 9110 asks of a realm; werkzeug leaves them out where it can."""

    def to_header(self) -> str:
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in self.parameters.items())


def challenge(error: str | None = None) -> Challenge:
    """What a 401 asks for: a token. `error`: of RFC 6750, what was wrong with the one that came."""
    return Challenge("bearer", {"realm": "stitch", **({"error": error} if error else {})})


def _unauthorized(detail: str, error: str | None = None) -> Unauthorized:
    return Unauthorized(detail, www_authenticate=challenge(error))
