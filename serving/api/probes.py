"""What orchestrators and developers ask of the reader itself: is it up, is it ready, what does it count, what can be
asked."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from serving.api import answers
from serving.api.openapi import Operation, document, documented
from serving.observe import metrics

probes = Blueprint("probes", __name__)


@probes.get("/healthz")
@documented(Operation(answers.Health, problems=()))
def healthz() -> dict[str, str]:
    """Whether this process answers. It asks no layer, so a restart is not the answer to a cluster that is down."""
    return {"status": "ok"}


@probes.get("/readyz")
@documented(Operation(answers.Readiness, problems=(), ok=(200, 503)))
def readyz() -> tuple[dict[str, Any], int]:
    """Whether counts can be answered. `degraded`, with 200, from one layer alone; 503 where both are missing."""
    _, failures = current_app.extensions["reader"].status()
    status = ("ready", "degraded", "unavailable")[len(failures)]
    return {"status": status, "missing": sorted(failures)}, 503 if status == "unavailable" else 200


@probes.get("/metrics")
@documented(Operation(str, problems=(), content="text/plain"))
def exposition() -> Response:
    """The reader's own figures, for Prometheus. Requests, latencies, caches, layer errors, cutoff age, real-time
    lag."""
    view, failures = current_app.extensions["reader"].status()
    counters = current_app.extensions["settings"].counters
    up = {layer: layer not in failures for layer in ("batch", "realtime")}
    metrics.observe(view.now, up, {c.name: view.cutoff([c]) for c in counters}, view.realtime_through)
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


@probes.get("/openapi.json")
def openapi() -> Response:
    """This API as an OpenAPI 3.1 document."""
    found = jsonify(document(current_app, current_app.extensions["settings"]))
    found.headers["Cache-Control"] = "public, max-age=300"
    return found
