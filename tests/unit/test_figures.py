"""Figures of jobs: their names as Prometheus wants them, what Spark says of a batch made into them, and their export,
whose failures are nobody's."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, get_args
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from jobs.process import figures
from jobs.process.figures import Figures
from jobs.streaming.figures import note_progress, of_progress
from jobs.totals.figures import note_judged, note_published
from stitch.figures import (
    CORRECTED,
    DUPLICATES,
    FIGURES,
    FRESHNESS,
    LAG,
    PHASES,
    READ,
    REFUSED,
    REJECTED,
    STATUS,
    SUCCESS,
    Figure,
)
from stitch.guard import Day
from stitch.rejections import KINDS, OTHER
from stitch.sections import MetricsSettings

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
BASE_UNITS = ("_seconds", "_bytes")
FORBIDDEN = ("milli", "micro_seconds", "_ms", "_kb", "_mb", "minutes", "hours", "percent", "_count", "_sum", "_bucket")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_name_says_stitch_what_it_is_and_a_base_unit(figure: Figure) -> None:
    assert re.fullmatch(r"stitch(_[a-z]+)+", figure.name)
    assert not any(wrong in figure.name for wrong in FORBIDDEN) and not figure.name.endswith("_total")
    assert figure.type in get_args(Figure.__annotations__["type"]) or figure.type in ("counter", "gauge", "histogram")
    if "timestamp" in figure.name or figure.type == "histogram":
        assert figure.name.endswith(BASE_UNITS)
    assert "job" not in figure.labels and "instance" not in figure.labels  # Prometheus' own


def test_each_name_is_there_once() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)


PROGRESS: dict[str, Any] = {
    "numInputRows": 7,
    "durationMs": {"addBatch": 1500, "triggerExecution": 2000, "walCommit": 40, "somethingNew": 3},
    "sources": [{"startOffset": None, "endOffset": {"events": {"0": 10, "1": 5}},
                 "latestOffset": '{"events": {"0": 17, "1": 5, "2": 9}}'}],
    "stateOperators": [
        {"operatorName": "stateStoreSave", "numRowsTotal": 40, "numRowsUpdated": 12, "memoryUsedBytes": 2048,
         "numRowsDroppedByWatermark": 1, "customMetrics": {"rocksdbSstFileSize": 4096}},
        {"operatorName": "dedupe", "numRowsTotal": 7, "numRowsUpdated": 7, "memoryUsedBytes": 512,
         "numRowsDroppedByWatermark": 2, "customMetrics": {"numDroppedDuplicateRows": 3}},
    ],
    "observedMetrics": {"decoded": {"rejected": 2, "noted": 1, "absent_duration_s": 1,
                                    "rejected_by_kind": '[{"x":8,"y":2.0}]'}},
}  # fmt: skip


def samples(text: str) -> dict[str, float]:
    """`name{label="value"}` → value, without what all have in common."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "stitch_job"}
            said = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
            found[sample.name.removeprefix("stitch_") + (f"{{{said}}}" if said else "")] = sample.value
    return found


def exported() -> dict[str, float]:
    """The figures of this process."""
    return samples(figures._figures.text())


def test_a_batch_is_told_in_figures() -> None:
    figures.begin("streaming_counts", MetricsSettings(), runs_on=True)
    note_progress(PROGRESS, NOW)
    found = {name: value for name, value in exported().items() if "_bucket" not in name}
    assert found == {
        'lag_records{partition="0",topic="events"}': 7,
        'lag_records{partition="1",topic="events"}': 0,
        "job_through_timestamp_seconds": NOW.timestamp(),
        "records_read_total": 7,
        'records_rejected_total{reason="missing"}': 2,
        **{f'records_rejected_total{{reason="{kind}"}}': 0 for kind in (*KINDS, OTHER) if kind != "missing"},
        # from 0 on, for a rate needs a beginning
        'fields_absent_total{field="duration_s"}': 1,
        "rows_dropped_total": 3,
        "duplicates_total": 3,
        "rows_written_total": 12,
        'micro_batch_seconds_count{phase="write"}': 1,
        'micro_batch_seconds_sum{phase="write"}': 1.5,
        'micro_batch_seconds_count{phase="all"}': 1,
        'micro_batch_seconds_sum{phase="all"}': 2,
        'micro_batch_seconds_count{phase="begin_commit"}': 1,
        'micro_batch_seconds_sum{phase="begin_commit"}': 0.04,
        'retries_total{what="query"}': 0,
        'state_rows{operator="stateStoreSave"}': 40,
        'state_rows{operator="dedupe"}': 7,
        'state_bytes{operator="stateStoreSave",place="memory"}': 2048,
        'state_bytes{operator="stateStoreSave",place="disk"}': 4096,
        'state_bytes{operator="dedupe",place="memory"}': 512,
    }
    note_progress(PROGRESS, NOW)
    assert (exported()["records_read_total"], exported()["state_bytes" + '{operator="dedupe",place="memory"}']) == (
        14,
        512,
    )


