"""Connections: stored, tried, and looked into."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Response
from pydantic import Field

from suiro.api.problems import NOT_FOUND, Refused, found, theirs
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Failure, Limit, Moment, Page, Shape, page
from suiro.app import checking, connection_records, looking
from suiro.model.access import Scope

routes = Routes("connections")
Name = Annotated[str, Path(description="The connection's name.")]
NewName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="The connection's name.")]
Stream = Annotated[str, Path(description="The stream's name.")]


class Connection(Shape):
    """A connector with settings. In a secret's place is `{"set": true}`, with `reference` if it is one."""

    name: str
    connector: str
    settings: dict[str, Any]
    built_in: bool  #: the embedded warehouse
    version: int
    created_at: Moment | None
    updated_at: Moment | None
    used_by: list[str]  #: jobs


class ConnectionToPut(Shape):
    """A connection as it shall be. `{"set": true}` in a secret's place keeps what is stored."""

    connector: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    version: int | None = Field(None, description="Of the one that this replaces; another one is a conflict.")


class ConnectionChange(Shape):
    """Settings to change (RFC 7396): null takes one away, what isn't named stays."""

    settings: dict[str, Any]
    version: int | None = None


class Step(Shape):
    """One step of a check: settings, dns, tcp, sign_in, streams."""

    step: str
    ok: bool
    seconds: float


class Check(Shape):
    """What came of a check; `error` is of the last step."""

    connection: str
    ok: bool
    steps: list[Step]
    notes: list[str]
    error: Failure | None


class Column(Shape):
    """A column and its type."""

    name: str
    type: str


class StreamRecord(Shape):
    """What a source offers. `rows` is an estimate, null where there is none."""

    name: str
    columns: list[Column]
    primary_key: list[str]
    cursor_fields: list[str]
    read_modes: list[str]
    rows: int | None
    notes: list[str]


class Preview(Shape):
    """First rows; each value as text, null where there is none."""

    columns: list[Column]
    rows: list[list[str | None]]


@routes.get("/connections", Page[Connection], "List connections")
def list_connections(known: Known, cursor: Cursor = None, limit: Limit = 50) -> Any:
    """By name, the embedded warehouse among them."""
    return page(connection_records.records(known), lambda one: str(one["name"]), cursor, limit)


@routes.get("/connections/{name}", Connection, "Get one connection")
def get_connection(name: Name, known: Known) -> Any:
    """Without its secrets."""
    with found():
        return connection_records.record(name, known)


@routes.change("PUT", "/connections/{name}", Connection, "Store a connection, new or changed", errors=(409,))
def put_connection(name: NewName, body: ConnectionToPut, known: Known, response: Response) -> Any:
    """201 if it is new. Its connector checks the settings; no system is reached."""
    done = connection_records.put(name, body.connector, body.settings, known, version=body.version)
    response.status_code = 201 if done.new else 200
    return done.record


@routes.change("PATCH", "/connections/{name}", Connection, "Change some settings", errors=(409,))
def patch_connection(name: Name, body: ConnectionChange, known: Known) -> Any:
    """The others stay as they are, secrets too."""
    with found():
        connection_records.refuse_unknown(name, known)
    return connection_records.patch(name, body.settings, known, version=body.version)


@routes.change("DELETE", "/connections/{name}", None, "Delete a connection", status=204, errors=(409,))
def delete_connection(name: Name, known: Known) -> None:
    """A conflict if a job uses it."""
    with found():
        connection_records.refuse_unknown(name, known)
    connection_records.delete(name, known)


@routes.change("POST", "/connections/{name}/check", Check, "Try a connection", scope=Scope.OPERATE)
def check_connection(name: Name, known: Known) -> Any:
    """Step by step, up to the first that fails. That it fails is an answer (200), no error."""
    with found():
        connection_records.refuse_unknown(name, known)
    with theirs():
        return checking.checked(name)


@routes.get("/connections/{name}/streams", Page[StreamRecord], "List a source's streams", errors=(502,))
def list_streams(
    name: Name,
    known: Known,
    search: Annotated[str, Query(max_length=200, description="Part of a name.")] = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Any:
    """By name. The source is asked each time."""
    with found():
        connection_records.refuse_unknown(name, known)
    with theirs():
        streams = looking.streams(name, search)
    return page(streams, lambda one: str(one["name"]), cursor, limit)


@routes.get(
    "/connections/{name}/streams/{stream:path}/preview", Preview, "Look at a stream's first rows", errors=(502,)
)
def preview_stream(
    name: Name,
    stream: Stream,
    known: Known,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many rows at most.")] = 20,
) -> Any:
    """What is read is not kept."""
    with found():
        connection_records.refuse_unknown(name, known)
    with theirs():
        try:
            return looking.preview(name, stream, limit)
        except looking.NoStream as error:
            raise Refused(404, NOT_FOUND, error.message, hint=error.hint) from error
