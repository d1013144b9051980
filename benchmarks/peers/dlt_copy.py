"""One dlt pipeline, as its documents build the fast ones: Arrow batches in, a bulk format out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations import filesystem, postgres, sqlalchemy
from dlt.sources.filesystem import filesystem as files
from dlt.sources.filesystem import read_csv_duckdb
from dlt.sources.sql_database import sql_table

ROWS_PER_BATCH = 50_000


def with_driver(address: str) -> str:
    """The address with the name of the driver that SQLAlchemy takes; MySQL without TLS, as the others run."""
    if address.startswith("mysql:"):
        return f"{address.replace('mysql://', 'mysql+pymysql://', 1)}?ssl_disabled=true"
    return address.replace("postgresql://", "postgresql+psycopg2://", 1)


def destination(target: str) -> Any:
    """The destination for a database's address or a folder."""
    if target.startswith("mysql:"):
        return sqlalchemy(with_driver(target))
    return postgres(target) if "://" in target else filesystem(Path(target).as_uri())


def table(options: argparse.Namespace) -> Any:
    """The resource that reads the table. `arrow_stream` is what keeps connectorx from holding all of it."""
    cursor = dlt.sources.incremental(options.cursor, range_start="open") if options.cursor else None
    of_postgres = options.source.startswith("postgresql:")
    connectorx = {"return_type": "arrow_stream"}
    if not of_postgres:
        connectorx["conn"] = options.source  # it doesn't know PyMySQL's options
    return sql_table(
        credentials=with_driver(options.source),
        schema="public" if of_postgres else None,
        table=options.table,
        backend=options.backend,
        backend_kwargs=connectorx if options.backend == "connectorx" else None,
        reflection_level="full_with_precision",
        chunk_size=ROWS_PER_BATCH,
        incremental=cursor,
    )


def csv(options: argparse.Namespace) -> Any:
    """The resource that reads a CSV file."""
    path = Path(options.source)
    found = files(bucket_url=path.parent.as_uri(), file_glob=path.name)
    return (found | read_csv_duckdb(chunk_size=ROWS_PER_BATCH, use_pyarrow=True)).with_name(options.table)


def main() -> None:
    """Run the pipeline; a failed job raises."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, help="a database's address or a CSV file's path")
    parser.add_argument("--target", required=True, help="a database's address or a folder")
    parser.add_argument("--table", required=True)
    parser.add_argument("--backend", default="pyarrow", choices=["pyarrow", "connectorx"])
    parser.add_argument("--format", required=True, choices=["csv", "parquet"])
    parser.add_argument("--cursor", help="read what is new since the last run, and merge it by --key")
    parser.add_argument("--key")
    options = parser.parse_args()

    dataset = options.target.rpartition("/")[2] if options.target.startswith("mysql:") else "bench"
    pipeline = dlt.pipeline("bench", destination=destination(options.target), dataset_name=dataset)
    disposition: Any = {"disposition": "merge", "strategy": "upsert"} if options.cursor else "replace"
    rows = table(options) if "://" in options.source else csv(options)
    rows.apply_hints(write_disposition=disposition, primary_key=options.key)
    print(pipeline.run(rows, loader_file_format=options.format))


if __name__ == "__main__":
    main()
