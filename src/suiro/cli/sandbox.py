"""The command `suiro sandbox`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from suiro.app.sandbox import Asked, Sandbox
from suiro.cli.connections import Json
from suiro.cli.output import print_json, tell
from suiro.model.errors import Cancelled, ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sandbox", epilog="Example: suiro sandbox --only salesforce --size Lead=100000 > sandbox.yaml")(sandbox)


def sandbox(
    only: Annotated[
        str | None,
        typer.Option(help="The services, not all of them: salesforce,bigcommerce,quickbooks,intercom,clevertap."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where they keep what they hold; by itself it is thrown away at the end.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the made-up data: the same seed, the same data.")] = 1,
    size: Annotated[
        list[str] | None, typer.Option(metavar="KIND=N", help="How many records are made at first; several times.")
    ] = None,
    port: Annotated[
        list[str] | None, typer.Option(metavar="SERVICE=N", help="Where a service answers; by itself any free port.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve local stand-ins of services until Ctrl-C; prints the connections to them as YAML for suiro apply."""
    services = tuple(name.strip() for name in only.split(",") if name.strip()) if only else ()
    asked = Asked(
        only=services,
        folder=folder,
        seed=seed,
        sizes=_numbers(size or (), "--size"),
        ports=_numbers(port or (), "--port"),
    )
    served = Sandbox(asked)

    def stop(number: int, frame: FrameType | None) -> None:
        served.stop()

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with served:
            _tell(served, json)
            served.wait()
    except Cancelled:
        return  # it was asked to end before it had begun to answer
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _tell(served: Sandbox, json: bool) -> None:
    if json:
        print_json({"services": served.services})
    else:
        sys.stdout.write(served.as_yaml())
        for name, said in served.services.items():
            tell(f"{name} answers at {said['url']}")
        tell("Ctrl-C ends it.")
    sys.stdout.flush()


def _numbers(texts: Sequence[str], option: str) -> dict[str, int]:
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal():
            raise ConfigError(f"{option} {text!r} is not NAME=NUMBER", hint=f"Write for example {option} Lead=1000.")
        found[name] = int(number)
    return found
