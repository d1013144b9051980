"""The command `suiro demo`."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from suiro.app.demo import Demonstration, Plot
from suiro.cli.connections import Json
from suiro.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example: suiro demo --postgres postgresql://user:password@localhost/shop")(demo)


def demo(
    postgres: Annotated[
        str | None, typer.Option(metavar="URI", help="A PostgreSQL database instead of the embedded warehouse.")
    ] = None,
    leads: Annotated[int, typer.Option(min=2, help="How many leads the stand-in of Salesforce has.")] = 200,
    customers: Annotated[int, typer.Option(min=1, help="How many customers the stand-in of BigCommerce has.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the made-up data.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="An empty folder where everything stays; by itself it is thrown away.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the whole story on this machine: leads and customers in, scored, scores written back, and undone."""
    with tempfile.TemporaryDirectory(prefix="suiro-demo-") as thrown_away:
        home = Path(thrown_away) if folder is None else folder
        home.mkdir(parents=True, exist_ok=True)
        plot = Plot(home=home, postgres=postgres, leads=leads, customers=customers, seed=seed, json=json)
        story = Demonstration(plot, _nothing if json else print).run()
    if json:
        print_json({**asdict(story), "scored": len(story.scored)})


def _nothing(text: str) -> None:
    """Tell nobody."""
