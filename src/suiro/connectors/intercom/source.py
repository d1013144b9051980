"""Intercom as a source: one workspace's people, companies, conversations and tickets over its REST API.

After the vendor's OpenAPI description of versions 2.11 and 2.15. A search among contacts knows whole days of the
workspace's zone alone, so it is asked for the newest first, and left at the first row that is too old; contacts name
ten of their tags, notes and companies, and are asked for the others; a scroll of companies can't be gone on with after
a fault, and begins anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, model_validator

from suiro.model.errors import AuthError, ConfigError, ConnectionLost, RateLimited, TransientError, UserError
from suiro.model.schema import Json
from suiro.spi.connector import ConnectorConfig
from suiro.spi.context import Context
from suiro.toolkit.files.jsontext import DECODER, document, documents_of
from suiro.toolkit.http.answers import Answer, Answers, Meaning, QuotaHeaders, Reaction, WaitHeader
from suiro.toolkit.http.auth import Auth, Bearer
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import RefreshToken
from suiro.toolkit.http.layout import layout
from suiro.toolkit.http.oauth import Consent, OAuth, TokenEndpoint, consent
from suiro.toolkit.http.pages import Cursors, Links, PageNumbers, Params, Whole
from suiro.toolkit.http.records import Times
from suiro.toolkit.http.resources import Asks, Cursor, Parent, Resource, Written, columns
from suiro.toolkit.http.rest import RestSource
from suiro.toolkit.http.sending import How
from suiro.toolkit.http.walk import Walk

REGIONS: Final = {
    "us": "https://api.intercom.io",
    "eu": "https://api.eu.intercom.io",
    "au": "https://api.au.intercom.io",
}
ADDRESS: Final = "INTERCOM_BASE_URL"  #: in the environment: where the API is, for connections that don't say


class IntercomConfig(ConnectorConfig):
    """One workspace: an access token of it, or an app that somebody signs in for, which counts where both are given."""

    access_token: SecretStr | None = Field(
        None,
        title="Access token",
        description="Of the app that was made in the Developer Hub of the workspace. It doesn't expire.",
        json_schema_extra={"uri": "password", "cdata": ["OAuthAccessToken"]},
    )
    client_id: str | None = Field(
        None,
        title="Client ID",
        description="Of an app with OAuth: suiro authorize signs in for it. It goes before the access token.",
        json_schema_extra={"uri": "user", "cdata": ["OAuthClientId"]},
    )
    client_secret: SecretStr | None = Field(
        None, title="Client secret", description="Of that app.", json_schema_extra={"cdata": ["OAuthClientSecret"]}
    )
    region: Literal["us", "eu", "au"] = Field(
        "us", title="Region", description="Where the workspace is kept.", json_schema_extra={"uri": "host"}
    )
    app_id: str | None = Field(
        None,
        title="Workspace ID",
        description="Tells workspaces apart, and is compared with the workspace of the token by a check.",
    )
    api_key: SecretStr | None = Field(
        None, title="API key", description="Of connections as they once were; Intercom takes none any more."
    )
    version: str = Field(
        "2.15", title="API version", description="What answers look like: 2.11 to 2.15.", pattern=r"^2\.\d{1,2}$"
    )
    base_url: str | None = Field(None, title="Address", description="Where the API is; another one for a sandbox.")

    @model_validator(mode="after")
    def _one_way(self) -> IntercomConfig:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret belong together")
        if self.client_id is None and self.access_token is None:
            old = (
                "of api_key and app_id alone no sign-in is made, for Intercom takes no API keys any more: "
                if self.api_key is not None
                else ""
            )
            raise ValueError(
                f"{old}give an access_token from the Developer Hub, or the client_id and client_secret of an app"
            )
        return self

    @property
    def address(self) -> str:
        """Where the API is."""
        return (self.base_url or os.environ.get(ADDRESS) or REGIONS[self.region]).rstrip("/")

    def identity(self) -> str:
        """The workspace, as far as the settings tell it; however one signs in."""
        return f"intercom:{self.base_url or self.region}:{self.app_id or ''}"


# -- signing in ------------------------------------------------------------------------------------------------------


class Consented(RefreshToken):
    """What a user's consent brought: a token without an end, which can't be renewed."""

    hint = "The code of the sign-in was not taken: check client id and secret, and sign in once more."

    def __init__(self) -> None:
        super().__init__(None)

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        raise AuthError(
            "nobody has signed in for this connection yet, or the access was withdrawn",
            hint="Sign in: suiro authorize, and the connection's name.",
        )


def granted(config: IntercomConfig, context: Context) -> OAuth:
    """What keeps the token of a sign-in."""
    if config.client_id is None or config.client_secret is None:
        raise ConfigError(
            "this connection needs nobody's consent", hint="Give the client_id and client_secret of an app."
        )
    endpoint = TokenEndpoint(
        url=f"{config.address}/auth/eagle/token",
        client_id=config.client_id,
        client_secret=config.client_secret.get_secret_value(),
    )
    return OAuth(context, key=f"{config.identity()} {config.client_id}", endpoint=endpoint, way=Consented())


def asked_consent(config: IntercomConfig, redirect_uri: str) -> Consent:
    """A user's way to Intercom's page of consent. That other regions have it under their own name is unverified."""
    place = {"us": "https://app.intercom.com", "eu": "https://app.eu.intercom.com", "au": "https://app.au.intercom.com"}
    named = config.base_url or os.environ.get(ADDRESS)
    return consent(f"{(named or place[config.region]).rstrip('/')}/oauth", config.client_id or "", redirect_uri)


_RESET: Final = WaitHeader(name="X-RateLimit-Reset", epoch=True)
ANSWERS: Final = Answers(
    meanings=(Meaning(status=frozenset({429}), reaction=Reaction.PAUSE, error=RateLimited),),
    pauses=(_RESET,),
    quota=(QuotaHeaders(left="X-RateLimit-Remaining", resets=_RESET),),
    codes=("code",),
)


def connected(config: IntercomConfig, context: Context) -> HttpClient:
    """A client of the workspace, whose quota all runs share."""
    auth: Auth
    if config.client_id is not None:
        auth = granted(config, context)
    else:
        auth = Bearer(config.access_token.get_secret_value() if config.access_token else "")
    return HttpClient(
        context,
        base_url=config.address,
        auth=auth,
        account=config.identity(),
        answers=ANSWERS,
        headers={"Intercom-Version": config.version},
    )


# -- searches --------------------------------------------------------------------------------------------------------

SIZE: Final = 150  #: records in a page, the most there may be
_SINCE: Final = "updated_at"
_BARE: Final = "bare"  #: of our own: nothing but keys is wanted
PAGES: Final = Cursors(
    param="starting_after", place=("pages", "next", "starting_after"), size=SIZE, size_param="per_page"
)
LATE: Final = timedelta(minutes=10)  #: until a search finds what was made or changed; "a few minutes", says the vendor


def search(http: HttpClient, path: str, query: Json, sort: Json, params: Params, how: How) -> Answer:
    """A page of a search: its place goes into the body, where alone it is heeded."""
    page = {name: value for name, value in params.items() if name in ("per_page", "starting_after")}
    body = {"query": query, "pagination": page, "sort": sort}
    asked: How = {**how, "label": path, "json": body, "repeatable": True}
    return http.post(path, **asked)


def changed_since(at: int) -> dict[str, Json]:
    """A filter on the time of the last change: right where days count, and whether or not > includes its value."""
    either: list[Json] = [{"field": _SINCE, "operator": operator, "value": at} for operator in (">", "=")]
    return {"operator": "OR", "value": either}


def _listed_or_searched(path: str | None = None, *, role: str | None = None, newest: bool = False) -> Asks:
    """Everything by the list, where there is one (`path` is the search beside it), and what changed by the search."""

    def ask(http: HttpClient, plain: str, params: Params, how: How) -> Answer:
        since = params.get(_SINCE)
        if path is not None and since is None:
            how["params"] = {name: value for name, value in params.items() if name != _BARE}
            return http.get(plain, **how)
        filters: list[Json] = [] if since is None else [changed_since(int(since))]
        filters += [] if role is None else [{"field": "role", "operator": "=", "value": role}]
        filters = filters or [{"field": "created_at", "operator": ">", "value": 0}]
        query: Json = filters[0] if len(filters) == 1 else {"operator": "AND", "value": filters}
        order = "descending" if newest and since is not None else "ascending"
        field = "created_at" if newest and since is None else _SINCE
        return search(http, path or plain, query, {"field": field, "order": order}, params, how)

    return ask


# -- contacts, with all that lies under them -------------------------------------------------------------------------

_NESTED: Final = {
    "tags": "tags",
    "notes": "notes",
    "companies": "companies",
    "opted_out_subscription_types": "subscription_types",
    "opted_in_subscription_types": "subscription_types",
}
_MORE: Final = re.compile(rb'"has_more"\s*:\s*true')


def _with_all(asks: Asks) -> Asks:
    """Contacts whose nested lists are whole: those that the service cut short are asked for one by one."""

    def ask(http: HttpClient, path: str, params: Params, how: How) -> Answer:
        answer = asks(http, path, params, how)
        found = layout(answer.content, ("data",)) if _BARE not in params and _MORE.search(answer.content) else None
        if found is None:
            return answer
        since, pieces, done = int(params.get(_SINCE, 0)), [], 0
        for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True):
            if _MORE.search(answer.content, start, end):
                contact = answer.content[start : end + 1].decode()
                pieces += [answer.content[done:start], _whole(http, contact, since).encode()]
                done = end + 1
        return replace(answer, content=b"".join([*pieces, answer.content[done:]]))

    return ask


def _whole(http: HttpClient, contact: str, since: int) -> str:
    """The contact with its lists whole; one that changed before what was asked for stays as it is."""
    if (json.loads(contact).get(_SINCE) or since) < since:
        return contact
    contact = contact.replace("\n", " ")
    for name, written in documents_of(contact, _NESTED).items():
        nested = json.loads(written) if written is not None else {}
        if nested.get("has_more") is not True:
            continue
        rows = under_contact(http, str(nested["url"]))
        if rows is not None:
            kind = _NESTED[name]
            data = [{"id": row["id"], "type": row["type"], "url": f"/{kind}/{row['id']}"} for row in rows]
            nested |= {"data": data, "total_count": len(data), "has_more": False}
            contact = contact.replace(str(written), json.dumps(nested, ensure_ascii=False, separators=(",", ":")), 1)
    return contact


def under_contact(http: HttpClient, path: str) -> list[dict[str, Any]] | None:
    """All rows of a list under a contact; None: the contact is gone."""
    rows: list[dict[str, Any]] = []
    asked: str | None = path
    params: dict[str, str | int | None] = {"per_page": 50} if path.endswith(("/notes", "/companies")) else {}
    label = re.sub(r"/contacts/[^/]+", "/contacts/{id}", path)
    while asked is not None:
        answer = http.get(asked, params=params, label=label, allow={404})
        if answer.status == 404:
            return None
        body = answer.json()
        rows += body.get("data") or body.get(path.rpartition("/")[2]) or []
        following = (body.get("pages") or {}).get("next")
        params = {**params, "starting_after": following["starting_after"]} if isinstance(following, dict) else {}
        asked = following if isinstance(following, str) else path if params else None
    return rows


def _notes(http: HttpClient, path: str, params: Params, how: How) -> Answer:
    rows = under_contact(http, path)
    answer = Answer(status=200, headers={}, url=f"{http.base_url}{path}")
    return replace(answer, content=json.dumps({"data": rows or []}, ensure_ascii=False).encode())


# -- conversations ---------------------------------------------------------------------------------------------------

MOST_PARTS: Final = 500  #: of a conversation that the service tells, the latest


def _parts(http: HttpClient, path: str, params: Params, how: How) -> Answer:
    """The parts of one conversation, before them its first message, which the service keeps apart from them."""
    answer = http.get(path, **how)
    if answer.status != 200:
        return answer
    body = DECODER.decode(answer.content.decode())
    told = body.get("conversation_parts") or {}
    parts = list(told.get("conversation_parts") or [])
    counts = (told.get("total_count"), (body.get("statistics") or {}).get("count_conversation_parts"))
    missing = max(0, *(int(count) - len(parts) for count in counts if count is not None), 0)
    if missing or len(parts) >= MOST_PARTS:
        http.context.log.warning(
            "conversation %s has more parts than the service tells: %s older ones are missing",
            body.get("id"),
            missing or "perhaps some",
        )
    source = body.get("source") or {}
    first = {**source, "id": source.get("id") or "0", "part_type": "source", "type": "conversation_part"}
    first |= {"created_at": body.get("created_at"), "updated_at": body.get("created_at")}
    rows = [{**first, "source_type": source.get("type"), "parts_missing": DECODER.decode(str(missing))}, *parts]
    return replace(answer, content=document({"parts": rows}).encode())


# -- lists that are asked for in their own ways ----------------------------------------------------------------------


def _posted(http: HttpClient, path: str, params: Params, how: How) -> Answer:
    """A list that is asked for by POST, with its parameters in the URL."""
    asked: How = {**how, "params": params, "repeatable": True}
    return http.post(path, **asked)


def _logged(http: HttpClient, path: str, params: Params, how: How) -> Answer:
    """From a second on, though the service may mean: behind it."""
    after = max(0, int(params.get("created_at_after", 0)) - 1)
    asked: How = {**how, "params": {**params, "created_at_after": after}}
    return http.get(path, **asked)


# -- the streams -----------------------------------------------------------------------------------------------------

# The permissions as the Developer Hub calls them (unverified names).
PEOPLE, TALK, TICKETS = "Read and list users and companies", "Read conversations", "Read tickets"
TAGS, ADMINS, EVENTS = "Read tags", "Read admins", "Read admin activity logs"


def _stream(name: str, path: str, described: str, scope: str, **more: Any) -> Resource:
    plain: dict[str, Any] = {"primary_key": ("id",), "pages": Whole(), "place": ("data",), "scope": scope}
    schema = columns(described)
    return Resource(name=name, path=path, schema=schema, times=Times.EPOCH, blank_is_null=True, **{**plain, **more})


_PERSON: Final = (
    "id external_id email role name phone created_at:time updated_at:time signed_up_at:time last_seen_at:time "
    "last_replied_at:time last_contacted_at:time last_email_opened_at:time last_email_clicked_at:time type "
    "workspace_id email_domain avatar:json owner_id:int social_profiles:json has_hard_bounced:bool "
    "marked_email_as_spam:bool unsubscribed_from_emails:bool language_override browser browser_version "
    "browser_language os location:json android_app_name android_app_version android_device android_os_version "
    "android_sdk_version android_last_seen_at:time ios_app_name ios_app_version ios_device ios_os_version "
    "ios_sdk_version ios_last_seen_at:time custom_attributes:json tags:json notes:json companies:json "
    "opted_out_subscription_types:json opted_in_subscription_types:json utm_campaign utm_content utm_medium "
    "utm_source utm_term referrer enabled_push_messaging:bool"
)
_BY_DAYS: Final = Cursor(
    field=_SINCE, param=_SINCE, written=Written.EPOCH, hold_back=LATE, newest_first=True, nulls=True
)
_BY_SECONDS: Final = Cursor(field=_SINCE, param=_SINCE, written=Written.EPOCH, hold_back=LATE, order={})


def _people(name: str, path: str, asks: Asks, *notes: str) -> Resource:
    return _stream(
        name, path, _PERSON, PEOPLE, pages=PAGES, cursor=_BY_DAYS, keys={_BARE: "1"}, asks=_with_all(asks), notes=notes
    )


_CONTACTS: Final = "/contacts/search"
_FIELDS: Final = (
    "id:int type model name full_name label description data_type options:json api_writable:bool "
    "messenger_writable:bool ui_writable:bool custom:bool archived:bool created_at:time updated_at:time admin_id"
)
_COMPANY: Final = (
    "id company_id name type app_id remote_created_at:time created_at:time updated_at:time last_request_at:time "
    "monthly_spend:number session_count:int user_count:int size:int website industry tags:json segments:json "
    "plan:json custom_attributes:json"
)
COMPANIES: Final = _stream(
    "companies",
    "/companies/list",
    _COMPANY,
    PEOPLE,
    pages=PageNumbers(size=50, size_param="per_page", pages=("pages", "total_pages"), total=("total_count",)),
    asks=_posted,
    notes=("Companies without users are told only where there are more than 10,000 of them, by a scroll.",),
)


def _attributes(model: str) -> Resource:
    params = {"model": model, "include_archived": "true"}
    return _stream(f"{model}_attributes", "/data_attributes", _FIELDS, PEOPLE, primary_key=(), params=params)


RESOURCES: Final = (
    _people("contacts", "/contacts", _listed_or_searched(_CONTACTS, newest=True)),
    _people("users", _CONTACTS, _listed_or_searched(role="user", newest=True)),
    _people(
        "leads",
        _CONTACTS,
        _listed_or_searched(role="lead", newest=True),
        "A lead that becomes a user goes on under its id: compare keys to have it leave this stream.",
    ),
    _stream(
        "contact_notes",
        "/contacts/{contact_id}/notes",
        "contact_id id type created_at:time contact:json author:json body",
        PEOPLE,
        parent=Parent(stream="contacts", key="id", column="contact_id"),
        asks=_notes,
        notes=("It takes a request for each contact.",),
    ),
    COMPANIES,
    _stream(
        "conversations",
        "/conversations",
        "id type title created_at:time updated_at:time waiting_since:time snoozed_until:time open:bool state read:bool "
        "priority admin_assignee_id:int team_assignee_id:int company:json source:json contacts:json teammates:json "
        "first_contact_reply:json tags:json sla_applied:json statistics:json conversation_rating:json "
        "custom_attributes:json topics:json ticket:json linked_objects:json ai_agent:json ai_agent_participated:bool",
        TALK,
        pages=PAGES,
        place=("conversations",),
        cursor=replace(_BY_SECONDS, nulls=True),
        keys={_BARE: "1"},
        asks=_listed_or_searched("/conversations/search"),
    ),
    _stream(
        "conversation_parts",
        "/conversations/{conversation_id}",
        "conversation_id conversation_updated_at:time id part_type body created_at:time updated_at:time "
        "notified_at:time type assigned_to:json author:json attachments:json external_id redacted:bool "
        "email_message_metadata:json metadata:json state tags:json event_details:json app_package_code "
        "delivered_as subject url source_type parts_missing:int",
        TALK,
        primary_key=("conversation_id", "part_type", "id"),
        place=("parts",),
        parent=Parent(stream="conversations", key="id", column="conversation_id", cursor="conversation_updated_at"),
        asks=_parts,
        empty=frozenset({404}),
        notes=(
            "The first message of a conversation is its row with the part_type source.",
            f"Of a conversation with more than {MOST_PARTS} parts the service tells the latest {MOST_PARTS} alone; "
            "parts_missing of its first row says how many older ones are missing.",
        ),
    ),
    _stream(
        "tickets",
        "/tickets/search",
        "id ticket_id type category created_at:time updated_at:time open:bool snoozed_until:time admin_assignee_id "
        "team_assignee_id is_shared:bool ticket_attributes:json ticket_state:json ticket_type:json contacts:json "
        "linked_objects:json ticket_parts:json",
        TICKETS,
        pages=PAGES,
        place=("tickets",),
        cursor=_BY_SECONDS,
        asks=_listed_or_searched(),
    ),
    _stream(
        "ticket_types",
        "/ticket_types",
        "id type name description icon category workspace_id archived:bool is_internal:bool created_at:time "
        "updated_at:time ticket_type_attributes:json ticket_states:json",
        TICKETS,
    ),
    _stream("tags", "/tags", "id name type applied_at:time applied_by:json", TAGS),
    _stream(
        "segments",
        "/segments",
        "id name type person_type created_at:time updated_at:time count:int",
        PEOPLE,
        place=("segments",),
        params={"include_count": "true"},
    ),
    *map(_attributes, ("contact", "company", "conversation")),
    _stream(
        "admins",
        "/admins",
        "id name email type job_title away_mode_enabled:bool away_mode_reassign:bool away_status_reason_id:int "
        "has_inbox_seat:bool team_ids:json avatar:json team_priority_level:json",
        ADMINS,
        place=("admins",),
    ),
    _stream(
        "teams",
        "/teams",
        "id name type admin_ids:json admin_priority_level:json assignment_limit:int distribution_method",
        ADMINS,
        place=("teams",),
    ),
    _stream(
        "activity_logs",
        "/admins/activity_logs",
        "id created_at:time activity_type activity_description performed_by:json metadata:json",
        EVENTS,
        pages=Links(place=("pages", "next")),
        place=("activity_logs",),
        params={"created_at_after": 0},
        cursor=Cursor(field="created_at", param="created_at_after", written=Written.EPOCH, hold_back=LATE),
        asks=_logged,
    ),
    _stream(
        "subscription_types",
        "/subscription_types",
        "id type state consent_type default_translation:json translations:json content_types:json",
        PEOPLE,
    ),
)

MOST_LISTED = 10_000  #: companies that can be listed by pages; more of them are scrolled through
SCROLL_WAIT = 5.0  #: seconds between two looks whether somebody else's scroll has ended
MOST_WAITS: Final = 60  #: such looks: an idle scroll ends after a minute, a busy one takes its time
MOST_SCROLLS: Final = 10  #: that are begun for one read


class IntercomSource(RestSource[IntercomConfig]):
    """Reads one workspace."""

    def __init__(self, config: IntercomConfig, context: Context) -> None:
        super().__init__(config, context)
        self._many: bool | None = None
        self._scrolls = 0

    def resources(self) -> Sequence[Resource]:
        """The streams."""
        return RESOURCES

    def connect(self) -> HttpClient:
        """A client of the workspace."""
        return connected(self.config, self.context)

    def check(self) -> None:
        """As any REST source's; ConfigError where the credentials are those of another workspace."""
        workspace = (self.http.get("/me").json().get("app") or {}).get("id_code")
        if self.config.app_id is not None and workspace not in (None, self.config.app_id):
            raise ConfigError(
                f"these credentials belong to the workspace {workspace}, not to {self.config.app_id}",
                hint="Check app_id, or make a token in the right workspace.",
            )
        super().check()

    def _walk(self, resource: Resource) -> Walk:
        return super()._walk(self._scrolled() if resource is COMPANIES and self._has_many() else resource)

    def _has_many(self) -> bool:
        """Whether there are more companies than can be listed."""
        if self._many is None:
            told = self.http.post("/companies/list", params={"page": 1, "per_page": 1}, repeatable=True).json()
            self._many = int(told.get("total_count") or 0) > MOST_LISTED
        return self._many

    def _scrolled(self) -> Resource:
        self._scrolls = 0
        pages = Cursors(param="scroll_param", place=("after",), size_param="")
        return replace(COMPANIES, path="/companies/scroll", pages=pages, asks=self._scroll)

    def _scroll(self, http: HttpClient, path: str, params: Params, how: How) -> Answer:
        """A step of a scroll. A step whose answer was lost can't be had again: then all begins anew."""
        param, _, number = str(params.get("scroll_param", "")).rpartition("#")
        answer = None
        if param:
            try:
                asked: How = {**how, "params": {"scroll_param": param}, "repeatable": False}
                answer = http.get(path, **asked)
            except (ConnectionLost, TransientError, ConfigError) as error:
                self.context.log.info("the scroll of companies broke off (%s): it begins anew", error.message)
        if answer is None:
            answer, number = self._begun(http, path, how), "0"
        found = answer.json()
        after = {"after": f"{found['scroll_param']}#{self._scrolls}.{int(number.rpartition('.')[2] or 0) + 1}"}
        joined = answer.content.rstrip()[:-1] + b"," + json.dumps(after).encode()[1:]
        return replace(answer, content=joined)

    def _begun(self, http: HttpClient, path: str, how: How) -> Answer:
        """The first step of a scroll, as soon as no other one is open."""
        self._scrolls += 1
        if self._scrolls > MOST_SCROLLS:
            raise TransientError(f"the scroll of companies broke off {MOST_SCROLLS} times", hint="Try again later.")
        for _ in range(MOST_WAITS):
            asked: How = {**how, "allow": {400}, "repeatable": False}
            answer = http.get(path, **asked)
            if answer.status != 400:
                return answer
            if b"scroll" not in answer.content:
                raise http.refusal(f"GET {path}", answer)
            self.context.wait(SCROLL_WAIT)
        raise UserError(
            "another scroll through the companies of this workspace is open, and doesn't end",
            hint="A workspace has one at a time: look which other app reads all companies.",
        )
