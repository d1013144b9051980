"""The command `suiro`."""

from __future__ import annotations

import logging
import sys

import typer

from suiro import __version__
from suiro.cli import connections, copy, workbench
from suiro.cli.output import print_error
from suiro.model.errors import Cancelled, ConfigError, SuiroError

app = typer.Typer(
    name="suiro",
    help="Move data between applications, databases, files and warehouses, and prove that it arrived.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (copy, connections, workbench):
    module.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"suiro {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of is told by the run's own error


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 wrong use, 3 done with rejected rows, 130 cancelled."""
    try:
        app(standalone_mode=True)
    except SuiroError as error:
        print_error(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)


def exit_code(error: SuiroError) -> int:
    """What the process exits with after this error."""
    if isinstance(error, Cancelled):
        return 130
    return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    main()
