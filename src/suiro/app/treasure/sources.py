"""The source of a load.yml, opened: its connection, and the one stream or query that is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from suiro import catalog
from suiro.app import stored
from suiro.app.connections import connection
from suiro.app.lending import LentContext
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection, configure
from suiro.app.references import resolved
from suiro.app.treasure.inputs import connector_of, refuse_folders, settings_of
from suiro.app.treasure.load_yml import HIDDEN, LoadYml
from suiro.app.treasure.sections import DatabaseIn, FileIn, IntercomIn
from suiro.app.treasure.task import reading
from suiro.engine.context import RunContext
from suiro.engine.replicate import asked_source
from suiro.model.errors import ConfigError
from suiro.model.job import Task
from suiro.model.schema import Stream
from suiro.spi.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A connection as a load.yml describes it. `settings` None: it is one that is stored already, under its name."""

    name: str
    connector: str
    settings: Mapping[str, Any] | None
    connection: Connection

    def store(self, metadata: Metadata) -> None:
        """Keep it, its secrets sealed."""
        if self.settings is not None:
            stored.put(self.name, self.connector, self.settings, metadata)


def input_of(load: LoadYml, name: str, metadata: Metadata) -> Input:
    """The connection of a load.yml, to be stored under a name. A hidden secret is the one that is stored there."""
    kind = connector_of(load)
    refuse_folders(load)
    known = {found.name: found for found in metadata.connections.all()}
    if isinstance(load.input, DatabaseIn | IntercomIn) and load.input.td_authentication_id is not None:
        asked = str(load.input.td_authentication_id)
        if asked not in known or known[asked].connector != kind:
            said = f"there is no connection {asked!r} to {catalog.find(kind).title} here"
            hint = "Write the name of a stored connection, or its host, user and database."
            raise load.wrong(("in", "td_authentication_id"), said, hint)
        return Input(name=asked, connector=kind, settings=None, connection=connection(asked))
    settings = {key: stored.KEPT if value == HIDDEN else value for key, value in settings_of(load).items()}
    whole = stored.checked(name, kind, settings, known.get(name), metadata)
    connector = catalog.find(kind)
    ready = configure(connector, resolved(whole, metadata.secrets.get))
    return Input(
        name=name,
        connector=kind,
        settings=settings,
        connection=Connection(name=name, connector=connector, config=ready),
    )


@contextmanager
def streaming(load: LoadYml, given: Input) -> Iterator[tuple[Source[Any], Stream, RunContext]]:
    """The source, and its stream as the load.yml reads it. ConfigError if there is none."""
    with ExitStack() as stack:
        context = stack.enter_context(LentContext("connector"))
        source = stack.enter_context(closing(given.connection.source(context)))
        yield source, _stream(load, source, context, stack), context


def _stream(load: LoadYml, source: Source[Any], context: RunContext, stack: ExitStack) -> Stream:
    if isinstance(load.input, FileIn):
        if load.parser is None:
            hint = f"suiro connector guess {load.label} writes one."
            raise load.wrong(("in",), "it has no parser", hint)
        for found in source.discover():
            return source.find(found.name)
        raise ConfigError(f"no file begins with {load.input.path_prefix}", hint="Check path_prefix and last_path.")
    said = reading(load)
    if "sql" in said:
        return asked_source(Task(stream="query", query=said["sql"]), source, context, stack).find("query")
    return source.find(said["stream"])
