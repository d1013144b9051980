"""What the switches of all stand-ins have: a time zone, and records that change while somebody reads."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Drift(BaseModel):
    """Records that change while somebody reads page by page: after every n-th page of a kind of record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(default=0, ge=0)  #: 0: nothing changes
    resources: list[str] = Field(default_factory=list)
    change: int = Field(default=1, ge=0)
    add: int = Field(default=1, ge=0)
    delete: int = Field(default=1, ge=0)
    at_most: int = Field(default=1000, ge=0)  #: so many times, then no more
    seed: int = 0


class Switches(BaseModel):
    """The switches of a service that counts days by a time zone of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: str = "Asia/Tokyo"

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no IANA time zone") from error
        return name

    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)
