"""Settings that connections to database servers share: address, login, TLS, and an SSH server on the way."""

from __future__ import annotations

import ipaddress
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from suiro.spi.connector import ConnectorConfig
from suiro.spi.context import Context
from suiro.toolkit.sql.hostkeys import advice
from suiro.toolkit.sql.ssh import SshSettings
from suiro.toolkit.sql.tunnel import Way, reach


def port_field(usual: Any = ...) -> Any:
    """The setting of a server's port; without a usual one it must be given."""
    return Field(
        usual,
        title="Port",
        description="TCP port of the server.",
        ge=1,
        le=65535,
        json_schema_extra={"uri": "port", "cdata": ["Port"]},
    )


def database_field(description: str) -> Any:
    """The setting of the database's name."""
    return Field(
        None, title="Database", description=description, json_schema_extra={"uri": "path", "cdata": ["Database"]}
    )


def sslmode_field() -> Any:
    """The setting of how much TLS is asked for."""
    return Field(
        "prefer",
        title="TLS",
        description="How much TLS is asked for; verify-full checks the server's name too.",
        json_schema_extra={"cdata": ["UseSSL"], "cdata_values": {"true": "require", "false": "disable"}},
    )


class ServerConfig(ConnectorConfig):
    """How to reach a database server. A URI's parts and query fill the fields.

    `json_schema_extra` of a field also says which properties of a connection string in CData's style fill it:
    "cdata" their names, "cdata_values" what their values mean, "cdata_when" what other properties must be,
    "cdata_begins" how a value begins that fills it by itself, "cdata_switch" (of nested settings) the properties that
    turn them on and off. Source: CData's documentation of
    the connection string options of its PostgreSQL and MySQL drivers.
    """

    host: str = Field(
        "localhost",
        title="Server",
        description="Host name or address as the SSH server sees it, if there is one; or where a Unix socket is.",
        json_schema_extra={"uri": "host", "cdata": ["Server"]},
    )
    port: int = port_field()
    database: str | None = database_field("The database's name.")
    user: str | None = Field(
        None,
        title="User",
        description="Left empty: the name of the operating system's user.",
        json_schema_extra={"uri": "user", "cdata": ["User"]},
    )
    password: SecretStr | None = Field(
        None,
        title="Password",
        description="The user's password.",
        json_schema_extra={"uri": "password", "cdata": ["Password"]},
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = sslmode_field()
    sslrootcert: str | None = Field(
        None,
        title="Root certificate",
        description="File with the certificate authority to trust.",
        json_schema_extra={"cdata": ["SSLServerCert"]},
    )
    sslcert: str | None = Field(None, title="Client certificate", description="File with the user's own certificate.")
    sslkey: str | None = Field(
        None,
        title="Client key",
        description="File with the key of the client certificate. Left empty: it is in the same file.",
    )
    connect_timeout: int = Field(
        15, title="Time to connect", description="Seconds to wait for the server to answer.", ge=1
    )
    ssh: SshSettings | None = Field(
        None,
        title="SSH tunnel",
        description="The SSH server through which the database is reached.",
        json_schema_extra={"cdata_switch": ["UseSSH", "UserSSH"]},
    )

    @model_validator(mode="after")
    def _no_socket_behind_ssh(self) -> ServerConfig:
        if self.ssh is not None and self.host.startswith("/"):
            raise ValueError("through an SSH server only a host name or address is reached, no Unix socket")
        return self

    @property
    def address(self) -> str:
        """The server in words."""
        at = f"{self.host}:{self.port}"
        return at if self.ssh is None else f"{at} (through the SSH server {self.ssh.address})"

    @property
    def location(self) -> str:
        """Host and port, for `identity`. The same address means another server behind each SSH server's own."""
        at = f"{self.host}:{self.port}"
        return f"{at} of {self.ssh.host}" if self.ssh is not None and _is_local(self.host) else at

    def way(self, context: Context) -> Way:
        """The way to the server for one session."""
        return reach(self.ssh, self.host, self.port, context, self.connect_timeout)

    def notes(self) -> tuple[str, ...]:
        """Sentences for the user once the server was reached."""
        return () if self.ssh is None else advice(self.ssh)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() in ("localhost", "localhost.localdomain", "")
