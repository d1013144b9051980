"""Statements that enter rows: a value that the server would change on its way is an error, not a warning."""

from __future__ import annotations

from typing import Final

import pymysql

from suiro.connectors.mysql.errors import translate
from suiro.connectors.mysql.session import Session

#: Warnings and notes that say that a value was changed: out of range, truncated, incorrect, too long.
_CHANGED: Final = frozenset({1048, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1366, 1406, 1411, 1690})


def run_exactly(session: Session, sql: str, *, doing: str, every: bool = False) -> tuple[int, bytes]:
    """Run a statement that enters rows; how many it changed, and what the server says of it.

    `every`: whatever the server remarks is an error.
    """
    changed = session.run(sql, doing=doing)
    said = bytes(session.driver._result.message or b"")
    if session.driver._result.warning_count:
        for level, code, message in session.ask("SHOW WARNINGS"):
            if every or level != "Note" or code in _CHANGED:
                raise translate(pymysql.DataError(code, message), session.config, doing)
    return changed, said
