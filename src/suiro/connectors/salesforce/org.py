"""One organisation's REST API: its session, its version, its clock, and what its refusals mean.

Sources: "Status Codes and Error Responses" and "API Request Limits" in Salesforce's REST API Developer Guide.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Unpack

from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.signing import session
from suiro.model.errors import AuthError, ConfigError, RateLimited, SuiroError, TransientError
from suiro.spi.context import Context
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.sending import How

_QUARTER: Final = 900.0  #: seconds between two looks whether the organisation's requests of 24 hours suffice again
_NEARLY: Final = 0.95  #: of these requests
_USAGE: Final = re.compile(r"api-usage=(\d+)/(\d+)")

ANSWERS: Final = Answers(
    meanings=(
        Meaning(
            code=frozenset({"INVALID_SESSION_ID"}),
            status=frozenset({401}),
            reaction=Reaction.RENEW,
            error=AuthError,
            hint="The session has ended: give another access token, or credentials that a session can be renewed by.",
        ),
        Meaning(
            code=frozenset({"REQUEST_LIMIT_EXCEEDED"}),
            reaction=Reaction.PAUSE,
            error=RateLimited,
            seconds=_QUARTER,
            hint="The organisation has used up its API requests of 24 hours: wait, or buy more.",
        ),
        Meaning(
            code=frozenset({"QUERY_TIMEOUT", "SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "CONCURRENT_REQUESTS"}),
            reaction=Reaction.AGAIN,
            error=TransientError,
        ),
        Meaning(status=frozenset({406, 420, 429}), reaction=Reaction.PAUSE, error=RateLimited),
        Meaning(
            code=frozenset({"INVALID_FIELD"}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="There is no such field, or field-level security hides it from this user: list the streams again.",
        ),
        Meaning(
            code=frozenset({"MALFORMED_QUERY", "INVALID_QUERY_FILTER_OPERATOR", "INVALID_QUERY_LOCATOR"}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="Write it in SOQL, with the fields' API names.",
        ),
        Meaning(
            code=frozenset({"INVALID_TYPE", "NOT_FOUND"}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="There is no such object, or this user may not see it: list the streams again.",
        ),
        Meaning(
            status=frozenset({410}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="Salesforce has retired this version of the API: leave api_version out.",
        ),
        Meaning(
            status=frozenset({414, 431}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="Choose fewer columns or a shorter condition, or read through the Bulk API.",
        ),
        Meaning(
            status=frozenset({403}),
            reaction=Reaction.STOP,
            error=AuthError,
            hint="Let the administrator give this user the permission API Enabled and access to the object.",
        ),
    )
)


class Org:
    """Requests to one organisation. Safe to use from several threads."""

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        self.config, self.context = config, context
        self.session = session(config, context)
        self.http = HttpClient(
            context,
            base_url=lambda: self.session.address,
            auth=self.session.auth,
            account=config.identity(),
            answers=ANSWERS,
        )
        self._date: tuple[datetime, float] | None = None  #: as told last, and when that was
        self._warned = False

    def path(self, rest: str) -> str:
        """A resource of the API's version."""
        return f"/services/data/v{self.config.version}/{rest}"

    def ask(self, method: str, path: str, **how: Unpack[How]) -> Answer:
        """One request; `path` is whole, as `path` makes it and Salesforce tells it."""
        return self.heard(self.http.request(method, path, **how))

    def get(self, rest: str, **how: Unpack[How]) -> Any:
        """A resource, as JSON."""
        return self.ask("GET", self.path(rest), **how).json()

    def heard(self, answer: Answer) -> Answer:
        """Note what an answer says beside its content."""
        date = answer.headers.get("date")
        told = _moment(date) if date else None
        if told is not None:
            self._date = told, time.monotonic()
        used = _USAGE.search(answer.headers.get("sforce-limit-info", ""))
        if used and not self._warned and int(used[1]) >= _NEARLY * int(used[2]):
            self._warned = True
            self.context.log.warning("%s of the organisation's %s API requests of 24 hours are used", used[1], used[2])
        return answer

    def now(self, *, exactly: bool = False) -> datetime:
        """The moment by Salesforce's clock: up to two seconds ago, or, asked for, the second that it is."""
        if exactly:
            self.get("limits")
        if self._date is None:
            return datetime.now(UTC).replace(microsecond=0)
        told, then = self._date
        return told + timedelta(seconds=int(time.monotonic() - then))

    def code(self, answer: Answer) -> str | None:
        """Salesforce's own word for a refusal."""
        return self.http.answers.said(answer).code

    def refusal(self, doing: str, answer: Answer) -> SuiroError:
        """A refusal as the error that it means."""
        return self.http.refusal(doing, answer)

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()


def _moment(date: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(date)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
