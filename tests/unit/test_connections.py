"""What clients of Cassandra are told, from the settings of a layer; and what a person is told of a refusal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cassandra import AuthenticationFailed, ConsistencyLevel, OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT, NoHostAvailable
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cryptography.hazmat.primitives.serialization import pkcs12
from pydantic import ValidationError

from connections.cassandra import CIPHERS, WRITE, cluster, connector_options
from connections.refusals import NoAnswer, NotConnected, Refused, explained
from connections.tls import BadCertificate, Stores, ssl_context, stores
from stitch.clusters import CassandraSettings, TlsSettings
from tests.certificates import Authority

# Spark's default of spark.redaction.regex: what it hides in its pages and events.
REDACTED = re.compile(r"(?i)secret|password|token|access[.]?key")


def layer(**values: Any) -> CassandraSettings:
    return CassandraSettings(**({"keyspace": "k"} | values))


PLAIN = {
    "spark.cassandra.connection.host": "127.0.0.1",
    "spark.cassandra.connection.port": "19042",
    "spark.cassandra.connection.localDC": "datacenter1",
    "spark.cassandra.input.consistency.level": "LOCAL_QUORUM",
    "spark.cassandra.output.consistency.level": "LOCAL_QUORUM",
}
AUTH = {"spark.cassandra.auth.username": "u", "spark.cassandra.auth.password": "p"}
SSL = "spark.cassandra.connection.ssl"
TLS = {f"{SSL}.enabled": "true", f"{SSL}.enabledAlgorithms": ",".join(CIPHERS)}
TRUST = {f"{SSL}.trustStore.path": "/t.p12", f"{SSL}.trustStore.password": "x", f"{SSL}.trustStore.type": "PKCS12"}
KEY = {f"{SSL}.keyStore.path": "/k.p12", f"{SSL}.keyStore.password": "x", f"{SSL}.keyStore.type": "PKCS12"}
CLIENT = {f"{SSL}.clientAuth.enabled": "true"}
USER = {"username": "u", "password": "p"}

OPTIONS: dict[str, tuple[dict[str, Any], Stores | None, dict[str, str]]] = {
    "nothing said": ({}, None, PLAIN),
    "three hosts": (
        {"hosts": ["a", "b", "c"], "port": 9042, "datacenter": "eu"},
        None,
        PLAIN
        | {
            "spark.cassandra.connection.host": "a,b,c",
            "spark.cassandra.connection.port": "9042",
            "spark.cassandra.connection.localDC": "eu",
        },
    ),
    "consistency": (
        {"read_consistency": "ONE", "write_consistency": "ALL"},
        None,
        PLAIN | {"spark.cassandra.input.consistency.level": "ONE", "spark.cassandra.output.consistency.level": "ALL"},
    ),
    "a user": (USER, None, PLAIN | AUTH),
    "TLS by whom Java knows": ({"tls": {}}, Stores(None, None, "x"), PLAIN | TLS),
    "TLS": ({"tls": {}}, Stores(Path("/t.p12"), None, "x"), PLAIN | TLS | TRUST),
    "mTLS": ({"tls": {}}, Stores(Path("/t.p12"), Path("/k.p12"), "x"), PLAIN | TLS | TRUST | CLIENT | KEY),
    "a bundle": (
        {"username": "token", "password": "p", "bundle": "/etc/astra.zip"},
        None,
        {name: value for name, value in PLAIN.items() if ".connection." not in name}
        | {
            "spark.cassandra.connection.config.cloud.path": "file:///etc/astra.zip",
            "spark.cassandra.auth.username": "token",
            "spark.cassandra.auth.password": "p",
        },
    ),
    "options passed through win": (
        {"connector": {"spark": {"cassandra": {"connection": {"port": 1}, "read.timeoutMS": 5}}}},
        None,
        PLAIN | {"spark.cassandra.connection.port": "1", "spark.cassandra.read.timeoutMS": "5"},
    ),
}


@pytest.mark.parametrize(("said", "made", "expected"), OPTIONS.values(), ids=OPTIONS.keys())
def test_the_connector_gets_the_options_of_the_layer(
    said: dict[str, Any], made: Stores | None, expected: dict[str, str]
) -> None:
    assert connector_options(layer(**said), made) == expected


def test_spark_redacts_every_secret_among_the_options() -> None:
    options = connector_options(layer(**USER, tls={}), Stores(Path("/t.p12"), Path("/k.p12"), "x"))
    assert sorted(name for name in options if REDACTED.search(f"realtime/{name}")) == [
        "spark.cassandra.auth.password",
        f"{SSL}.keyStore.password",
        f"{SSL}.trustStore.password",
    ]


def test_no_cipher_is_of_the_old_kind() -> None:
    assert [name for name in CIPHERS if "CBC" in name or name.startswith("TLS_RSA")] == []


def test_the_driver_reads_and_writes_at_the_consistency_of_the_layer_in_its_datacenter() -> None:
    made = cluster(layer(read_consistency="QUORUM", datacenter="eu"), "realtime", timeout=1)
    try:
        read, write = (made.profile_manager.profiles[name] for name in (EXEC_PROFILE_DEFAULT, WRITE))
        assert (read.consistency_level, write.consistency_level) == (
            ConsistencyLevel.QUORUM,
            ConsistencyLevel.LOCAL_QUORUM,
        )
        policy = read.load_balancing_policy
        assert isinstance(policy, TokenAwarePolicy) and isinstance(policy._child_policy, DCAwareRoundRobinPolicy)
        assert policy._child_policy.local_dc == "eu"
    finally:
        made.shutdown()


def test_a_bundle_is_given_to_the_driver_with_the_token_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("connections.cassandra.Cluster", lambda **values: given.update(values) or _Nothing())
    cluster(layer(username="token", password="AstraCS:x", bundle="/etc/astra.zip"), "batch", timeout=1)
    assert given["cloud"]["secure_connect_bundle"] == "/etc/astra.zip"
    assert (given["auth_provider"].username, given["auth_provider"].password) == ("token", "AstraCS:x")
    assert not {"contact_points", "port", "ssl_context"} & set(given)  # the driver takes none of them beside a bundle


class _Nothing:
    protocol_version = 0


def test_stores_are_private_hold_key_and_authority_and_go_with_the_job(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    client = ours.issue("client", key_password="sealed")
    tls = TlsSettings(
        ca_file=str(ours.ca_file),
        certificate_file=str(client.certificate_file),
        key_file=str(client.key_file),
        key_password="sealed",
    )
    with stores(tls, "realtime.tls") as made:
        assert made.trust and made.key
        assert [path.stat().st_mode & 0o777 for path in (made.trust, made.key, made.key.parent)] == [
            0o600,
            0o600,
            0o700,
        ]
        own = pkcs12.load_pkcs12(made.key.read_bytes(), made.password.encode())
        known = pkcs12.load_pkcs12(made.trust.read_bytes(), made.password.encode())
        assert own.key and own.cert and not known.key and len(known.additional_certs) == 1
    assert not made.key.parent.exists()


def test_a_file_that_is_no_certificate_is_named_with_its_setting(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    sealed = ours.issue("client", key_password="sealed")
    files = {"certificate_file": str(sealed.certificate_file), "key_file": str(sealed.key_file)}
    (tmp_path / "text").write_text("hello")
    mistakes = {
        r"batch.tls.ca_file \(/nowhere.pem\) cannot be used": TlsSettings(ca_file="/nowhere.pem"),
        r"batch.tls.ca_file \(.*text\) cannot be used": TlsSettings(ca_file=str(tmp_path / "text")),
        r"batch.tls.key_password": TlsSettings(**files, ca_file=str(ours.ca_file)),
    }
    for message, tls in mistakes.items():
        with pytest.raises(BadCertificate, match=message):
            ssl_context(tls, "batch.tls")
        with pytest.raises(BadCertificate, match=message), stores(tls, "batch.tls"):
            pass


def test_only_the_name_of_a_host_may_be_left_unchecked() -> None:
    context = ssl_context(TlsSettings(verify_hostname=False), "batch.tls")
    assert not context.check_hostname and context.verify_mode.name == "CERT_REQUIRED"


WRAPPED = "Tried connecting to [('127.0.0.1', 9042)]. Last error: [SSL: %s]"
REFUSED = {
    "password": (AuthenticationFailed("Bad credentials"), Refused, "refuses the user or the password"),
    "authority": (
        OSError(1, WRAPPED % "CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer"),
        Refused,
        "signed by nobody",
    ),
    "host": (
        OSError(1, WRAPPED % "CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is"),
        Refused,
        "batch.tls.verify_hostname = false",
    ),
    "client": (
        OSError(1, WRAPPED % "TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required"),
        Refused,
        "batch.tls.certificate_file",
    ),
    "host with a name of its own": (
        OSError(
            1, WRAPPED % "CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, 'db.closed.net'"
        ),
        Refused,
        "names another host",
    ),
    "no TLS": (OSError(1, WRAPPED % "WRONG_VERSION_NUMBER] wrong version number"), Refused, "does not speak TLS"),
    "hung up over TLS": (
        OSError(8, WRAPPED % "UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol (_ssl.c:2427)"),
        NoAnswer,
        "start it (`stitch local up`), or set batch.hosts",
    ),
    "hung up": (ConnectionResetError(104, "Connection reset by peer"), NoAnswer, "add [batch.tls]"),
    "timeout": (OperationTimedOut(), NoAnswer, "start it (`stitch local up`), or set batch.hosts"),
}


def test_a_server_that_hangs_up_over_tls_may_be_going_down_or_want_a_certificate() -> None:
    cause = OSError(8, "EOF occurred in violation of protocol (_ssl.c:2427)")
    error = explained(NoHostAvailable("", {"h": cause}), layer(**USER, tls={}), "batch", [])
    assert type(error) is NoAnswer and "set batch.tls.certificate_file and .key_file" in str(error)


@pytest.mark.parametrize(("cause", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_person_must_change_is_told_apart_from_what_may_pass(
    cause: Exception, kind: type[NotConnected], message: str
) -> None:
    error = explained(NoHostAvailable("", {"127.0.0.1:19042": cause}), layer(**USER), "batch", ["datacenter1"])
    assert type(error) is kind and message in str(error) and "127.0.0.1:19042" in str(error)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a user without a password": ({"username": "u"}, "set its password by the environment"),
    "a bundle without a token": ({"bundle": "b.zip"}, 'set username = "token"'),
    "a bundle beside TLS": (USER | {"bundle": "b.zip", "tls": {}}, "a bundle holds its own certificates"),
    "a consistency that is none": ({"read_consistency": "MOST"}, "read_consistency"),
    "a read at each quorum": ({"read_consistency": "EACH_QUORUM"}, "read_consistency"),
    "a certificate without its key": ({"tls": {"certificate_file": "c.pem"}}, "belong together"),
    "an option of something else": ({"connector": {"spark.executor.memory": "1g"}}, "spark"),
    "no hosts": ({"hosts": []}, "hosts"),
}


@pytest.mark.parametrize(("said", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_layer_is_named(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        layer(**said)
