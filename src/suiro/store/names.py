"""Names that users give: unknown ones, taken ones, changed ones, each told in a sentence."""

from __future__ import annotations

import difflib
import uuid

from sqlalchemy import Connection, Table, select

from suiro.model.errors import ConfigError, UserError


def new_id() -> str:
    """The identity of something new, which outlives its name."""
    return uuid.uuid4().hex


def fit(noun: str, name: str) -> str:
    """The name; ConfigError if it is empty, or has characters that can't be seen."""
    if not name.strip() or not name.isprintable():
        raise ConfigError(f"a {noun} can't be called {name!r}", hint="Choose a name of letters that can be seen.")
    return name


def unknown(connection: Connection, table: Table, noun: str, name: str) -> ConfigError:
    """The error for a name that isn't there, with names like it."""
    known = sorted(connection.execute(select(table.c.name)).scalars())
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = (
            f"Known: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}." if known else "There are none yet."
        )
    return ConfigError(f"there is no {noun} {name!r}", hint=hint)


def refuse_taken(connection: Connection, table: Table, noun: str, name: str) -> None:
    """ConfigError if something has the name already."""
    if connection.execute(select(table.c.name).where(table.c.name == name)).first() is not None:
        raise ConfigError(f"there is a {noun} {name!r} already", hint="Choose another name.")


def changed_meanwhile(noun: str, name: str, seen: int, now: int) -> UserError:
    """The error for a change of something that someone else has changed."""
    return UserError(
        f"{noun} {name!r} was changed meanwhile: this change is to version {seen}, the newest is {now}",
        hint="Look at it again, and repeat the change.",
    )


def not_there(noun: str, name: str) -> UserError:
    """The error for a change of something that is gone."""
    return UserError(f"the {noun} {name!r} is gone", hint="It was deleted meanwhile; store it anew.")
