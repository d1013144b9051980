"""Errors of ours, by who acts next.

SuiroError(message, hint)
├── UserError            the user must act; never retried
│   ├── ConfigError        a setting, option, name or URI is missing or wrong; nothing was touched
│   ├── AuthError          the other side refused the credentials or lacks a privilege
│   └── SchemaConflict     stream and table can't be reconciled under the task's drift policy
├── TransientError       trying again may succeed; `retry_after` in seconds, or None
│   ├── RateLimited        the other side asks for patience
│   └── ConnectionLost     the other side went away
├── DataError            these rows can't be carried
├── ResyncRequired       the source can't resume at this position; read anew
├── VerificationFailed   what was written is not what was read; nothing was published
├── Fenced               another run took over; this one must not publish
├── Cancelled            the user stopped it
└── InternalError        an invariant of ours is broken: a bug

A message says what was tried, on what, and what was seen; the hint says what to do. Neither holds a
secret or a row's values.
"""

from __future__ import annotations

from typing import ClassVar


class SuiroError(Exception):
    """Base of all errors raised on purpose. `code` is stable and public."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(SuiroError):
    """The user must act; trying again without a change is useless."""

    code = "user_error"


class ConfigError(UserError):
    """A setting, option, name or URI is missing or wrong."""

    code = "config_error"


class AuthError(UserError):
    """The other side refused the credentials, or they lack a privilege (named in the message)."""

    code = "auth_error"


class SchemaConflict(UserError):
    """The stream and the table can't be reconciled under the task's drift policy."""

    code = "schema_conflict"


class TransientError(SuiroError):
    """Trying again may succeed; not before `retry_after` seconds, where it is known."""

    code = "transient_error"

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimited(TransientError):
    """The other side asks for patience."""

    code = "rate_limited"


class ConnectionLost(TransientError):
    """The other side went away, or was never there."""

    code = "connection_lost"


class DataError(SuiroError):
    """These rows can't be carried as they are. `column` is the one to blame, where it is known."""

    code = "data_error"

    def __init__(self, message: str, *, hint: str | None = None, column: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.column = column


class ResyncRequired(SuiroError):
    """The source can't resume at the saved position; the stream must be read anew."""

    code = "resync_required"


class VerificationFailed(SuiroError):
    """What was staged is not what was read; nothing was published. `differences` are sentences."""

    code = "verification_failed"

    def __init__(self, message: str, *, hint: str | None = None, differences: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.differences = differences


class Fenced(SuiroError):
    """Another run took over this task; this run must not publish."""

    code = "fenced"


class Cancelled(SuiroError):
    """The user stopped the run."""

    code = "cancelled"


class InternalError(SuiroError):
    """An invariant of ours is broken: a bug to report."""

    code = "internal_error"
