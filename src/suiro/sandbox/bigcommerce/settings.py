"""What can be set while the shop is open: its time zone, its quota, and habits that no source settles."""

from __future__ import annotations

from pydantic import Field

from suiro.sandbox import switches


class Drift(switches.Drift):
    """Records that change while somebody reads page by page: after every n-th page of a kind of record."""

    resources: list[str] = Field(default_factory=lambda: ["customers", "orders", "products"])


class Settings(switches.Switches):
    """The switches. Those marked unverified stand for what no page of the vendor was found to say."""

    time_zone: str = "Asia/Tokyo"  #: the store's: dates without a time in filters are days there
    quota: int = Field(default=20_000, ge=0)  #: requests in one window; the vendor's plans have 150, 450 and more
    window_ms: int = Field(default=30_000, ge=1)
    others: int = Field(default=0, ge=0)  #: requests that other apps make for each one of ours
    overloaded: int = Field(default=0, ge=0)  #: the next n requests are refused with 429 without the quota's headers
    refusal_reset_ms: int = Field(default=100, ge=0)  #: the wait that a 429 from the faults' plan tells
    https_only: bool = False  #: http is answered with 301 (unverified in this form)
    xml_without_accept: bool = False  #: v2 answers XML to who doesn't ask for JSON (unverified)
    over_limit_status: int = 422  #: of more than 250 records for a page: 413 or 422 (unverified which)
    archived_listed: bool = True  #: archived orders stay in the list, with is_deleted (unverified)
    guest_dates_empty: bool = True  #: date_modified is "" for orders of guests that never changed (unverified)
    variant_bumps_product: bool = False  #: a variant's change moves its product's date_modified (unverified)
    customers_partial: bool = False  #: a batch of customers with some wrong: 207 and the right ones kept (unverified)
    batch: int = Field(default=10, ge=1)  #: most records in one batch that is written, else 413 (unverified number)
    drift: Drift = Drift()
