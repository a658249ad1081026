"""What orchestrators and developers ask of the reader itself: is it up, is it ready, what does it count, what can be
asked."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from serving.api import answers
from serving.api.access import reader, scope, settings
from serving.api.openapi import Operation, document, documented
from serving.observe import metrics

probes = Blueprint("probes", __name__)  # which may have a port of their own
described = Blueprint("described", __name__)


@probes.get("/healthz")
@documented(Operation(answers.Health, problems=()))
def healthz() -> dict[str, str]:
    """Whether this process answers. It asks no layer, so a restart is not the answer to a cluster that is down."""
    return {"status": "ok"}


@probes.get("/readyz")
@documented(Operation(answers.Readiness, problems=(), ok=(200, 503)))
def readyz() -> tuple[dict[str, Any], int]:
    """Whether counts can be answered. `degraded`, with 200, where one layer is missing, the increments are more than a
    minute behind, or a cutoff is older than two thirds of `realtime.retention`; 503 where both layers are missing."""
    view, failures = reader().status()
    reasons = [f"the {layer} layer does not answer" for layer in sorted(failures)]
    reasons += reader().concerns(view)
    status = "unavailable" if len(failures) == 2 else "degraded" if reasons else "ready"
    found = {"status": status, "missing": sorted(failures), "reasons": reasons}
    return found, 503 if status == "unavailable" else 200


@probes.get("/metrics")
@documented(Operation(str, problems=(), content="text/plain"))
def exposition() -> Response:
    """The reader's own figures, for Prometheus. Requests, latencies, caches, layer errors, cutoffs and progress; of the
    counters that the token may read."""
    view, failures = reader().status()
    up = {layer: layer not in failures for layer in ("batch", "realtime")}
    cutoffs = {counter.name: view.cutoff(counter) for counter in settings().counters}
    found = metrics.exposition(metrics.Layers(up, cutoffs, view.realtime_through))
    return Response(found, content_type=metrics.CONTENT_TYPE)


@described.get("/openapi.json")
def openapi() -> Response:
    """This API as an OpenAPI 3.1 document."""
    below = {"servers": [{"url": request.script_root}]} if request.script_root else {}
    found = jsonify(document(current_app, settings()) | below)
    found.headers["Cache-Control"] = f"{'public' if scope().token is None else 'private'}, max-age=300"
    if settings().serving.trusted_proxies:
        found.vary.add("X-Forwarded-Prefix")  # which it names
    return found
