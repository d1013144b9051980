"""Queries in the service's own language, and the SQL that answers them."""
