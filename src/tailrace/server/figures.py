"""What a server counts and measures, its workers included."""

import asyncio
import shutil
from collections.abc import Sequence

from tailrace.lake import Catalog
from tailrace.query import Engine
from tailrace.server.metrics import CacheFigures, Gauges, Metrics, exposition
from tailrace.server.parts import Server
from tailrace.server.readiness import health
from tailrace.server.workers.frames import Figures


async def server_figures(server: Server, stopping: asyncio.Event) -> bytes:
    """Return what is counted and measured, by all processes together, as Prometheus reads it."""
    is_ready = not (await health(server, stopping)).reason
    if server.workers is None:
        return exposition(server.metrics, _gauges(server, [], is_ready))
    figures = await server.workers.figures()
    total = Metrics()
    total.add(server.metrics)
    server.workers.add_metrics(total)
    return exposition(total, _gauges(server, figures, is_ready))


def _gauges(server: Server, figures: Sequence[Figures], is_ready: bool) -> Gauges:
    stores, hold, engine, runner = server.stores, server.hold, server.queries.engine, server.runner
    log, lake, limiter = stores.log, stores.own_lake, server.queries.query_limiter
    damage = [*log.damage, *(each for left in stores.worker_logs.values() for each in left.damage)]
    if server.workers is not None:
        damage += server.workers.damage
    lag = lake.lag()
    return Gauges(
        is_ready=is_ready,
        free_disk_bytes=shutil.disk_usage(stores.data).free,
        uncommitted_events=lag.events,
        uncommitted_age_s=lag.age_s,
        running_queries=limiter.running,
        waiting_queries=limiter.waiting,
        log_bytes=log.size_bytes + sum(each.log_bytes for each in figures),
        log_damage=len(damage),
        log_missing_positions=sum(gap.missing_positions for gap in damage),
        unavailable_datasets=len(lake.unavailable()),
        backlog_bytes=lake.backlog_bytes,
        uncommitted_bytes=lake.uncommitted_bytes,
        held_answers=hold.waiting + sum(each.held_answers for each in figures),
        answers_held=hold.held + sum(each.answers_held for each in figures),
        answers_held_s=hold.held_s + sum(each.answers_held_s for each in figures),
        commits=lake.commits,
        commit_failures=lake.commit_failures,
        shred_failures=lake.shred_failures,
        set_aside=lake.set_aside,
        damaged_files=lake.damaged_files(),
        maintenance=lake.maintenance,
        caches=cache_figures(engine, lake.catalog),
        monitor_runs=runner.runs,
        notifications=runner.notifications,
        connections=server.streams.connections(),
    )


def cache_figures(engine: Engine, catalog: Catalog) -> dict[str, CacheFigures]:
    """Return what the caches of queries have, by their names in metrics."""
    return {
        name: CacheFigures(cache.bytes, cache.hits, cache.misses)
        for name, cache in (
            ("metadata", engine.row_groups),
            ("answers", engine.answers),
            *([("files", catalog.cache)] if catalog.cache is not None else ()),
        )
    }
