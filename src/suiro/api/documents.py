"""Connections and jobs as one YAML document: applied like a diff."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Query, Request

from suiro.api.problems import Refused
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Shape
from suiro.app import apply as applying
from suiro.app.documents import document_of

routes = Routes("documents")
YAML: Final = "text/yaml"
_TYPES: Final = (YAML, "application/yaml", "application/x-yaml", "text/x-yaml")


class Change(Shape):
    """One thing that applying does; `lines` say what is different, secrets never."""

    act: Literal["+", "~"]
    noun: Literal["connection", "job"]
    name: str
    lines: list[str]


class Changes(Shape):
    """All of them; `applied` is false for a plan."""

    applied: bool
    changes: list[Change]


async def _yaml(request: Request) -> str:
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told not in _TYPES:
        raise Refused(415, "unsupported_media_type", f"this takes {YAML}", hint=f"Send Content-Type: {YAML}.")
    try:
        return (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(422, "invalid_request", "the body isn't UTF-8", hint="Send YAML in UTF-8.") from error


@routes.change(
    "POST",
    "/apply",
    Changes,
    "Apply a YAML document of connections and jobs",
    errors=(409,),
    openapi_extra={
        "requestBody": {"required": True, "content": {YAML: {"schema": {"type": "string"}}}},
    },
)
def apply_document(
    text: Annotated[str, Depends(_yaml)],
    known: Known,
    plan: Annotated[bool, Query(description="Tell what would change, and change nothing.")] = False,
) -> Any:
    """What `suiro apply` does. What is stored and not in the document stays as it is."""
    documents = document_of(text, "the document")
    found = applying.plan(documents, known) if plan else applying.apply(documents, known)
    return {"applied": not plan, "changes": [{**asdict(one), "lines": list(one.lines)} for one in found]}
