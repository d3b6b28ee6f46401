"""What a server counts and measures, its workers included."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tailrace.lake import Catalog, Lake
from tailrace.log import Damage
from tailrace.query import Engine
from tailrace.server.metrics import CacheFigures, Gauges, Metrics, exposition
from tailrace.server.parts import Server
from tailrace.server.readiness import health
from tailrace.server.workers.frames import Figures

if TYPE_CHECKING:
    from tailrace.server.fleet.parts import NodeServer


class MonitorCounts(Protocol):
    """What monitors did since the start, by result."""

    @property
    def runs(self) -> Mapping[str, int]:
        """Return the runs."""

    @property
    def notifications(self) -> Mapping[str, int]:
        """Return the notifications."""


async def server_figures(server: Server, stopping: asyncio.Event) -> bytes:
    """Return what is counted and measured, by all processes together, as Prometheus reads it."""
    is_ready = not (await health(server, stopping)).reason
    stores, workers = server.stores, server.workers
    damage = [*stores.log.damage, *(each for left in stores.worker_logs.values() for each in left.damage)]
    metrics, figures = server.metrics, list[Figures]()
    if workers is not None:
        figures = await workers.figures()
        metrics = Metrics()
        metrics.add(server.metrics)
        workers.add_metrics(metrics)
        damage += workers.damage
    lake, runner = stores.own_lake, server.runner
    return exposition(metrics, gauges(server, lake, runner, damage, is_ready=is_ready, workers=figures))


def gauges(
    server: "Server | NodeServer",
    lake: Lake | None,
    monitors: MonitorCounts,
    damage: Sequence[Damage],
    *,
    is_ready: bool,
    workers: Sequence[Figures] = (),
) -> Gauges:
    """Return what is measured of a server, with its own lake, where it has one, and the damage of the logs it reads."""
    stores, hold, engine, limiter = server.stores, server.hold, server.queries.engine, server.queries.query_limiter
    return Gauges(
        is_ready=is_ready,
        free_disk_bytes=shutil.disk_usage(stores.data).free,
        running_queries=limiter.running,
        waiting_queries=limiter.waiting,
        log_bytes=stores.log.size_bytes + sum(each.log_bytes for each in workers),
        log_damage=len(damage),
        log_missing_positions=sum(gap.missing_positions for gap in damage),
        held_answers=hold.waiting + sum(each.held_answers for each in workers),
        answers_held=hold.held + sum(each.answers_held for each in workers),
        answers_held_s=hold.held_s + sum(each.answers_held_s for each in workers),
        caches=_cache_figures(engine, stores.catalog),
        monitor_runs=monitors.runs,
        notifications=monitors.notifications,
        connections=server.streams.connections(),
        **(_of_lake(lake) if lake is not None else {}),
    )


def _of_lake(lake: Lake) -> dict[str, Any]:
    lag = lake.lag()
    return {
        "uncommitted_events": lag.events,
        "uncommitted_age_s": lag.age_s,
        "unavailable_datasets": len(lake.unavailable()),
        "backlog_bytes": lake.backlog_bytes,
        "uncommitted_bytes": lake.uncommitted_bytes,
        "commits": lake.commits,
        "commit_failures": lake.commit_failures,
        "shred_failures": lake.shred_failures,
        "set_aside": lake.set_aside,
        "damaged_files": lake.damaged_files(),
        "maintenance": lake.maintenance,
    }


def _cache_figures(engine: Engine, catalog: Catalog) -> dict[str, CacheFigures]:
    """Return what the caches of queries have, by their names in metrics."""
    return {
        name: CacheFigures(cache.bytes, cache.hits, cache.misses)
        for name, cache in (
            ("metadata", engine.row_groups),
            ("answers", engine.answers),
            *([("files", catalog.cache)] if catalog.cache is not None else ()),
        )
    }
