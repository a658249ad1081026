"""TLS from the PEM files of the settings: a context for clients of Python, stores for clients of the JVM.

One set of files serves both, so that whoever rotates a certificate rotates one. The JVM's clients of Cassandra take
stores alone: they are written for the life of a job into a folder that only its user enters, under a password that
nobody learns.
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from stitch.clusters import TlsSettings
from stitch.errors import ExitStatus, StitchError


class BadCertificate(StitchError):
    """A file of the TLS settings cannot be used; the message names it."""

    exit_status = ExitStatus.USAGE


@dataclass(frozen=True)
class Stores:
    """PKCS#12 stores for the JVM: whom it trusts (None: whom it knows itself) and who it is (None: nobody)."""

    trust: Path | None
    key: Path | None
    password: str


def ssl_context(tls: TlsSettings, section: str) -> ssl.SSLContext:
    """A client's context. Raises BadCertificate, which names the setting (`section` and on)."""
    with _named(f"{section}.ca_file", tls.ca_file):
        context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.verify_hostname
    if tls.certificate_file:
        with _named(f"{section}.certificate_file or .key_file", tls.certificate_file, tls.key_file):
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(tls.certificate_file, tls.key_file, _key_password(tls) or "")
    return context


@contextmanager
def stores(tls: TlsSettings, section: str) -> Iterator[Stores]:
    """The same files as stores, in a private folder that is removed in the end. Raises BadCertificate."""
    password = secrets.token_urlsafe(24)
    sealed = BestAvailableEncryption(password.encode())
    with tempfile.TemporaryDirectory(prefix="stitch-tls-") as folder:  # 0700
        trust = key = None
        if tls.ca_file:
            with _named(f"{section}.ca_file", tls.ca_file):
                known = x509.load_pem_x509_certificates(Path(tls.ca_file).read_bytes())
            entries = [pkcs12.PKCS12Certificate(one, f"authority{n}".encode()) for n, one in enumerate(known)]
            trust = _write(Path(folder) / "trust.p12", pkcs12.serialize_java_truststore(entries, sealed))
        if tls.certificate_file and tls.key_file:
            with _named(f"{section}.certificate_file or .key_file", tls.certificate_file, tls.key_file):
                secret = _key_password(tls)
                own = load_pem_private_key(Path(tls.key_file).read_bytes(), secret.encode() if secret else None)
                first, *chain = x509.load_pem_x509_certificates(Path(tls.certificate_file).read_bytes())
                store = pkcs12.serialize_key_and_certificates(
                    b"stitch",
                    own,  # type: ignore[arg-type]
                    first,
                    chain,
                    sealed,
                )
            key = _write(Path(folder) / "key.p12", store)
        yield Stores(trust, key, password)


def _key_password(tls: TlsSettings) -> str | None:
    return tls.key_password.get_secret_value() if tls.key_password else None


def _write(path: Path, store: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(store)
    return path


@contextmanager
def _named(setting: str, *files: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError) as error:  # ssl.SSLError is an OSError
        section = setting.split(" ")[0].rpartition(".")[0]
        raise BadCertificate(
            f"{setting} ({', '.join(file for file in files if file)}) cannot be used: {error}. It must be a PEM file; "
            f"a sealed key needs {section}.key_password"
        ) from None
