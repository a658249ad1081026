"""Downloads one jar into a file: resumed where it was cut, compared with jars.lock, refused with one clear message.

What a network does for a moment (a cut connection, a busy server) is tried again; what a person must change (a
certificate, a proxy's password, a mirror without the jar) is told at once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests

from stitch.jars.errors import JarsError
from stitch.jars.repository import MIRROR, Repository
from stitch.jars.sets import Jar

ATTEMPTS = 5  # in a row without a byte; a slow line that is cut again and again still gets there
TIMEOUT = (15, 30)  # seconds to connect, and between two bytes
CHUNK = 1 << 14  # what a cut can lose


class Stopped(Exception):
    """Another jar failed, or the user stopped the set-up: what was received stays for the next time."""


class Download:
    """How jars come from one repository: shared by all that are downloaded at once."""

    def __init__(self, where: Repository, session: requests.Session, first_pause: float = 0.5) -> None:
        self.where, self.session, self.first_pause = where, session, first_pause
        self.stop = threading.Event()
        self.received: Callable[[int], None] = lambda _: None  # told of every chunk; less than 0 for what is discarded

    def fetch(self, jar: Jar, part: Path) -> None:
        """The jar, whole and compared, in `part`, going on from what is in there. Raises JarsError."""
        resumed = part.exists()
        self._complete(jar, part)
        if sha256(part) == jar.sha256:
            return
        if resumed:  # its beginning came from an earlier set-up, perhaps from another mirror
            self._discard(part)
            self._complete(jar, part)
            if sha256(part) == jar.sha256:
                return
        raise JarsError(self._not_the_jar(jar, part))

    def _complete(self, jar: Jar, part: Path) -> None:
        failures = 0
        while True:
            before = size(part)
            try:
                if self._receive(jar, part):
                    return
                cause: Exception = requests.ConnectionError(f"cut after {size(part):,} of {jar.size:,} bytes")
            except requests.RequestException as error:
                cause = error
            except OSError as error:
                raise JarsError(_of_the_disk(error, jar, part)) from None
            failures = 1 if size(part) > before else failures + 1
            if failures == ATTEMPTS or _is_permanent(cause):
                raise JarsError(explained(cause, jar, self.where)) from None
            if self.stop.wait(self.first_pause * 2 ** (failures - 1)):
                raise Stopped

    def _receive(self, jar: Jar, part: Path) -> bool:
        """Append to `part` what it lacks; whether it is then as long as the jar, or longer (then it is another
        file)."""
        have = size(part)
        if have >= jar.size:
            return True
        headers = {"Range": f"bytes={have}-"} if have else {}
        url = self.where.url + jar.path
        with self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if have and answer.status_code in (200, 416):  # no ranges here, or not of this file: from its start
                self._discard(part)
            answer.raise_for_status()
            with part.open("ab") as out:
                for chunk in answer.iter_content(CHUNK):
                    out.write(chunk)
                    self.received(len(chunk))
                    if self.stop.is_set():
                        raise Stopped
                    if out.tell() > jar.size:
                        return True
        # Where the answer said its length, a cut has raised before: what is short is another file, and the sum will
        # tell.
        return size(part) >= jar.size or not answer.headers.keys().isdisjoint(("Content-Length", "Transfer-Encoding"))

    def _discard(self, part: Path) -> None:
        self.received(-size(part))
        part.unlink(missing_ok=True)

    def _not_the_jar(self, jar: Jar, part: Path) -> str:
        """What came in its place; the file is removed."""
        with part.open("rb") as file:
            page = file.read(1) == b"<"
        text = (
            f"{jar.coordinate} from {self.where.host} is not the file that jars.lock names: {size(part):,} bytes of "
            f"SHA-256 {sha256(part)}, not {jar.size:,} of {jar.sha256}. It was removed. "
        )
        self._discard(part)
        if page:
            return text + f"A proxy or a mirror answered with a page of its own: {_how_to_reach(self.where)}"
        return text + f"Try again; if it stays so, this mirror has another file: {_where_from(self.where)}"


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def explained(error: Exception, jar: Jar, where: Repository) -> str:
    """One message: which jar, from where, what was wrong, what to do."""
    text = f"{jar.coordinate} could not be fetched from {where.host}: "
    answer = error.response if isinstance(error, requests.RequestException) else None
    status = answer.status_code if answer is not None else None
    if isinstance(error, requests.exceptions.SSLError):
        return text + f"its certificate is not trusted ({_reason(error)}). {_certificates()}"
    if status == 407 or (isinstance(error, requests.exceptions.ProxyError) and "407" in str(error)):
        return text + "the proxy demands a user and a password. Set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    if isinstance(error, requests.exceptions.ProxyError):
        return text + f"the proxy does not answer ({_reason(error)}). Is HTTPS_PROXY right?"
    if status in (401, 403):
        return text + f"it answered {status}. Does it want credentials? {_credentials(where)}"
    if status == 404:
        return text + f"it does not have {jar.path} (404): {_where_from(where)}"
    if status:
        return text + f"it answered {status}, {ATTEMPTS} times. Try again later, or elsewhere: {_where_from(where)}"
    if isinstance(error, requests.Timeout):
        return text + f"it did not answer in time, {ATTEMPTS} times. {_how_to_reach(where)}"
    return text + f"{_reason(error)}. {_how_to_reach(where)}"


def _is_permanent(error: Exception) -> bool:
    """Whether trying again cannot help: a person must change something first."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code not in (408, 416, 425, 429, 500, 502, 503, 504)
    return isinstance(_innermost(error), ssl.SSLCertVerificationError)


def _innermost(error: BaseException) -> BaseException:
    """The error that the others were made of; those repeat its text with addresses of objects."""
    nested = (getattr(error, "reason", None), *error.args)
    below = next((inner for inner in nested if isinstance(inner, BaseException)), None)
    return error if below is None else _innermost(below)


def _reason(error: BaseException) -> str:
    inner = _innermost(error)
    return str(getattr(inner, "verify_message", "") or inner.__cause__ or inner).strip(".")


def _of_the_disk(error: OSError, jar: Jar, part: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {part.parent} is full: {jar.coordinate} needs {jar.size >> 20} MiB. Free some, then go on"
    return f"{jar.coordinate} could not be fetched into {part.parent}: {error}"


def _certificates() -> str:
    named = {name: os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if os.environ.get(name)}
    missing = [f"{name}={path} is no file" for name, path in named.items() if not os.path.isfile(path)]
    return "; ".join(missing) or (
        "Behind a proxy or mirror of a company, add the company's certificate to this machine's, or set "
        "SSL_CERT_FILE to a file that has it"
    )


def _credentials(where: Repository) -> str:
    host = urlsplit(where.url).hostname
    return f"Put them into ~/.netrc (machine {host} login USER password PASSWORD) or into {MIRROR}"


def _where_from(where: Repository) -> str:
    if where.named_by == MIRROR:
        return f"{MIRROR} is to name a mirror of Maven's central repository, in Maven's layout"
    return f"it is named by {where.named_by}, and {MIRROR} names another"


def _how_to_reach(where: Repository) -> str:
    return f"Is there a network? Behind a company's proxy set HTTPS_PROXY, for a mirror of Maven's repository {MIRROR}"
