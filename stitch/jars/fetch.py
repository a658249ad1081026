"""Fetches the jars of jars.lock: eight at a time, each once, into the folder of every set that has it.

In Python alone, so that a company's proxy and certificates are those of pip and uv, and no Java is needed to set up. A
jar is moved into its folder only when whole, so one who was stopped goes on where he was; what is there already, of an
earlier lock too, is not fetched again.

    python -m stitch.jars.fetch          all, as set-up does
    python -m stitch.jars.fetch spark    those that jobs need, for an image; `stitch submit` does it at its first job
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from stitch.errors import ExitStatus
from stitch.jars import sets as folders
from stitch.jars.download import Download, Stopped, sha256, size
from stitch.jars.errors import JarsError
from stitch.jars.repository import Repository, repository, session
from stitch.jars.sets import ALL, MARKER, Jar, JarSet

AT_ONCE = 8


class Progress:
    """One line that goes on, on a terminal; elsewhere a line every few seconds."""

    def __init__(self, total: int, files: int, have: int) -> None:
        self.total, self.files, self.bytes, self.done = total, files, have, 0
        self.terminal = sys.stdout.isatty()
        self.every = 0.2 if self.terminal else 5.0

    def received(self, count: int) -> None:
        self.bytes += count  # from eight threads: a figure for the eye, which a lost addition does not bend much

    def show(self) -> None:
        text = f"[jars] {self.done} of {self.files} jars, {self.bytes / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        print(f"\r{text}\033[K" if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def end(self) -> None:
        if self.terminal:
            print(flush=True)


def fetch(sets: Sequence[JarSet], where: Repository, first_pause: float = 0.5) -> None:
    """Make the folders of these sets whole. Raises JarsError for the first jar that cannot be had."""
    targets: dict[Jar, list[Path]] = {}
    for jars in sets:
        jars.folder.mkdir(parents=True, exist_ok=True)
        for jar in jars.jars:
            targets.setdefault(jar, []).append(jars.folder / jar.file_name)
    missing = [jar for jar in targets if not _there_already(jar, targets[jar])]
    if missing:
        _download(sorted(missing, key=lambda jar: -jar.size), targets, where, first_pause)
    for jars in sets:
        wanted = {jar.file_name for jar in jars.jars}
        for file in jars.folder.iterdir():  # what an earlier lock had would be on the class path too
            if file.name not in wanted and file.name != MARKER:
                file.unlink()
        jars.mark_complete()


def fetch_missing(sets: Sequence[JarSet]) -> list[JarSet]:
    """Make those of the sets whole that are not; returns which they were. Another set-up is waited for."""
    if all(jars.complete for jars in sets):
        return []  # without the lock, for whoever runs a job may not be allowed to write there
    with _alone():
        missing = [jars for jars in sets if not jars.complete]
        if missing:
            fetch(missing, repository())
        return missing


def _there_already(jar: Jar, targets: Sequence[Path]) -> bool:
    """Whether a folder has it, of another set by an earlier lock perhaps; then all of `targets` have."""
    looked_at = [*targets, *sorted((folders.CACHE / "jars").glob(f"*/{jar.file_name}"))]
    found = next((path for path in looked_at if size(path) == jar.size and sha256(path) == jar.sha256), None)
    if found:
        _place(found, [path for path in targets if path != found])
    return found is not None


def _place(whole: Path, targets: Sequence[Path]) -> None:
    for target in targets:
        new = target.with_name(f"{target.name}.new")
        new.unlink(missing_ok=True)
        try:
            os.link(whole, new)
        except OSError:  # a file system without hard links
            shutil.copyfile(whole, new)
        target.unlink(missing_ok=True)  # renaming over another link of the same file would leave both names
        os.replace(new, target)


def _download(wanted: Sequence[Jar], targets: dict[Jar, list[Path]], where: Repository, first_pause: float) -> None:
    parts = folders.CACHE / "jars/parts"
    parts.mkdir(parents=True, exist_ok=True)
    have = sum(size(parts / jar.sha256) for jar in wanted)
    total = sum(jar.size for jar in wanted)
    print(f"[jars] {len(wanted)} jars, {total / 1e6:.0f} MB from {where.host} (by {where.named_by})", flush=True)
    download, progress = Download(where, session(where), first_pause), Progress(total, len(wanted), have)
    download.received = progress.received

    def one(jar: Jar) -> None:
        part = parts / jar.sha256
        if download.stop.is_set():
            raise Stopped
        download.fetch(jar, part)
        _place(part, targets[jar])
        part.unlink()
        progress.done += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(one, jar) for jar in wanted}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=progress.every, return_when=FIRST_EXCEPTION)
                progress.show()
                for future in done:
                    future.result()
        except BaseException:
            download.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            progress.end()
    shutil.rmtree(parts)  # parts of jars that the lock no longer names


@contextmanager
def _alone() -> Iterator[None]:
    """Two set-ups at once would write into one file: the second waits."""
    (folders.CACHE / "jars").mkdir(parents=True, exist_ok=True)
    with (folders.CACHE / "jars/lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("[jars] another process fetches them: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: Sequence[str] = ()) -> int:
    """Fetch the sets of these names, or all."""
    began = time.monotonic()
    known = [jars.name for jars in ALL]
    if unknown := set(names) - set(known):
        print(f"stitch: no jars of {', '.join(unknown)}, but of {', '.join(known)}", file=sys.stderr)
        return ExitStatus.USAGE
    try:
        if sets := fetch_missing([jars for jars in ALL if not names or jars.name in names]):
            print(f"[jars] {', '.join(jars.name for jars in sets)}: {time.monotonic() - began:.0f} s")
    except JarsError as error:
        print(f"stitch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstitch: stopped; what was fetched is kept: the next time goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
