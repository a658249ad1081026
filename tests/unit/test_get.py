"""`stitch get`: the reader asked over HTTP, from layers in memory; tables, JSON, CSV, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from serving.app import create_app
from serving.layers.interface import Corrected
from stitch.answered import lines
from stitch.buckets import EPOCH, bucket_of
from stitch.cli import main
from stitch.commands import get
from stitch.merge import Increment, Ranking, Total
from stitch.settings import load_settings
from tests.conftest import write_config
from tests.fakes import FakeLayers

NOW = datetime(2024, 3, 14, 12, 30, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 14, 10, tzinfo=UTC)
TOKEN = "a" * 40


def layers() -> FakeLayers:
    fake = FakeLayers()
    fake.published, fake.through = dict.fromkeys(("plays", "likes", "creator_plays"), CUTOFF), NOW
    for at, count in ((datetime(2024, 3, 12, 9, tzinfo=UTC), 5), (datetime(2024, 3, 13, 9, tzinfo=UTC), 12)):
        for granularity in ("hour", "day", "month", "all"):
            row = ("plays", "t1,x", granularity, bucket_of(at, granularity).start)
            before = fake.total_rows.get(row, Total(0, CUTOFF)).count
            fake.total_rows[row] = Total(before + count, CUTOFF)
    fake.chart_rows["plays", "all", EPOCH] = Ranking(["t1,x"], [17], CUTOFF)
    fake.chart_rows["plays", "day", datetime(2024, 3, 13, tzinfo=UTC)] = Ranking(["t1,x"], [12], CUTOFF)
    fake.chart_rows["plays", "day", datetime(2024, 3, 12, tzinfo=UTC)] = None
    fake.total_rows["creator_plays", "c1", "all", EPOCH] = Total(17, CUTOFF)
    members = {"t1": 12, "t\x1b[2J": 4}
    fake.member_total_rows = {("creator_plays", "c1", "all", EPOCH, m): Total(n, CUTOFF) for m, n in members.items()}
    fake.increment_rows = [("plays", "t1,x", Increment(CUTOFF, CUTOFF, 1))]
    fake.correction_rows = [("plays", Corrected(date(2024, 3, 13), CUTOFF, 30, 24))]
    return fake


def served(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def reader() -> Iterator[str]:
    yield from served(create_app(load_settings("conf/stitch.toml"), layers(), now=lambda: NOW))


def run(url: str, *args: str, **environment: str) -> Result:
    return CliRunner(env={"STITCH_URL": url, **environment}).invoke(main, ["get", *args])


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        class stdout:
            isatty = staticmethod(lambda: True)

    monkeypatch.setattr(get, "sys", Terminal)


TABLES = {
    "totals": (["totals", "--counters", "plays,likes", "--key", "t1,x"], "key   plays  likes\nt1,x     18      0\n"),
    "two keys": (["totals", "--counters", "plays", "--keys", "t8,t9"], "key  plays\nt8       0\nt9       0\n"),
    "a comparison": (
        ["totals", "--counters", "plays", "--key", "t1,x", "--start", "2024-03-13", "--end", "2024-03-14", "--compare",
         "previous_period"],
        "key   plays  plays before\nt1,x     12             5\n"),
    "a series": (
        ["series", "--counters", "plays", "--key", "t1,x", "--granularity", "day", "--start", "2024-03-12", "--end",
         "2024-03-14", "--cumulative"],
        "start                 plays\n2024-03-12T00:00:00Z      5\n2024-03-13T00:00:00Z     17\n"),
    "a series of several keys": (
        ["series", "--counters", "plays", "--keys", "t8,t9", "--granularity", "day", "--start", "2024-03-12", "--end",
         "2024-03-13"],
        "key  start                 plays\nt8   2024-03-12T00:00:00Z      0\nt9   2024-03-12T00:00:00Z      0\n"),
    "a top list": (
        ["top", "--counter", "creator_plays", "--key", "c1"],
        "member    count\nt1           12\nt\\x1b[2J      4\n(others)      1\n(total)      17\n"),
    "a chart": (["chart", "--counter", "plays"], "key   count\nt1,x     18\n"),
    "a chart of rising keys": (
        ["chart", "--counter", "plays", "--start", "2024-03-13", "--end", "2024-03-14", "--order", "rising"],
        "key   count  before\nt1,x     12       5\n"),
    "keys": (["keys", "--counter", "plays", "--prefix", "t1"], "key\nt1,x\n"),
    "corrections": (
        ["corrections", "--counter", "plays"],
        "day         cutoff                before  after  difference\n"
        "2024-03-13  2024-03-14T10:00:00Z      30     24          -6\n"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "table"), TABLES.values(), ids=TABLES.keys())
@pytest.mark.usefixtures("on_a_terminal")
def test_a_person_gets_a_table(reader: str, args: list[str], table: str) -> None:
    result = run(reader, *args)
    assert (result.exit_code, result.output) == (0, table)


@pytest.mark.usefixtures("on_a_terminal")
def test_what_is_counted_is_a_table_too(reader: str) -> None:
    shown = run(reader, "counters").output
    assert shown.splitlines()[0].split() == ["name", "key", "member", "resolution", "title"]
    assert "creator_plays" in shown and "track_id" in shown


def test_a_pipe_gets_csv_and_a_program_what_it_asks_for(reader: str) -> None:
    args = ["totals", "--counters", "plays", "--key", "t1,x"]
    assert run(reader, *args).output.splitlines() == ["key,plays", '"t1,x",18']
    assert run(reader, *args, "--csv").output == run(reader, *args).output
    assert json.loads(run(reader, *args, "--json").output)["data"] == [{"key": "t1,x", "counts": {"plays": 18}}]
    assert "one of the two" in run(reader, *args, "--json", "--csv").stderr
    compared = run(reader, *args, "--period", "yesterday", "--compare", "previous_period")
    assert compared.output == "key   plays  plays before\nt1,x     12             5\n", "CSV has no comparison"


def test_a_parameter_is_called_as_over_http(reader: str) -> None:
    asked = ["totals", "--counters", "plays", "--key", "t", "--period", "7d", "--compare", "previous_period", "--json"]
    for flag in ("--match_weekday", "--match-weekday"):
        assert json.loads(run(reader, *asked, flag).output)["comparison"]["match_weekday"] is True


def test_every_mistake_is_told_with_its_parameter(reader: str) -> None:
    result = run(reader, "totals", "--counters", "skips", "--key", "t1", "--period", "soon")
    assert result.exit_code == 2
    assert "\n  counters: " in result.stderr and "\n  period: " in result.stderr and "Traceback" not in result.stderr


def test_a_page_says_how_to_go_on(reader: str, on_a_terminal: None) -> None:
    result = run(reader, "top", "--counter", "creator_plays", "--key", "c1", "--limit", "1")
    after = result.stderr.partition("--after ")[2].strip()
    assert "t1 " not in run(reader, "top", "--counter", "creator_plays", "--key", "c1", "--after", after).output


def test_a_chart_that_lists_do_not_decide_says_so(reader: str, on_a_terminal: None) -> None:
    args = ["chart", "--counter", "plays", "--start", "2024-03-12", "--end", "2024-03-13"]
    assert "a key was erased" in run(reader, *args).stderr
    assert "another key may belong to it" in run(reader, *args, "--partial", "allow").stderr


def test_a_token_comes_from_the_environment_and_goes_nowhere_else(tmp_path: Path) -> None:
    from hashlib import sha256

    tokens = {"me": {"sha256": sha256(TOKEN.encode()).hexdigest()}}
    settings = load_settings(write_config(tmp_path / "stitch.toml", serving={"tokens": tokens}))
    args = ["totals", "--counters", "plays", "--key", "t1,x", "--csv"]
    (tmp_path / "token").write_text(f"{TOKEN}\n", "utf-8")
    for url in served(create_app(settings, layers(), now=lambda: NOW)):
        without, wrong = run(url, *args), run(url, *args, STITCH_TOKEN="no")
        assert without.exit_code == 1 and "set STITCH_TOKEN" in without.stderr
        assert wrong.exit_code == 1 and "STITCH_TOKEN is not accepted" in wrong.stderr
        assert run(url, *args, STITCH_TOKEN=TOKEN).output.endswith('"t1,x",18\n')
        assert run(url, *args, STITCH_TOKEN_FILE=str(tmp_path / "token")).exit_code == 0


def test_a_redirect_is_not_followed_with_the_token() -> None:
    from flask import Flask, Response, redirect, request

    seen: list[Any] = []
    app = Flask(__name__)

    @app.get("/v1/counters")
    def away() -> Any:
        return redirect("/elsewhere")

    @app.get("/elsewhere")
    def elsewhere() -> Response:
        seen.append(request.headers.get("Authorization"))
        return Response("{}")

    for url in served(app):
        result = run(url, "counters", STITCH_TOKEN=TOKEN)
        assert result.exit_code == 2 and "302" in result.stderr
    assert seen == []


def test_a_layer_that_is_away_is_told_beside_the_numbers(on_a_terminal: None) -> None:
    fake = layers()
    fake.down = {"realtime"}
    for url in served(create_app(load_settings("conf/stitch.toml"), fake, now=lambda: NOW)):
        result = run(url, "totals", "--counters", "plays", "--key", "t1,x")
        assert result.stdout == "key   plays\nt1,x     17\n"
        assert "the realtime layer does not answer\nnot every count is whole: " in result.stderr
        fake.down = {"realtime", "batch"}
        assert run(url, "totals", "--counters", "likes", "--key", "t5").exit_code == 75


def test_no_reader_is_a_message_and_worth_another_try() -> None:
    result = run("http://127.0.0.1:9", "counters")
    assert result.exit_code == 75 and "no reader at http://127.0.0.1:9" in result.stderr
    assert run("ftp://x", "counters").exit_code == 2


def test_the_settings_say_where_the_reader_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STITCH_CONFIG", raising=False)
    config = write_config(tmp_path / "stitch.toml", serving={"host": "0.0.0.0", "port": 9})
    result = CliRunner().invoke(main, ["--config", str(config), "get", "counters"])
    assert "no reader at http://127.0.0.1:9 " in result.stderr
    wrong = CliRunner().invoke(main, ["--config", str(tmp_path / "none.toml"), "get", "counters"])
    assert wrong.exit_code == 2 and "no settings file at" in wrong.stderr


def test_a_count_that_is_not_known_is_a_dash() -> None:
    assert list(lines((["key", "plays"], [["t1", "-"], ["t2", "12"]]))) == ["key  plays", "t1       -", "t2      12"]
