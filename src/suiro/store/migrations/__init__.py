"""The schema's revisions, and going up and down between them with Alembic, which is imported only then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0004"  #: the newest revision in `versions/`; a test holds them together


def is_ours(revision: str) -> bool:
    """Whether a revision's name has the form of ours: four digits, which rise."""
    return re.fullmatch(r"\d{4}", revision) is not None


def upgrade(connection: Connection, to: str = "head") -> None:
    """Go up to a revision, inside the connection's transaction."""
    from alembic import command

    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Go down to a revision, or to `base`: no tables; inside the connection's transaction."""
    from alembic import command

    command.downgrade(_config(connection), to)


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "suiro.store:migrations")
    return config
