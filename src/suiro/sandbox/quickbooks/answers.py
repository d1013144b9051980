"""Answers as the API writes them: bodies with their time, and faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from starlette.responses import Response

Body = dict[str, Any]


class Refused(Exception):
    """The service says no: a Fault with one error."""

    def __init__(self, status: int, code: str, message: str, detail: str, kind: str = "ValidationFault") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.kind = status, code, message, detail, kind

    def fault(self) -> Body:
        """What stands under "Fault" [REC]."""
        error = {"Message": self.message, "Detail": self.detail, "code": self.code, "element": ""}
        return {"Error": [error], "type": self.kind}


def throttled(status: int) -> Refused:
    """Too many requests [REC]: 429, or 403 in the older shape."""
    message = f"message=ThrottleExceeded; errorCode=003001; statusCode={status}"
    return Refused(status, "3001", message, "The request limit was reached.  Try again later", "SERVICE")


def unsigned(detail: str, *, capital: bool) -> Body:
    """A token that isn't good, as the gateway tells it: with small letters [WEB], or else as other faults."""
    message = "message=AuthenticationFailed; errorCode=003200; statusCode=401"
    if capital:
        return {"Fault": {"Error": [{"Message": message, "Detail": detail, "code": "3200"}], "type": "AUTHENTICATION"}}
    error = {"message": message, "detail": detail, "code": "3200", "element": None}
    return {"warnings": None, "intuitObject": None, "fault": {"error": [error], "type": "AUTHENTICATION"}}


def missing(entity: str, id_: str) -> Refused:
    """There is no such object (words unverified)."""
    detail = f"Object Not Found : Something you're trying to use has been made inactive. {entity} {id_}"
    return Refused(400, "610", "Object Not Found", detail)


def as_json(body: Any, status: int = 200) -> Response:
    """A body as JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def as_xml(body: Mapping[str, Any], status: int = 200) -> Response:
    """The same as XML, which who doesn't ask for JSON gets [DOC]; attributes are unverified."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><IntuitResponse>{_element(body)}</IntuitResponse>'
    return Response(text, status, media_type="application/xml")


def _element(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = []
        for name, one in value.items():
            for item in one if isinstance(one, list) else [one]:
                parts.append(f"<{name}>{_element(item)}</{name}>")
        return "".join(parts)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))
