"""A real Prometheus (Debian's) over a reader and jobs' figures, by a port, node_exporter's textfile collector and a
Pushgateway: every query of the dashboard is answered, every rule evaluated. And promtool's tests of the alerts."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from werkzeug.serving import make_server

from jobs.process import figures
from jobs.streaming.figures import note_progress, note_through
from jobs.totals.figures import note_judged, note_published
from serving.app import create_app
from serving.observe.metrics import CACHE_READS, CIRCUIT_OPEN, LAYER_ERRORS, REQUESTS, SECONDS
from stitch.figures import (
    FIGURES,
    FRESHNESS,
    NOT_FRESH,
    PROBED,
    TABLE_BYTES,
    TABLE_FILES,
    TABLE_ROWS,
)
from stitch.guard import Day
from stitch.sections import MetricsSettings
from stitch.settings import load_settings
from tests.conftest import free_ports, needs
from tests.fakes import FakeLayers
from tests.integration.readers import wait
from tests.unit.test_figures import PROGRESS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
NOW = datetime.now(UTC)


def test_promtool_finds_the_alerts_right_and_their_tests_pass() -> None:
    promtool = needs("promtool")
    for command in (["check", "rules", RULES], ["test", "rules", RULES.with_name("alerts_test.yml")]):
        found = subprocess.run([promtool, *map(str, command)], capture_output=True, text=True, cwd=RULES.parent)
        assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_finds_nothing_to_say_of_names_and_units(ask_reader: tuple[int, Callable[[], None]]) -> None:
    promtool, (port, ask) = needs("promtool"), ask_reader
    ask()
    every = figures.Figures("any")
    for figure in FIGURES:
        every.put(figure, 1, *("x" for _ in figure.labels))
    for text in (every.text(), requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text):
        found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """run("prometheus", …) runs the program until the test ends; its log goes with the test's folder."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(program: str, *options: str) -> None:
        with (tmp_path / f"{program}.log").open("wb") as out:
            started.append(subprocess.Popen([needs(program), *options], stdout=out, stderr=out))

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)


