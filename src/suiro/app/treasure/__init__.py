"""Treasure Data's ways: `load.yml`, its guess and preview, and the jobs that `connector:create` makes of it."""
