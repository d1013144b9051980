"""A QuickBooks connection's settings."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from suiro.spi.connector import ConnectorConfig

_Periods = Literal["Total", "Year", "Quarter", "FiscalYear", "FiscalQuarter", "Month", "Week", "Days"]


def _cdata(*names: str) -> dict[str, Any]:
    """The properties of a connection string in CData's style that fill a setting."""
    return {"cdata": list(names)}


class QuickBooksConfig(ConnectorConfig):
    """One company, and an app that a user of it lets in."""

    company_id: str = Field(
        title="Company ID",
        description="The company's number (realm ID), as the settings of the company and the sign-in tell it.",
        pattern=r"^[0-9]+$",
        json_schema_extra={"uri": "host", **_cdata("CompanyId")},
    )
    client_id: str | None = Field(
        None,
        title="Client id",
        description="Of the app, from its keys.",
        json_schema_extra={"uri": "user", **_cdata("OAuthClientId")},
    )
    client_secret: SecretStr | None = Field(
        None,
        title="Client secret",
        description="Of the app, from its keys.",
        json_schema_extra={"uri": "password", **_cdata("OAuthClientSecret")},
    )
    refresh_token: SecretStr | None = Field(
        None,
        title="Refresh token",
        description="What a user's consent brought; suiro authorize does without. A replaced one is kept.",
        json_schema_extra=_cdata("OAuthRefreshToken"),
    )
    access_token: SecretStr | None = Field(
        None,
        title="Access token",
        description="In place of an app: a token that somebody else keeps fresh. It ends after an hour.",
        json_schema_extra=_cdata("OAuthAccessToken"),
    )
    initiate_oauth: Literal["OFF", "REFRESH", "GETANDREFRESH"] = Field(
        "OFF",
        title="Initiate OAuth",
        description="Taken for the sake of existing connection strings; suiro authorize signs in.",
        json_schema_extra={
            "cdata": ["InitiateOAuth"],
            "cdata_values": {"off": "OFF", "refresh": "REFRESH", "getandrefresh": "GETANDREFRESH"},
        },
    )
    sandbox: bool = Field(
        False,
        title="Sandbox",
        description="The company is a sandbox company of the developer's.",
        json_schema_extra=_cdata("UseSandbox"),
    )
    minor_version: int = Field(
        75,
        title="Minor version",
        description="Of the API. The service treats all below 75 as 75.",
        ge=1,
        json_schema_extra=_cdata("MinorVersion"),
    )
    custom_fields: tuple[str, ...] = Field(
        (),
        title="Custom fields",
        description="Names of custom fields of sales forms that get a column of their own, beside the JSON of all.",
    )
    hold_back: int = Field(
        300,
        title="Hold back",
        description="So many seconds before the service's present the position stays: changes may show late.",
        ge=0,
    )
    requests_per_second: int = Field(
        8,
        title="Requests per second",
        description="The most, by all runs together. The service takes 10 in a second, and 500 in a minute.",
        ge=1,
    )
    report_start: date | None = Field(
        None, title="Reports from", description="First day of the reports; else the service's own choice."
    )
    report_end: date | None = Field(
        None, title="Reports until", description="Last day of the reports, and the day that ages are counted to."
    )
    report_basis: Literal["Cash", "Accrual"] | None = Field(
        None, title="Basis of reports", description="Cash or Accrual; else what the company prefers."
    )
    report_periods: _Periods | None = Field(
        None, title="Columns of reports", description="Profit and loss, balance sheet: one column for each of these."
    )
    base_url: str | None = Field(None, title="Address", description="Where the API is; another one for a stand-in.")
    authorize_url: str = Field(
        "https://appcenter.intuit.com/connect/oauth2", title="Consent page", description="Where users consent."
    )
    token_url: str = Field(
        "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
        title="Token endpoint",
        description="Where tokens come from.",
    )

    @field_validator("company_id", mode="before")
    @classmethod
    def _without_blanks(cls, value: Any) -> Any:
        """The pages of the service show it in groups."""
        return re.sub(r"[\s-]", "", str(value)) if isinstance(value, str | int) else value

    @model_validator(mode="after")
    def _signs_in(self) -> QuickBooksConfig:
        if self.access_token is None and (self.client_id is None or self.client_secret is None):
            raise ValueError("give client_id and client_secret of the app, or an access_token")
        return self

    def identity(self) -> str:
        """The company."""
        return f"quickbooks:{self.company_id}"

    @property
    def address(self) -> str:
        """Where the API is."""
        usual = "https://sandbox-quickbooks.api.intuit.com" if self.sandbox else "https://quickbooks.api.intuit.com"
        return f"{(self.base_url or usual).rstrip('/')}/v3/company/{self.company_id}"
