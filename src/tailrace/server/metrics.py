"""Counters of what the server did, plain numbers on the hot path, read by Prometheus at `/metrics`."""

import platform
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeVar

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tailrace import __version__
from tailrace.lake import MaintenanceCounters
from tailrace.native import why_missing

GAUGES = (  # member of `Gauges`, name and meaning of the metric
    ("is_ready", "tailrace_ready", "1 where /readyz is 200, 0 where it is 503."),
    ("free_disk_bytes", "tailrace_free_disk_bytes", "Free bytes on the disk of the data directory."),
    (
        "uncommitted_events",
        "tailrace_uncommitted_events",
        "Events acknowledged, and so durable in the log, that are not in their tables yet.",
    ),
    ("uncommitted_age_s", "tailrace_uncommitted_age_seconds", "Age of the oldest of the uncommitted events."),
    ("log_bytes", "tailrace_log_bytes", "Size of the log on disk."),
    (
        "unavailable_datasets",
        "tailrace_unavailable_datasets",
        "Datasets that are there and cannot be opened; /readyz and the list of datasets name them.",
    ),
    ("backlog_bytes", "tailrace_backlog_bytes", "Bytes of durable events that wait to be shredded."),
    (
        "uncommitted_bytes",
        "tailrace_uncommitted_bytes",
        "Bytes of the uncommitted events as lines of JSON, and 256 a batch not shredded.",
    ),
    (
        "held_answers",
        "tailrace_waiting_answers",
        "Answers that wait for fewer uncommitted bytes (max_uncommitted_bytes).",
    ),
    ("damaged_files", "tailrace_damaged_files", "Files of tables found not to be as they were written."),
    ("log_damage", "tailrace_log_damage", "Damaged stretches and gaps met in the log since the start."),
    (
        "log_missing_positions",
        "tailrace_log_missing_positions",
        "Positions (a batch each) in gaps of the log, whose segment files are missing.",
    ),
)
COUNTERS = (  # the same, since the start
    ("commits", "tailrace_commits", "Commits to tables since the start."),
    ("commit_failures", "tailrace_commit_failures", "Commits to tables that failed and are tried again."),
    ("answers_held", "tailrace_answers_held", "Answers that have waited for fewer uncommitted bytes."),
    ("answers_held_s", "tailrace_answers_held_seconds", "Time for which they have waited, together."),
    ("shred_failures", "tailrace_shred_failures", "Shreddings that failed; their events are kept whole."),
    (
        "set_aside",
        "tailrace_table_log_files_set_aside",
        "Files of tables' logs that could not be read at the start and were set aside.",
    ),
)
MAINTENANCE = (  # the same, members of `MaintenanceCounters`
    ("compactions", "tailrace_compactions", "Merges of files of a table into one."),
    ("files_before", "tailrace_compacted_files", "Files that were merged."),
    ("files_after", "tailrace_compacted_files_made", "Files that took their place."),
    ("bytes_rewritten", "tailrace_rewritten_bytes", "Bytes of files written by compaction and deletion."),
    ("rows_expired", "tailrace_expired_events", "Events that retention took out of their tables."),
    ("rows_deleted", "tailrace_deleted_events", "Events deleted by request."),
    ("files_removed", "tailrace_removed_files", "Files removed from the disk, no part of their table any more."),
    ("files_verified", "tailrace_verified_files", "Files of tables read to see whether they are as they were written."),
    (
        "failures",
        "tailrace_maintenance_failures",
        "Rounds over a dataset that failed and are tried again.",
    ),
)
FLUSH_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CacheFigures(Struct, frozen=True):
    """What a cache holds, and how often it had what was looked for since the start."""

    bytes: int
    hits: int
    misses: int


class Gauges(Struct, frozen=True, kw_only=True):
    """What is measured when asked for; where there is no lake, nothing of it."""

    is_ready: bool
    log_bytes: int  # of all segment files
    log_damage: int  # stretches of the log, or of its positions, that hold nothing sound
    log_missing_positions: int  # batches whose segment is not there
    free_disk_bytes: int  # for the server, on the disk of the data directory
    running_queries: int
    waiting_queries: int
    held_answers: int  # that wait now
    answers_held: int  # since the start
    answers_held_s: float  # together
    caches: Mapping[str, CacheFigures]  # of queries, by name
    monitor_runs: Mapping[str, int]  # by result
    notifications: Mapping[str, int]  # by result
    connections: Mapping[tuple[str, str], int]  # of the doors for streams, by door and transport

    # Of the lake
    uncommitted_events: int = 0
    uncommitted_age_s: float = 0.0  # of the oldest of them
    unavailable_datasets: int = 0  # that cannot be opened
    backlog_bytes: int = 0  # of accepted events that are not shredded yet
    uncommitted_bytes: int = 0  # of those, and of the rows that are not in their tables yet
    commits: int = 0  # since the start, as those that follow
    commit_failures: int = 0
    shred_failures: int = 0  # shreddings whose events were stored whole in `_rest`
    set_aside: int = 0  # files of tables' logs
    damaged_files: int = 0  # of tables
    maintenance: MaintenanceCounters = field(default_factory=MaintenanceCounters)


