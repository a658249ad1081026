"""Who may ask, how often, and from which pages: tokens, rate limit, CORS, and the headers that keep browsers careful.

A token is known by its SHA-256 alone, so the settings hold no secret. Without tokens in the settings everybody reads
everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Flask, Response, g, request
from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.middleware.proxy_fix import ProxyFix

from stitch.counters import Counter
from stitch.sections import ServingSettings

_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
}
_EXPOSED = ["ETag", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Request-ID",
            "Stitch-Missing", "Stitch-Realtime-Through"]  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """What a request may read: `token` names who asks (None: nobody said), `counters` None is all of them."""

    token: str | None
    counters: frozenset[str] | None


def allow(counters: Iterable[Counter], refuse: bool = True) -> bool:
    """Whether the request may read the counters. Raises Unauthorized or Forbidden where it may not and `refuse`."""
    scope: Scope | None = g.get("scope")
    if scope is None or scope.counters is None:
        return True
    refused = [counter.name for counter in counters if counter.name not in scope.counters]
    if refused and refuse:
        if scope.token is None:
            raise _unauthorized(f"a token is needed to read {', '.join(refused)}")
        raise Forbidden(f"the token {scope.token!r} may not read {', '.join(refused)}")
    return not refused


def guard(app: Flask, settings: ServingSettings) -> None:
    """Put all of it around the app."""
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    if settings.tokens:
        identify(app, settings)
    if settings.rate_limit:
        limit(app, settings)
    if settings.cors_origins:
        CORS(
            app,
            resources={r"/(v1/.*|openapi\.json|static/.*)": {"origins": settings.cors_origins}},
            allow_headers=["Authorization", "Content-Type", "If-None-Match"],
            expose_headers=_EXPOSED,
            max_age=3600,
        )

    @app.after_request
    def careful(response: Response) -> Response:
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        response.headers.pop("Date", None)  # the server gives it; werkzeug's own beside it would make two
        return response


def identify(app: Flask, settings: ServingSettings) -> None:
    """Find out before each request what it may read."""
    known = {
        token.sha256: Scope(
            name, None if token.counters is None else frozenset(token.counters) | frozenset(settings.public)
        )
        for name, token in settings.tokens.items()
    }
    nobody = Scope(None, frozenset(settings.public))

    @app.before_request
    def who() -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not kind:
            g.scope = nobody
        elif kind.lower() == "bearer" and (scope := known.get(hashlib.sha256(token.strip().encode()).hexdigest())):
            g.scope = scope
        elif request.path.startswith("/v1/"):
            raise _unauthorized("the token is not known")


def limit(app: Flask, settings: ServingSettings) -> None:
    """So many requests per token, else per address; the API alone, since probes and static files are cheap."""
    app.config.update(
        RATELIMIT_HEADER_LIMIT="RateLimit-Limit",
        RATELIMIT_HEADER_REMAINING="RateLimit-Remaining",
        RATELIMIT_HEADER_RESET="RateLimit-Reset",
        RATELIMIT_HEADER_RETRY_AFTER="Retry-After",
        RATELIMIT_HEADER_RETRY_AFTER_VALUE="delta-seconds",
    )
    limiter = Limiter(
        _whose,
        app=app,
        default_limits=[settings.rate_limit or ""],
        storage_uri=settings.rate_limit_storage,
        strategy="fixed-window",
        headers_enabled=True,
        swallow_errors=True,  # a storage that is away must not take the counts with it
        in_memory_fallback_enabled=True,
    )
    limiter.request_filter(lambda: not request.path.startswith("/v1/"))


def _whose() -> str:
    scope: Scope | None = g.get("scope")
    return f"token:{scope.token}" if scope and scope.token else f"address:{get_remote_address()}"


def _unauthorized(detail: str) -> Unauthorized:
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "stitch"}))