@pytest.fixture
def ask_reader() -> Iterator[tuple[int, Callable[[], None]]]:
    """A reader's port, and a function that lets it answer and fail."""
    settings = load_settings(ROOT / "conf/stitch.toml")
    layers = FakeLayers()
    layers.published = dict.fromkeys([counter.name for counter in settings.counters], NOW - timedelta(hours=3))
    layers.through = NOW
    server = make_server("127.0.0.1", 0, create_app(settings, layers), threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def ask() -> None:
        for down in ({"realtime"}, set()):
            layers.down = down
            requests.get(f"http://127.0.0.1:{server.port}/v1/totals?counters=plays&key={time.time()}", timeout=5)

    for metric in (REQUESTS, SECONDS, CACHE_READS, LAYER_ERRORS):  # of this process, in which others asked readers
        metric.clear()  # what nobody asks any more has no quantiles
    CIRCUIT_OPEN.labels("batch").set(0)
    yield server.port, ask
    server.shutdown()


def end_jobs(metrics: MetricsSettings) -> None:
    """The jobs that end, each with figures of its own."""
    figures.begin("batch_totals", metrics)
    day = Day("plays", NOW.date(), 10, 5, 12, 0, 0, 0, 0)
    note_published(NOW, 9, {"records": 20, "duplicates": 2, "excluded": 1}, [day])
    note_judged(["plays", "likes"], {"likes": None})
    for figure in (TABLE_FILES, TABLE_BYTES, TABLE_ROWS):
        figures.put(figure, 5, "totals")
    figures.end(1)
    figures.begin("archive_events", metrics)
    note_progress(PROGRESS | {"stateOperators": []})
    note_through(NOW)
    figures.end(0)
    figures.begin("probe", metrics)
    figures.put(FRESHNESS, 2.5)
    figures.put(PROBED, NOW.timestamp())
    figures.put(NOT_FRESH, 0)
    figures.end(0)


def scraping(folder: Path, targets: dict[str, int]) -> Path:
    """A configuration that scrapes the ports each second."""
    config = folder / "prometheus.yml"
    jobs = [
        {"job_name": name, "honor_labels": name == "pushgateway",
         "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for name, port in targets.items()
    ]  # fmt: skip
    said = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
            "scrape_configs": jobs}  # fmt: skip
    config.write_text(json.dumps(said), "utf-8")  # JSON is YAML
    return config


def test_a_real_prometheus_answers_every_query_of_the_dashboard(
    tmp_path: Path, run: Callable[..., None], ask_reader: tuple[int, Callable[[], None]]
) -> None:
    reader, ask = ask_reader
    prometheus, node, gateway, streaming = free_ports(4)
    (textfiles := tmp_path / "textfiles").mkdir()
    run("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{gateway}")
    run("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{node}", "--collector.disable-defaults",
        "--collector.textfile", f"--collector.textfile.directory={textfiles}")  # fmt: skip
    by_file, by_push = MetricsSettings(folder=str(textfiles)), f"http://127.0.0.1:{gateway}"
    assert wait(lambda: answers(f"{by_push}/-/ready"), 20)
    end_jobs(by_file)
    for status in (0, 75):  # twice: the second goes on from the first
        figures.begin("audit_counts", MetricsSettings(pushgateway=by_push))
        figures.end(status)
    figures.begin("streaming_counts", MetricsSettings(), streaming, runs_on=True)
    note_progress(PROGRESS, NOW)
    ask()
    targets = {"reader": reader, "streaming": streaming, "node": node, "pushgateway": gateway}
    run("prometheus", f"--config.file={scraping(tmp_path, targets)}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{prometheus}")  # fmt: skip
    address = f"http://127.0.0.1:{prometheus}/api/v1"
    panels = json.loads((ROOT / "deploy/grafana/stitch.json").read_text("utf-8"))["panels"]
    queries = {target["expr"] for panel in panels for target in panel.get("targets", [])}
    assert len(queries) > 30

    def unanswered() -> set[str]:
        ask()
        note_progress(PROGRESS, NOW)
        return {query for query in queries if not numbers(address, query)}

    assert wait(lambda: answers(f"http://127.0.0.1:{prometheus}/-/ready"), 20)
    wait(lambda: not unanswered(), 40)
    time.sleep(3)  # of jobs that have ended rates are 0 by now: none may be a part of 0/0
    assert unanswered() == set()
    names = set(requests.get(f"{address}/label/__name__/values", timeout=5).json()["data"])
    assert {figure.exported.removesuffix("_total") for figure in FIGURES} <= {
        name.removesuffix("_total").removesuffix("_bucket") for name in names
    }
    assert series(address, 'stitch_job_last_exit_status{stitch_job="audit_counts"}') == [75]
    assert len(series(address, 'stitch_job_last_success_timestamp_seconds{stitch_job="audit_counts"}')) == 1
    assert series(address, 'count({__name__=~"stitch_.+",exported_stitch_job!=""}) or vector(0)') == [0]
    assert series(address, "node_textfile_scrape_error") == [0]
    rules = [one for group in requests.get(f"{address}/rules", timeout=5).json()["data"]["groups"]
             for one in group["rules"]]  # fmt: skip
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"] for rule in rules if rule["state"] == "firing"} >= {"StitchGuardRefused", "StitchJobFailed"}
    figures.end(0)


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def series(address: str, query: str) -> list[float]:
    """The value of each series that Prometheus answers with."""
    answer = requests.get(f"{address}/query", params={"query": query}, timeout=5).json()
    assert answer["status"] == "success", (query, answer)
    return [float(one["value"][1]) for one in answer["data"]["result"]]


def numbers(address: str, query: str) -> bool:
    """Whether the answer has a series, and each is a number."""
    found = series(address, query)
    return bool(found) and all(value == value for value in found)
