"""Answers of a web service, and what they mean: as data, one record for each service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from suiro.model.errors import AuthError, ConfigError, RateLimited, SuiroError, TransientError, UserError

MOST_TOLD: Final = 300  #: characters of a service's own message that an error repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `headers` are found in any case; `content` is unpacked."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""
    url: str = ""  #: that answered, after redirects

    def json(self) -> Any:
        """The body as JSON: fractions are Decimal. None where it is empty; TransientError where it is no JSON."""
        if not self.content.strip():
            return None
        try:
            return json.loads(self.content, parse_float=Decimal)
        except ValueError as error:
            kind = self.headers.get("content-type", "no type")
            raise TransientError(
                f"an answer of {len(self.content):,} bytes ({kind}, status {self.status}) was to be JSON and is not",
                hint="Something between here and the service may have answered: a proxy, a maintenance page.",
            ) from error


class Reaction(StrEnum):
    """What the client does about a refusal."""

    RENEW = "renew"  #: the credentials are no longer good: they are renewed once, and the request is sent again
    PAUSE = "pause"  #: nothing was done, and the whole account has to wait
    AGAIN = "again"  #: a passing fault; what was asked may have been done: sent again only if it is repeatable
    STOP = "stop"  #: the same request would be refused again


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What answers of these statuses and with these codes of the service's own mean; None: any."""

    reaction: Reaction
    error: type[SuiroError]  #: raised when the reaction doesn't help
    status: frozenset[int] | None = None
    code: frozenset[str] | None = None
    hint: str | None = None
    seconds: float | None = None  #: of PAUSE: how long, where the answer doesn't tell

    def fits(self, status: int, code: str | None) -> bool:
        """Whether it is about such an answer."""
        return (self.status is None or status in self.status) and (self.code is None or code in self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitHeader:
    """A header that tells how long to wait: a number of `unit` seconds, or an HTTP date."""

    name: str
    unit: float = 1.0
    epoch: bool = False  #: the number is a moment, counted since 1970

    def seconds(self, headers: Mapping[str, str], now: datetime) -> float | None:
        """The wait in seconds, never negative; None where the header is missing or says nothing that is known."""
        text = headers.get(self.name, "").strip()
        if not text:
            return None
        number = _number(text)
        if number is not None:
            told = number * self.unit
            return max(0.0, told - now.timestamp() if self.epoch else told)
        try:
            then = parsedate_to_datetime(text)
        except ValueError:
            return None
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - now).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaHeaders:
    """Headers that tell how many requests are left, and when the window under way ends."""

    left: str
    resets: WaitHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A service's own words about a refusal."""

    code: str | None = None
    message: str | None = None


