"""The certificate that the server shows: a user's own, or one made here once and signed by itself."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from suiro.app.home import home
from suiro.model.errors import ConfigError

FILE: Final = "server.pem"  #: in Suiro's home: the key and the certificate made here
_DAYS: Final = 825
_RENEWED_DAYS: Final = 30  #: before its end, a new one is made at the next start


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The files of a certificate and its key, and its SHA-256 fingerprint as browsers show it."""

    certificate: Path
    key: Path
    fingerprint: str
    own: bool  #: made here: whoever reaches the server compares the fingerprint


def made_before() -> bool:
    """Whether a certificate was made here already."""
    return (home() / FILE).exists()


def given(certificate: Path, key: Path | None) -> Certificate:
    """A user's certificate and key (the same file if it holds both). ConfigError if they can't serve."""
    key = key or certificate
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(
            f"{certificate} and {key} can't serve HTTPS: {said}",
            hint="Name PEM files of a certificate and its key, without a passphrase.",
        ) from error
    return Certificate(certificate=certificate, key=key, fingerprint=_fingerprint(found), own=False)


def made_here(names: tuple[str, ...]) -> Certificate:
    """The certificate in Suiro's home, made if it isn't there or ends soon: for this machine's names and `names`."""
    path = home() / FILE
    found = _kept(path)
    if found is None:
        found = _made(path, names)
    return Certificate(certificate=path, key=path, fingerprint=_fingerprint(found), own=True)


def _kept(path: Path) -> x509.Certificate | None:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"the certificate {path} can't be read: {error}", hint="Remove it: one is made.") from error
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"others on this machine may read the key in {path}", hint=f"Run: chmod 600 {path}")
    soon = datetime.now(UTC) + timedelta(days=_RENEWED_DAYS)
    return None if found.not_valid_after_utc < soon else found


def _made(path: Path, names: tuple[str, ...]) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Suiro")])
    now = datetime.now(UTC)
    alternatives = dict.fromkeys(["localhost", host, "127.0.0.1", "::1", *names])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in alternatives if name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, private + certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, readable to its owner alone."""
    new = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"can't make the certificate {path}: {error.strerror}", hint="Check the folder.") from error


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
