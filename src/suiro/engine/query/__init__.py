"""Queries as streams: what a SELECT needs, what of it the source does itself, and DuckDB for the rest."""
