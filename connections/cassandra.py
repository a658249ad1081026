"""Every connection to Cassandra: the driver's sessions of jobs, reader and schema, and the connector's options.

One module, so that passwords, TLS and replicas are configured once and reach all alike. The driver and the connector
ask one replica unless told otherwise, which may be the one that was away; here both ask as the layer's settings say,
LOCAL_QUORUM by default: what a quorum took, a quorum answers, with a node of three down too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import named_tuple_factory

from connections.refusals import Refused, explained
from connections.tls import Stores, ssl_context
from stitch.clusters import CassandraSettings

WRITE = "write"  # the execution profile of writes: session.execute(…, execution_profile=WRITE)
RETRY_AFTER = 1.0
HEARTBEAT, HEARTBEAT_TIMEOUT = 5, 10  # a node that hangs is left out within fifteen seconds, and not after a minute
SPECULATIVE_SHARE = 0.2  # of a request's time, after which a read that may be sent twice is sent to another node too

# The JVM's driver takes this one setting for all of its connections, and no option of the connector sets it.
VERIFY_HOSTNAME = "datastax-java-driver.advanced.ssl-engine-factory.hostname-validation"
CIPHERS = (
    "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
)  # fmt: skip


class _Told(logging.Filter):
    """Leaves out what the driver logs, with stack traces, of a connection that fails: the error raised says it."""

    _SAID = (
        "[control connection] Error connecting",
        "Control connection failed to connect",
        "Failed to authenticate to",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._SAID)


for _logger in ("cassandra.cluster", "cassandra.connection"):
    logging.getLogger(_logger).addFilter(_Told())


def cluster(
    layer: CassandraSettings,
    name: str,
    *,
    timeout: float,
    connect_timeout: float | None = None,
    row_factory: Callable[..., Any] = named_tuple_factory,
) -> Cluster:
    """The layer's cluster, not connected. `timeout`: of a request, and of a connection unless said.

    Raises BadCertificate where a file of its TLS cannot be used.
    """
    connecting = connect_timeout or timeout
    made = Cluster(
        **_whereabouts(layer, name),
        auth_provider=PlainTextAuthProvider(layer.username, _password(layer)) if layer.username else None,
        execution_profiles={
            EXEC_PROFILE_DEFAULT: _profile(layer, layer.read_consistency, timeout, row_factory),
            WRITE: _profile(layer, layer.write_consistency, timeout, row_factory),
        },
        connect_timeout=connecting,
        control_connection_timeout=connecting,
        reconnection_policy=ConstantReconnectionPolicy(RETRY_AFTER, max_attempts=None),
        idle_heartbeat_interval=HEARTBEAT,
        idle_heartbeat_timeout=HEARTBEAT_TIMEOUT,
    )
    # Every Cassandra since 2.2 and ScyllaDB speak it. The driver's own first choice is that of another product, so that
    # every connection would warn of three refusals; with 5 a connection now and then ends in its handshake, since the
    # driver does not know in time that frames have checksums from there on ("CRC mismatch on header").
    made.protocol_version = ProtocolVersion.V4
    return made


@contextmanager
def connected(
    layer: CassandraSettings, name: str, *, timeout: float = 10, connect_timeout: float = 10
) -> Iterator[Session]:
    """A session on the layer's cluster, in no keyspace, closed in the end. Raises Refused or NoAnswer."""
    made = cluster(layer, name, timeout=timeout, connect_timeout=connect_timeout)
    try:
        yield connect(made, layer, name)
    finally:
        made.shutdown()


def connect(made: Cluster, layer: CassandraSettings, name: str, keyspace: str | None = None) -> Session:
    """A session of the cluster. Raises Refused or NoAnswer, with the way out."""
    try:
        return made.connect(keyspace)
    except NoHostAvailable as error:
        raise explained(error, layer, name, _datacenters(made)) from None


def check_keyspace(session: Session, layer: CassandraSettings, name: str) -> None:
    """Raises Refused where the layer's keyspace does not exist."""
    if layer.keyspace not in session.cluster.metadata.keyspaces:
        raise Refused(
            f"the keyspace {layer.keyspace!r} of the {name} layer does not exist: `stitch schema apply` makes it, "
            f"or set {name}.keyspace"
        )


def connector_options(layer: CassandraSettings, stores: Stores | None = None) -> dict[str, str]:
    """The connector's options of the layer, by their full names. `stores`: of its TLS settings."""
    options: dict[str, str] = {
        "input.consistency.level": layer.read_consistency,
        "output.consistency.level": layer.write_consistency,
    }
    if layer.bundle:
        options["connection.config.cloud.path"] = Path(layer.bundle).absolute().as_uri()
    else:
        options["connection.host"] = ",".join(layer.hosts)
        options["connection.port"] = str(layer.port)
        options["connection.localDC"] = layer.datacenter
    if layer.username:
        options |= {"auth.username": layer.username, "auth.password": _password(layer)}
    if layer.tls:
        options |= {"connection.ssl.enabled": "true", "connection.ssl.enabledAlgorithms": ",".join(CIPHERS)}
    if stores and stores.trust:
        options |= _store("trustStore", str(stores.trust), stores.password)
    if stores and stores.key:
        options |= {"connection.ssl.clientAuth.enabled": "true"}
        options |= _store("keyStore", str(stores.key), stores.password)
    return {f"spark.cassandra.{option}": value for option, value in options.items()} | layer.connector


def _store(kind: str, path: str, password: str) -> dict[str, str]:
    named = {"path": path, "password": password, "type": "PKCS12"}
    return {f"connection.ssl.{kind}.{option}": value for option, value in named.items()}


def _whereabouts(layer: CassandraSettings, name: str) -> dict[str, Any]:
    """Where the cluster is: a bundle tells all of it, its TLS too."""
    if layer.bundle:
        return {"cloud": {"secure_connect_bundle": layer.bundle, "use_default_tempdir": True}}
    context = ssl_context(layer.tls, f"{name}.tls") if layer.tls else None
    return {"contact_points": layer.hosts, "port": layer.port, "ssl_context": context}


def _profile(
    layer: CassandraSettings, consistency: str, timeout: float, row_factory: Callable[..., Any]
) -> ExecutionProfile:
    here = DCAwareRoundRobinPolicy() if layer.bundle else DCAwareRoundRobinPolicy(layer.datacenter)
    return ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(here),
        consistency_level=ConsistencyLevel.name_to_value[consistency],
        request_timeout=timeout,
        row_factory=row_factory,
        # Of statements that say they are idempotent alone.
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(timeout * SPECULATIVE_SHARE, 2),
    )


def _password(layer: CassandraSettings) -> str:
    return layer.password.get_secret_value() if layer.password else ""


def _datacenters(made: Cluster) -> list[str]:
    """Those that the cluster told of before it was given up."""
    return sorted({str(host.datacenter) for host in made.metadata.all_hosts() if host.datacenter})
