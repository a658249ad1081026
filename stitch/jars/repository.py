"""Where jars come from, and how this machine speaks with it: mirror, proxy, certificates, credentials.

A mirror is named by STITCH_MAVEN_MIRROR, or by ~/.m2/settings.xml as for Maven itself. Else it is the default that Ivy
has built in: it is read from the jar that ships inside pyspark, so both agree and its address stands nowhere here.
Proxies and credentials are those that requests takes: HTTPS_PROXY, NO_PROXY, ~/.netrc.
"""

from __future__ import annotations

import importlib.util
import os
import re
import ssl
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import requests
import truststore
from requests.adapters import HTTPAdapter

from stitch.jars.errors import JarsError

MIRROR = "STITCH_MAVEN_MIRROR"
IVY_DEFAULTS = "org/apache/ivy/core/settings/repository.properties"


@dataclass(frozen=True)
class Repository:
    """A repository in Maven's layout."""

    url: str  # ends in a slash, and names no credentials: it is shown
    named_by: str
    auth: tuple[str, str] | None = field(default=None, repr=False)  # None: what ~/.netrc says

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def repository(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> Repository:
    """The mirror that this machine names, else Ivy's default. Raises JarsError for one that cannot be meant."""
    settings = (home or Path.home()) / ".m2/settings.xml"
    if environ.get(MIRROR):
        return _repository(environ[MIRROR], MIRROR)
    if settings.is_file() and (mirror := _maven_mirror(settings, environ)):
        return mirror
    return _repository(_ivy_default(), "Ivy's default")


def session(where: Repository) -> requests.Session:
    made = requests.Session()
    made.auth = where.auth
    made.headers["Accept-Encoding"] = "identity"  # a range counts the bytes of the jar itself
    made.mount("https://", _MachineCertificates())
    return made


class _MachineCertificates(HTTPAdapter):
    """Trusts what the machine trusts: its own store (macOS and Windows too), SSL_CERT_FILE and SSL_CERT_DIR; beside
    them what requests adds itself, the file of REQUESTS_CA_BUNDLE or certifi's."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, ssl_context=self.context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self.context, **kwargs)


def ivy_jar() -> Path:
    spec = importlib.util.find_spec("pyspark")
    found = sorted(Path(spec.origin).parent.glob("jars/ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise JarsError("pyspark, whose Ivy knows where jars are, is not installed: pip install 'stitch-counts[jobs]'")
    return found[-1]


def _ivy_default() -> str:
    with zipfile.ZipFile(ivy_jar()) as jar:
        text = jar.read(IVY_DEFAULTS).decode("latin-1")
    found = re.search(r"^ivy\.ibiblio\.default\.artifact\.root\s*=\s*(\S+)", text, re.MULTILINE)
    if not found:
        raise JarsError(f"{ivy_jar()} names no default repository: set {MIRROR} to one in Maven's layout")
    return found[1]


def _repository(text: str, named_by: str, auth: tuple[str, str] | None = None) -> Repository:
    try:
        parts = urlsplit(text.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        parts.port  # noqa: B018  a port that is no number raises here
    except ValueError:
        shown = re.sub(r"//[^@/]*@", "//…@", text)
        raise JarsError(f"{named_by} has {shown!r}, which is no http(s) URL of a Maven repository") from None
    if parts.username:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    netloc = parts.netloc.rpartition("@")[2]
    return Repository(f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}/", named_by, auth)


def _maven_mirror(settings: Path, environ: Mapping[str, str]) -> Repository | None:
    """The first mirror of the central repository in Maven's settings, with the credentials of the server of its id."""

    def text(of: ElementTree.Element, name: str) -> str:
        found = (of.findtext(f"{{*}}{name}") or "").strip()
        return re.sub(r"\$\{env\.(\w+)}", lambda match: environ.get(match[1], ""), found)

    try:
        root = ElementTree.parse(settings).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise JarsError(f"{settings} cannot be read ({error}): correct it, or set {MIRROR}") from None
    servers = {text(server, "id"): server for server in root.iterfind("{*}servers/{*}server")}
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of = {part.strip() for part in text(mirror, "mirrorOf").split(",")}
        if "!central" in of or not of & {"*", "external:*", "central"}:
            continue
        server = servers.get(text(mirror, "id"))
        auth = None
        if server is not None and text(server, "username"):
            auth = (text(server, "username"), text(server, "password"))
            if re.fullmatch(r".*\{.+}.*", auth[1]):
                raise JarsError(
                    f"the password of {text(mirror, 'id')} in {settings} is encrypted, which only Maven can read: "
                    f"set {MIRROR}=https://USER:PASSWORD@HOST/PATH, or {MIRROR} and ~/.netrc"
                )
        return _repository(text(mirror, "url"), str(settings), auth)
    return None
