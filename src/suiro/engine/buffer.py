"""The buffer between the thread that reads and the thread that writes, bounded in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from suiro.engine.context import RunContext
from suiro.model.change import Change, Rejected, Rows

T = TypeVar("T")
_TICK = 0.2  #: seconds between two looks at the cancel switch


class Buffer(Generic[T]):
    """Runs `produce()` in a thread of its own and yields its items here, at most `limit` bytes of them ahead.

    An item larger than the limit passes alone. What the producer raises is raised by the iteration, after the items
    before it. Leaving the `with` block closes the producer's iterator and waits for its thread.
    """

    def __init__(
        self, produce: Callable[[], Iterator[T]], size: Callable[[T], int], limit: int, context: RunContext
    ) -> None:
        self._produce, self._size, self._limit, self._context = produce, size, limit, context
        self._items: deque[tuple[T, int]] = deque()
        self._held = 0
        self._ended = self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="suiro-reader", daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._drain()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            items = self._produce()
            try:
                for item in items:
                    if not self._put(item):
                        break
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
        except BaseException as error:  # noqa: BLE001  (raised again where the items are taken)
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        size = self._size(item)
        with self._changed:
            while self._held and self._held + size > self._limit and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                return False
            self._items.append((item, size))
            self._held += size
            self._changed.notify_all()
        return True

    def _drain(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._ended:
                    self._changed.wait(_TICK)
                    self._context.check_cancelled()
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item, size = self._items.popleft()
                self._held -= size
                self._changed.notify_all()
            self._context.check_cancelled()
            yield item


def size_of(change: Change) -> int:
    """The bytes that a change holds in memory."""
    match change:
        case Rows(data=data):
            return int(data.nbytes)
        case Rejected(rows=rows):
            return sum(len(row.row or "") + len(row.reason) for row in rows)
        case _:
            return 0
