"""The ways to an OAuth access token that need nobody at a browser: what each sends to the token endpoint."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc import jwt
from joserfc.jwk import RSAKey

from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Json

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Way(ABC):
    """One way to a token. `hint` is for the user whom the service refuses one."""

    hint: ClassVar[str]
    repeatable: ClassVar[bool] = True  #: asking twice does no harm

    @abstractmethod
    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        """What is sent; `kept` is the last answer of the token endpoint to these settings."""

    @abstractmethod
    def secrets(self) -> Collection[str]:
        """What must not be told."""

    def settings(self) -> Collection[str]:
        """Where these change, tokens that are kept are no longer used."""
        return self.secrets()


class RefreshToken(Way):
    """A refresh token, as configured or as it was replaced since; None: only what a user's consent brought."""

    hint = "The grant has ended or was withdrawn: sign in again, and give the connection the new refresh token."
    repeatable = False  # where each is good for one use, a second use ends the whole grant

    def __init__(self, token: str | None) -> None:
        self._token = token

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        token = kept.get("refresh_token") or self._token
        if not isinstance(token, str) or not token:
            raise AuthError("nobody has signed in for this connection yet, or the sign-in has ended", hint="Sign in.")
        return {"grant_type": "refresh_token", "refresh_token": token}

    def secrets(self) -> Collection[str]:
        return (self._token,) if self._token else ()


class ClientCredentials(Way):
    """The app signs in as itself."""

    hint = "Check the client id and secret, and that the app may sign in as itself (client credentials)."

    def __init__(self, scope: str = "") -> None:
        self._scope = scope

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        return {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}

    def secrets(self) -> Collection[str]:
        return ()


class Password(Way):
    """A user's name and password."""

    hint = "Check user and password; many services allow this way of signing in only where it was switched on."

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        return {"grant_type": "password", "username": self._user, "password": self._password}

    def secrets(self) -> Collection[str]:
        return (self._password,)

    def settings(self) -> Collection[str]:
        return self._user, self._password


class JwtBearer(Way):
    """A statement signed with the app's private key (RS256): who signs in, and to what."""

    hint = "Check user, audience and key: the app must know the key's certificate, and the user must be admitted."
    LIFE: ClassVar[int] = 180  #: seconds that a statement holds

    def __init__(self, *, subject: str, audience: str, private_key: str, passphrase: str | None = None) -> None:
        self._subject, self._audience, self._pem = subject, audience, private_key
        self._key = _rsa_key(private_key, passphrase)
        self._passphrase = passphrase

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        claims = {"iss": client_id, "sub": self._subject, "aud": self._audience, "exp": int(time.time()) + self.LIFE}
        return {"grant_type": JWT_BEARER, "assertion": jwt.encode({"alg": "RS256"}, claims, self._key)}

    def secrets(self) -> Collection[str]:
        return tuple(filter(None, (self._pem, self._passphrase)))

    def settings(self) -> Collection[str]:
        return self._subject, self._audience, self._pem


def _rsa_key(pem: str, passphrase: str | None) -> RSAKey:
    """The private key; ConfigError where it is none."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), passphrase.encode() if passphrase else None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "the private key can't be read",
            hint="Give an RSA key in PEM form, with the passphrase if it has one.",
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError("the private key is no RSA key", hint="RS256 needs an RSA key.")
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return RSAKey.import_key(plain)