class Latency:
    """A histogram of durations in seconds."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, elapsed_s: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds_s, elapsed_s)] += 1
        self.sum_s += elapsed_s

    def timed(self, call: Callable[[int], None]) -> Callable[[int], None]:
        """Return a call on a file descriptor whose duration is observed."""

        def timed(descriptor: int) -> None:
            began_s = time.perf_counter()
            try:
                call(descriptor)
            finally:
                self.observe(time.perf_counter() - began_s)

        return timed

    def add(self, other: "Latency") -> None:
        """Count what another of the same bounds has counted."""
        self.counts = [sum(each) for each in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def buckets(self) -> list[tuple[str, float]]:
        """Return the counts of the durations up to each bound, as Prometheus has them."""
        return list(zip((*map(str, self.bounds_s), "+Inf"), accumulate(self.counts), strict=True))


class Metrics:
    """All counters of one server; changed on the event loop's thread only, but `flushes` on the log's."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()  # by protocol
        self.bytes: Counter[str] = Counter()  # by protocol, decoded
        self.rejections: Counter[tuple[str, str, str]] = Counter()  # events, by protocol, route and code
        self.refusals: Counter[tuple[str, str, str, int]] = Counter()  # requests, by protocol, route, code and status
        self.requests: Counter[tuple[str, str, int]] = Counter()  # answered, by protocol, route and status
        self.dropped: Counter[tuple[str, str]] = Counter()  # datagrams, by door and reason
        self.flushes = Latency(FLUSH_BOUNDS_S)
        self.latency: dict[str, Latency] = {}  # by protocol, or "api"
        self.certificate_not_after_s: int | None = None  # Unix seconds; None without TLS
        self.fleet_certificate_not_after_s: int | None = None  # the same of the one for other nodes

    def count_ingested(self, protocol: str, events: int, processed_bytes: int) -> None:
        """Count events that became durable."""
        self.events[protocol] += events
        self.bytes[protocol] += processed_bytes

    def count_request(self, protocol: str, route: str, status: int) -> None:
        """Count an answered request."""
        self.requests[protocol, route, status] += 1

    def count_rejections(self, protocol: str, route: str, codes: Mapping[str, int]) -> None:
        """Count events that were refused, given as how many of each code."""
        for code, count in codes.items():
            self.rejections[protocol, route, code] += count

    def count_refusal(self, protocol: str, code: str, *, route: str = "", status: int = 0) -> None:
        """Count a request that was refused as a whole; without a route something that no request asked for."""
        self.refusals[protocol, route, code, status] += 1

    def count_dropped(self, door: str, reason: str, count: int = 1) -> None:
        """Count datagrams that were dropped unread."""
        if count:
            self.dropped[door, reason] += count

    def add(self, other: "Metrics") -> None:
        """Count what another process has counted."""
        for name in ("events", "bytes", "rejections", "refusals", "requests", "dropped"):
            getattr(self, name).update(getattr(other, name))
        self.flushes.add(other.flushes)
        self.certificate_not_after_s = self.certificate_not_after_s or other.certificate_not_after_s
        for part, latency in other.latency.items():
            self.latency.setdefault(part, Latency()).add(latency)

    def observe(self, part: str, elapsed_s: float) -> None:
        """Count an answered request of a protocol or of the API."""
        latency = self.latency.get(part)
        if latency is None:
            latency = self.latency[part] = Latency()
        latency.observe(elapsed_s)


