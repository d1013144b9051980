"""Numbers and dates written in text, told from their bytes a whole column at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_DIGIT, _POINT, _MINUS, _OTHER = 0, 1, 2, 3
_ZERO = ord("0")
_CLASSES = np.full(256, _OTHER, np.uint8)
_CLASSES[np.frombuffer(b"0123456789", np.uint8)] = _DIGIT
_CLASSES[ord(".")] = _POINT
_CLASSES[ord("-")] = _MINUS
_DATE_WIDTH, _DASHES, _DATE_DIGITS = 10, [4, 7], [0, 1, 2, 3, 5, 6, 8, 9]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The most digits before the point, after it, and in one number; whether any has a point."""

    whole: int
    scale: int
    digits: int
    pointed: bool


def numbers(values: pa.Array) -> Numbers | None:
    """What the numbers of a column of text have, or None unless each is `-?(0|[1-9][0-9]*)(.[0-9]+)?`.

    `values`: at least one, none NULL, of type string.
    """
    data, ends = _bytes(values)
    starts = np.concatenate((np.zeros(1, ends.dtype), ends[:-1]))
    classes = _CLASSES[data]
    if (ends == starts).any() or classes.max() == _OTHER:
        return None
    negative = (classes[starts] == _MINUS).astype(ends.dtype)
    if np.count_nonzero(classes == _MINUS) != negative.sum():
        return None
    scale = np.zeros_like(ends)
    points = np.flatnonzero(classes == _POINT).astype(ends.dtype)
    whole = ends - starts - negative
    if len(points):
        owners = np.searchsorted(ends, points, side="right")
        if (np.diff(owners) == 0).any():
            return None
        scale[owners] = ends[owners] - points - 1
        whole[owners] -= scale[owners] + 1
        if not scale[owners].all():
            return None
    if whole.min() < 1 or ((whole > 1) & (data[np.minimum(starts + negative, len(data) - 1)] == _ZERO)).any():
        return None
    most, after = int(whole.max()), int(scale.max())
    together = int((whole + scale).max())
    return Numbers(whole=most, scale=after, digits=together, pointed=bool(len(points)))


def shaped_like_dates(values: pa.Array) -> bool:
    """Whether each value is four digits, two and two with hyphens between. `values` as for `numbers`."""
    data, ends = _bytes(values)
    width = _DATE_WIDTH
    if len(data) != width * len(values) or ends[0] != width or (np.diff(ends) != width).any():
        return False
    rows = data.reshape(-1, width)
    return bool((rows[:, _DASHES] == ord("-")).all() and (_CLASSES[rows[:, _DATE_DIGITS]] == _DIGIT).all())


def _bytes(values: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """All characters in one array, and where each value ends in it."""
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    if data is None:
        return np.zeros(0, np.uint8), bounds[1:] - bounds[0]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]], bounds[1:] - bounds[0]
