"""Kafka's clients: every setting of librdkafka (Python) and of the JVM's (Spark) comes from the one table `[kafka]`.

The two libraries name the same things differently and fail differently. Brokers that refuse a client do so in the
background of librdkafka, where a call merely times out; so a connection is greeted first, and what was heard meanwhile
becomes the message. The JVM is given certificates by value and not by path: executors need no files.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from stitch.errors import StitchError
from stitch.sections import KafkaSettings

TIMEOUT_S = 10
MOST_CHARACTERS = 300  # of what librdkafka says of itself
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
}
_LOGIN_BY_OIDC = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler"
Hear = Callable[[KafkaError], None]


class NotConnected(StitchError):
    """The client has no connection to the brokers."""


class NoAnswer(NotConnected):
    """No broker answers (yet)."""


class Refused(NotConnected):
    """The brokers will not answer this client until a person changes something; the message says what."""


def librdkafka(kafka: KafkaSettings) -> dict[str, Any]:
    """What every client of confluent-kafka is made with. Raises Refused where a secret or a file is missing."""
    _check(kafka)
    tls = kafka.tls
    settings: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "log_level": 0,
    }
    if kafka.sasl_mechanism:
        settings["sasl.mechanisms"] = kafka.sasl_mechanism
    if kafka.sasl_mechanism == "OAUTHBEARER":
        settings |= {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": kafka.token_endpoint,
            "sasl.oauthbearer.client.id": kafka.client_id,
            "sasl.oauthbearer.client.secret": _secret(kafka.client_secret),
            "sasl.oauthbearer.scope": kafka.scope,
        }
    elif kafka.sasl_mechanism:
        settings |= {"sasl.username": kafka.username, "sasl.password": _secret(kafka.password)}
    if kafka.uses_tls:
        settings |= {
            "ssl.ca.location": tls.ca_file,
            "ssl.certificate.location": tls.certificate_file,
            "ssl.key.location": tls.key_file,
            "ssl.key.password": _secret(tls.key_password),
            "ssl.endpoint.identification.algorithm": "https" if tls.verify_hostname else "none",
        }
    return {name: value for name, value in settings.items() if value is not None} | kafka.librdkafka


def librdkafka_consumer(
    kafka: KafkaSettings, group: str = "offsets", isolation: str = "read_committed"
) -> dict[str, Any]:
    """The same for a consumer that is told where to read. `group`: its name behind `group_prefix`; `isolation`: whether the
    end of a partition is in front of open transactions, or behind all that it holds."""
    return librdkafka(kafka) | {
        "group.id": f"{kafka.group_prefix}-{group}",
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # an offset that is not there is an error, and not another offset
    }


def jvm(kafka: KafkaSettings) -> dict[str, str]:
    """The options of Spark's Kafka source: `kafka.…` for the client itself. Raises Refused as `librdkafka` does."""
    _check(kafka)
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "security.protocol": kafka.security_protocol}
    if kafka.sasl_mechanism:
        settings |= {"sasl.mechanism": kafka.sasl_mechanism, "sasl.jaas.config": _jaas(kafka)}
    if kafka.sasl_mechanism == "OAUTHBEARER":
        settings |= {
            "sasl.oauthbearer.token.endpoint.url": kafka.token_endpoint or "",
            "sasl.login.callback.handler.class": _LOGIN_BY_OIDC,
        }
    if kafka.uses_tls:
        settings |= _jvm_tls(kafka)
    settings |= {**kafka.jvm, "isolation.level": "read_committed"}  # what is aborted never happened
    return {f"kafka.{name}": value for name, value in settings.items()} | {"groupIdPrefix": kafka.group_prefix}


@contextmanager
def admin(kafka: KafkaSettings) -> Iterator[AdminClient]:
    """An AdminClient that the brokers have answered. Raises NotConnected, for what fails inside the block too."""

    def ask(client: AdminClient, timeout: float) -> None:
        client.describe_cluster(request_timeout=timeout).result(timeout + 1)

    with _answered(kafka, lambda heard: AdminClient(librdkafka(kafka) | {"error_cb": heard}), ask) as client:
        yield client


