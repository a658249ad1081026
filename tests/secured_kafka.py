"""A real Kafka with listeners that ask who one is: SASL_SSL (SCRAM, PLAIN, OAUTHBEARER) and mTLS, both with ACLs.

Whoever authenticates, by whichever way, is the user `stitch`; the plain port is the administrator's.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connections.kafka import librdkafka
from stitch.clusters import KafkaSettings
from stitch.settings import load_settings
from stitch_local import kafka, process
from tests.certificates import Authority, Certificate
from tests.conftest import free_ports, write_config

USER = "stitch"
SECRET = 'hush9b1f "quoted" \\ ;=$x'  # whatever a password may hold; the first word is what tests look for
MARK = "hush9b1f"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"


@dataclass(frozen=True)
class SecuredKafka:
    """A broker that runs: its ports, the authority of its certificate, a client's certificate, where tokens are had."""

    plain: KafkaSettings
    sasl_port: int
    mtls_port: int
    ca_file: Path
    client: Certificate
    token_endpoint: str

    def admin(self) -> AdminClient:
        return AdminClient(librdkafka(self.plain))

    def grant(self, topic: str, *operations: AclOperation) -> None:
        """ACLs of the user on a topic, no other."""
        self._allow(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, operations)

    def grant_group(self, prefix: str) -> None:
        self._allow(ResourceType.GROUP, prefix, ResourcePatternType.PREFIXED, (AclOperation.READ,))

    def _allow(self, kind: Any, name: str, pattern: Any, operations: tuple[AclOperation, ...]) -> None:
        user, allow = f"User:{USER}", AclPermissionType.ALLOW
        acls = [AclBinding(kind, name, pattern, user, "*", operation, allow) for operation in operations]
        admin = self.admin()
        for made in admin.create_acls(acls).values():
            made.result(10)


@contextmanager
def secured_kafka(folder: Path) -> Iterator[SecuredKafka]:
    """Start it, make the user, and stop it again."""
    plain, controller, sasl, mtls = free_ports(4)
    config = write_config(
        folder / "stitch.toml",
        kafka={"bootstrap_servers": f"127.0.0.1:{plain}"},
        local={"folder": str(folder / "local"), "kafka_port": plain, "kafka_controller_port": controller},
    )
    authority = Authority(folder / "certificates")
    broker, client = authority.issue("broker", "127.0.0.1"), authority.issue(USER)
    settings = load_settings(config)
    with tokens(folder / "jwks.json") as endpoint:
        jwks = f"file://{folder}/jwks.json"
        secured = kafka.Secured(
            listeners=[
                kafka.Listener("SECURED", sasl, "SASL_SSL", _tls(authority, broker) | _sasl(jwks)),
                kafka.Listener(
                    "MTLS", mtls, "SSL", _tls(authority, broker) | {
                        "ssl.client.auth": "required",
                        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
                    },
                ),
            ],
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
            flags=[f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"],
        )  # fmt: skip
        service = kafka.service(settings, secured)
        process.start(service)
        try:
            deadline = time.monotonic() + 120
            while not service.answers():
                assert time.monotonic() < deadline and process.running(service.pid_file), process.last_lines(
                    service.log
                )
                time.sleep(0.1)
            made = SecuredKafka(settings.kafka, sasl, mtls, authority.ca_file, client, endpoint)
            scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            users = [UserScramCredentialUpsertion(USER, scram, SECRET.encode())]
            admin = made.admin()
            admin.alter_user_scram_credentials(users)[USER].result(10)
            yield made
        finally:
            process.stop(service.pid_file)


def _tls(authority: Authority, broker: Certificate) -> dict[str, str]:
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker.store_file),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
    }


def _sasl(jwks: str) -> dict[str, str]:
    plain = SECRET.replace("\\", "\\\\").replace('"', '\\"')
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        "scram-sha-512.sasl.jaas.config": _SCRAM,
        "plain.sasl.jaas.config": f'{_PLAIN} user_{USER}="{plain}";'.replace("\\", "\\\\"),  # of a properties file
        "oauthbearer.sasl.jaas.config": _OAUTH,
        "oauthbearer.sasl.server.callback.handler.class": _VALIDATOR,
        "sasl.oauthbearer.jwks.endpoint.url": jwks,
        "sasl.oauthbearer.expected.audience": "kafka",
    }


@contextmanager
def tokens(jwks: Path) -> Iterator[str]:
    """The token endpoint of an OIDC provider on loopback; its public key is written to `jwks`, for the broker."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.public_key().public_numbers()
    n, e = (_base64(number.to_bytes((number.bit_length() + 7) // 8, "big")) for number in (numbers.n, numbers.e))
    public = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": n, "e": e}
    jwks.write_text(json.dumps({"keys": [public]}), "utf-8")

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind, _, given = self.headers.get("Authorization", "").partition(" ")
            right = kind == "Basic" and base64.b64decode(given).decode() == f"{USER}:{MARK}"
            now = int(time.time())
            claims = {"sub": USER, "aud": "kafka", "scope": "kafka", "iat": now, "exp": now + 300}
            answer = {"access_token": signed(claims), "token_type": "Bearer", "expires_in": 300}
            body = json.dumps(answer if right else {"error": "invalid_client"}).encode()
            self.send_response(200 if right else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    def signed(claims: dict[str, Any]) -> str:
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "1"}, claims]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        server.server_close()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
