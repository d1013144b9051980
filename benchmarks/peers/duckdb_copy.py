"""DuckDB with its PostgreSQL extension: a table of one database into another one, or into a Parquet file."""

from __future__ import annotations

import argparse
from importlib.resources import files

import duckdb


def main() -> None:
    """Copy; the extension comes from its wheel, nothing is downloaded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, help="a database's address")
    parser.add_argument("--target", required=True, help="a database's address or a file's path")
    parser.add_argument("--table", required=True)
    options = parser.parse_args()

    folder = files("duckdb_extension_postgres_scanner") / "extensions" / f"v{duckdb.__version__}"
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as session:
        session.execute(f"LOAD '{folder / 'postgres_scanner.duckdb_extension'}'")
        session.execute("SET TimeZone = 'UTC'")
        session.execute(f"ATTACH '{options.source}' AS source (TYPE postgres, READ_ONLY)")
        if "://" in options.target:
            session.execute(f"ATTACH '{options.target}' AS target (TYPE postgres)")
            session.execute(f"CREATE TABLE target.public.{options.table} AS FROM source.public.{options.table}")
        else:
            session.execute(f"COPY (FROM source.public.{options.table}) TO '{options.target}' (COMPRESSION zstd)")


if __name__ == "__main__":
    main()