def test_a_query_that_is_idle_repeats_no_figure_of_its_last_batch() -> None:
    """Spark reports it with the operators' figures of the batch before."""
    idle = PROGRESS | {"numInputRows": 0, "durationMs": {"latestOffset": 3, "triggerExecution": 5}}
    counted = [(figure.name, value) for figure, value, _ in of_progress(idle) if figure.type != "gauge"]
    assert counted and {value for _, value in counted} == {0}


@pytest.mark.parametrize(
    "progress",
    [{}, {"sources": [{}], "numInputRows": 1}, PROGRESS | {"stateOperators": [{}]}, PROGRESS | {"observedMetrics": 5}],
)
def test_what_cannot_be_read_of_a_batch_fails_no_job(progress: dict[str, Any]) -> None:
    figures.begin("streaming_counts", MetricsSettings(), runs_on=True)
    note_progress(progress)
    figures.put(LAG, 1, "a topic without its partition")


def test_a_published_run_is_told_in_figures() -> None:
    figures.begin("batch_totals", MetricsSettings())
    days = [Day("plays@1a2b", date(2024, 2, day), 10, 5, after, 0, 0, 0, 0) for day, after in ((1, 12), (2, 19))]
    note_published(NOW, 9, {"records": 20, "duplicates": 2, "excluded": 1, "events": 17, "noted": 0}, days)
    note_judged(["plays@1a2b", "likes"], {"likes": None})
    assert exported() == {
        "job_cutoff_timestamp_seconds": NOW.timestamp(), "rows_written_total": 9, "records_read_total": 20,
        "duplicates_total": 2, "records_excluded_total": 1, 'corrections_total{counter="plays"}': 3 + 4,
        'guard_refused{counter="plays"}': 0, 'guard_refused{counter="likes"}': 1,
    }  # fmt: skip


# Export


def run(settings: MetricsSettings, status: int, **counted: int) -> None:
    """A run of the batch that reads so many records, and ends."""
    figures.begin("batch_totals", settings)
    for value in counted.values():
        figures.put(READ, value)
        figures.put(REFUSED, value > 5, "plays")
        figures.put(PHASES, value, "all")
    figures.end(status)


def test_a_file_goes_on_from_the_run_before_and_a_failed_run_leaves_the_last_success(tmp_path: Path) -> None:
    file = tmp_path / "stitch_batch_totals.prom"
    run(MetricsSettings(folder=str(tmp_path)), 0, records=3)
    first = samples(file.read_text("utf-8"))
    assert (first["records_read_total"], first["job_last_exit_status"]) == (3, 0)
    run(MetricsSettings(folder=str(tmp_path)), 1)
    failed = samples(file.read_text("utf-8"))
    assert failed["job_last_success_timestamp_seconds"] == first["job_last_success_timestamp_seconds"]
    assert failed["job_last_end_timestamp_seconds"] > first["job_last_end_timestamp_seconds"]
    assert (failed["records_read_total"], failed["job_last_exit_status"]) == (3, 1)
    run(MetricsSettings(folder=str(tmp_path)), 0, records=7)
    last = samples(file.read_text("utf-8"))
    assert (last["records_read_total"], last['guard_refused{counter="plays"}']) == (10, 1)
    assert last['micro_batch_seconds_bucket{le="5.0",phase="all"}'] == 1
    assert last['micro_batch_seconds_bucket{le="+Inf",phase="all"}'] == 2
    assert last['micro_batch_seconds_sum{phase="all"}'] == 10
    assert last["job_last_success_timestamp_seconds"] > first["job_last_success_timestamp_seconds"]
    assert [path.name for path in tmp_path.iterdir()] == [file.name] and file.stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("before", ["", "half a li", 'stitch_records_read_total{stitch_job="batch_totals"} x\n'])
