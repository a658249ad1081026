"""Why Cassandra could not be connected to, told by what a person can do about it.

The driver says what each host answered; here that becomes one message that names the setting. What a later try may fix
(no answer) is told apart from what needs a person (a password, a certificate, a name).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence

from cassandra import AuthenticationFailed, Unauthorized
from cassandra.cluster import NoHostAvailable

from stitch.clusters import CassandraSettings
from stitch.errors import ExitStatus, StitchError

_HUNG_UP = re.compile(r"reset by peer|(has been|is|was) closed|EOF occurred")


class NotConnected(StitchError):
    """There is no connection to the layer's cluster."""


class NoAnswer(NotConnected):
    """No host answers (yet)."""

    exit_status = ExitStatus.AGAIN


class Refused(NotConnected):
    """The cluster answers, and will not do so otherwise until a person changes something."""


def explained(error: NoHostAvailable, layer: CassandraSettings, name: str, datacenters: Sequence[str]) -> NotConnected:
    """The error to raise in its place. `datacenters`: those that the cluster has told of."""
    causes = list(error.errors.values()) if isinstance(error.errors, dict) else list(error.errors or [])
    for cause in causes:
        refusal = _refusal(cause, layer, name)
        if refusal:
            return Refused(f"Cassandra of the {name} layer at {_where(layer)}: {refusal}")
    if datacenters and layer.datacenter not in datacenters and not layer.bundle:
        return Refused(
            f"Cassandra of the {name} layer at {_where(layer)} has no datacenter {layer.datacenter!r}: set "
            f"{name}.datacenter to one of {', '.join(datacenters)}"
        )
    return NoAnswer(
        f"no Cassandra at {_where(layer)} for the {name} layer: start it (`stitch local up`), or set {name}.hosts and "
        f"{name}.port{_hint(causes, layer, name)} ({next(iter(causes), 'no answer')})"
    )


def _hint(causes: Sequence[BaseException], layer: CassandraSettings, name: str) -> str:
    """A server hangs up on who comes without TLS or a certificate that it wants, as one does that is going down."""
    if not any(_HUNG_UP.search(str(cause)) for cause in causes) or layer.bundle:
        return ""
    if not layer.tls:
        return f"; where it wants TLS, add [{name}.tls]"
    return f"; where it refuses the client's certificate, set {name}.tls.certificate_file and .key_file"


def _refusal(cause: BaseException, layer: CassandraSettings, name: str) -> str | None:
    """What the cause is, where a person must act; None where the next try may do."""
    said = str(cause)
    if isinstance(cause, AuthenticationFailed):
        secret = f"STITCH_{name.upper()}__PASSWORD"
        if not layer.username:
            return f"it asks for a user and a password: set {name}.username, and {secret} or {secret}_FILE"
        return f"it refuses the user or the password: check {name}.username, and {secret} or {secret}_FILE"
    if isinstance(cause, Unauthorized):
        return f"the user may not do this: {said}"
    if (isinstance(cause, ssl.SSLError) or "SSL" in said) and not _HUNG_UP.search(said):
        return _tls_refusal(said, layer, name)
    return None


def _tls_refusal(said: str, layer: CassandraSettings, name: str) -> str:
    """OpenSSL's words are all that is left of the cause: the driver wraps it."""
    lower = said.lower()
    if "mismatch" in lower:
        way_out = f"set {name}.hosts to a name in it, or {name}.tls.verify_hostname = false"
        return f"its certificate names another host: {way_out} ({said})"
    if "certificate verify failed" in lower:
        known = f"{name}.tls.ca_file holds" if layer.tls and layer.tls.ca_file else "this machine knows"
        return f"its certificate is signed by nobody that {known}: set {name}.tls.ca_file to its authority ({said})"
    if "alert" in lower or "certificate required" in lower:
        way_out = f"set {name}.tls.certificate_file and .key_file to one that it trusts"
        return f"it refuses the client's certificate: {way_out} ({said})"
    if "wrong version number" in lower or "record layer failure" in lower:
        return f"it does not speak TLS on this port: remove [{name}.tls], or set {name}.port ({said})"
    return f"no TLS connection: check [{name}.tls] ({said})"


def _where(layer: CassandraSettings) -> str:
    return layer.bundle or ", ".join(f"{host}:{layer.port}" for host in layer.hosts)
