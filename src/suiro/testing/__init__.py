"""Public conformance suites: what every source and every destination must do."""
