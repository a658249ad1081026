"""A machine of its own for systemd: Debian's, as the first process of namespaces, with deploy/systemd installed.

It sees this machine's files through an overlay, so nothing that it writes is left; only the units that are copied to it
exist. It has this machine's network, so tests take free ports.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("basic", "sysinit", "shutdown", "network-online", "multi-user", "timers", "sockets", "paths", "slices")
# $1: a folder of this test, which the machine has as /shared; $2: the prefix of this Python, as /opt/python there.
BOOT = """set -e
mount -t tmpfs tmpfs "$1/layers"; mkdir "$1/layers/upper" "$1/layers/work" "$1/layers/root"; cd "$1/layers"
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc; mount -t sysfs sysfs root/sys; mount --rbind /dev root/dev
mount -t cgroup2 cgroup2 root/sys/fs/cgroup; mount -t tmpfs tmpfs root/run; mount -t tmpfs tmpfs root/tmp
mkdir root/shared root/opt/python; mount --bind "$1" root/shared; mount --bind "$2" root/opt/python
mkdir -p root/opt/stitch/bin root/etc/stitch/secrets root/usr/local/bin
echo 'stitch:x:990:990::/var/lib/stitch:/bin/sh' >> root/etc/passwd; echo 'stitch:x:990:' >> root/etc/group
cp "$1/stitch" root/opt/stitch/bin/stitch; cp "$1/mail" root/usr/local/bin/mail
cp "$1/stitch.toml" root/etc/stitch/stitch.toml; chmod 700 root/etc/stitch/secrets
mount --make-rshared root/run  # as systemd wants it for credentials, and does itself outside of a container
exec chroot root /lib/systemd/systemd --system --unit=basic.target
"""


@dataclass(frozen=True)
class Machine:
    """One that runs; `shared` is /shared there."""

    shared: Path
    first: int  # the process that is its first, as this machine numbers it

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A shell's command line there, as root."""
        enter = ["nsenter", "-t", str(self.first), "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        return subprocess.run([*enter, "/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)

    def state(self, unit: str) -> dict[str, str]:
        """What systemd says of a unit: ActiveState, Result, NRestarts, MainPID, …"""
        lines = self.run(f"systemctl show {unit}").stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def lacks() -> str:
    """Why there can be no such machine here; empty where there can."""
    if not SYSTEMD.exists() or not shutil.which("unshare"):
        return "systemd is not installed: run tests/debian.sh, or `sudo apt-get install systemd`"
    if os.geteuid() != 0:
        return "namespaces with a systemd of their own need root"
    if not cgroups():
        return "no cgroup2 is mounted here"
    return ""


def cgroups() -> Path | None:
    """Where this machine has its cgroups of version 2."""
    mounted = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    return next((Path(where) for _, where, kind, *_ in mounted if kind == "cgroup2"), None)


@contextmanager
def running(folder: Path, files: dict[str, str]) -> Iterator[Machine]:
    """A machine with these files in /shared: `stitch` (installed as /opt/stitch/bin/stitch), `mail`, `stitch.toml`."""
    units, groups = folder / "units", cgroups()
    assert groups
    shutil.copytree(UNITS, units)
    for target in TARGETS:  # those that the units name, with nothing behind them
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n", "utf-8")
    for name, text in {**files, "boot": BOOT}.items():
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o755)
    (folder / "layers").mkdir()
    folder.chmod(0o755)
    group = groups / f"stitch-test-{os.getpid()}"
    group.mkdir()
    environment = {"PATH": os.environ["PATH"], "container": "lxc", "SYSTEMD_UNIT_PATH": "/shared/units"}
    unshare = "exec unshare --pid --fork --mount --uts --ipc --cgroup --kill-child sh"
    script = f'echo $$ > "{group}/cgroup.procs"; {unshare} "{folder}/boot" "{folder}" "{sys.base_prefix}"'
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(["sh", "-c", script], stdout=log, stderr=log, env=environment)
    try:
        yield Machine(folder, first_of(process, folder))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        left = time.monotonic() + 10
        while group.exists() and time.monotonic() < left:  # until all of its processes have ended
            for part in sorted((found for found in group.rglob("*") if found.is_dir()), reverse=True):
                _removed(part)
            _removed(group)
            time.sleep(0.1)


def first_of(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Wait until systemd has begun; returns its number here."""
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None and time.monotonic() < deadline, (folder / "boot.log").read_text("utf-8")
        below = psutil.Process(process.pid).children()
        if below and "systemd" in below[0].name():
            found = Machine(folder, below[0].pid)
            if found.run("systemctl is-active basic.target").stdout == "active\n":
                return found.first
        time.sleep(0.1)


def _removed(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
