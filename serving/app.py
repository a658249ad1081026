"""The app factory: settings, layers and clock in, a Flask app out. The one place where the reader is put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask

from serving.cassandra_layers import CassandraLayers
from serving.errors import handle_errors
from serving.layers import Layers
from serving.reader import Reader
from serving.routes import register
from stitch.settings import Settings

MAX_BODY = 64 * 1024 * 1024


def create_app(
    settings: Settings, layers: Layers | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Flask:
    """The reader. It connects to nothing: the layers do, on the first request of each worker."""
    app = Flask("serving", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]  # members and counters come in the order they have
    app.extensions["settings"] = settings
    app.extensions["now"] = now
    app.extensions["reader"] = Reader(settings, layers or CassandraLayers(settings), now)
    handle_errors(app)
    register(app)
    return app
