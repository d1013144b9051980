"""Questions of a child process to its supervisor about accounts: grants and quotas, asked and answered over the pipe.

The child writes `{"ask": {"id": n, "what": "grants.take", ...}}`, from several threads at once; the supervisor answers
each with `{"answer": {"id": n, "value": ...}}` or with `"error"` in place of the value, in any order.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from suiro.engine.accounts import Accounts
from suiro.engine.renewing import Keeper, SharedGrants
from suiro.model.account import Grant, Rate, Turn
from suiro.model.errors import InternalError, SuiroError, TransientError
from suiro.spi.context import Quotas

_log = logging.getLogger("suiro.runner")
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a supervisor answers from."""

    grants: Keeper
    quotas: Quotas


class Asker:
    """The child's side: asks, and waits for the answer. `tell` writes a line to the supervisor."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self._ids = itertools.count(1)
        self._waiting: dict[int, SimpleQueue[Line]] = {}

    def ask(self, what: str, **more: Any) -> Any:
        """The answer; an error that it was answered with is raised."""
        id_, answers = next(self._ids), SimpleQueue[Line]()
        self._waiting[id_] = answers
        self._tell({"ask": {"id": id_, "what": what, **more}})
        answer = answers.get()  # comes without fail: a child whose supervisor is gone ends
        if "error" in answer:
            raise _raised(answer["error"])
        return answer["value"]

    def answered(self, answer: Line) -> None:
        """Hand an answer to who waits for it."""
        self._waiting.pop(answer["id"]).put(answer)

    def accounts(self, wait: Callable[[float], None]) -> Accounts:
        """What the supervisor lends; `wait` sleeps, and raises Cancelled when it is time to stop."""
        return Accounts(grants=SharedGrants(_AskedGrants(self), wait), quotas=_AskedQuotas(self))


class _AskedGrants:
    """Implements `engine.renewing.Keeper`."""

    def __init__(self, asker: Asker) -> None:
        self._ask = asker.ask

    def load(self, key: str) -> Grant | None:
        return _grant(self._ask("grants.load", key=key))

    def take(self, key: str, seen: int, holder: str) -> Turn:
        found = self._ask("grants.take", key=key, seen=seen, holder=holder)
        return Turn(mine=found["mine"], grant=_grant(found["grant"]))

    def extend(self, key: str, holder: str) -> bool:
        return bool(self._ask("grants.extend", key=key, holder=holder))

    def keep(self, key: str, holder: str, before: int, newer: Grant) -> Grant:
        said = self._ask("grants.keep", key=key, holder=holder, before=before, newer=_said(newer))
        return Grant(version=said["version"], values=said["values"])

    def release(self, key: str, holder: str) -> None:
        self._ask("grants.release", key=key, holder=holder)


class _AskedQuotas:
    """Implements `spi.context.Quotas`."""

    def __init__(self, asker: Asker) -> None:
        self._ask = asker.ask

    def take(self, key: str, rate: Rate) -> float:
        return float(self._ask("quotas.take", key=key, requests=rate.requests, seconds=rate.seconds))

    def learn(self, key: str, *, left: int, seconds: float) -> None:
        self._ask("quotas.learn", key=key, left=left, seconds=seconds)

    def pause(self, key: str, seconds: float) -> None:
        self._ask("quotas.pause", key=key, seconds=seconds)


class Desk:
    """The supervisor's side: answers one child's questions in a thread of its own, in the order they come.

    The turns to renew that a child leaves behind when it ends are given back.
    """

    def __init__(self, books: Books | None, tell: Callable[[Line], object]) -> None:
        self._books, self._tell = books, tell
        self._asked: SimpleQueue[Line | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turns: set[tuple[str, str]] = set()

    @property
    def renewing(self) -> bool:
        """Whether the child has the turn to renew a grant."""
        return bool(self._turns)

    def put(self, asked: Line) -> None:
        """A question of the child's. For one thread, as `end`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="suiro-desk", daemon=True)
            self._thread.start()
        self._asked.put(asked)

    def end(self) -> None:
        """The child has ended: no question comes any more."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()

    def _serve(self) -> None:
        for asked in iter(self._asked.get, None):
            self._tell({"answer": {"id": asked["id"], **self._answer(asked)}})
        for key, holder in self._turns:
            assert self._books is not None
            try:
                self._books.grants.release(key, holder)
            except SuiroError as error:
                _log.warning("a turn to renew credentials ends by itself only: %s", error.message)

    def _answer(self, asked: Line) -> Line:
        try:
            if self._books is None:
                raise InternalError("this supervisor keeps no accounts")
            return {"value": self._value(self._books, asked)}
        except SuiroError as error:
            return {"error": _told(error)}
        except Exception:  # noqa: BLE001  (the question ends here; the child must not wait for ever)
            _log.exception("a question about accounts (%s) can't be answered", asked.get("what"))
            return {"error": _told(InternalError("the supervisor can't answer a question about accounts"))}

    def _value(self, books: Books, asked: Line) -> Any:
        what = str(asked["what"])
        more = {name: value for name, value in asked.items() if name not in ("id", "what")}
        match what.partition("."):
            case "grants", _, step:
                return self._step(books.grants, step, more)
            case "quotas", _, "take":
                rate = Rate(requests=more["requests"], seconds=more["seconds"])
                return books.quotas.take(more["key"], rate)
            case "quotas", _, "learn":
                return books.quotas.learn(more["key"], left=more["left"], seconds=more["seconds"])
            case "quotas", _, "pause":
                return books.quotas.pause(more["key"], more["seconds"])
        raise InternalError(f"nobody knows the question {what!r}")

    def _step(self, grants: Keeper, step: str, more: Line) -> Any:
        turn = (more["key"], more.get("holder", ""))
        match step:
            case "load":
                return _said(grants.load(more["key"]))
            case "take":
                taken = grants.take(*turn[:1], more["seen"], more["holder"])
                if taken.mine:
                    self._turns.add(turn)
                return {"mine": taken.mine, "grant": _said(taken.grant)}
            case "extend":
                return grants.extend(*turn)
            case "keep":
                newer = Grant(version=more["newer"]["version"], values=more["newer"]["values"])
                kept = grants.keep(*turn, more["before"], newer)
                self._turns.discard(turn)
                return _said(kept)
            case "release":
                self._turns.discard(turn)
                return grants.release(*turn)
        raise InternalError(f"nobody knows the question grants.{step}")


def _said(grant: Grant | None) -> Line | None:
    return None if grant is None else {"version": grant.version, "values": grant.values}


def _grant(said: Line | None) -> Grant | None:
    return None if said is None else Grant(version=said["version"], values=said["values"])


def _told(error: SuiroError) -> Line:
    after = error.retry_after if isinstance(error, TransientError) else None
    return {"code": error.code, "message": error.message, "hint": error.hint, "retry_after": after}


def _raised(told: Line) -> SuiroError:
    """The error that the supervisor met, as it was there."""
    kind = _KINDS.get(told["code"], InternalError)
    if issubclass(kind, TransientError):
        return kind(told["message"], hint=told["hint"], retry_after=told["retry_after"])
    return kind(told["message"], hint=told["hint"])


def _kinds(kind: type[SuiroError]) -> Iterator[type[SuiroError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


_KINDS: Final = {kind.code: kind for kind in _kinds(SuiroError)}
