"""Sessions, grants and refresh tokens, and the requests that the org counts."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from dataclasses import dataclass

from suiro.sandbox.salesforce.accounts import CLIENT_ID, ORG_ID, REFRESH_TOKEN, USERNAME
from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.org import Org

DAY_MINUTES = 24 * 60


class GrantOver(Exception):
    """A refresh token that isn't valid, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh gives: a new session and, with rotation, a new refresh token."""

    access_token: str
    refresh_token: str | None


class Sessions:
    """Who is signed in. Safe to use from several threads; kept in the org's store."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.RLock()
        with org.reading() as connection:
            rows = connection.execute("SELECT token, until FROM _sessions").fetchall()
            known = connection.execute("SELECT 1 FROM _grants").fetchone()
        self._until: dict[str, float] = dict(rows)
        if known is None:
            self._keep_grant("grant0", CLIENT_ID, REFRESH_TOKEN)

    def begin(self, grant: str | None = None) -> str:
        """A new session's token: the org's id, `!`, letters of chance [REC]."""
        token = f"{ORG_ID[:15]}!AR8A{secrets.token_urlsafe(48)}"
        until = self._org.now().timestamp() + self._org.settings.session_seconds
        with self._lock:
            self._until[token] = until
            with self._org.writing() as connection:
                connection.execute("INSERT INTO _sessions VALUES (?, ?, ?, ?)", (token, grant, USERNAME, until))
        return token

    def check(self, token: str | None) -> None:
        """Refusal 401 INVALID_SESSION_ID [REC]: not a session, or not any more."""
        until = self._until.get(token or "")
        if until is None or self._org.now().timestamp() >= until:
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def end(self, token: str) -> bool:
        """End a session. False: there was none."""
        with self._lock:
            known = self._until.pop(token, None)
            with self._org.writing() as connection:
                connection.execute("DELETE FROM _sessions WHERE token = ?", (token,))
        return known is not None

    def end_all(self) -> int:
        """End all sessions; how many there were."""
        with self._lock:
            number = len(self._until)
            self._until.clear()
            with self._org.writing() as connection:
                connection.execute("DELETE FROM _sessions")
        return number

    def consent(self, client: str) -> tuple[str, str]:
        """A new grant: session and refresh token."""
        grant, token = f"grant-{secrets.token_hex(8)}", f"5Aep861{secrets.token_urlsafe(48)}"
        self._keep_grant(grant, client, token)
        return self.begin(grant), token

    def refresh(self, client: str, token: str) -> Refreshed:
        """A session for a refresh token. GrantOver: unknown, revoked, or rotated away: then the grant is revoked.

        [CLIENT airbyte-source-salesforce 2.10.3]
        """
        with self._lock, self._org.writing() as connection:
            row = connection.execute(
                """SELECT g.id, t.used FROM _refresh_tokens t JOIN _grants g ON g.id = t.grant_id
                   WHERE t.token = ? AND g.client = ? AND NOT g.revoked""",
                (token, client),
            ).fetchone()
            if row is None:
                raise GrantOver
            grant, used = row
            rotating = self._org.settings.rotate_refresh_tokens
            if not used:
                fresh = f"5Aep861{secrets.token_urlsafe(48)}" if rotating else None
                if fresh is not None:
                    connection.execute("UPDATE _refresh_tokens SET used = 1 WHERE token = ?", (token,))
                    connection.execute("INSERT INTO _refresh_tokens VALUES (?, ?, 0)", (fresh, grant))
                return Refreshed(access_token=self.begin(grant), refresh_token=fresh)
            self._revoke(grant)
        raise GrantOver

    def revoke(self, token: str) -> bool:
        """End the grant of a refresh token, or a session. False: neither."""
        with self._lock, self._org.writing() as connection:
            row = connection.execute("SELECT grant_id FROM _refresh_tokens WHERE token = ?", (token,)).fetchone()
            if row is None:
                return self.end(token)
            self._revoke(str(row[0]))
        return True

    def _revoke(self, grant: str) -> None:
        with self._org.writing() as connection:
            connection.execute("UPDATE _grants SET revoked = 1 WHERE id = ?", (grant,))
            tokens = connection.execute("SELECT token FROM _sessions WHERE grant_id = ?", (grant,)).fetchall()
            connection.execute("DELETE FROM _sessions WHERE grant_id = ?", (grant,))
        for (token,) in tokens:
            self._until.pop(token, None)

    def _keep_grant(self, grant: str, client: str, token: str) -> None:
        with self._org.writing() as connection:
            connection.execute("INSERT INTO _grants VALUES (?, ?, ?, 0)", (grant, client, USERNAME))
            connection.execute("INSERT INTO _refresh_tokens VALUES (?, ?, 0)", (token, grant))


class Usage:
    """Requests of the last 24 hours, counted by the minute; forgotten when the process ends."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._minutes: deque[list[int]] = deque()
        self._sum = 0

    def take(self) -> str:
        """Count a request; what `Sforce-Limit-Info` says [REC]. Refusal 403 REQUEST_LIMIT_EXCEEDED: none is left."""
        most = self._org.settings.daily_requests
        with self._lock:
            minute = self._forget()
            if self._sum >= most:
                raise Refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            if not self._minutes or self._minutes[-1][0] != minute:
                self._minutes.append([minute, 0])
            self._minutes[-1][1] += 1
            self._sum += 1
            return f"api-usage={self._sum}/{most}"

    def used(self) -> int:
        """So many in the last 24 hours."""
        with self._lock:
            self._forget()
            return self._sum

    def told(self) -> str:
        """`Sforce-Limit-Info` without counting."""
        return f"api-usage={self.used()}/{self._org.settings.daily_requests}"

    def reset(self) -> None:
        """Forget what was used."""
        with self._lock:
            self._minutes.clear()
            self._sum = 0

    def _forget(self) -> int:
        minute = int(self._org.now().timestamp() // 60)
        while self._minutes and self._minutes[0][0] <= minute - DAY_MINUTES:
            self._sum -= self._minutes.popleft()[1]
        return minute