_PLAIN: Final = (
    Meaning(
        status=frozenset({401}),
        reaction=Reaction.RENEW,
        error=AuthError,
        hint="The token or key is wrong, expired or withdrawn: make a new one.",
    ),
    Meaning(
        status=frozenset({403}),
        reaction=Reaction.STOP,
        error=AuthError,
        hint="These credentials lack the permission for this: have it granted, or leave this out.",
    ),
    Meaning(status=frozenset({429}), reaction=Reaction.PAUSE, error=RateLimited),
    Meaning(status=frozenset({408, 423, 425, *range(500, 600)}), reaction=Reaction.AGAIN, error=TransientError),
    Meaning(
        status=frozenset({301, 302, 303, 307, 308}),
        reaction=Reaction.STOP,
        error=ConfigError,
        hint="The service is at another address: check the one of the connection, https and host.",
    ),
    Meaning(status=frozenset({404, 410}), reaction=Reaction.STOP, error=ConfigError),
    Meaning(reaction=Reaction.STOP, error=UserError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How one service tells what it thinks. The first meaning that fits counts; behind them come those of HTTP."""

    meanings: tuple[Meaning, ...] = ()
    waits: tuple[WaitHeader, ...] = (WaitHeader(name="Retry-After"),)  #: the first that is there counts
    pauses: tuple[WaitHeader, ...] = ()  #: the same, before those, of answers that mean PAUSE
    quota: tuple[QuotaHeaders, ...] = ()  #: the first that is there counts
    codes: tuple[str, ...] = ("errorCode", "error", "code", "statusCode")  #: keys of the code in a body
    messages: tuple[str, ...] = ("message", "error_description", "title", "detail", "Message", "error")
    within: tuple[str, ...] = ("error", "errors", "Fault", "Error")  #: keys of objects that hold code and message
    shown: frozenset[str] = field(default=frozenset({"type", "object", "operation", "query"}))
    """Keys of what is sent whose values an error may repeat; all others are cut out of the service's message."""
    trace: str | None = None  #: a header by which the service's support finds an answer: errors repeat it
    refusals: tuple[str, ...] = ()  #: members of a body that make an answer a refusal, whatever its status

    def refuses(self, answer: Answer) -> bool:
        """Whether an answer below 300 is a refusal all the same."""
        if not any(f'"{name}"'.encode() in answer.content for name in self.refusals):
            return False
        try:
            body = json.loads(answer.content)
        except ValueError:
            return False
        return isinstance(body, dict) and any(body.get(name) for name in self.refusals)

    def meaning(self, answer: Answer) -> Meaning:
        """What a refusal means."""
        code = self.said(answer).code
        return next(m for m in (*self.meanings, *_PLAIN) if m.fits(answer.status, code))

    def wait(self, answer: Answer) -> float | None:
        """How long the answer asks to wait, in seconds."""
        now, pausing = _now(answer.headers), self.meaning(answer).reaction is Reaction.PAUSE
        headers = (*self.pauses, *self.waits) if pausing else self.waits
        told = (header.seconds(answer.headers, now) for header in headers)
        return next((seconds for seconds in told if seconds is not None), None)

    def left(self, headers: Mapping[str, str]) -> tuple[int, float] | None:
        """How many requests are left, and for how many seconds; None where the answer doesn't say both."""
        for quota in self.quota:
            number = _number(headers.get(quota.left, ""))
            seconds = quota.resets.seconds(headers, _now(headers))
            if number is not None and seconds is not None:
                return max(0, int(number)), seconds
        return None

    def said(self, answer: Answer) -> Said:
        """The service's own code and message, where they can be found in the body."""
        kind = answer.headers.get("content-type", "")
        if "xml" in kind:
            return _said_in_xml(answer.content)
        try:
            body = json.loads(answer.content)
        except ValueError:
            text = answer.content[: 4 * MOST_TOLD].decode("utf-8", "replace").strip()
            return Said(message=_short(text) if "text/plain" in kind and text else None)
        return self._said_in(body)

    def _said_in(self, body: Any) -> Said:
        code = message = None
        for part in self._parts(body):
            code = code or _first(part, self.codes)
            message = message or _first(part, self.messages)
        details = body.get("errors") if isinstance(body, dict) else None
        if isinstance(details, dict):
            listed = "; ".join(f"{key}: {text}" for key, text in details.items() if isinstance(text, str))
            message = f"{message or ''} ({listed})".strip() if listed else message
        return Said(code=code, message=_short(message) if message else None)

    def _parts(self, body: Any) -> Iterator[dict[str, Any]]:
        """The body's objects that may tell, outer ones first; of lists the first items."""
        if isinstance(body, list):
            for item in body[:3]:
                yield from self._parts(item)
        elif isinstance(body, dict):
            yield body
            for key in self.within:
                if isinstance(body.get(key), dict | list):
                    yield from self._parts(body[key])


def _now(headers: Mapping[str, str]) -> datetime:
    """The moment of an answer by the service's own clock, by which it counts; by ours where it doesn't tell."""
    try:
        told = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _first(part: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    found = (part[key] for key in keys if isinstance(part.get(key), str | int) and part[key] != "")
    return next((str(one) for one in found), None)


def _said_in_xml(content: bytes) -> Said:
    text = content[:65536].decode("utf-8", "replace")
    code = re.search(r"<(?:\w+:)?(?:faultcode|exceptionCode|code)[^>]*>([^<]+)<", text)
    message = re.search(r"<(?:\w+:)?(?:faultstring|exceptionMessage|message)[^>]*>([^<]+)<", text)
    word = code[1].strip().rpartition(":")[2] if code else None
    return Said(code=word, message=_short(message[1].strip().removeprefix(f"{word}:")) if message else None)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_TOLD else text[: MOST_TOLD - 1] + "…"


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
