"""Intercom: a workspace as a source, and as an application that takes contacts back."""

from __future__ import annotations

from suiro.connectors.intercom.application import IntercomApplication
from suiro.connectors.intercom.source import IntercomConfig, IntercomSource, asked_consent, granted
from suiro.spi.connector import Connector
from suiro.spi.context import Context
from suiro.spi.signing import SigningIn
from suiro.toolkit.http.consent import AskedConsent


def sign_in(config: IntercomConfig, context: Context, redirect_uri: str) -> SigningIn:
    """A user's consent at Intercom's page. ConfigError where the settings need nobody's."""
    return AskedConsent(granted(config, context), asked_consent(config, redirect_uri))


connector = Connector(
    name="intercom",
    title="Intercom",
    config=IntercomConfig,
    schemes=("intercom",),
    source=IntercomSource,
    application=IntercomApplication,
    sign_in=sign_in,
)
