"""CleverTap: a project's events, profiles, counts and campaigns as a source; profiles and events taken back."""

from __future__ import annotations

from suiro.connectors.clevertap.api import CleverTapConfig
from suiro.connectors.clevertap.application import CleverTapApplication
from suiro.connectors.clevertap.source import CleverTapSource
from suiro.spi.connector import Connector

connector = Connector(
    name="clevertap",
    title="CleverTap",
    config=CleverTapConfig,
    schemes=("clevertap",),
    source=CleverTapSource,
    application=CleverTapApplication,
    files_as="csv",
)
