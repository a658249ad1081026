"""Why Kafka's brokers do not answer a client, told by what a person can do about it.

librdkafka hears of a refusal in the background and lets calls time out. It has one text for every certificate that it
does not trust, and none for a port of TLS that is spoken to without: there, Python's TLS is asked for the reason.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from confluent_kafka import KafkaError

from stitch.clusters import KafkaSettings
from stitch.errors import ExitStatus, StitchError

MOST_CHARACTERS = 300  # of what librdkafka says of itself


class NotConnected(StitchError):
    """The client has no connection to the brokers."""


class NoAnswer(NotConnected):
    """No broker answers (yet)."""

    exit_status = ExitStatus.AGAIN


class Refused(NotConnected):
    """The brokers will not answer this client until a person changes something; the message says what."""


def explained(kafka: KafkaSettings, error: KafkaError, heard: Sequence[KafkaError] = ()) -> NotConnected:
    """The error to raise in its place: the refusal that was heard in the background, else that of the call itself."""
    where = f"Kafka at {kafka.bootstrap_servers}"
    for said in (error, *heard):
        refusal = refusal_of(kafka, said)
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


def refusal_of(kafka: KafkaSettings, error: KafkaError) -> str | None:
    """What a broker's refusal is called, and what to look at; None for an error that may pass."""
    text = error.str()
    if error.code() == KafkaError._AUTHENTICATION:
        secret = "client_secret" if kafka.sasl_mechanism == "OAUTHBEARER" else "password"
        return f"authentication failed: look at kafka.sasl_mechanism, the user, and STITCH_KAFKA__{secret.upper()}"
    if "certificate required" in text or "bad certificate" in text:
        return (
            "authentication failed: it wants a client certificate that it trusts; "
            "set kafka.tls.certificate_file and key_file"
        )
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