class _Collector(Collector):
    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        native = "no" if why_missing() else "yes"
        build = {"version": __version__, "python": platform.python_version(), "native": native}
        yield InfoMetricFamily("tailrace_build", "The version; whether the native library is used.", build)
        yield from _request_counters(self._metrics)
        yield from _stream_counters(self._metrics, self._gauges)
        yield from _latencies(self._metrics)
        yield _labelled(
            GaugeMetricFamily("tailrace_queries", "Queries under way: running, waiting.", labels=["state"]),
            {("running",): self._gauges.running_queries, ("waiting",): self._gauges.waiting_queries},
        )
        for gauge, name, meaning in GAUGES:
            yield GaugeMetricFamily(name, meaning, getattr(self._gauges, gauge))
        for counter, name, meaning in COUNTERS:
            yield CounterMetricFamily(name, meaning, getattr(self._gauges, counter))
        for counter, name, meaning in MAINTENANCE:
            yield CounterMetricFamily(name, meaning, getattr(self._gauges.maintenance, counter))
        if self._metrics.fleet_certificate_not_after_s is not None:
            yield GaugeMetricFamily(
                "tailrace_fleet_tls_certificate_not_after_seconds",
                "When the certificate for other nodes of the fleet ends, in Unix seconds.",
                self._metrics.fleet_certificate_not_after_s,
            )
        if self._metrics.certificate_not_after_s is not None:
            yield GaugeMetricFamily(
                "tailrace_tls_certificate_not_after_seconds",
                "When the certificate of the server's port ends, in Unix seconds.",
                self._metrics.certificate_not_after_s,
            )
        yield from _caches(self._gauges.caches)
        yield from _monitor_counters(self._gauges)


def _request_counters(metrics: Metrics) -> Iterator[Metric]:
    """Yield how many events and requests came, and what became of them."""
    yield _labelled(
        CounterMetricFamily("tailrace_ingested_events", "Events made durable.", labels=["protocol"]),
        {(protocol,): count for protocol, count in metrics.events.items()},
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_ingested_bytes", "Decoded bytes of bodies whose events were made durable.", labels=["protocol"]
        ),
        {(protocol,): count for protocol, count in metrics.bytes.items()},
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_requests", "Requests answered, by status.", labels=["protocol", "route", "status"]
        ),
        metrics.requests,
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_rejected_events", "Events refused, by reason.", labels=["protocol", "reason", "route"]
        ),
        {(protocol, code, route): count for (protocol, route, code), count in metrics.rejections.items()},
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_refused_requests",
            "Requests refused as a whole, by reason.",
            labels=["protocol", "reason", "route", "status"],
        ),
        {(protocol, code, route, status): count for (protocol, route, code, status), count in metrics.refusals.items()},
    )


def _stream_counters(metrics: Metrics, gauges: Gauges) -> Iterator[Metric]:
    """Yield what the doors for connections and datagrams hold, and what they dropped unread."""
    yield _labelled(
        GaugeMetricFamily("tailrace_door_connections", "Open connections of a door.", labels=["protocol", "route"]),
        gauges.connections,
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_dropped_datagrams", "Datagrams dropped unread, by reason.", labels=["protocol", "reason"]
        ),
        metrics.dropped,
    )


def _latencies(metrics: Metrics) -> Iterator[Metric]:
    """Yield how long requests and flushes of the log took."""
    duration = HistogramMetricFamily(
        "tailrace_request_duration_seconds", "From a request's head to its answer.", labels=["part"]
    )
    for part, latency in metrics.latency.items():
        duration.add_metric([part], latency.buckets(), latency.sum_s)
    yield duration
    yield HistogramMetricFamily(
        "tailrace_log_flush_duration_seconds",
        "Of making a group of batches durable: fdatasync on the disk of the log, or a put into its object store.",
        metrics.flushes.buckets(),
        metrics.flushes.sum_s,
    )


def _caches(caches: Mapping[str, CacheFigures]) -> Iterator[Metric]:
    """Yield what the caches of queries hold, and how often that helps."""
    yield _labelled(
        GaugeMetricFamily(
            "tailrace_query_cache_bytes",
            "Size of the caches of queries: files on disk, others in memory.",
            labels=["cache"],
        ),
        {(name,): cache.bytes for name, cache in caches.items()},
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_query_cache_lookups", "Look-ups in the caches of queries: hit, miss.", labels=["cache", "result"]
        ),
        {
            (name, result): count
            for name, cache in caches.items()
            for result, count in (("hit", cache.hits), ("miss", cache.misses))
        },
    )


def _monitor_counters(gauges: Gauges) -> Iterator[Metric]:
    """Yield what monitors and notifiers did."""
    yield _labelled(
        CounterMetricFamily("tailrace_monitor_runs", "Runs of monitors: ok, error.", labels=["result"]),
        {(result,): count for result, count in gauges.monitor_runs.items()},
    )
    yield _labelled(
        CounterMetricFamily(
            "tailrace_notifications", "Messages to notifiers: delivered, failed, skipped.", labels=["result"]
        ),
        {(result,): count for result, count in gauges.notifications.items()},
    )


_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


def _labelled(family: _Family, counts: Mapping[Any, float]) -> _Family:
    """Return a family with a value for each tuple of its labels."""
    for labels, count in counts.items():
        family.add_metric([str(label) for label in labels], count)
    return family


def exposition(metrics: Metrics, gauges: Gauges) -> bytes:
    """All metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics, gauges))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
