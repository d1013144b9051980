"""How much a write-back may change without a person's approval."""

from __future__ import annotations

from collections.abc import Mapping

from suiro.engine.writeback.task import WriteBack
from suiro.model.writeback import WriteBackMode


def beyond(work: WriteBack, counts: Mapping[str, int], *, managed: int) -> str | None:
    """Why the plan needs approval, in words; None if it needs none. `managed`: records that were sent once."""
    changed = sum(counts.get(kind, 0) for kind in ("create", "update", "delete"))
    if work.most_changed is not None and changed > _most(work.most_changed, counts.get("read", 0)):
        return f"{changed:,} would change, and {_said(work.most_changed, 'the rows read')} may"
    deleted = counts.get("delete", 0)
    if work.mode is WriteBackMode.MIRROR and deleted > _most(work.most_deleted, managed):
        said = _said(work.most_deleted, f"the {managed:,} that were sent")
        return f"{deleted:,} would be deleted, and {said} may"
    return None


def _most(limit: int | float, whole: int) -> float:
    return limit * whole if isinstance(limit, float) else limit


def _said(limit: int | float, whole: str) -> str:
    return f"at most {limit:.4g} of {whole}" if isinstance(limit, float) else f"at most {limit:,}"
