"""QuickBooks Online as a source: one company's lists, transactions and reports, over its Accounting API.

After the vendor's XSDs (types of fields, reports) and its reference of queries and of changed data. Everything is asked
for in a query language, a thousand objects at a time; hard deletes are told by the log of changed data alone.
"""

from __future__ import annotations

from suiro.connectors.quickbooks.config import QuickBooksConfig
from suiro.connectors.quickbooks.signing import CompanyConsent
from suiro.connectors.quickbooks.source import QuickBooksSource
from suiro.model.errors import ConfigError
from suiro.spi.connector import Connector
from suiro.spi.context import Context
from suiro.spi.signing import SigningIn


def sign_in(config: QuickBooksConfig, context: Context, redirect_uri: str) -> SigningIn:
    """A user's consent at Intuit's page. ConfigError where the settings name no app."""
    if config.client_id is None:
        raise ConfigError("this connection needs nobody's consent", hint="Give client id and secret of the app.")
    return CompanyConsent(config, context, redirect_uri)


connector = Connector(
    name="quickbooks",
    title="QuickBooks Online",
    config=QuickBooksConfig,
    schemes=("quickbooks",),
    source=QuickBooksSource,
    sign_in=sign_in,
)
