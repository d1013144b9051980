"""Who may do what: tokens with their scopes, and the exchange of a code for one."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import as_json
from suiro.sandbox.bigcommerce.records import Records

CLIENT_ID: Final = "sandboxapp0001"
#: The scope that opens an area; with `_read_only` behind it, for reading. The names are unverified.
SCOPES: Final[Mapping[str, str]] = {
    "customers": "store_v2_customers",
    "subscribers": "store_v2_customers",
    "orders": "store_v2_orders",
    "transactions": "store_v2_transactions",
    "products": "store_v2_products",
    "content": "store_v2_content",
    "information": "store_v2_information",
    "marketing": "store_v2_marketing",
    "channels": "store_channel_settings",
    "inventory": "store_inventory",
    "carts": "store_cart",
}
READS: Final = "_read_only"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for."""

    client_id: str
    scopes: frozenset[str]

    def allows(self, area: str, method: str) -> bool:
        """Whether an area is open for a method. Every token may do what belongs to no scope."""
        if area not in SCOPES:
            return True
        scope = SCOPES[area]
        return scope in self.scopes or (method in ("GET", "HEAD") and scope + READS in self.scopes)


FIRST: Final[Mapping[str, frozenset[str]]] = {
    "full": frozenset(SCOPES.values()),
    "read_only": frozenset(scope + READS for scope in SCOPES.values()),
    "customers_only": frozenset({SCOPES["customers"], SCOPES["information"] + READS}),
    "orders_only": frozenset({SCOPES["orders"] + READS, SCOPES["transactions"] + READS}),
}


class Access:
    """The tokens of one store. They never expire. Safe to use from several threads."""

    def __init__(self, records: Records, seed: int, store: str) -> None:
        self._records, self._seed, self.store = records, seed, store
        self._lock = threading.Lock()
        self.client_secret = self._made("client secret")
        self._codes: dict[str, frozenset[str]] = {}
        self._grants = {self.token(name): Grant(CLIENT_ID, scopes) for name, scopes in FIRST.items()}
        with records.reading() as reader:
            for row in reader.each("token"):
                self._grants[row["token"]] = Grant(row["client_id"], frozenset(row["scopes"]))

    def token(self, name: str) -> str:
        """The token that is there from the beginning, by its name."""
        return self._made(f"token {name}")[:31]

    def grant(self, token: str | None) -> Grant | None:
        """What a token stands for; None: it is none of this store."""
        return self._grants.get(token or "")

    def code(self, scopes: frozenset[str]) -> str:
        """A new code, to be exchanged once, as the vendor's page hands one to an app that a user installs."""
        with self._lock:
            code = secrets.token_hex(15)
            self._codes[code] = scopes
        return code

    def exchange(self, given: Mapping[str, str]) -> Response:
        """`POST /oauth2/token`. Errors are worded as OAuth 2 has them (unverified)."""
        if given.get("grant_type") != "authorization_code":
            return _refused("unsupported_grant_type", "The grant type must be authorization_code.")
        if (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, self.client_secret):
            return _refused("invalid_client", "The client credentials are invalid.")
        with self._lock:
            scopes = self._codes.pop(given.get("code", ""), None)
        if scopes is None or given.get("context") != f"stores/{self.store}":
            return _refused("invalid_grant", "Invalid authorization code.")
        token = secrets.token_hex(16)[:31]
        with self._records.writing() as writer:
            writer.add("token", {"token": token, "client_id": CLIENT_ID, "scopes": sorted(scopes)})
        self._grants[token] = Grant(CLIENT_ID, scopes)
        return as_json(
            {
                "access_token": token,
                "scope": " ".join(sorted(scopes)),
                "user": {"id": 1, "username": "owner@example.com", "email": "owner@example.com"},
                "context": f"stores/{self.store}",
            }
        )

    def _made(self, what: str) -> str:
        return hashlib.sha256(f"suiro sandbox {self._seed} {self.store} {what}".encode()).hexdigest()


def _refused(error: str, description: str) -> Response:
    return as_json({"error": error, "error_description": description}, 400)
