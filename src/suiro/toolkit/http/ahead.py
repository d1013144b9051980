"""Requests that are under way while the answers before them are being read: in order, and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(
    acts: Iterable[Callable[[], T]], *, workers: int, size: Callable[[T], int], most_bytes: int
) -> Generator[T]:
    """What the acts bring, in their order; some are done ahead, in threads of their own.

    So many at once that, by the largest so far, they hold about `most_bytes`, and at most `workers`. An act is begun
    only when it may be needed soon; closed early, no further one is.
    """
    coming, waiting = iter(acts), deque[Future[T]]()
    largest, most = 1, 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="suiro-http")
    try:
        while True:
            while len(waiting) < most and (act := next(coming, None)) is not None:
                waiting.append(pool.submit(act))
            if not waiting:
                return
            done = waiting.popleft().result()
            largest = max(largest, size(done))
            most = max(1, min(workers, most_bytes // largest))
            yield done
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