def test_a_file_that_is_not_whole_is_begun_anew(tmp_path: Path, before: str) -> None:
    (tmp_path / "stitch_batch_totals.prom").write_text(before, "utf-8")
    run(MetricsSettings(folder=str(tmp_path)), 0, records=3)
    assert samples((tmp_path / "stitch_batch_totals.prom").read_text("utf-8"))["records_read_total"] == 3


def test_an_export_that_fails_is_said_and_fails_no_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # it accepts, and never answers
        port = taken.getsockname()[1]
        figures.begin("streaming_counts", MetricsSettings(), port, runs_on=True)
        figures.end(0)
        said = capfd.readouterr()
        assert f"stitch: no figures at 127.0.0.1:{port} (metrics.host and the job's port)" in said.err
    run(MetricsSettings(folder=str(tmp_path / "file"), pushgateway=f"http://127.0.0.1:{port}"), 0, records=3)
    assert capfd.readouterr().out == said.out == ""  # where a job's JSON goes


def test_a_job_that_runs_on_has_its_figures_at_its_port_until_it_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    figures.begin("streaming_counts", MetricsSettings(folder=str(tmp_path)), port, runs_on=True)
    note_progress(PROGRESS, NOW)
    text = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    assert 'stitch_records_read_total{stitch_job="streaming_counts"} 7.0' in text
    figures.end(0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1)


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A Pushgateway's two paths: what was posted last is what there is."""
    asked: list[tuple[str, str, str]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(asked[-1][2].encode() if asked else b"")

        def do_POST(self) -> None:
            asked.append((self.command, self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_pushgateway_gets_what_a_file_would_have(gateway: tuple[str, list[tuple[str, str, str]]]) -> None:
    address, asked = gateway
    run(MetricsSettings(pushgateway=address), 0, records=3)
    run(MetricsSettings(pushgateway=address), 75, records=4)
    assert {(method, path) for method, path, _ in asked} == {
        ("POST", "/metrics/job/stitch/stitch_job/batch_totals")  # POST: names that are not sent stay
    }
    last = samples(asked[-1][2])
    assert (last["records_read_total"], last["job_last_exit_status"]) == (7, 75)
    assert last["job_last_success_timestamp_seconds"] < last["job_last_end_timestamp_seconds"]


def test_a_job_does_not_go_on_from_the_figures_of_another() -> None:
    archive, batch = Figures("archive_events"), Figures("batch_totals")
    archive.put(REJECTED, 2, "missing")
    archive.put(STATUS, 1)
    batch.put(REJECTED, 1, "missing")
    found = samples(batch.text(archive.text()))
    assert found == {'records_rejected_total{reason="missing"}': 1}


def test_labels_are_those_that_a_figure_has() -> None:
    mine = Figures("batch_totals")
    for figure, labels in ((LAG, ("events",)), (SUCCESS, ("plays",)), (CORRECTED, ())):
        with pytest.raises(ValueError, match="label"):
            mine.put(figure, 1, *labels)


def test_two_jobs_of_a_machine_have_two_ports() -> None:
    with pytest.raises(ValidationError, match="two jobs on one machine cannot have the same port"):
        MetricsSettings(streaming_port=9401, archive_port=9401)
    assert MetricsSettings(streaming_port=9401, archive_port=9402).probe_port is None


@pytest.mark.parametrize("url", ["gateway:9091", "http://user:secret@gateway", "ftp://gateway", "http://"])
def test_a_pushgateway_is_a_url_without_secrets(url: str) -> None:
    with pytest.raises(ValidationError):
        MetricsSettings(pushgateway=url)


def test_every_figure_can_be_put() -> None:
    mine = Figures("any")
    for figure in FIGURES:
        mine.put(figure, 1, *("x" for _ in figure.labels))
    text = mine.text()
    assert [figure.name for figure in FIGURES if f"\n{figure.exported}" not in f"\n{text}"] == []
    assert "_created" not in text
    assert {FRESHNESS, DUPLICATES} <= set(FIGURES)
