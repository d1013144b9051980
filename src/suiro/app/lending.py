"""Contexts of uses in this process: what they need of accounts lies in the metadata, for all processes to share."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Final

from suiro.engine.accounts import Accounts
from suiro.engine.context import RunContext
from suiro.engine.renewing import SharedGrants
from suiro.spi.context import Grants, Quotas

_opening: Final = threading.Lock()


class LentContext(RunContext):
    """A run's context whose grants and quotas are those of the metadata database.

    The database is opened, and made where there is none, when they are first asked for: who only uses databases and
    files needs none. ConfigError then, if it can't be: credentials that change are never kept in one process alone.
    """

    @property
    def grants(self) -> Grants:
        return self._lent.grants

    @property
    def quotas(self) -> Quotas:
        return self._lent.quotas

    @cached_property
    def _lent(self) -> Accounts:
        from suiro.app.metadata import metadata  # on use: it takes long to import

        with _opening:
            found = metadata()
        return Accounts(grants=SharedGrants(found.grants, self.wait), quotas=found.quotas)
