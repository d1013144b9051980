"""The command `suiro up`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from suiro.app.metadata import metadata
from suiro.cli.connections import Json
from suiro.cli.output import print_json, tell
from suiro.model.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up", epilog="Example: suiro up --port 8181 --tls-port 8443")(up)


def up(
    host: Annotated[
        str,
        typer.Option(help="The address to listen at. 127.0.0.1: this machine only; 0.0.0.0: whoever reaches it."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of HTTP; 0: any that is free.")] = 8181,
    tls_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of HTTPS, 8443; by itself only where a certificate was given or made."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="A certificate, PEM; without one it is made once, in Suiro's home.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM; without it the same file.")] = None,
    slots: Annotated[int, typer.Option(min=1, max=256, help="How many task runs this server carries at once.")] = 4,
    public_url: Annotated[
        str | None, typer.Option(help="What people open, where it isn't this machine's name: https://suiro.example.com")
    ] = None,
    json: Json = False,
) -> None:
    """Serve the API, fire schedules and carry runs, until Ctrl-C."""
    from suiro.app import certificates  # on use: other commands list this one
    from suiro.app.listening import is_everywhere
    from suiro.app.server import TLS_PORT, Addresses, Asked, Server

    if tls_key is not None and tls_cert is None:
        raise ConfigError("a key without its certificate is no use", hint="Give --tls-cert too.")
    names = () if is_everywhere(host) else (host,)
    certificate = None
    if tls_cert is not None:
        certificate = certificates.given(tls_cert, tls_key)
    elif tls_port is not None or certificates.made_before():
        certificate = certificates.made_here(names)
    asked = Asked(
        host=host,
        port=port,
        tls_port=TLS_PORT if tls_port is None else tls_port,
        certificate=certificate,
        slots=slots,
        public_url=public_url,
    )

    def ready(found: Addresses) -> None:
        if json:
            print_json({"url": found.url, "tls_url": found.tls_url, "pid": found.pid})
            sys.stdout.flush()
            return
        https = "" if found.tls_url is None else f" and {found.tls_url}"
        tell(f"Suiro answers at {found.url}{https} (Ctrl-C ends it).")
        if certificate is not None and certificate.own:
            tell(f"Its certificate is its own, SHA-256 {certificate.fingerprint}")
        if is_everywhere(host):
            tell("It listens at every address of this machine: whoever reaches one, and has a token, may use it.")

    server = Server(asked, metadata())
    if not json and not server.metadata.tokens.exist():
        tell("There is no token for the API yet: suiro token create NAME --scope admin")
    server.run(ready)
