"""The reader in this process over layers in memory, and a browser: the pages without Kafka, Cassandra or Spark."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import NotFound
from werkzeug.serving import make_server

from serving.app import create_app
from stitch.settings import Settings
from tests.fakes import FakeLayers
from tests.pages.music import Music, settings

Serve = Callable[..., str]


@pytest.fixture(scope="session")
def music() -> Music:
    return Music(datetime.now(UTC))


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """serve(layers, settings) is the address of a reader over these layers; below="/counts": below that path."""
    servers: list[Any] = []
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def start(layers: FakeLayers, chosen: Settings | None = None, below: str = "") -> str:
        app = create_app(chosen or settings(), layers)
        server = make_server("127.0.0.1", 0, proxied(app, below) if below else app, threaded=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.port}{below}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def proxied(app: Flask, below: str) -> Any:
    """The app behind a proxy that has it below a path, and all else elsewhere."""

    def strip(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith(f"{below}/"):
            return NotFound()(environ, start_response)
        return app({**environ, "PATH_INFO": path.removeprefix(below), "HTTP_X_FORWARDED_PREFIX": below}, start_response)

    return strip


@pytest.fixture(scope="session")
def site(serve: Serve, music: Music) -> str:
    return serve(music)
