"""CleverTap's settings, its client, and what all of its answers have in common.

After the vendor's pages on its APIs' common components and limits: an account id and a passcode in headers, a host for
each region, and no limit but on requests at once: who asks too many is answered 429 without a word on how long to wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from suiro.model.clock import zone_of
from suiro.model.errors import AuthError, ConfigError, RateLimited, TransientError, UserError
from suiro.spi.connector import ConnectorConfig
from suiro.spi.context import Context
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.auth import ApiKey
from suiro.toolkit.http.client import HttpClient

REGIONS: Final = ("eu1", "in1", "us1", "sg1", "aps3", "mec1", "sk1")
AT_ONCE: Final = 3  #: requests to one of the download and report APIs that an account may have under way
KINDS: Final = ("text", "number", "date", "bool")
_LONGEST: Final = 30.0  #: seconds between two looks whether something is ready

ANSWERS: Final = Answers(
    meanings=(
        Meaning(
            status=frozenset({401}),
            reaction=Reaction.STOP,
            error=AuthError,
            hint="Compare account id, passcode and region with Settings > Project in the dashboard: an account of "
            "another region is unknown here.",
        ),
        Meaning(status=frozenset({429}), reaction=Reaction.PAUSE, error=RateLimited),
    ),
    codes=("code",),
    messages=("error", "message"),
)


def _several(value: Any) -> Any:
    return tuple(one.strip() for one in value.split(",") if one.strip()) if isinstance(value, str) else value


def _typed(value: Any) -> Any:
    """`Amount:number,Plan` as a mapping; a property without a kind is text."""
    pairs = [one.partition(":") for one in _several(value)] if isinstance(value, str) else None
    return value if pairs is None else {name.strip(): kind.strip() or "text" for name, _, kind in pairs}


Several = Annotated[tuple[str, ...], BeforeValidator(_several)]
Properties = Annotated[dict[str, Literal["text", "number", "date", "bool"]], BeforeValidator(_typed)]


class CleverTapConfig(ConnectorConfig):
    """One project, and a passcode of its account."""

    account_id: str = Field(
        title="Account id",
        description="Of the project: Settings, Project.",
        min_length=1,
        json_schema_extra={"uri": "user"},
    )
    passcode: SecretStr = Field(
        title="Passcode", description="Of the account, or of one of its users.", json_schema_extra={"uri": "password"}
    )
    region: str = Field(
        "eu1",
        title="Region",
        description=f"Where the project's data is: {', '.join(REGIONS)}.",
        json_schema_extra={"uri": "host"},
    )
    base_url: str = Field("", title="Address", description="Another address than the region's, for a sandbox.")
    timezone: str = Field(
        "",
        title="Time zone",
        description="The project's, as Asia/Tokyo. With it events have the column ts_utc, without it local times only.",
    )
    events: Several = Field(
        (), title="Events", description="Names of the events to read, with commas between; empty: all that are known."
    )
    start_date: date | None = Field(
        None,
        title="First day",
        description="Events and profiles from this day on (empty: from 2015 on), counts (empty: the last count_days), "
        "campaigns and messages (empty: the last year).",
    )
    window_days: int = Field(
        0,
        ge=0,
        title="Days of a query",
        description="Events: so many days at a time, each of which is kept before the next; 0: all days by one query.",
    )
    count_days: int = Field(31, ge=1, title="Days to count", description="Counts of so many days, without a first day.")
    reports: bool = Field(
        False,
        title="Reports",
        description="Also list the streams event_counts, profile_counts, campaigns, campaign_reports and "
        "message_reports; they can be read by name in any case.",
    )
    unfinished: Literal["skip", "wait"] = Field(
        "skip",
        title="Unfinished campaigns",
        description="skip: their reports come with finished = false and no result; wait: until there is one.",
    )
    wait_seconds: float = Field(
        2.0, ge=0.0, title="Wait", description="Seconds before asking again for what is in progress; it grows to 30."
    )
    wait_most: float = Field(
        1800.0, ge=0.0, title="Longest wait", description="Seconds in all to wait for what is in progress."
    )
    batch_size: int = Field(5000, ge=1, le=5000, title="Batch size", description="Records of a page, at most 5,000.")
    profile_properties: Properties = Field(
        default_factory=dict,
        title="Properties of profiles",
        description="Write-back: those that may be written beside Name, Email and Phone, as plan:text,score:number "
        "(text, number, date, bool).",
    )
    event_properties: Properties = Field(
        default_factory=dict,
        title="Properties of events",
        description="Write-back: those that events may have, likewise.",
    )

    @field_validator("region")
    @classmethod
    def _known_region(cls, value: str) -> str:
        if value not in REGIONS:
            raise ValueError(f"there is no region {value!r}; there are: {', '.join(REGIONS)}; else give base_url")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value:
            zone_of(value)
        return value

    def identity(self) -> str:
        """The account."""
        return f"clevertap:{self.account_id}"

    @property
    def zone(self) -> ZoneInfo | None:
        """The project's time zone, where it is told."""
        return ZoneInfo(self.timezone) if self.timezone else None


def client(config: CleverTapConfig, context: Context) -> HttpClient:
    """A client of the account."""
    return HttpClient(
        context,
        base_url=config.base_url or f"https://{config.region}.api.clevertap.com",
        auth=ApiKey(config.passcode.get_secret_value(), header="X-CleverTap-Passcode"),
        account=config.identity(),
        answers=ANSWERS,
        headers={"X-CleverTap-Account-Id": config.account_id},
    )


def told(answer: Answer, what: str, hint: str | None = None) -> dict[str, Any]:
    """An answer's body; UserError where it is a refusal, whatever its status."""
    body = answer.json()
    if not isinstance(body, dict):
        raise TransientError(f"{what}: the answer is no JSON object")
    if body.get("status") == "fail" or answer.status >= 300:
        raise UserError(f"{what}: {ANSWERS.said(answer).message or 'refused without a reason'}", hint=hint)
    return body


def waits(config: CleverTapConfig, context: Context, what: str) -> Iterator[None]:
    """Waits, one after the other, each about twice as long; TransientError when they took as long as they may."""
    left, pause = config.wait_most, config.wait_seconds
    while True:
        if left < pause or left <= 0:
            raise TransientError(f"{what} is still in progress at CleverTap after {config.wait_most:,.0f} s")
        context.wait(pause)
        left -= max(pause, 0.01)
        pause = min(pause * 2, _LONGEST)
        yield


def names_in(body: Any) -> list[str]:
    """The names that an answer of getSchema lists; their place and form are unverified, so several are understood."""
    if isinstance(body, list):
        found = [one if isinstance(one, str) else _named(one) for one in body]
        return [name for name in found if name]
    if not isinstance(body, dict):
        return []
    inner = [value for key, value in body.items() if key != "status" and isinstance(value, list | dict)]
    if "status" in body:
        return next((names for names in map(names_in, inner) if names), [])
    return [str(name) for name in body]


def _named(one: Any) -> str | None:
    keys = ("name", "event_name", "eventName", "key")
    return next((str(one[key]) for key in keys if one.get(key)), None) if isinstance(one, dict) else None


def schema_names(http: HttpClient, kind: str) -> list[str]:
    """The names of all events, or of all properties of profiles; ConfigError where none can be told."""
    names = names_in(told(http.get("/getSchema", params={"type": kind}), "the names of what is known"))
    if not names:
        raise ConfigError(
            "CleverTap told no names of events that are understood here",
            hint="Name them in the connection: events=App Launched,Charged.",
        )
    return list(dict.fromkeys(names))
