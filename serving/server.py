"""The reader under granian, with the host, port, workers and threads of the settings.

granian reads requests and writes answers outside Python, so that a connection that stalls there holds nothing. Its
workers (serving.worker) are forked from this process, which imports neither Flask nor the driver, whose sessions do not
survive a fork. They accept from one socket, opened and kept here: a port that is taken is told before anything starts,
and no connection is lost where workers are replaced. (By itself granian opens a socket for each worker; what waits in
one is reset when its worker ends.)
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.mp import MPServer, WorkerProcess

from serving.api.rate_limit import check_storage
from serving.observe.logging_config import LOGGING
from stitch.errors import StitchError
from stitch.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from serving.worker import Receiver

CONNECTIONS = 4096  # of each worker at most; others wait to be accepted
BACKLOG = 1024
HEADER_SECONDS = 10  # in which line and headers of a request must come, and for which a connection may be idle
HEADER_BYTES = 32 * 1024  # of line and headers of a request
UNSENT_SECONDS = 30  # for which a caller may take nothing of its answer
CLOSING_SECONDS = 1  # for which a worker that is to end answers with `Connection: close`
ENDING_SECONDS = 40  # for which a worker may go on with what it has accepted
READY_SECONDS = 120  # in which a worker must have its app
COLLECTED = (10_000, 10, 1_000)  # objects more, and collections of the generation before, that Python looks through
SWITCH_SECONDS = 0.0005  # for which a thread keeps the interpreter from others: a tenth of Python's own
WAKING_SECONDS = 0.2  # a signal is acted on after that long at most
AT_START = ("host", "port", "admin_port")  # settings that SIGHUP does not change

LOG = logging.getLogger("stitch.server")
Make = Callable[[Settings], "Flask"]


class ServingError(StitchError):
    """The reader cannot start; the message says why and what to do."""


class Server(MPServer):
    """granian with one socket, settings that are read again, and workers that are replaced all at once."""

    def __init__(self, read: Callable[[], Settings], make: Make) -> None:
        self._read, self._make = partial(usable, read), make
        self._settings = self._read()
        serving = self._settings.serving
        self._listener = listen(serving.host, serving.port, "port")
        self._admin = listen(serving.host, serving.admin_port, "admin_port") if serving.admin_port else None
        self._ready: dict[WorkerProcess, Event] = {}
        super().__init__(
            "stitch-serve",
            address=serving.host,
            port=serving.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            workers=serving.workers,
            runtime_mode=RuntimeModes.mt,
            blocking_threads=1,  # RSGI's; the app's are in serving.worker
            backpressure=connections(),
            http1_settings=HTTP1Settings(header_read_timeout=1000 * HEADER_SECONDS, max_buffer_size=HEADER_BYTES),
            log_dictconfig=LOGGING,
            respawn_failed_workers=True,
            workers_kill_timeout=ENDING_SECONDS,
        )

    def _init_shared_socket(self) -> None:
        self._shd = SocketHolder(self._listener.fileno(), False, BACKLOG)  # type: ignore[call-arg, assignment]
        self._sso = None

    def _drop_shared_socket(self) -> None:
        self._listener.close()

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        self.wrks = self._started(spawn_target, range(self.workers), warm=False)

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """Until SIGTERM or SIGINT: replace workers that died, and all of them after SIGHUP."""
        while not self.interrupt_signal:
            died = wait([worker.inner.sentinel for worker in self.wrks], timeout=WAKING_SECONDS)
            if self.reload_signal:
                self.reload_signal = False
                self._read_again(spawn_target)
            elif died and not self.interrupt_signal and not self._mended(spawn_target):
                LOG.error("workers end as soon as they are started: the lines above say why")
                self.interrupt_children = [0]  # granian ends with 1 then
                return

    def _stop_workers(self) -> None:
        self._end(self.wrks)

    def _read_again(self, spawn_target: Any) -> None:
        """New workers by the settings as they are now. Where these cannot be used, nothing changes."""
        try:
            settings = self._read()
        except StitchError as error:
            LOG.error("SIGHUP: the settings of before stay, for the new ones cannot be used: %s", error)
            return
        for name in AT_START:
            if getattr(settings.serving, name) != getattr(self._settings.serving, name):
                LOG.warning("SIGHUP: serving.%s has changed, which takes effect at the next start alone", name)
        before = self._settings
        kept = {name: getattr(before.serving, name) for name in AT_START}
        self._use(settings.model_copy(update={"serving": settings.serving.model_copy(update=kept)}))
        fresh = self._started(spawn_target, range(self.workers), warm=True)
        if all(self._is_ready(worker) for worker in fresh):
            old, self.wrks = self.wrks, fresh
            LOG.info("SIGHUP: the settings have been read again")
            self._end(old)
        else:
            self._use(before)
            if not self.interrupt_signal:
                LOG.error("SIGHUP: the workers and settings of before stay, for no new ones came up")
            self._end(fresh)

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self.workers = settings.serving.workers

    def _mended(self, spawn_target: Any) -> bool:
        """Replace workers that died; False where new ones die, too."""
        dead = [worker for worker in self.wrks if not worker.is_alive()]
        for worker in dead:
            LOG.error("worker-%d has ended unexpectedly, with status %s", worker.idx + 1, worker.inner.exitcode)
        self._end(dead)
        fresh = self._started(spawn_target, [worker.idx for worker in dead], warm=False)
        self.wrks = [worker for worker in self.wrks if worker not in dead] + fresh
        return all(self._is_ready(worker) for worker in fresh) or self.interrupt_signal

    def _started(self, spawn_target: Any, numbers: Iterable[int], warm: bool) -> list[WorkerProcess]:
        fresh = []
        for idx in numbers:
            ready = get_context("fork").Event()
            loader = partial(load, self._make, self._settings, self._admin, ready, warm, os.getpid())
            worker = self._spawn_worker(idx, spawn_target, loader)
            self._ready[worker] = ready
            worker.inner.start()  # not worker.start(), which would have a thread watch it
            fresh.append(worker)
        return fresh

    def _is_ready(self, worker: WorkerProcess) -> bool:
        """Whether it has its app, soon."""
        until = time.monotonic() + READY_SECONDS
        while not self._ready[worker].wait(WAKING_SECONDS):
            if not worker.is_alive() or self.interrupt_signal or time.monotonic() > until:
                return False
        return True

    def _end(self, workers: Sequence[WorkerProcess]) -> None:
        """Let workers end what they have accepted, and wait for that; kill those that do not come to an end. A caller
        whose connection is in use is first told to make a new one: closed as it is, it could swallow a request."""
        serving = [worker for worker in workers if worker.is_alive() and self._ready[worker].is_set()]
        for worker in serving:
            os.kill(worker.inner.pid, signal.SIGUSR1)
        time.sleep(CLOSING_SECONDS if serving else 0)
        for worker in workers:
            worker.terminate()
        until = time.monotonic() + ENDING_SECONDS
        for worker in workers:
            worker.join(max(0, until - time.monotonic()))
            if worker.is_alive():
                LOG.warning("worker-%d did not come to an end: it is killed", worker.idx + 1)
                worker.kill()
                worker.join()
            del self._ready[worker]
            forget_worker(worker.inner.pid)


def load(
    make: Make, settings: Settings, admin: socket.socket | None, ready: Event, warm: bool, parent: int
) -> Receiver:
    """The app of a worker, made in the worker. `warm`: it asks the layers first, since others answer meanwhile;
    `parent`: its pid, which the worker cannot ask for, as it may be gone already."""
    for number in (signal.SIGTERM, signal.SIGINT):  # what the parent does then is not for its copy to do
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_SECONDS)
    closing = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: closing.set())
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    from serving.worker import Receiver, admin_server

    try:
        app = make(settings)
        if admin:
            threading.Thread(target=admin_server(app, settings, admin).serve_forever, daemon=True).start()
        if warm:
            app.extensions["access"].reader.status()
        collect_the_young()
    except Exception:
        LOG.exception("the reader cannot be put together")
        raise SystemExit(1) from None
    ready.set()
    return Receiver(app, settings, closing)


def collect_the_young() -> None:
    """Look for cycles among new objects, and hardly ever among all: rows that are kept are many, and to look through
    them took up to 0.4 s, in which nobody was answered. A request's cycles are garbage as soon as it is answered."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)


