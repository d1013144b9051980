"""The command `suiro` as the chaos suite runs it: `python -m chaos.play ARGUMENT...`.

The same program, but for its children, which have a fault in them, and for leases of two seconds, so that the next run
needn't wait long for a dead one.
"""

from __future__ import annotations

import sys
from functools import partial

from suiro.app import running
from suiro.cli.main import main
from suiro.runtime.runner import Runner

LEASE_SECONDS = 2.0


def serve_until_told() -> None:
    """A runner that carries whatever is queued, until its standard input ends."""
    import threading

    from suiro.app.metadata import metadata

    runner = running.runner(metadata(), slots=1)

    def listen() -> None:
        sys.stdin.read()
        runner.stop()

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    runner.serve()


if __name__ == "__main__":
    running.CARRIER = (sys.executable, "-m", "chaos.faults")  # type: ignore[misc]
    running.Runner = partial(Runner, lease_seconds=LEASE_SECONDS)  # type: ignore[misc,assignment]
    if sys.argv[1:] == ["serve"]:
        serve_until_told()
    else:
        main()
