"""Monitors over HTTP: queries that run on an interval."""

import asyncio
import time
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, allows, require_own, require_query
from tailrace.api import notifiers
from tailrace.api.collection import Collection, new_id
from tailrace.api.monitor_bodies import MonitorAnswer, MonitorBody
from tailrace.api.notifiers import rfc3339_or_none
from tailrace.api.route import QUERY, ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.stored_monitors import COLLECTION, StoredMonitor, monitor_document, stored_monitor
from tailrace.api.views import readable_view
from tailrace.events import BadRequest, NotFound
from tailrace.monitors import (
    Monitor,
    delete_records,
    make_due,
    read_monitor,
)
from tailrace.query import AplRequest
from tailrace.query.apl.errors import AplError
from tailrace.query.datasets import ReadableDatasets
from tailrace.query.run import sql_of
from tailrace.storage.documents import Document


async def list_monitors(request: Request, services: Services, grant: Grant) -> Response:
    """Return all of the organisation, oldest first."""
    documents = await Collection(COLLECTION, services, grant).all()
    return json_response([_monitor_answer(each) for each in documents])


async def create_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Create one, which runs at once."""
    body = await _validated_body(request, services, grant)
    document_id = new_id("mon_")
    document = await asyncio.to_thread(
        services.documents.add,
        grant.organisation,
        COLLECTION,
        body,
        user_id=grant.user_id,
        document_id=document_id,
        also=partial(make_due, monitor=document_id, organisation=grant.organisation),
    )
    services.monitoring.changed(document_id)
    return json_response(_monitor_answer(document))


async def get_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Return one."""
    return json_response(_monitor_answer(await monitor_document(request, services, grant)))


async def update_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Replace one, which runs at once; its state and history stay."""
    before = await monitor_document(request, services, grant)
    document_id = before.id
    body = await _validated_body(request, services, grant, stored_monitor(before).monitor.mpl_query)
    document = await asyncio.to_thread(
        services.documents.replace,
        grant.organisation,
        COLLECTION,
        document_id,
        lambda _: body,
        user_id=grant.user_id,
        also=partial(make_due, monitor=document_id, organisation=grant.organisation),
    )
    services.monitoring.changed(document_id)
    return json_response(_monitor_answer(document))


async def delete_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Delete one with its history; nobody is notified."""
    document_id = request.path_params["id"]
    await asyncio.to_thread(
        services.documents.delete,
        grant.organisation,
        COLLECTION,
        document_id,
        also=partial(delete_records, monitor=document_id),
    )
    services.monitoring.changed(document_id)
    return no_content()


async def _validated_body(request: Request, services: Services, grant: Grant, mpl: str = "") -> dict[str, Any]:
    """Return the body to be stored. Raise BadRequest for what could never run: a wrong query, notifiers that are not
    there.

    `mpl` is the query in MPL that the monitor has, which comes back as the aplQuery that it was shown as.
    """
    monitor = read_monitor(await read_json(request, dict[str, Any]))
    if mpl and monitor.apl_query == mpl:
        monitor = msgspec.structs.replace(monitor, apl_query="", mpl_query=mpl)
    await asyncio.to_thread(_check_query_and_notifiers, monitor, services, grant)
    stored = StoredMonitor(
        monitor,
        grant.is_unlimited,
        tuple(name for name, held in grant.datasets.items() if "read" in held.get("query", ())),
        "read" in grant.org.get("auditLog", ()),
        allows(grant, capability="views", action="read"),
        tuple(name for name, held in grant.views.items() if "read" in held.get("query", ())),
    )
    body: dict[str, Any] = msgspec.to_builtins(stored)
    return body


def _check_query_and_notifiers(monitor: Monitor, services: Services, grant: Grant) -> None:
    for notifier_id in monitor.notifier_ids:
        if notifiers.find_notifier(services.documents, grant.organisation, notifier_id) is None:
            raise BadRequest(f"notifierIds has {notifier_id!r}, but there is no such notifier")
    if not monitor.apl_query:
        return

    check = partial(require_query, grant)

    datasets = ReadableDatasets(
        services.lake,
        check,
        timeout_s=lambda: services.engine.limits.timeout_s,
        check_organisation=partial(require_own, grant),
    )
    now_ns = time.time_ns()
    request = AplRequest(
        apl=monitor.apl_query,
        start_ns=now_ns - 60_000_000_000,
        end_ns=now_ns,
        now_ns=now_ns,
        view=partial(readable_view, services, grant),
    )
    try:
        sql_of(request, datasets.snapshot, datasets.names, datasets.view_snapshot)
    except AplError as error:
        raise error.located(monitor.apl_query) from error
    except RecursionError as error:
        raise BadRequest("aplQuery is nested too deeply") from error
    except NotFound as error:
        # Not 404, which clients take for a monitor that is gone.
        raise BadRequest(f"aplQuery: {error.message}") from error


def _monitor_answer(document: Document) -> MonitorAnswer:
    monitor = stored_monitor(document).monitor
    return MonitorAnswer(
        id=document.id,
        name=monitor.name,
        type=monitor.type,
        description=monitor.description,
        apl_query=monitor.apl_query or monitor.mpl_query,
        column_name=monitor.column_name,
        operator=monitor.operator or UNSET,
        threshold=monitor.threshold,
        interval_minutes=monitor.interval_minutes,
        range_minutes=monitor.range_minutes,
        second_delay=monitor.second_delay,
        alert_on_no_data=monitor.alert_on_no_data,
        resolvable=monitor.resolvable,
        notify_by_group=monitor.notify_by_group,
        notify_every_run=monitor.notify_every_run,
        skip_resolved=monitor.skip_resolved,
        disabled=monitor.disabled,
        disabled_until=rfc3339_or_none(monitor.disabled_until) or UNSET,
        compare_days=monitor.compare_days,
        tolerance=monitor.tolerance,
        trigger_from_n_runs=monitor.trigger_from_n_runs,
        trigger_after_n_positive_results=monitor.trigger_after_n_positive_results,
        notifier_ids=monitor.notifier_ids,
        created_at=document.created_at,
        created_by=document.created_by,
        updated_at=document.updated_at,
    )


_EXAMPLE = {
    "name": "Errors",
    "type": "Threshold",
    "aplQuery": "demo | where level == 'error' | summarize count()",
    "operator": "Above",
    "threshold": 10,
    "intervalMinutes": 1,
    "rangeMinutes": 5,
}

ROUTES = (
    ApiRoute("GET", "/v2/monitors", list_monitors, Permission("monitors", "read"), answer=list[MonitorAnswer]),
    ApiRoute(
        "POST",
        "/v2/monitors",
        create_monitor,
        Permission("monitors", "create"),
        audit=AuditAction("createMonitor", "monitor"),
        body=MonitorBody,
        example=_EXAMPLE,
        answer=MonitorAnswer,
        refusals=(403,),
        further_permission=QUERY,
    ),
    ApiRoute("GET", "/v2/monitors/{id}", get_monitor, Permission("monitors", "read"), answer=MonitorAnswer),
    ApiRoute(
        "PUT",
        "/v2/monitors/{id}",
        update_monitor,
        Permission("monitors", "update"),
        audit=AuditAction("updateMonitor", "monitor"),
        body=MonitorBody,
        example=_EXAMPLE,
        answer=MonitorAnswer,
        refusals=(403,),
        further_permission=QUERY,
    ),
    ApiRoute(
        "DELETE",
        "/v2/monitors/{id}",
        delete_monitor,
        Permission("monitors", "delete"),
        audit=AuditAction("deleteMonitor", "monitor"),
        answer=None,
    ),
)
