"""What can be set while the workspace is open: its time zone, its quota, delays and bounds."""

from __future__ import annotations

from pydantic import Field

from suiro.sandbox import switches


class Drift(switches.Drift):
    """Records that change while somebody reads page by page: after every n-th page of contacts or conversations."""

    resources: list[str] = Field(default_factory=lambda: ["contacts", "conversations"])


class Settings(switches.Switches):
    """The switches. Those marked unverified stand for what no page of the vendor was found to say."""

    time_zone: str = "Asia/Tokyo"  #: the workspace's: searches among contacts know its days alone
    limit: int = Field(default=20_000, ge=0)  #: requests in one window; 1,000 a minute are 167 in one
    window_seconds: int = Field(default=10, ge=1)
    others: int = Field(default=0, ge=0)  #: requests that other apps make for each one of ours
    refusal_reset_seconds: int = Field(default=0, ge=0)  #: the wait that a 429 from the faults' plan tells
    creation_delay: float = Field(default=0.0, ge=0.0)  #: seconds until a search finds a new contact
    nested: int = Field(default=10, ge=1)  #: tags, notes and companies that a contact tells itself
    parts: int = Field(default=500, ge=1)  #: parts that a conversation tells, the latest ones
    listed_companies: int = Field(default=10_000, ge=1)  #: companies that can be listed by pages
    scroll_idle_seconds: float = Field(default=60.0, gt=0)
    scroll_size: int = Field(default=100, ge=1)  #: companies in one step of a scroll (unverified number)
    day_search: bool = True  #: searches among contacts know whole days alone
    drift: Drift = Drift()
