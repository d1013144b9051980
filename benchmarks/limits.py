"""The physical limits: what the systems themselves need, as one shell pipe of their own clients."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from arena import Place
    from data import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits for one table; each method is a candidate's command."""

    table: Table
    psql: Path

    def copy(self, place: Place, since: datetime) -> list[str]:
        """Binary COPY into binary COPY."""
        return shell(f"{self._binary_out(place)} | {self._talk(place.target, self._load('FORMAT binary'))}")

    def to_file(self, place: Place, since: datetime) -> list[str]:
        """Binary COPY into a file."""
        return shell(f"{self._binary_out(place)} > {shlex.quote(str(place.output() / self.table.name))}.copy")

    def from_csv(self, place: Place, since: datetime) -> list[str]:
        """A compressed CSV file into COPY."""
        load = self._talk(place.target, self._load("FORMAT csv, HEADER"))
        return shell(f"gunzip -c {shlex.quote(str(place.csv))} | {load}")

    def merge(self, place: Place, since: datetime) -> list[str]:
        """Binary COPY of what changed into a temporary table, and that into the table."""
        name, key = self.table.name, ", ".join(self.table.key)
        changed = self._binary_out(place, f" WHERE {self.table.cursor} > '{since.isoformat()}'")
        updates = ", ".join(f"{column} = excluded.{column}" for column, _ in self.table.columns)
        load = self._talk(
            place.target,
            f"CREATE TEMPORARY TABLE changed (LIKE public.{name})",
            "COPY changed FROM STDIN (FORMAT binary)",
            f"INSERT INTO public.{name} SELECT * FROM changed ON CONFLICT ({key}) DO UPDATE SET {updates}",
        )
        return shell(f"{changed} | {load}")

    def from_mariadb(self, place: Place, since: datetime) -> list[str]:
        """MariaDB's client into COPY's text form.

        In --batch the client escapes backslashes, tabs, line ends and NULs as COPY reads them. It writes NULL as
        `NULL`, as it would a text of these four letters: no row here holds one.
        """
        read = self._ask(place, f"SELECT {self._columns} FROM {self.table.name}", "--quick", "--skip-column-names")
        load = self._load("FORMAT text, NULL 'NULL'")
        return shell(f"{read} | {self._talk(place.target, load)}")

    def to_mariadb(self, place: Place, since: datetime) -> list[str]:
        r"""COPY's text form into LOAD DATA, which reads its escapes and its \N (not its \f and \v: no row has them)."""
        read = self._talk(place.source, f"COPY ({self._select}) TO STDOUT")
        table = f"{self.table.name} CHARACTER SET utf8mb4 ({self._columns})"
        load = f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table}"
        return shell(f"{read} | {self._ask(place, load, '--local-infile=1')}")

    @property
    def _columns(self) -> str:
        return ", ".join(column for column, _ in self.table.columns)

    @property
    def _select(self) -> str:
        return f"SELECT {self._columns} FROM public.{self.table.name}"

    def _load(self, options: str) -> str:
        return f"COPY public.{self.table.name} FROM STDIN ({options})"

    def _binary_out(self, place: Place, condition: str = "") -> str:
        return self._talk(place.source, f"COPY ({self._select}{condition}) TO STDOUT (FORMAT binary)")

    def _talk(self, address: str, *statements: str) -> str:
        parts = [str(self.psql), "-Xq", "-v", "ON_ERROR_STOP=1", address, *(f"-c{part}" for part in statements)]
        return shlex.join(parts)

    def _ask(self, place: Place, statement: str, *options: str) -> str:
        """MariaDB's client in the database of this route; its settings file holds address and password."""
        client = [place.mariadb_client, f"--defaults-file={place.mariadb_settings}", "--batch", *options]
        return shlex.join([*client, f"--database={place.mariadb_database}", f"--execute={statement}"])


def shell(script: str) -> list[str]:
    """A command that runs a pipe, and fails when a part of it does."""
    return ["bash", "-c", f"set -o pipefail; {script}"]
