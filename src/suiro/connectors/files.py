"""Files: CSV, JSON Lines, Parquet and Excel, one by one, in folders and by pattern."""

from __future__ import annotations

import os

from pydantic import Field

from suiro.spi.connector import Connector
from suiro.toolkit.files.destination import FilesDestination as FolderDestination
from suiro.toolkit.files.listing import Location, locate
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.source import FilesSource as LocationSource


class FilesConfig(FileSettings):
    """Where the files are, and how they are told apart, read and written."""

    location: str = Field(
        title="Location",
        description="A file, a folder, or a pattern with * as /data/orders-*.csv.gz; for writing a folder or file.",
        json_schema_extra={"uri": "location"},
    )

    def identity(self) -> str:
        """The absolute location."""
        return f"file:{os.path.abspath(os.path.expanduser(self.location))}"


class FilesSource(LocationSource[FilesConfig]):
    """Files of this machine."""

    def location(self) -> Location:
        """The location as it is now: a folder may have come into being."""
        return locate(self.config.location)


class FilesDestination(FolderDestination[FilesConfig]):
    """Tables as files in a folder of this machine."""

    def location(self) -> Location:
        """The folder, and the file where one is named."""
        return locate(self.config.location)


connector = Connector(
    name="files",
    title="Files",
    config=FilesConfig,
    schemes=("file",),
    source=FilesSource,
    destination=FilesDestination,
    stability="beta",
)
