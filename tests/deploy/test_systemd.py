"""deploy/systemd as it is shipped: by systemd's own checks, and in a systemd that runs it (tests/deploy/machine.py)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import requests

from stitch.cli import main
from stitch.errors import ExitStatus
from stitch.submit import JOBS
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, free_ports, needs, write_config
from tests.deploy.machine import ROOT, UNITS, Machine, lacks, running
from tests.integration.readers import wait
from tests.steps import count, event, wait_for_the_window_to_end

COMMON = UNITS / "stitch-.service.d/common.conf"
COMMANDS = main.list_commands(click.Context(main))
SERVICES = sorted(UNITS.glob("stitch-*.service"))
SECONDS = re.compile(r"^TimeoutStopSec=(\d+)(s|min)$", re.MULTILINE)
# Stands in for stitch: notes who called it how, and ends as the file for its job says. A streaming job runs until
# SIGTERM, and takes a second to end, as its micro-batch would; before the first one (`starting`) it ends at once.
STITCH = """#!/bin/sh
job=$2; [ "$1" = submit ] || job=$1
called=/shared/called/$job
echo "$(id -un) $*" >> $called
env > $called.env
[ -z "$CREDENTIALS_DIRECTORY" ] || cat "$CREDENTIALS_DIRECTORY"/* > $called.secrets
status=$(cat /shared/status/$job 2>/dev/null || echo running)
case "$status" in running | starting) ;; *) exit "$status" ;; esac
sleep 1000 & child=$!
early() { echo "ended early" >> $called; exit 143; }
ended() { sleep 1; kill -0 $child && echo "ended; its child lives" >> $called; exit 0; }
[ "$status" = starting ] && trap early TERM || trap ended TERM
wait
"""
# Makes /opt/stitch a virtual environment with what the one of the tests ($1) has, but with the Python of /opt/python.
INSTALL = """cd /opt/stitch
echo 'home = /opt/python/bin' > pyvenv.cfg
mkdir -p lib/python3.11; ln -s "$1/lib/python3.11/site-packages" lib/python3.11/
ln -s /opt/python/bin/python3.11 bin/python
for script in spark-submit spark-class find-spark-home find_spark_home.py load-spark-env.sh; do
  cp "$1/bin/$script" bin/
done
printf '#!/bin/sh\\nexec /opt/stitch/bin/python -m stitch.cli "$@"\\n' > bin/stitch
"""
MAIL = """#!/bin/sh
{ echo "$*"; cat; } > /shared/called/mail.half && mv /shared/called/mail.half /shared/called/mail
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if why := lacks():
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    folder = tmp_path_factory.mktemp("machine")
    for part in ("called", "status"):
        (folder / part).mkdir()
        (folder / part).chmod(0o777)
    with running(folder, {"stitch": STITCH, "mail": MAIL, "stitch.toml": ""}) as started:
        yield started


@pytest.fixture
def called(machine: Machine) -> Iterator[Callable[[str], str]]:
    """called("batch_totals"): what was noted of it in this test. Units and what they left end with the test."""
    drop_ins = machine.shared / "units/stitch-.service.d"
    shutil.rmtree(drop_ins)
    shutil.copytree(COMMON.parent, drop_ins)
    (drop_ins / "test.conf").write_text("[Service]\nReadWritePaths=/shared/called\nRestartSec=100ms\n", "utf-8")
    machine.run("systemctl daemon-reload")

    def read(name: str) -> str:
        path = machine.shared / "called" / name
        return path.read_text("utf-8") if path.exists() else ""

    yield read
    machine.run("systemctl stop 'stitch-*'; systemctl reset-failed")
    for part in ("called", "status"):
        for path in (machine.shared / part).iterdir():
            path.unlink()


def ends_with(machine: Machine, job: str, status: int | str) -> None:
    (machine.shared / "status" / job).write_text(f"{status}", "utf-8")


def test_systemd_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze")
    shutil.copytree(UNITS, tmp_path / "units")
    for unit in (tmp_path / "units").glob("*.service"):  # it asks for the command, which is not installed here
        unit.write_text(unit.read_text("utf-8").replace("/opt/stitch/bin/stitch", "/bin/true"), "utf-8")
    named = sorted(str(unit) for unit in (tmp_path / "units").glob("*.*") if unit.suffix in (".service", ".timer"))
    assert len(named) == 10
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}/units:"}
    found = subprocess.run([analyze, "verify", "--man=no", *named], capture_output=True, text=True, env=environment)
    ours = [line for line in found.stderr.splitlines() if str(tmp_path) in line or "stitch" in line]
    assert (found.returncode, ours) == (0, [])
    for path in named:
        if Path(path).name.startswith("stitch-") and path.endswith(".service"):
            exposed = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", path]
            result = subprocess.run(exposed, capture_output=True, text=True, env=environment)
            assert result.returncode == 0, result.stdout[-300:]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_there_is_as_a_user_of_its_own(unit: Path) -> None:
    text = unit.read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/stitch/bin/stitch (.+)$", text, re.MULTILINE)
    name, *rest = command.split()
    assert name in COMMANDS and (name != "submit" or rest[0] in JOBS)
    assert "\nUser=stitch\n" in text and "\nKillMode=mixed\n" in text
    (amount, unit_of_time) = SECONDS.findall(text)[0]
    assert int(amount) * {"s": 1, "min": 60}[unit_of_time] >= 60


def test_units_name_each_other_as_they_are_called() -> None:
    names = {path.name for path in UNITS.iterdir()}
    for unit in SERVICES:
        for other in re.findall(r"^On(?:Success|Failure)=(\S+)$", unit.read_text("utf-8"), re.MULTILINE):
            assert other.replace("@%N", "@") in names
    assert {path.stem for path in UNITS.glob("*.timer")} <= {unit.stem for unit in SERVICES}


LATER = [ExitStatus.AGAIN, ExitStatus.ENDED]
NEVER = [ExitStatus.LOOK, ExitStatus.USAGE, ExitStatus.WRONG]


@pytest.mark.parametrize("status", LATER, ids=lambda status: status.name)
@pytest.mark.parametrize(("unit", "job"), [("stitch-streaming", "streaming_counts"), ("stitch-batch", "batch_totals")])
def test_what_may_pass_is_tried_again(
    machine: Machine, called: Callable[[str], str], unit: str, job: str, status: int
) -> None:
    ends_with(machine, job, status)
    machine.run(f"systemctl start --no-block {unit}")
    assert wait(lambda: called(job).count("\n") >= 3, 10)
    assert called(job).splitlines()[0] == f"stitch submit {job}"
    assert called("mail") == ""


@pytest.mark.parametrize("status", NEVER, ids=lambda status: status.name)
@pytest.mark.parametrize(("unit", "job"), [("stitch-streaming", "streaming_counts"), ("stitch-batch", "batch_totals")])
def test_what_a_person_must_look_at_is_told_at_once_and_not_tried_again(
    machine: Machine, called: Callable[[str], str], unit: str, job: str, status: int
) -> None:
    ends_with(machine, job, status)
    machine.run(f"systemctl start --no-block {unit}")
    assert wait(lambda: called("mail"), 10)
    assert called("mail").startswith(f"-s {unit} failed on ") and f"status={int(status)}" in called("mail")
    assert called(job).count("\n") == 1 and machine.state(unit)["ActiveState"] == "failed"
    assert called("audit") == ""


def test_totals_that_are_published_are_audited(machine: Machine, called: Callable[[str], str]) -> None:
    ends_with(machine, "batch_totals", ExitStatus.DONE)
    ends_with(machine, "audit", ExitStatus.WRONG)
    assert machine.run("systemctl start stitch-batch").returncode == 0
    assert wait(lambda: "stitch-audit failed" in called("mail"), 10)
    assert called("audit") == "stitch audit --sample 0.01\n"


def test_a_stop_lets_the_micro_batch_end(machine: Machine, called: Callable[[str], str]) -> None:
    machine.run("systemctl start stitch-streaming")
    assert wait(lambda: called("streaming_counts"), 10)
    machine.run("systemctl stop stitch-streaming")
    assert called("streaming_counts").splitlines()[1:] == ["ended; its child lives"]  # the signal went to one alone
    assert machine.state("stitch-streaming")["ActiveState"] == "inactive" and called("mail") == ""


def test_a_stop_before_the_first_micro_batch_is_no_failure(machine: Machine, called: Callable[[str], str]) -> None:
    ends_with(machine, "streaming_counts", "starting")
    machine.run("systemctl start stitch-streaming")
    assert wait(lambda: called("streaming_counts"), 10)
    time.sleep(0.2)  # until it has begun to listen
    machine.run("systemctl stop stitch-streaming")
    assert called("streaming_counts").splitlines()[1:] == ["ended early"]
    assert (machine.state("stitch-streaming")["ActiveState"], called("mail")) == ("inactive", "")


def test_secrets_are_files_that_the_job_alone_can_read(machine: Machine, called: Callable[[str], str]) -> None:
    machine.run("echo geheim > /etc/stitch/secrets/realtime-password; chmod 600 /etc/stitch/secrets/*")
    text = re.sub(r"^#(.*realtime-password)$", r"\1", COMMON.read_text("utf-8"), flags=re.MULTILINE)
    (machine.shared / "units/stitch-.service.d/common.conf").write_text(text, "utf-8")
    machine.run("systemctl daemon-reload; systemctl start stitch-streaming")
    assert wait(lambda: called("streaming_counts.secrets"), 10)
    assert called("streaming_counts.secrets") == "geheim\n"
    (path,) = re.findall(r"^STITCH_REALTIME__PASSWORD_FILE=(.+)$", called("streaming_counts.env"), re.MULTILINE)
    assert machine.run(f"cat {path}").stdout == "geheim\n"
    assert machine.run(f"setpriv --reuid=65534 --clear-groups cat {path}").returncode != 0


def test_a_command_by_hand_runs_as_the_units_do(machine: Machine, called: Callable[[str], str]) -> None:
    ends_with(machine, "batch_totals", ExitStatus.DONE)
    command = "systemd-run --unit=stitch-by-hand --collect /opt/stitch/bin/stitch submit batch_totals --accept"
    found = machine.run(command)
    assert found.returncode == 0, found.stderr
    assert wait(lambda: called("batch_totals") == "stitch submit batch_totals --accept\n", 10)
    assert "STITCH_CONFIG=/etc/stitch/stitch.toml" in called("batch_totals.env")


def test_the_reader_answers_behind_all_that_its_unit_forbids(machine: Machine, called: Callable[[str], str]) -> None:
    (port,) = free_ports(1)
    write_config(machine.shared / "reader.toml", serving={"port": port, "timeout": "1s"})
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    python = f"LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH={ROOT}:{packages} exec /opt/python/bin/python3.11"
    real = f'#!/bin/sh\n{python} -m stitch.cli --config /shared/reader.toml "$@" > /shared/called/reader 2>&1\n'
    (machine.shared / "real").write_text(real, "utf-8")
    machine.run("cat /shared/real > /opt/stitch/bin/stitch")
    try:
        machine.run("systemctl start stitch-reader")
        assert wait(lambda: lives(port), 60), called("reader")
        before = machine.state("stitch-reader")["MainPID"]
        assert machine.run("systemctl reload stitch-reader").returncode == 0
        assert wait(lambda: "the settings have been read again" in called("reader"), 20), called("reader")
        assert wait(lambda: lives(port), 10) and machine.state("stitch-reader")["MainPID"] == before
        machine.run("systemctl stop stitch-reader")
        assert machine.state("stitch-reader")["ActiveState"] == "inactive"
    finally:
        machine.run("cat /shared/stitch > /opt/stitch/bin/stitch")


def lives(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.slow
def test_a_day_and_a_night_of_real_jobs_behind_all_that_their_units_forbid(
    machine: Machine, called: Callable[[str], str], fresh: Stack, reader: Reader
) -> None:
    """Streaming and archive run, the batch publishes, and the audit that it starts finds the counts right."""
    checkpoint = {"checkpoint": "/var/lib/stitch/checkpoints/streaming_counts"}
    lake = {"warehouse": "/var/lib/stitch/lake"}
    write_config(machine.shared / "real.toml", base=fresh.config_path, streaming=checkpoint, lake=lake)
    (machine.shared / "units/stitch-.service.d/real.conf").write_text(
        "[Service]\nRestartSec=5s\nStandardOutput=append:/shared/called/jobs\nStandardError=inherit\n"
        "Environment=STITCH_CONFIG=/shared/real.toml LD_LIBRARY_PATH=/opt/python/lib\n"
        f"Environment=PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1\n",
        "utf-8",
    )
    (machine.shared / "install").write_text(INSTALL, "utf-8")
    machine.run(f"sh /shared/install {sys.prefix}; systemctl daemon-reload")
    try:
        produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id="t1") for n in range(10)])
        assert machine.run("systemctl start stitch-streaming stitch-archive").returncode == 0
        client = reader(fresh.settings)
        assert wait(lambda: count(client, "plays", "t1") == 10, 240), called("jobs")
        assert wait(lambda: "events=10" in called("jobs"), 120), called("jobs")
        wait_for_the_window_to_end(fresh)
        machine.run("systemctl start --no-block stitch-batch")
        assert wait(lambda: "the counts are right" in called("jobs"), 400), called("jobs")
        assert count(client, "plays", "t1", "batch") == 10
        machine.run("systemctl stop stitch-streaming stitch-archive")
        states = [machine.state(f"stitch-{unit}")["ActiveState"] for unit in ("streaming", "archive", "batch")]
        assert (states, called("mail")) == (["inactive"] * 3, ""), called("jobs")
    finally:
        machine.run("cat /shared/stitch > /opt/stitch/bin/stitch")
