"""The app factory: settings, layers and clock in, a Flask app out. The one place where the reader is put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Flask
from flask_compress import Compress

from serving.api.access import Callers, guard
from serving.api.answer_cache import AnswerCache
from serving.api.errors import handle_errors
from serving.api.probes import described, probes
from serving.api.rate_limit import MEMORY
from serving.api.routes import api
from serving.layers.cached import CachedLayers
from serving.layers.cassandra import CassandraLayers
from serving.layers.interface import Layers
from serving.layers.memcached import MemcachedLayers
from serving.layers.memory import Memory
from serving.observe import logs
from serving.pages.routes import pages
from serving.reading.reader import Reader
from stitch.settings import Settings

MAX_BODY = 4 * 1024 * 1024  # a thousand keys of a kilobyte, escaped
COMPRESSED = ["application/json", "application/problem+json", "text/css", "text/csv", "text/html", "text/javascript",
              "text/plain"]  # fmt: skip


def create_app(
    settings: Settings,
    layers: Layers | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    probes_apart: bool = False,
) -> Flask:
    """The reader. It connects to nothing: the layers do, on the first request of each worker. `probes_apart`: another
    port has probes and metrics (create_admin)."""
    app = Flask("serving", static_folder="static")
    app.url_map.merge_slashes = False  # a key may begin with one
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        SEND_FILE_MAX_AGE_DEFAULT=300,
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_MIMETYPES=COMPRESSED,
        COMPRESS_ALGORITHM_STREAMING=["gzip"],
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # members and counters come in the order they have
    app.extensions["now"] = now
    memory = Memory(settings.serving.cache_bytes)
    logs.observe(app)
    handle_errors(app)
    app.register_blueprint(api)
    app.register_blueprint(described)
    if not probes_apart:
        app.register_blueprint(probes)
    app.register_blueprint(pages)
    answers = None
    if settings.serving.cache:
        answers = AnswerCache(app.wsgi_app, settings.serving.cache.total_seconds(), memory)
        app.wsgi_app = answers  # type: ignore[method-assign]
    guard(app, settings, Reader(settings, remembered(layers or CassandraLayers(settings), settings, memory), now))
    Compress(app)  # behind guard: what runs after a request runs in reverse, and guard takes its Date away again
    if answers and (not settings.serving.rate_limit or settings.serving.rate_limit_storage == MEMORY):
        app.extensions["kept"] = partial(kept, app.extensions["callers"], answers)
    return app


def kept(callers: Callers, answers: AnswerCache, environ: dict[str, Any]) -> bool:
    """Whether the app answers this request without waiting for anything."""
    callers.identify(environ)
    return answers.kept(environ)


def create_admin(app: Flask, settings: Settings) -> Flask:
    """The probes and metrics of a reader, as an app that a port of its own may serve, to the same callers."""
    admin = Flask("serving.admin", static_folder=None)
    admin.json.sort_keys = False  # type: ignore[attr-defined]
    admin.extensions["now"] = app.extensions["now"]
    logs.observe(admin)
    handle_errors(admin)
    admin.register_blueprint(probes)
    guard(admin, settings, app.extensions["access"].reader)
    return admin


def remembered(layers: Layers, settings: Settings, memory: Memory) -> Layers:
    """The layers behind the caches that the settings ask for: this process's before the one that all share."""
    if settings.serving.memcached:
        layers = MemcachedLayers(layers, settings)
    return CachedLayers(layers, settings, memory) if settings.serving.cache else layers
