"""Tests of the certificate that the server makes itself."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from suiro.app import certificates
from suiro.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_for_this_machine_and_the_names_given(suiro_home: Path) -> None:
    assert not certificates.made_before()
    made = certificates.made_here(("suiro.example.com", "192.0.2.7"))
    assert certificates.made_before() and made.own
    assert certificates.made_here(()) == made
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "suiro.example.com"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "::1", "192.0.2.7"} == set(map(str, names.get_values_for_type(x509.IPAddress)))
    assert len(made.fingerprint) == 95 and made.fingerprint == made.fingerprint.upper()


def test_one_that_ends_soon_is_made_anew(suiro_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as short:
        short.setattr(certificates, "_DAYS", 20)
        ending = certificates.made_here(())
    assert certificates.made_here(()).fingerprint != ending.fingerprint


def test_a_key_that_others_may_read_is_refused(suiro_home: Path) -> None:
    made = certificates.made_here(())
    made.key.chmod(0o644)
    with pytest.raises(ConfigError, match="others on this machine may read the key"):
        certificates.made_here(())


def test_a_certificate_without_its_key_is_refused(suiro_home: Path, tmp_path: Path) -> None:
    made = certificates.made_here(())
    text = made.certificate.read_text("ascii")
    alone = tmp_path / "alone.pem"
    alone.write_text(text[text.index("-----BEGIN CERT") :])
    assert certificates.given(alone, made.key).fingerprint == made.fingerprint
    for certificate, key in ((alone, None), (tmp_path / "gone.pem", None), (alone, tmp_path / "gone.pem")):
        with pytest.raises(ConfigError, match="can't serve HTTPS"):
            certificates.given(certificate, key)