@contextmanager
def consumer(kafka: KafkaSettings, isolation: str = "read_committed") -> Iterator[Consumer]:
    """A consumer that the brokers have answered, of no subscription; closed at the end. Raises NotConnected as `admin`."""

    def ask(client: Consumer, timeout: float) -> None:
        client.list_topics(kafka.topic, timeout=timeout)

    made: list[Consumer] = []

    def make(heard: Hear) -> Consumer:
        made.append(Consumer(librdkafka_consumer(kafka, isolation=isolation) | {"error_cb": heard}))
        return made[0]

    try:
        with _answered(kafka, make, ask) as client:
            yield client
    finally:
        for client in made:
            client.close()


@contextmanager
def _answered(kafka: KafkaSettings, make: Callable[[Hear], Any], ask: Callable[[Any, float], None]) -> Iterator[Any]:
    heard: list[KafkaError] = []
    try:
        client = make(heard.append)
        _greet(kafka, client, ask, heard)
        yield client
    except KafkaException as error:
        raise explained(kafka, error.args[0], heard) from None


def _greet(kafka: KafkaSettings, client: Any, ask: Callable[[Any, float], None], heard: list[KafkaError]) -> None:
    """Wait until a broker answers; no longer than until one refuses, since librdkafka itself would try for ever."""
    deadline, slice_s = monotonic() + TIMEOUT_S, 0.5
    while True:
        try:
            ask(client, slice_s)
            return
        except KafkaException:
            client.poll(0)  # hands over what was heard in the background
            if any(_refusal(kafka, error) for error in heard) or monotonic() > deadline:
                raise
            slice_s = min(slice_s * 2, max(deadline - monotonic(), 0.1))


def explained(kafka: KafkaSettings, error: KafkaError, heard: Sequence[KafkaError] = ()) -> NotConnected:
    """The error to raise in its place: the refusal that was heard in the background, else that of the call itself."""
    where = f"Kafka at {kafka.bootstrap_servers}"
    for said in (error, *heard):
        refusal = _refusal(kafka, said)
        if refusal:
            return Refused(f"{where} refuses this client: {refusal}\n  ({said.str()[:MOST_CHARACTERS]})")
    if error.code() == KafkaError._INVALID_ARG:
        return Refused(f"Kafka's client cannot be made: {error.str()} (see [kafka] and [kafka.librdkafka])")
    if error.code() in _DENIED:
        return Refused(f"{where} denies what was asked ({error.name()}): {_DENIED[error.code()]}")
    if not kafka.uses_tls and answers_in_tls(kafka):
        return Refused(f"{where} speaks TLS: set kafka.security_protocol to SSL or SASL_SSL")
    causes = [said.str() for said in heard if said.code() != KafkaError._ALL_BROKERS_DOWN]
    return NoAnswer(
        f"no {where} ({error.name()}): start it (`stitch local up`), or set kafka.bootstrap_servers"
        + (f"\n  ({causes[0][:MOST_CHARACTERS]})" if causes else "")
    )


def _refusal(kafka: KafkaSettings, error: KafkaError) -> str | None:
    """What a broker's refusal is called, and what to look at; None for an error that may pass."""
    text = error.str()
    if error.code() == KafkaError._AUTHENTICATION:
        secret = "client_secret" if kafka.sasl_mechanism == "OAUTHBEARER" else "password"
        return f"authentication failed: look at kafka.sasl_mechanism, the user, and STITCH_KAFKA__{secret.upper()}"
    if "certificate required" in text or "bad certificate" in text:
        return "authentication failed: it wants a client certificate that it trusts; set kafka.tls.certificate_file and key_file"
    if "certificate verify failed" in text:
        return f"its certificate is not trusted: {what_tls_says(kafka) or 'look at kafka.tls'}"
    if error.code() == KafkaError._SSL:
        return "TLS failed: look at kafka.tls"
    if "PLAINTEXT broker listener" in text:
        return "it does not speak TLS on this port: look at kafka.security_protocol and kafka.bootstrap_servers"
    return None


_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user needs the ACLs DESCRIBE, DESCRIBE_CONFIGS and READ on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user needs the ACL READ on the groups of kafka.group_prefix",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user lacks an ACL on the cluster",
}


