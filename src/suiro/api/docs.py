"""The OpenAPI document as a plain page: no scripts, nothing from another host."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dbe3 }
h3 { font: 600 14px ui-monospace, monospace; margin: 1.5rem 0 0 }
table { border-collapse: collapse; margin: .3rem 0 } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
code { font-family: ui-monospace, monospace } .muted { color: #5b6675 }
@media (prefers-color-scheme: dark) { body { background: #12161c; color: #dde3ea } .muted { color: #95a1b0 } }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"


@router.get("/api/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """All operations, with what they take and how they answer."""
    document = request.app.openapi()
    return HTMLResponse("".join(_page(document)), headers={"Content-Security-Policy": POLICY})


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{escape(info['description'])}</p>"
    yield '<p>As a document for machines: <a href="/api/openapi.json">/api/openapi.json</a></p>'
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, said in operations.items():
            by_tag.setdefault(said.get("tags", ["other"])[0], []).append((method.upper(), path, said))
    for tag, listed in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, said in listed:
            yield from _operation(method, path, said)


def _operation(method: str, path: str, said: Mapping[str, Any]) -> Iterator[str]:
    scope = said.get("x-scope")
    yield f"<h3>{method} {escape(path)}</h3><p>{escape(said['summary'])}. {escape(said.get('description', ''))}"
    yield f' <span class="muted">Scope: {escape(scope)}.</span></p>' if scope else "</p>"
    rows = [(f"{one['name']} ({one['in']})", one.get("description", "")) for one in said.get("parameters", ())]
    for media, body in said.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", f"{media}: {_shape(body.get('schema', {}))}"))
    for status, answer in said["responses"].items():
        shapes = [_shape(content.get("schema", {})) for content in answer.get("content", {}).values()]
        rows.append((status, f"{answer['description']} {' '.join(filter(None, shapes))}"))
    yield "<table>"
    for name, text in rows:
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(text)}"
    yield "</table>"


def _shape(schema: Mapping[str, Any]) -> str:
    """The name of a shape, as the document's `components` have it."""
    return str(schema.get("$ref", "")).rpartition("/")[2] or str(schema.get("type", ""))
