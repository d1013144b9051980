"""What can be set while the project is open: its time zone, its limits, and habits that no source settles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from suiro.sandbox import switches


class Settings(switches.Switches):
    """The switches. Those marked unverified stand for what no page of the vendor was found to say."""

    time_zone: str = "Asia/Tokyo"  #: the project's: days and `ts` are in it
    downloads_at_once: int = Field(default=3, ge=0)  #: requests to download and report APIs, for each of them
    uploads_at_once: int = Field(default=15, ge=0)
    hold_ms: int = Field(default=0, ge=0)  #: how long each request takes at least, so that several meet
    in_progress: int = Field(default=1, ge=0)  #: so many times a new cursor is answered "still in progress"
    varied_pages: bool = True  #: pages of events are smaller than asked for, some of them empty
    buckets: int = Field(default=23, ge=1)  #: of profiles; the size of a batch is a multiple of it
    polls: int = Field(default=1, ge=0)  #: so many times a count is asked for again before it is there
    unfinished_status: Literal[409, 500] = 409  #: of a campaign without a result yet: documented, and observed
    not_exported: tuple[str, ...] = ("Notification Viewed",)  #: events whose download is refused
    schema_form: Literal["names", "objects", "mapping"] = "names"  #: of getSchema's answer (unverified)
    numbers_from: int = 1  #: of "Skipped record number" (unverified: the first record may be 0 or 1)
    dedupes_events: bool = False  #: an event of the same time and name and person is one event (unverified)
    cursor_seconds: float = Field(default=0.0, ge=0.0)  #: a cursor's life (undocumented); 0: it has no end
