"""Who may do what over the API: the scopes of tokens, each holding the ones before it."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a token is good for."""

    READ = "read"  #: look at everything but secrets
    OPERATE = "operate"  #: also begin, cancel and repeat runs, pause schedules, and write back
    ADMIN = "admin"  #: everything

    def allows(self, wanted: Scope) -> bool:
        """Whether it holds another one."""
        order = list(Scope)
        return order.index(self) >= order.index(wanted)
