"""The source's own summary of a read, computed while the rows are on their way."""

from __future__ import annotations

import threading

from suiro.engine.plan import Plan
from suiro.model.summary import Summary
from suiro.spi.powers import Summarises
from suiro.spi.source import Read


class SourceSummary:
    """The source counts and adds up in a thread of its own while the rows are on their way."""

    def __init__(self, source: Summarises, read: Read, plan: Plan, *, columns: bool) -> None:
        self._found: Summary | BaseException | None = None
        names = {name: source_name for source_name, name in plan.mapping.items()}
        key = tuple(names[name] for name in plan.spec.key)

        def work() -> None:
            try:
                found = source.summarise(read, columns=columns, key=key)
                renamed = {plan.mapping[n]: column for n, column in found.columns.items() if n in plan.mapping}
                self._found = Summary(rows=found.rows, columns=renamed)
            except BaseException as error:  # noqa: BLE001  (raised again by `result`)
                self._found = error

        self._thread = threading.Thread(target=work, name="suiro-summary", daemon=True)
        self._thread.start()

    def result(self) -> Summary:
        """Wait for the summary; raises what the source raised."""
        self._thread.join()
        if isinstance(self._found, BaseException):
            raise self._found
        assert self._found is not None
        return self._found
