"""Kafka's clients: every setting of librdkafka (Python) and of the JVM's (Spark) comes from the one table `[kafka]`.

The two libraries name the same things differently and fail differently. Brokers that refuse a client do so in the
background of librdkafka, where a call merely times out; so a connection is greeted first, and what was heard meanwhile
becomes the message. The JVM is given certificates by value and not by path: executors need no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from connections.kafka_refusals import Refused, explained, refusal_of
from stitch.clusters import KafkaSettings

TIMEOUT_S = 10
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
}
_LOGIN_BY_OIDC = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler"
Hear = Callable[[KafkaError], None]


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
    """The same for a consumer that is told where to read. `group`: its name behind `group_prefix`; `isolation`: whether
    the end of a partition is in front of open transactions, or behind all that it holds."""
    return librdkafka(kafka) | {
        "group.id": f"{kafka.group_prefix}-{group}",
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,  # the end is told by a fetch that brought nothing
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
    """A consumer that the brokers have answered, of no subscription; closed at the end. Raises NotConnected as
    `admin`."""

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
    """Wait until a broker answers. librdkafka tries for ever where brokers refuse; here the others of the cluster have
    two seconds more to answer, once one has refused."""
    deadline, slice_s, refused = monotonic() + TIMEOUT_S, 0.5, False
    while True:
        try:
            ask(client, slice_s)
            return
        except KafkaException:
            client.poll(0)  # hands over what was heard in the background
            if refused or monotonic() > deadline:
                raise
            refused = any(refusal_of(kafka, error) for error in heard)
            slice_s = 2.0 if refused else min(slice_s * 2, max(deadline - monotonic(), 0.1))


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