def what_tls_says(kafka: KafkaSettings) -> str | None:
    """Why a broker's certificate is not trusted. librdkafka has one text for all reasons, so Python's TLS is asked."""
    try:
        _handshake(kafka, ssl.create_default_context(cafile=kafka.tls.ca_file))
    except ssl.SSLCertVerificationError as error:
        if "mismatch" in error.verify_message:
            way_out = "look at kafka.bootstrap_servers, or kafka.tls.verify_hostname"
            return f"it names another host ({error.verify_message}); {way_out}"
        return f"{error.verify_message}; kafka.tls.ca_file must hold the authority that signed it"
    except (OSError, ValueError):
        pass
    return None


def answers_in_tls(kafka: KafkaSettings) -> bool:
    """Whether the port speaks TLS; who speaks without it is hung up on, and hears no reason."""
    try:
        _handshake(kafka, ssl.create_default_context(cafile=kafka.tls.ca_file))
        return True
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, ValueError):
        return False


def _handshake(kafka: KafkaSettings, context: ssl.SSLContext) -> None:
    host, _, port = kafka.bootstrap_servers.split(",")[0].strip().rpartition(":")
    host = host.strip("[]")
    with (
        socket.create_connection((host, int(port)), timeout=3) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass


def _check(kafka: KafkaSettings) -> None:
    """Raises Refused with a line for each secret and file that the settings call for and that is not there."""
    secrets = {
        None: (), "OAUTHBEARER": ("client_secret",),
    }.get(kafka.sasl_mechanism, ("password",))  # fmt: skip
    wrong = [
        f"kafka.{name}: kafka.sasl_mechanism {kafka.sasl_mechanism} needs it; set STITCH_KAFKA__{name.upper()}, "
        f"or STITCH_KAFKA__{name.upper()}_FILE"
        for name in secrets
        if not getattr(kafka, name)
    ]
    for name in ("ca_file", "certificate_file", "key_file"):
        path = getattr(kafka.tls, name)
        if path is None:
            continue
        try:
            Path(path).read_bytes()
        except OSError as error:
            wrong.append(f"kafka.tls.{name}: {path} cannot be read: {error.strerror}")
    if not wrong and kafka.tls.key_file:
        try:
            _key(kafka)
        except (ValueError, TypeError) as error:
            wrong.append(f"kafka.tls.key_file: {kafka.tls.key_file} cannot be used: {error}")
    if wrong:
        raise Refused("\n  ".join(["Kafka's clients cannot be made:", *wrong]))


def _jvm_tls(kafka: KafkaSettings) -> dict[str, str]:
    tls = kafka.tls
    settings = {"ssl.endpoint.identification.algorithm": "https" if tls.verify_hostname else ""}
    if tls.ca_file:
        text = Path(tls.ca_file).read_text("utf-8")
        settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": text}
    if tls.certificate_file:
        settings |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": Path(tls.certificate_file).read_text("utf-8"),
            "ssl.keystore.key": _key(kafka),
        }
    return settings


def _key(kafka: KafkaSettings) -> str:
    """The client's key as PKCS#8, the one form that the JVM's client reads; OpenSSL reads every one."""
    password = _secret(kafka.tls.key_password)
    pem = Path(kafka.tls.key_file or "").read_bytes()
    key = load_pem_private_key(pem, password.encode() if password else None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _jaas(kafka: KafkaSettings) -> str:
    """The JVM's way to say who one is: a login module with options in quotes."""
    if kafka.sasl_mechanism == "OAUTHBEARER":
        said = {"clientId": kafka.client_id, "clientSecret": _secret(kafka.client_secret), "scope": kafka.scope}
    else:
        said = {"username": kafka.username, "password": _secret(kafka.password)}
    options = "".join(f" {name}={_quoted(value)}" for name, value in said.items() if value is not None)
    return f"{_MODULES[kafka.sasl_mechanism or '']} required{options};"


def _quoted(text: str) -> str:
    """As the JAAS parser reads it: escapes as in C, for a raw line break would end the text."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def _secret(secret: Any) -> str | None:
    return None if secret is None else secret.get_secret_value()