def end_with(parent: int) -> None:
    """End this process soon after its parent, which may have been killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def forget_worker(pid: int | None) -> None:
    """A worker has ended: what it counted stays, what it measured does not."""
    from prometheus_client import multiprocess  # not before PROMETHEUS_MULTIPROC_DIR is set

    multiprocess.mark_process_dead(pid)


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens there. Raises ServingError where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        # Connections have these from the socket that accepts them.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNSENT_SECONDS)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        raise ServingError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): stop what uses it, "
            f"or set serving.{setting} (STITCH_SERVING__{setting.upper()})"
        ) from None
    return found


def connections() -> int:
    """How many connections a worker may have: fewer than the files that it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        soft = hard if hard != resource.RLIM_INFINITY else max(soft, 2 * CONNECTIONS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(64, min(CONNECTIONS, soft // 2))


def create(settings: Settings) -> Flask:
    from serving.app import create_app  # in a worker alone, and not before PROMETHEUS_MULTIPROC_DIR is set

    return create_app(settings, probes_apart=settings.serving.admin_port is not None)


def usable(read: Callable[[], Settings]) -> Settings:
    """The settings, if workers can use them: else each would end with a stack trace. Raises StitchError."""
    settings = read()
    check_storage(settings.serving)
    return settings


def serve(read: Callable[[], Settings], make: Make = create) -> None:
    """Serve until SIGTERM or SIGINT, by the settings that `read` finds, now and at each SIGHUP. Raises ServingError
    where a port is taken, BadStorage."""
    folder = tempfile.mkdtemp(prefix="stitch-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where workers leave their figures for each other
    try:
        Server(read, make).serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
