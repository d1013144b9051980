"""What can be set while the company is open: lives of tokens, quotas, and habits that no source settles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from suiro.sandbox import switches


class Settings(switches.Switches):
    """The switches."""

    time_zone: str = "America/Los_Angeles"  #: the company's: its moments are written with that zone's offset
    access_seconds: float = 3600.0  #: how long an access token is good [REC]
    rotate_seconds: float = 86_400.0  #: after which a refresh brings another refresh token, and the old one ends [DOC]
    refresh_seconds: int = 8_726_400  #: how long a refresh token is good (unverified number)
    per_second: int = Field(default=100_000, ge=1)  #: requests; the vendor's: 10 [DOC]
    per_minute: int = Field(default=1_000_000, ge=1)  #: the vendor's: 500 [DOC]
    throttle_status: Literal[403, 429] = 429  #: 403: the older shape [REC]
    capital_401: bool = False  #: the gateway's 401 with "Fault" in place of "fault" [WEB has both]
    query_faults_in_200: bool = False  #: a query's fault comes with status 200 [CLIENT]
    cdc_cap: int = Field(default=1_000, ge=1)  #: objects that the log of changes tells at most, without a word [DOC]
    cdc_false_deletes: int = Field(default=0, ge=0)  #: so many that only changed are told as deleted [WEB]
    drift_every: int = Field(default=0, ge=0)  #: after every n-th page that is queried objects change; 0: never
    user_company: str | None = None  #: the company that a user chooses at the page of consent; else this one
