"""Certificates for tests of TLS, by trustme: an authority of the test's own, and what it signs, as PEM files.

Keys are written as PKCS#8, the one form that Python, librdkafka and the JVM's PEM readers (Kafka, Cassandra) all take.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Certificate:
    """A certificate with its chain, its key, and both in one file (what a JVM server's PEM store is)."""

    certificate_file: Path
    key_file: Path
    store_file: Path


class Authority:
    """Signs certificates into `folder`; clients and servers that trust `ca_file` trust them."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA(organization_name=name)
        self.ca_file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, name: str, *hosts: str, key_password: str | None = None) -> Certificate:
        """A certificate of the common name, for these hosts and addresses (an mTLS client needs none of them)."""
        leaf = self._ca.issue_cert(*(hosts or (name,)), common_name=name)
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), password=None)
        sealed: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(key_password.encode())
            if key_password
            else serialization.NoEncryption()
        )
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
        chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
        made = Certificate(*(self._folder / f"{name}.{kind}.pem" for kind in ("certificate", "key", "store")))
        for path, text in (
            (made.certificate_file, chain),
            (made.key_file, key_pem),
            (made.store_file, key_pem + chain),
        ):
            path.touch(mode=0o600)
            path.write_bytes(text)
            os.chmod(path, 0o600)
        return made
