"""One dlt pipeline, as its documents build the fast ones: Arrow batches in, a bulk format out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations import filesystem, postgres
from dlt.sources.filesystem import filesystem as files
from dlt.sources.filesystem import read_csv_duckdb
from dlt.sources.sql_database import sql_table

ROWS_PER_BATCH = 50_000


def table(options: argparse.Namespace) -> Any:
    """The resource that reads the table. `arrow_stream` is what keeps connectorx from holding all of it."""
    cursor = dlt.sources.incremental(options.cursor, range_start="open") if options.cursor else None
    return sql_table(
        credentials=options.source.replace("postgresql://", "postgresql+psycopg2://", 1),
        schema="public",
        table=options.table,
        backend=options.backend,
        backend_kwargs={"return_type": "arrow_stream"} if options.backend == "connectorx" else None,
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

    target = postgres(options.target) if "://" in options.target else filesystem(Path(options.target).as_uri())
    pipeline = dlt.pipeline("bench", destination=target, dataset_name="bench")
    disposition: Any = {"disposition": "merge", "strategy": "upsert"} if options.cursor else "replace"
    rows = table(options) if "://" in options.source else csv(options)
    rows.apply_hints(write_disposition=disposition, primary_key=options.key)
    print(pipeline.run(rows, loader_file_format=options.format))


if __name__ == "__main__":
    main()
