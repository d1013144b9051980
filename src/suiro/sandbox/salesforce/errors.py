"""Refusals in the service's own shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suiro.model.schema import Json


class Refusal(Exception):
    """A request is refused: an array with one error [REC]."""

    def __init__(self, status: int, code: str, message: str, *, fields: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    def body(self) -> list[Json]:
        """The answer's body."""
        told: dict[str, Json] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            told["fields"] = list(self.fields)
        return [told]


class RowRefusal(Exception):
    """One row is refused; others of the same request may be taken."""

    def __init__(self, code: str, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = tuple(fields)

    def item(self) -> dict[str, Json]:
        """As an item of a collection's answer: no id, `statusCode` [REC]."""
        error: dict[str, Json] = {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}
        return {"success": False, "errors": [error]}

    def text(self) -> str:
        """As `sf__Error` of a bulk job [DOC get-job-failed-results]."""
        return f"{self.code}:{self.message}:{' '.join(self.fields) or ''} --"


def malformed(message: str) -> Refusal:
    """A query that can't be understood."""
    return Refusal(400, "MALFORMED_QUERY", message)


def not_found() -> Refusal:
    """There is no such thing [REC]."""
    return Refusal(404, "NOT_FOUND", "The requested resource does not exist")
