"""Use-cases: the only place that puts connectors, engine and settings together."""
