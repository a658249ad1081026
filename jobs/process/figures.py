"""The figures of this process (stitch.figures) to Prometheus, as [metrics] says: by a port while the job runs on, else
by a file or a Pushgateway when it ends. A job counts the same whether anybody asks, and no failure here is the job's.

A job that ends starts from 0 each time, and its next run may fail before it has anything to say. So what is exported
goes on from what stood there before: counters are added to it, and gauges that this run has not set stay.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    pushadd_to_gateway,
    start_http_server,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from stitch.figures import BUCKETS, DURATION, ENDED, FIGURES, JOB, STATUS, SUCCESS, Figure
from stitch.notes import write_note
from stitch.sections import MetricsSettings

PUSH_WITHIN_S = 5
ADDED = ("counter", "histogram")  # types whose samples are sums over all runs
Given = ParamSpec("Given")


def harmless(work: Callable[Given, None]) -> Callable[Given, None]:
    """The same, but what fails in it is said once, and no more: figures decide nothing."""
    said = False

    @wraps(work)
    def tried(*args: Given.args, **kwargs: Given.kwargs) -> None:
        nonlocal said
        try:
            work(*args, **kwargs)
        except Exception as error:
            if not said:
                said = True
                print(f"stitch: figures for Prometheus are lacking ({work.__name__}): {error!r}", file=sys.stderr)

    return tried


class Figures:
    """Those of one job."""

    def __init__(self, job: str) -> None:
        disable_created_metrics()
        self.job, self.registry, self.began = job, CollectorRegistry(), time.time()
        self._metrics = {figure: _metric(figure, self.registry) for figure in FIGURES}

    def put(self, figure: Figure, value: float, *labels: object) -> None:
        """Set a gauge, add to a counter, or observe in a histogram. Raises ValueError for labels that it has not."""
        metric = self._metrics[figure].labels(self.job, *labels)
        if figure.type == "gauge":
            metric.set(value)
        elif figure.type == "counter":
            metric.inc(value)
        else:
            metric.observe(value)

    def end(self, status: int, now: float) -> None:
        """Note how the job ended."""
        self.put(ENDED, now)
        self.put(STATUS, status)
        self.put(DURATION, now - self.began)
        if status == 0:
            self.put(SUCCESS, now)

    def text(self, before: str = "") -> str:
        """All of it in Prometheus' text format, going on from what stood there before."""
        return generate_latest(Carried(self.registry, before, self.job)).decode()


class Carried(Collector):
    """A registry's figures beside those of a text from before: of the same job, sums are added; of gauges, those of
    names that the registry has none of."""

    def __init__(self, registry: CollectorRegistry, before: str, job: str) -> None:
        self._registry = registry
        self._before = {metric.name: metric for metric in _of_job(text_string_to_metric_families(before), job)}

    def collect(self) -> Iterator[Metric]:
        """The figures of which there are any, before or now."""
        for now in self._registry.collect():
            before = self._before.get(now.name)
            if before and before.type == now.type and now.type in ADDED:
                now.samples = _added(before.samples, now.samples)
            elif before and before.type == now.type and not now.samples:
                now.samples = before.samples
            if now.samples:
                yield now


def _metric(figure: Figure, registry: CollectorRegistry) -> Any:
    labels = (JOB, *figure.labels)
    if figure.type == "histogram":
        return Histogram(figure.name, figure.help, labels, registry=registry, buckets=BUCKETS)
    kind = Gauge if figure.type == "gauge" else Counter
    return kind(figure.name, figure.help, labels, registry=registry)


def _of_job(metrics: Iterable[Metric], job: str) -> Iterator[Metric]:
    for metric in metrics:
        mine = [sample for sample in metric.samples if sample.labels.get(JOB) == job]
        names = {JOB, *(label for figure in FIGURES if figure.name == metric.name for label in figure.labels), "le"}
        metric.samples = [one._replace(labels={k: v for k, v in one.labels.items() if k in names}) for one in mine]
        yield metric


def _added(before: Iterable[Sample], now: Iterable[Sample]) -> list[Sample]:
    found: dict[tuple[Any, ...], Sample] = {}
    for sample in (*before, *now):
        key = (sample.name, *sorted(sample.labels.items()))
        found[key] = sample._replace(value=sample.value + (found[key].value if key in found else 0))
    return list(found.values())


# Of this process, which is one job

_figures = Figures("")
_export: Callable[[int], None] | None = None


def begin(job: str, metrics: MetricsSettings, port: int | None = None, runs_on: bool = False) -> None:
    """From now on the figures are this job's. One that runs on has them at the port, if there is one; any other
    exports them when it ends (`end`)."""
    global _figures, _export
    figures = _figures = Figures(job)
    _export = None if runs_on else lambda status: _at_the_end(figures, metrics, status)
    if runs_on and port is not None:
        _serve(figures, metrics.host, port)


@harmless
def put(figure: Figure, value: float, *labels: object) -> None:
    """The same of this process's figures (Figures.put)."""
    _figures.put(figure, value, *labels)


def end(status: int) -> None:
    """The job ended with this exit status: export what there is to."""
    if _export:
        _export(status)


@harmless
def _serve(figures: Figures, host: str, port: int) -> None:
    global _export
    try:
        server, _ = start_http_server(port, host, figures.registry)
    except OSError as error:
        print(f"stitch: no figures at {host}:{port} (metrics.host and the job's port): {error}", file=sys.stderr)
        return

    def close(_: int) -> None:
        server.shutdown()
        server.server_close()

    _export = close


@harmless
def _at_the_end(figures: Figures, metrics: MetricsSettings, status: int) -> None:
    figures.end(status, time.time())
    if metrics.folder:
        _write(figures, Path(metrics.folder))
    if metrics.pushgateway:
        _push(figures, metrics.pushgateway)


@harmless
def _write(figures: Figures, folder: Path) -> None:
    file = folder / f"stitch_{figures.job}.prom"
    try:
        before = file.read_text("utf-8")
        text = figures.text(before)
    except (FileNotFoundError, ValueError):  # none yet, or one that is not whole: begin anew
        text = figures.text()
    write_note(file, text)


@harmless
def _push(figures: Figures, gateway: str) -> None:
    try:
        with urlopen(f"{gateway.rstrip('/')}/metrics", timeout=PUSH_WITHIN_S) as answer:
            before = answer.read().decode()
    except HTTPError:  # a proxy that lets nobody read: then it begins anew
        before = ""
    own = CollectorRegistry()
    own.register(Carried(figures.registry, before, figures.job))
    pushadd_to_gateway(gateway, "stitch", own, {JOB: figures.job}, timeout=PUSH_WITHIN_S)
