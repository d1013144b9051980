"""The sandbox as a process: `python -m suiro.sandbox`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suiro.model.errors import SuiroError
from suiro.sandbox.server import Running, names

POLL_SECONDS = 0.1


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's options; wrong use ends the process with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m suiro.sandbox",
        description="Serve local stand-ins of services until SIGTERM or SIGINT.",
        epilog="Example: python -m suiro.sandbox --only salesforce --size Lead=100000 --port salesforce=8200",
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"services: {','.join(names())}")
    parser.add_argument("--folder", type=Path, help="where their data lies; without it, in a folder that is removed")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up data")
    parser.add_argument(
        "--size", type=pair, action="append", default=[], metavar="KIND=N", help="records made at first"
    )
    parser.add_argument("--port", type=pair, action="append", default=[], metavar="SERVICE=N", help="0: a free one")
    parser.add_argument("--json", action="store_true", help="tell addresses as one line of JSON")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends, too")
    return parser.parse_args(arguments)


def pair(text: str) -> tuple[str, int]:
    """`name=number`."""
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=NUMBER")
    return name, int(number)


def table(told: dict[str, Any]) -> str:
    """Addresses and ways to sign in, for people."""
    lines = []
    for name, service in told["services"].items():
        lines.append(f"{name}  {service['url']}")
        for way, settings in service["connections"].items():
            lines.append(f"  {way}")
            for key, value in settings.items():
                first, *rest = value.splitlines() or [""]
                lines.append(f"    {key:<16} {first}{' ...' if rest else ''}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. 0: told to; 2: wrong use."""
    chosen = options(sys.argv[1:] if arguments is None else arguments)
    # No lock is taken in a signal's handler: a second signal may come while the first is handled.
    stops: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stops.append("signal"))
    if chosen.until_eof:
        threading.Thread(target=lambda: stops.append(sys.stdin.read()), daemon=True).start()
    try:
        running = Running(
            only=chosen.only, folder=chosen.folder, seed=chosen.seed, sizes=dict(chosen.size), ports=dict(chosen.port)
        )
        with running:
            told = running.told()
            print(json.dumps(told, ensure_ascii=False) if chosen.json else table(told), flush=True)
            while not stops:
                time.sleep(POLL_SECONDS)
    except SuiroError as error:
        print(f"{error.message}{f' ({error.hint})' if error.hint else ''}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
