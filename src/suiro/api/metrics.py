"""Numbers for Prometheus: runs, task runs, rows, requests; in a registry of the server's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from suiro.app import measures
from suiro.app.server import Server

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST


class Meters:
    """What is counted of requests, and, when it is asked for, what the server and its store tell."""

    def __init__(self, server: Server) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("suiro_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "suiro_request_seconds",
            "How long requests took.",
            ("method", "route"),
            buckets=measures.BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_Stored(server))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """What is looked up when somebody asks. Each server tells the same of the store, and its own of what it carried."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def describe(self) -> list[Metric]:
        return []  # registering must not ask the store

    def collect(self) -> Iterator[Metric]:
        known = self._server.metadata
        runs = GaugeMetricFamily("suiro_runs", "Runs that are kept, by state.", labels=["state"])
        for state, number in measures.runs(known).items():
            runs.add_metric([state], number)
        yield runs
        now = {"queued": 0, "running": 0} | measures.task_runs(known)
        going = GaugeMetricFamily("suiro_task_runs", "Task runs that wait or run.", labels=["state"])
        for state, number in now.items():
            going.add_metric([state], number)
        yield going
        lag = self._server.scheduler_lag()
        if lag is not None:
            told = "Seconds since this server's scheduler said that it watches the clock, which it does every 5 s."
            yield GaugeMetricFamily("suiro_scheduler_lag_seconds", told, value=lag)
        ends = CounterMetricFamily("suiro_task_run_ends", "Task runs that ended in this server.", labels=["status"])
        for status, number in self._server.measures.ends().items():
            ends.add_metric([status], number)
        yield ends
        carried = self._server.measures.carried()
        rows = CounterMetricFamily("suiro_rows", "Rows that this server's task runs carried.", labels=["what"])
        for name, number in carried.items():
            if name != "bytes":
                rows.add_metric([name.removeprefix("rows_")], number)
        yield rows
        yield CounterMetricFamily("suiro_bytes", "Bytes that this server's task runs read.", value=carried["bytes"])
