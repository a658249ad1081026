"""A real Airflow (standalone: SQLite, loopback, ports of its own) in the environment that `make deploy-test` makes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.conftest import free_ports

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".cache/deploy-test"
DAGS = ROOT / "deploy/airflow"
DAG = "stitch_nightly"


@dataclass
class Airflow:
    """One that runs. Whoever asks is an administrator."""

    url: str
    log: Path
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **asked: Any) -> Any:
        answer = self.session.request(method, f"{self.url}/api/v2/{path}", timeout=60, **asked)
        if answer.status_code == 401:  # the first time, and when the token has expired
            token = requests.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
            self.session.headers["Authorization"] = f"Bearer {token}"
            answer = self.session.request(method, f"{self.url}/api/v2/{path}", timeout=60, **asked)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def trigger(self, **params: str) -> str:
        """A run by hand, with these parameters; returns its id."""
        run = self.ask("POST", f"dags/{DAG}/dagRuns", json={"logical_date": None, "conf": params})
        return str(run["dag_run_id"])

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        """task → its state, try_number, …"""
        found = self.ask("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def said(self, run: str, task: str, tried: int) -> str:
        """What a try of a task printed."""
        return str(self.ask("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances/{task}/logs/{tried}"))

    def ends(self, run: str, seconds: float = 900) -> str:
        """Wait for the end of a run; returns its state."""
        deadline = time.monotonic() + seconds
        while True:
            state = str(self.ask("GET", f"dags/{DAG}/dagRuns/{run}")["state"])
            if state in ("success", "failed"):
                return state
            assert time.monotonic() < deadline, (state, self.tasks(run), self.log.read_text("utf-8")[-3000:])
            time.sleep(1)


@contextmanager
def standalone(folder: Path, command: list[str]) -> Iterator[Airflow]:
    """`airflow standalone` with deploy/airflow, whose STITCH_COMMAND is this one. All its processes end with it."""
    api, task_logs, trigger_logs = free_ports(3)
    url = f"http://127.0.0.1:{api}"
    airflow = {
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__DEFAULT_TASK_RETRY_DELAY": "5",
        "CORE__PARALLELISM": "2",
        "CORE__INTERNAL_API_SECRET_KEY": "of this test",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(api),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": "of this test, and as long as it should be",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(task_logs),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    environment = {
        "PATH": f"{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",  # beside the DAG
        "STITCH_COMMAND": " ".join(command),
        "STITCH_AUDIT_SAMPLE": "1",
        "STITCH_SCHEDULE": "0 0 29 2 *",  # runs of a test are by hand; one whose time was just now would come by itself
        **{f"AIRFLOW__{name}": value for name, value in airflow.items()},
    }
    log = folder / "airflow.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(ENVIRONMENT / "bin/airflow"), "standalone"],
            env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        found = Airflow(url, log)
        wait_for_dag(found, process)
        yield found
    finally:
        end(process)


def wait_for_dag(airflow: Airflow, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Until its API answers and it has read the DAG."""
    deadline = time.monotonic() + seconds
    while True:
        assert process.poll() is None and time.monotonic() < deadline, airflow.log.read_text("utf-8")[-3000:]
        try:
            if airflow.ask("GET", "dags")["total_entries"]:
                return
            errors = airflow.ask("GET", "importErrors")["import_errors"]
            assert not errors, errors
        except requests.RequestException:
            pass
        time.sleep(1)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to all of it and to the commands that its tasks run; SIGKILL to what is left."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        try:
            one.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(family, timeout=20)
    for one in left:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(10)


def have_it() -> bool:
    return os.access(ENVIRONMENT / "bin/airflow", os.X_OK)
