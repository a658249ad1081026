"""One table of settings, two clients: what each library is given, and what is said where it cannot be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr, ValidationError

from connections.kafka import jvm, librdkafka, librdkafka_consumer
from connections.kafka_refusals import NoAnswer, Refused, explained
from stitch.clusters import KafkaSettings, TlsSettings
from stitch.settings import load_settings
from tests.certificates import Authority

SECRET = SecretStr('p"a\\s\ns')
SCRAM = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "username": "u", "password": SECRET}
OIDC = {
    "security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "token_endpoint": "https://id/token",
    "client_id": "c", "client_secret": SECRET, "scope": "s",
}  # fmt: skip
_LOGIN = "org.apache.kafka.common.security"

BOTH = {
    "plaintext": ({}, {"security.protocol": "PLAINTEXT"}, {"security.protocol": "PLAINTEXT"}),
    "SCRAM": (
        SCRAM,
        {
            "security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u",
            "sasl.password": 'p"a\\s\ns', "ssl.endpoint.identification.algorithm": "https",
        },
        {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": f'{_LOGIN}.scram.ScramLoginModule required username="u" password="p\\"a\\\\s\\ns";',
            "ssl.endpoint.identification.algorithm": "https",
        },
    ),
    "PLAIN without TLS": (
        {**SCRAM, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "password": SecretStr("p")},
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN", "sasl.username": "u", "sasl.password": "p"},
        {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": f'{_LOGIN}.plain.PlainLoginModule required username="u" password="p";',
        },
    ),
    "OAUTHBEARER": (
        {**OIDC, "client_secret": SecretStr("p")},
        {
            "security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": "https://id/token", "sasl.oauthbearer.client.id": "c",
            "sasl.oauthbearer.client.secret": "p", "sasl.oauthbearer.scope": "s",
            "ssl.endpoint.identification.algorithm": "https",
        },
        {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.token.endpoint.url": "https://id/token",
            "sasl.login.callback.handler.class": f"{_LOGIN}.oauthbearer.OAuthBearerLoginCallbackHandler",
            "sasl.jaas.config": f'{_LOGIN}.oauthbearer.OAuthBearerLoginModule required clientId="c" clientSecret="p" '
                                'scope="s";',
            "ssl.endpoint.identification.algorithm": "https",
        },
    ),
    "any host name": (
        {"security_protocol": "SSL", "tls": TlsSettings(verify_hostname=False)},
        {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"},
        {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": ""},
    ),
    "what the raw tables say wins, each for its own client": (
        {**SCRAM, "password": SecretStr("p"), "librdkafka": {"sasl.username": "x", "debug": "security"},
         "jvm": {"sasl.jaas.config": "mine", "client.dns.lookup": "use_all_dns_ips"}},
        {
            "security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "x",
            "sasl.password": "p", "ssl.endpoint.identification.algorithm": "https", "debug": "security",
        },
        {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": "mine",
            "ssl.endpoint.identification.algorithm": "https", "client.dns.lookup": "use_all_dns_ips",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "python", "java"), BOTH.values(), ids=BOTH.keys())
def test_both_clients_are_made_from_one_table(
    given: dict[str, Any], python: dict[str, str], java: dict[str, str]
) -> None:
    kafka = KafkaSettings(bootstrap_servers="b:1", **given)
    assert librdkafka(kafka) == {"bootstrap.servers": "b:1", "log_level": 0, **python}
    always = {"kafka.bootstrap.servers": "b:1", "kafka.isolation.level": "read_committed", "groupIdPrefix": "stitch"}
    assert jvm(kafka) == always | {f"kafka.{name}": value for name, value in java.items()}


def test_every_consumer_reads_what_is_committed_alone_and_has_a_group_of_the_prefix() -> None:
    kafka = KafkaSettings(group_prefix="team.stitch")
    made = librdkafka_consumer(kafka, isolation="read_committed")
    assert (made["isolation.level"], made["group.id"]) == ("read_committed", "team.stitch-offsets")
    assert (jvm(kafka)["kafka.isolation.level"], jvm(kafka)["groupIdPrefix"]) == ("read_committed", "team.stitch")


@pytest.mark.parametrize("password", [None, "open sesame"])
def test_a_client_certificate_goes_to_python_by_path_and_to_java_by_value(tmp_path: Path, password: str | None) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", key_password=password)
    tls = TlsSettings(
        ca_file=str(authority.ca_file),
        certificate_file=str(client.certificate_file),
        key_file=str(client.key_file),
        key_password=SecretStr(password) if password else None,
    )
    kafka = KafkaSettings(security_protocol="SSL", tls=tls)
    python, java = librdkafka(kafka), jvm(kafka)
    assert python["ssl.ca.location"] == str(authority.ca_file)
    assert python["ssl.key.location"] == str(client.key_file)
    assert python.get("ssl.key.password") == password
    assert java["kafka.ssl.truststore.type"] == java["kafka.ssl.keystore.type"] == "PEM"
    assert java["kafka.ssl.truststore.certificates"] == authority.ca_file.read_text("utf-8")
    assert java["kafka.ssl.keystore.certificate.chain"] == client.certificate_file.read_text("utf-8")
    assert java["kafka.ssl.keystore.key"].startswith("-----BEGIN PRIVATE KEY-----")  # PKCS#8, open: Java reads no other
    serialization.load_pem_private_key(java["kafka.ssl.keystore.key"].encode(), None)
    assert not [name for name in java if name.endswith("location")]  # executors need no files


def test_secrets_and_files_that_are_not_there_are_told_at_once() -> None:
    tls = TlsSettings(ca_file="/no/ca.pem", certificate_file="/no/c.pem", key_file="/no/k.pem")
    kafka = KafkaSettings(**{**SCRAM, "password": None}, tls=tls)  # type: ignore[arg-type]
    for make in (librdkafka, jvm):
        with pytest.raises(Refused) as told:
            make(kafka)
        said = str(told.value)
        assert "STITCH_KAFKA__PASSWORD_FILE" in said
        assert all(
            name in said for name in ("tls.ca_file: /no/ca.pem", "tls.certificate_file", "tls.key_file: /no/k.pem")
        )


def test_a_key_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    client = Authority(tmp_path).issue("client", key_password="right")
    tls = TlsSettings(certificate_file=str(client.certificate_file), key_file=str(client.key_file))
    for password in (None, SecretStr("wrong")):
        kafka = KafkaSettings(security_protocol="SSL", tls=tls.model_copy(update={"key_password": password}))
        with pytest.raises(Refused, match=r"kafka\.tls\.key_file: .* cannot be used"):
            jvm(kafka)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "SASL without a mechanism": ({"security_protocol": "SASL_SSL"}, "sasl_mechanism: SASL_SSL needs one"),
    "SCRAM without a user": ({**SCRAM, "username": None}, "username: sasl_mechanism SCRAM-SHA-512 needs it"),
    "OAUTHBEARER without an endpoint": ({**OIDC, "token_endpoint": None}, "token_endpoint: sasl_mechanism OAUTHBEARER"),
    "a mechanism that the protocol does not use": (
        {**SCRAM, "security_protocol": "SSL"},
        "sasl_mechanism: not used with SSL",
    ),
    "TLS that the protocol does not use": ({"tls": {"ca_file": "x"}}, "tls: not used with PLAINTEXT"),
    "a certificate without its key": (
        {"security_protocol": "SSL", "tls": {"certificate_file": "x"}},
        "certificate_file and key_file belong together",
    ),
    "an isolation level": ({"jvm": {"isolation.level": "read_uncommitted"}}, "isolation.level is Stitch's own to set"),
    "a group": ({"librdkafka": {"group": {"id": "x"}}}, "group.id is Stitch's own to set"),
}


@pytest.mark.parametrize(("given", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_of_the_settings_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as told:
        KafkaSettings(**given)
    assert message in str(told.value)


def test_kerberos_is_left_to_the_raw_tables() -> None:
    raw = {"librdkafka": {"sasl.mechanisms": "GSSAPI"}, "jvm": {"sasl.mechanism": "GSSAPI"}}
    kafka = KafkaSettings(security_protocol="SASL_SSL", **raw)  # type: ignore[arg-type]
    assert (librdkafka(kafka)["sasl.mechanisms"], jvm(kafka)["kafka.sasl.mechanism"]) == ("GSSAPI", "GSSAPI")


def test_the_tables_of_the_file_and_of_the_environment_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stitch.toml"
    counter = '[[counters]]\nname = "plays"\nkey = "track_id"\nweights = { play = 1 }\n'
    file.write_text("[kafka.librdkafka]\nsocket.keepalive.enable = true\n'client.rack' = 'a'\n" + counter, "utf-8")
    (tmp_path / "secret").write_text("s3\n", "utf-8")
    monkeypatch.setenv("STITCH_KAFKA__JVM", '{"sasl.jaas.config": "mine", "fetch.min.bytes": 1}')
    monkeypatch.setenv("STITCH_KAFKA__CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    kafka = load_settings(file).kafka
    assert kafka.librdkafka == {"socket.keepalive.enable": "true", "client.rack": "a"}
    assert kafka.jvm == {"sasl.jaas.config": "mine", "fetch.min.bytes": "1"}
    assert kafka.client_secret == SecretStr("s3")


def test_of_many_errors_the_refusal_is_told() -> None:
    timed_out, down = KafkaError(KafkaError._TIMED_OUT), KafkaError(KafkaError._ALL_BROKERS_DOWN)
    refused = KafkaError(KafkaError._AUTHENTICATION, "invalid credentials")
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    said = explained(kafka, timed_out, [down, refused])
    assert isinstance(said, Refused) and "authentication failed" in str(said) and "invalid credentials" in str(said)
    said = explained(kafka, timed_out, [down, KafkaError(KafkaError._RESOLVE, "not known")])
    assert isinstance(said, NoAnswer)
    assert str(said).startswith("no Kafka at 127.0.0.1:1 (_TIMED_OUT): start it") and "(not known)" in str(said)
