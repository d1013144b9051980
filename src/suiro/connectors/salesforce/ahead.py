"""Reading ahead: items are made in a thread of their own while those before them are worked on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

_GIVE_UP = 2.0  #: seconds that the end waits for the thread, which may wait for an answer


class Ahead(Generic[T]):
    """Iterates over `make()`, which runs in a thread and is at most `most` (as `size` counts) ahead.

    A context manager: when it is left early, `make()`'s iterator is closed at its next item.
    """

    def __init__(self, make: Callable[[], Iterator[T]], size: Callable[[T], int], most: int) -> None:
        self._make, self._size, self._most = make, size, most
        self._ready: deque[T] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._ended = self._left = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="suiro-salesforce-ahead", daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._changed:
            self._left = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(_GIVE_UP)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._ended)
                if not self._ready:
                    if self._failure is not None:
                        raise self._failure
                    return
                item = self._ready.popleft()
                self._held -= self._size(item)
                self._changed.notify_all()
            yield item

    def _run(self) -> None:
        items = self._make()
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as error:  # noqa: BLE001  (raised again where the items are taken)
            self._failure = error
        finally:
            if hasattr(items, "close"):
                items.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Wait for room, and add it. False: nobody takes items any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or not self._held or self._held < self._most)
            if self._left:
                return False
            self._ready.append(item)
            self._held += self._size(item)
            self._changed.notify_all()
            return True
