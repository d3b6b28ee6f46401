"""Status and history of monitors over HTTP: alerts, errors of runs, results of notifications."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.monitor_bodies import RUN_FIELDS, AlertAnswer, HistoryEntryAnswer, MonitorStatusAnswer, RunHistory
from tailrace.api.route import ApiRoute, Permission
from tailrace.api.services import Services, json_response
from tailrace.api.stored_monitors import COLLECTION, monitor_document, stored_monitor
from tailrace.api.times import moment, with_plus
from tailrace.events import BadRequest
from tailrace.events.times import rfc3339
from tailrace.monitors import HistoryEntry, Monitor
from tailrace.protocols.http import ParameterDoc

MAX_MONITORS = 100  # of one request
MAX_RUNS = 500  # of each monitor


async def get_history(request: Request, services: Services, grant: Grant) -> Response:
    """Return the alerts that opened and closed in a time, in exactly the members of Axiom's document."""
    document = await monitor_document(request, services, grant)
    start_ns, end_ns = _range(request)

    def read() -> list[HistoryEntry]:
        store = services.monitoring.store
        return store.history(document.id, start_ns=start_ns, end_ns=end_ns, kinds=("open", "closed"))

    name = stored_monitor(document).monitor.name
    entries = await asyncio.to_thread(read)
    return json_response([AlertAnswer(each.check_id, name, each.kind, rfc3339(each.at_ns)) for each in entries])


async def get_status(request: Request, services: Services, grant: Grant) -> Response:
    """Return the status of a monitor, and its history in a time: alerts, errors, results of notifications."""
    document = await monitor_document(request, services, grant)
    start_ns, end_ns = _range(request)

    def read() -> MonitorStatusAnswer:
        store = services.monitoring.store
        run = store.status(document.id)
        entries = store.history(document.id, start_ns=start_ns, end_ns=end_ns)
        monitor = stored_monitor(document).monitor
        return MonitorStatusAnswer(
            id=document.id,
            name=monitor.name,
            last_run=rfc3339(run.last_ns) if run and run.last_ns else None,
            next_run=rfc3339(run.next_ns) if run and run.next_ns and not monitor.disabled else None,
            error=run.error if run else "",
            open=[group for group, state in run.state.groups.items() if state.check_id] if run else [],
            history=[_entry_answer(each) for each in entries],
        )

    return json_response(await asyncio.to_thread(read))


async def get_run_histories(request: Request, services: Services, grant: Grant) -> Response:
    """Return the history of the monitors whose ids `monitorIds` has, newest first, as Axiom's MCP server reads it."""
    values = request.query_params.get("monitorIds", "").split(",")
    monitor_ids = list(dict.fromkeys(value.strip() for value in values if value.strip()))
    if not monitor_ids or len(monitor_ids) > MAX_MONITORS:
        raise BadRequest(
            f"monitorIds names {len(monitor_ids)} monitors, but it may name 1 to {MAX_MONITORS}: monitorIds=ID,ID"
        )

    def read() -> RunHistory:
        data = {}
        for monitor_id in monitor_ids:
            monitor = stored_monitor(services.documents.get(grant.organisation, COLLECTION, monitor_id)).monitor
            data[monitor_id] = _run_columns(services.monitoring.store.history(monitor_id), monitor)
        return RunHistory(data)

    return json_response(await asyncio.to_thread(read))


def _run_columns(entries: Sequence[HistoryEntry], monitor: Monitor) -> list[list[Any]]:
    # The result of a notification follows what it was about, under the same check.
    deliveries = {each.check_id: each for each in entries if each.kind in ("delivered", "failed")}
    span_ns, delay_ns = monitor.range_minutes * 60_000_000_000, monitor.second_delay * 1_000_000_000
    rows = []
    for entry in reversed(entries):
        if entry.kind not in ("open", "closed", "error"):
            continue
        end_ns = entry.at_ns - delay_ns
        after = deliveries.get(entry.check_id) if entry.check_id else None
        rows.append([
            rfc3339(entry.at_ns),
            entry.check_id,
            after is not None and after.kind == "delivered",
            entry.group,
            "" if entry.kind == "error" else entry.kind,
            entry.value,
            entry.text if entry.kind == "error" else "",
            rfc3339(end_ns - span_ns),
            rfc3339(end_ns),
            rfc3339(entry.at_ns),
            after is not None and after.kind == "failed",
            after.text if after is not None and after.kind == "failed" else "",
        ])  # fmt: skip
        if len(rows) == MAX_RUNS:
            break
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in RUN_FIELDS]


def _range(request: Request) -> tuple[int | None, int | None]:
    """Return the start and the end of the time in the request; None where it is not given."""
    now_ns = time.time_ns()
    query = request.query_params
    start, end = (moment(name, with_plus(query.get(name, "")), now_ns) for name in ("startTime", "endTime"))
    return start, end


def _entry_answer(entry: HistoryEntry) -> HistoryEntryAnswer:
    return HistoryEntryAnswer(
        rfc3339(entry.at_ns),
        entry.kind,
        entry.text,
        entry.check_id,
        entry.group,
        entry.value,
        entry.notifier,
        entry.attempts,
    )


MONITOR_IDS = ParameterDoc("monitorIds", "Ids of monitors, divided by commas.", required=True)
START_TIME = ParameterDoc("startTime", "RFC 3339, or relative as in now-1h: what happened then or later.")
END_TIME = ParameterDoc("endTime", "RFC 3339, or relative as in now-1h: what happened then or earlier.")

ROUTES = (
    ApiRoute(
        "GET",
        "/v2/monitors/{id}/history",
        get_history,
        Permission("monitors", "read"),
        answer=list[AlertAnswer],
        parameters=(START_TIME, END_TIME),
    ),
    ApiRoute(
        "GET",
        "/api/internal/monitors/history",
        get_run_histories,
        Permission("monitors", "read"),
        answer=RunHistory,
        parameters=(MONITOR_IDS,),
        refusals=(404,),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/monitors/{id}",
        get_status,
        Permission("monitors", "read"),
        answer=MonitorStatusAnswer,
        parameters=(START_TIME, END_TIME),
    ),
)
