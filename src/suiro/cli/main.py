"""The command `suiro`."""

from __future__ import annotations

import gc
import logging
import sys
from importlib import import_module
from typing import Final

import typer

from suiro import __version__
from suiro.cli.output import print_error
from suiro.model.errors import Cancelled, ConfigError, SuiroError

MODULES: Final = {  #: which module has which commands: only what is asked for is imported
    "copy": ("copy",),
    "verify": ("verify",),
    "connections": ("connectors", "check", "streams"),
    "workbench": ("preview", "sql"),
    "jobs": ("apply", "export", "position"),
    "schedules": ("schedule",),
    "runs": ("run", "runs", "show", "logs", "cancel", "retry"),
    "writeback": ("writeback",),
    "secrets": ("secret",),
    "authorize": ("authorize",),
    "up": ("up",),
    "tokens": ("token",),
    "sandbox": ("sandbox",),
    "demo": ("demo",),
    "connector": ("connector",),
    "td": ("td",),
}


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"suiro {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of is told by the run's own error


def load(command: str | None) -> typer.Typer:
    """The command line with this command; with all of them where there is no such command."""
    app = typer.Typer(
        name="suiro",
        help="Move data between applications, databases, files and warehouses, and prove that it arrived.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    gc.disable()  # imports make no garbage, and looking for it takes a tenth of the start
    wanted = [module for module, commands in MODULES.items() if command in commands]
    for module in wanted or MODULES:
        import_module(f"suiro.cli.{module}").register(app)
    gc.freeze()
    gc.enable()
    return app


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with rejected rows, 4 waits for approval, 130 cancelled.
    """
    try:
        load(sys.argv[1] if len(sys.argv) > 1 else None)(standalone_mode=True)
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
