"""Who may sign in: one user, one connected app, its keys. Made up, and the same in every sandbox."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from suiro.sandbox.salesforce.ids import record_id
from suiro.sandbox.salesforce.org import Org

USERNAME = "integration@suiro.example"
PASSWORD = "sandbox-password"
SECURITY_TOKEN = "SandboxToken123"
CLIENT_ID = "sandbox.connected.app"
CLIENT_SECRET = "sandbox-client-secret"
#: The refresh token that exists from the start, as if the user had consented long ago.
REFRESH_TOKEN = "5Aep861-sandbox-refresh-token"
USER_ID = record_id("005", 1)
ORG_ID = record_id("00D", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The key pair of the connected app (JWT) and of the identity provider, as PEM."""

    private: str
    public: str


def keys(org: Org) -> Keys:
    """The org's key pair, made when it is first asked for."""
    private = org.fact("private_key")
    if private is None:
        fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = fresh.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        org.keep_fact("private_key", private)
    loaded = serialization.load_pem_private_key(private.encode(), None)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Keys(private=private, public=public.decode())
