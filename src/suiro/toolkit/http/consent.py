"""A user's consent to OAuth: the code that comes back is compared, exchanged and kept."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from suiro.model.errors import AuthError
from suiro.toolkit.http.oauth import Consent, OAuth

_AGAIN: Final = "Sign in once more, and consent."


class AskedConsent:
    """Implements `spi.signing.SigningIn` for the authorization code with PKCE."""

    def __init__(self, oauth: OAuth, consent: Consent) -> None:
        self._oauth, self._consent = oauth, consent

    @property
    def url(self) -> str:
        return self._consent.url

    @property
    def state(self) -> str:
        return self._consent.state

    def accept(self, answer: Mapping[str, str]) -> None:
        if not hmac.compare_digest(answer.get("state", "").encode(), self._consent.state.encode()):
            raise AuthError("what came back is no answer to this sign-in: its state is another", hint=_AGAIN)
        if "error" in answer:
            more = answer.get("error_description", "")[:300]
            said = f"{answer['error'][:100]}{f': {more}' if more else ''}"
            raise AuthError(f"the service gave no consent: {said}", hint=_AGAIN)
        if not answer.get("code"):
            raise AuthError("what came back holds no code", hint=_AGAIN)
        self._oauth.accept(self._consent, answer["code"])
