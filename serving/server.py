"""The reader under gunicorn, with the host, port, workers and threads of the settings."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from stitch.errors import StitchError
from stitch.settings import Settings


class ServingError(StitchError):
    """The reader cannot start; the message says why and what to do."""


class Server(BaseApplication):
    """`load` runs in each worker after the fork, so that every worker has an app, threads and sessions of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        from serving.observe.logs import (
            LOGGING,  # not before PROMETHEUS_MULTIPROC_DIR is set: prometheus_client looks at import
        )

        serving = self._settings.serving
        values: dict[str, Any] = {
            "bind": f"[{serving.host}]:{serving.port}" if ":" in serving.host else f"{serving.host}:{serving.port}",
            "workers": serving.workers,
            "threads": serving.threads,
            "worker_class": "gthread",
            "timeout": max(30, int(serving.timeout.total_seconds() * 4)),
            "limit_request_line": 8190,
            "preload_app": False,
            "proc_name": "stitch-serve",
            "control_socket_disable": True,
            "logconfig_dict": LOGGING,
            "child_exit": forget_worker,
        }
        for name, value in values.items():
            if name in self.cfg.settings:  # gunicorn versions differ in the last ones
                self.cfg.set(name, value)

    def load(self) -> Flask:
        from serving.app import create_app  # nor this, and in the worker alone

        return create_app(self._settings)


def forget_worker(_: Any, worker: Any) -> None:
    """A worker has ended: what it counted stays, what it measured does not."""
    from prometheus_client import multiprocess  # not before PROMETHEUS_MULTIPROC_DIR is set

    multiprocess.mark_process_dead(worker.pid)


def check_port(settings: Settings) -> None:
    """Raise ServingError where the address cannot be had: gunicorn would retry and log for five seconds."""
    serving = settings.serving
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serving.host, serving.port))
        except OSError as error:
            raise ServingError(
                f"cannot listen on {serving.host}:{serving.port} ({error.strerror or error}): stop what uses it, "
                "or set serving.port (STITCH_SERVING__PORT)"
            ) from None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ServingError where the port is taken."""
    check_port(settings)
    folder, master = tempfile.mkdtemp(prefix="stitch-metrics-"), os.getpid()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where workers leave their figures for each other
    try:
        Server(settings).run()
    finally:
        if os.getpid() == master:  # a worker that ends comes by here too
            shutil.rmtree(folder, ignore_errors=True)
