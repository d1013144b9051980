"""Salesforce: an organisation's objects as a source, and as an application that takes rows back."""

from __future__ import annotations

from suiro.connectors.salesforce.application import SalesforceApplication
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.signing import asked_consent, granted
from suiro.connectors.salesforce.source import SalesforceSource
from suiro.spi.connector import Connector
from suiro.spi.context import Context
from suiro.spi.signing import SigningIn
from suiro.toolkit.http.consent import AskedConsent


def sign_in(config: SalesforceConfig, context: Context, redirect_uri: str) -> SigningIn:
    """A user's consent at Salesforce's page. ConfigError where the settings need nobody's."""
    return AskedConsent(granted(config, context), asked_consent(config, redirect_uri))


connector = Connector(
    name="salesforce",
    title="Salesforce",
    config=SalesforceConfig,
    schemes=("salesforce",),
    source=SalesforceSource,
    application=SalesforceApplication,
    sign_in=sign_in,
    stability="beta",
)
