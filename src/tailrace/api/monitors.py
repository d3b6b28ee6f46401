"""Monitors over HTTP: queries that run on their interval, and what became of them."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, allows, require, require_own
from tailrace.api import notifiers
from tailrace.api.area import Area, new_id
from tailrace.api.field_store import FieldStore
from tailrace.api.monitor_bodies import AlertHistory, Happened, MonitorBody, ShownMonitor, Standing
from tailrace.api.notifiers import shown_time
from tailrace.api.route import QUERY, Act, ApiRoute, Need
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.times import moment, with_plus
from tailrace.api.views import find_view, readable_view
from tailrace.events import BadRequest, DatasetUnavailable, NotFound
from tailrace.events.times import rfc3339
from tailrace.lake import Lake, Snapshot
from tailrace.monitors import (
    HistoryEntry,
    Monitor,
    MonitorQuery,
    Notifier,
    ScheduledMonitor,
    delete_records,
    make_due,
    read_monitor,
)
from tailrace.protocols.http import ParameterDoc
from tailrace.query import AplRequest, AplResult, Engine, Interrupt, run_apl
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.compiler import UNAVAILABLE
from tailrace.query.compile.operators import message_code
from tailrace.query.run import sql_of
from tailrace.query.sources import readable, readable_names
from tailrace.storage.documents import Document, DocumentStore

AREA = "monitors"
MAX_NAMED = 100  # monitors whose history one request asks for
MAX_SHOWN_RUNS = 500  # of each


class StoredMonitor(Struct, frozen=True):
    """The body of a monitor's document, with what of the rights of who wrote it its query has: it may read no more."""

    monitor: Monitor
    unlimited: bool = False
    datasets: tuple[str, ...] = ()  # or "*" for every one but the audit trail
    audit_log: bool = False
    views: bool = False  # every one
    named_views: tuple[str, ...] = ()  # those that a role names


async def list_monitors(request: Request, services: Services, grant: Grant) -> Response:
    """All of the organisation, oldest first."""
    documents = await Area(AREA, services, grant).all()
    return json_response([_shown(each) for each in documents])


async def create_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Make one, which runs at once."""
    body = await _checked(request, services, grant)
    document_id = new_id("mon_")
    document = await asyncio.to_thread(
        services.documents.add,
        grant.organisation,
        AREA,
        body,
        user_id=grant.user_id,
        document_id=document_id,
        also=partial(make_due, monitor=document_id, organisation=grant.organisation),
    )
    services.monitoring.changed(document_id)
    return json_response(_shown(document))


async def get_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """One of them."""
    return json_response(_shown(await _found(request, services, grant)))


async def update_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Put another in its place, which runs at once; what it remembers of its last runs stays."""
    before = await _found(request, services, grant)
    document_id = before.id
    body = await _checked(request, services, grant, _stored(before).monitor.mpl_query)
    document = await asyncio.to_thread(
        services.documents.replace,
        grant.organisation,
        AREA,
        document_id,
        lambda _: body,
        user_id=grant.user_id,
        also=partial(make_due, monitor=document_id, organisation=grant.organisation),
    )
    services.monitoring.changed(document_id)
    return json_response(_shown(document))


async def delete_monitor(request: Request, services: Services, grant: Grant) -> Response:
    """Remove it with its history; nobody is told."""
    document_id = request.path_params["id"]
    await asyncio.to_thread(
        services.documents.delete,
        grant.organisation,
        AREA,
        document_id,
        also=partial(delete_records, monitor=document_id),
    )
    services.monitoring.changed(document_id)
    return no_content()


async def get_history(request: Request, services: Services, grant: Grant) -> Response:
    """Return the alerts that opened and closed in a time, in exactly the members of Axiom's document."""
    document = await _found(request, services, grant)
    start_ns, end_ns = _range(request)

    def read() -> list[HistoryEntry]:
        store = services.monitoring.store
        return store.history(document.id, start_ns=start_ns, end_ns=end_ns, kinds=("open", "closed"))

    name = _stored(document).monitor.name
    entries = await asyncio.to_thread(read)
    return json_response([AlertHistory(each.check_id, name, each.kind, rfc3339(each.at_ns)) for each in entries])


async def get_standing(request: Request, services: Services, grant: Grant) -> Response:
    """How a monitor stands, with all that happened in a time: alerts, errors, what notifiers were told or not."""
    document = await _found(request, services, grant)
    start_ns, end_ns = _range(request)

    def read() -> Standing:
        store = services.monitoring.store
        run = store.status(document.id)
        entries = store.history(document.id, start_ns=start_ns, end_ns=end_ns)
        disabled = _stored(document).monitor.disabled
        return Standing(
            id=document.id,
            name=_stored(document).monitor.name,
            last_run=rfc3339(run.last_ns) if run and run.last_ns else None,
            next_run=rfc3339(run.next_ns) if run and run.next_ns and not disabled else None,
            error=run.error if run else "",
            open=[group for group, state in run.state.groups.items() if state.check_id] if run else [],
            history=[_happened(each) for each in entries],
        )

    return json_response(await asyncio.to_thread(read))


RUN_FIELDS = (
    "_time", "run_id", "notified", "group_values", "alert_state", "matching_value", "error", "query.startTime",
    "query.endTime", "run_time", "notification_failed", "notification_error",
)  # fmt: skip


class RunHistory(Struct, frozen=True):
    """What happened with monitors, by their ids: the columns of a table, in the order of `fields`."""

    data: dict[str, list[list[Any]]]
    fields: tuple[str, ...] = RUN_FIELDS


async def get_histories(request: Request, services: Services, grant: Grant) -> Response:
    """Return what happened with the monitors whose ids `monitorIds` has, newest first, as Axiom's MCP server reads
    it.
    """
    named = request.query_params.get("monitorIds", "").split(",")
    wanted = list(dict.fromkeys(each.strip() for each in named if each.strip()))
    if not wanted or len(wanted) > MAX_NAMED:
        raise BadRequest(f"monitorIds names {len(wanted)} monitors, but it may name 1 to {MAX_NAMED}: monitorIds=ID,ID")

    def read() -> RunHistory:
        data = {}
        for each in wanted:
            monitor = _stored(services.documents.get(grant.organisation, AREA, each)).monitor
            data[each] = _run_columns(services.monitoring.store.history(each), monitor)
        return RunHistory(data)

    return json_response(await asyncio.to_thread(read))


def _run_columns(entries: Sequence[HistoryEntry], monitor: Monitor) -> list[list[Any]]:
    # What a notifier was told follows what it was told of, under the same check.
    told = {each.check_id: each for each in entries if each.kind in ("delivered", "failed")}
    span_ns, delay_ns = monitor.range_minutes * 60_000_000_000, monitor.second_delay * 1_000_000_000
    rows = []
    for entry in reversed(entries):
        if entry.kind not in ("open", "closed", "error"):
            continue
        end_ns = entry.at_ns - delay_ns
        after = told.get(entry.check_id) if entry.check_id else None
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
        if len(rows) == MAX_SHOWN_RUNS:
            break
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in RUN_FIELDS]


class StoredSources(Struct, frozen=True, eq=False):
    """What the runner of monitors runs, out of the server's stores."""

    documents: DocumentStore
    fields: FieldStore
    lake: Lake
    engine: Engine
    running: set[Interrupt]  # of the queries under way

    def monitors(self) -> list[ScheduledMonitor]:
        """All that there are, of every organisation."""
        found = []
        for organisation, document in self.documents.list_everywhere(AREA):
            stored = _stored(document)
            found.append(
                ScheduledMonitor(
                    document.id, organisation, stored.monitor, self._reader(organisation, document, stored)
                )
            )
        return found

    def _reader(self, organisation: str, document: Document, stored: StoredMonitor) -> Grant:
        return Grant(
            token_id=document.id,
            kind="personal" if stored.unlimited else "api",
            user_id=document.updated_by,
            organisation=organisation,
            datasets={name: {"query": ["read"]} for name in stored.datasets},
            org={
                **({"auditLog": ["read"]} if stored.audit_log else {}),
                **({"views": ["read"]} if stored.views else {}),
            },
            views={name: {"query": ["read"]} for name in stored.named_views},
            owner_of=self.lake.organisation,
        )

    def notifier(self, organisation: str, notifier_id: str) -> Notifier | None:
        """One of an organisation, None where there is none."""
        return notifiers.find_notifier(self.documents, organisation, notifier_id)

    def run_query(self, query: MonitorQuery) -> AplResult:
        """Return the answer, of what the monitor may read; raise TailraceError."""

        def check(dataset: str) -> None:
            require(query.reader, capability="query", action="read", dataset=dataset)

        wanted = AplRequest(
            apl=query.apl,
            start_ns=query.start_ns,
            end_ns=query.end_ns,
            default_limit=query.limit,
            totals=False,
            virtual_fields=self.fields.expressions(),
            map_fields=self.fields.shown_map_fields(),
            view=partial(find_view, self.documents, query.reader),
            now_ns=query.end_ns,
        )
        interrupt = Interrupt()
        self.running.add(interrupt)
        try:
            own = partial(require_own, query.reader)
            answer = run_apl(self.lake, self.engine, wanted, check=check, own=own, interrupt=interrupt)
        finally:
            self.running.discard(interrupt)
        if answer.status.is_partial:  # nothing triggers, or resolves, by a part of what it looks at
            code = message_code(UNAVAILABLE)
            told = [message.msg for message in answer.status.messages if message.code == code]
            raise DatasetUnavailable("; ".join(told))
        return answer


async def _checked(request: Request, services: Services, grant: Grant, mpl: str = "") -> dict[str, Any]:
    """Return the body to be stored. Raise BadRequest for what could never run: a wrong query, notifiers that are not
    there.

    `mpl` is the query in MPL that the monitor has, which comes back as the aplQuery that it was shown as.
    """
    monitor = read_monitor(await read_json(request, dict[str, Any]))
    if mpl and monitor.apl_query == mpl:
        monitor = msgspec.structs.replace(monitor, apl_query="", mpl_query=mpl)
    await asyncio.to_thread(_check, monitor, services, grant)
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


def _check(monitor: Monitor, services: Services, grant: Grant) -> None:
    for notifier_id in monitor.notifier_ids:
        if notifiers.find_notifier(services.documents, grant.organisation, notifier_id) is None:
            raise BadRequest(f"notifierIds has {notifier_id!r}, but there is no such notifier")
    if not monitor.apl_query:
        return

    def check(dataset: str) -> None:
        require(grant, capability="query", action="read", dataset=dataset)

    def snapshot(name: str) -> Snapshot:
        return services.lake.snapshot(readable(services.lake, name, check), timeout_s=services.engine.limits.timeout_s)

    def granted(name: str) -> Snapshot:
        require_own(grant, name)
        return services.lake.snapshot(name, timeout_s=services.engine.limits.timeout_s)

    def names() -> Sequence[str]:
        return readable_names(services.lake, check)

    now_ns = time.time_ns()
    asked = AplRequest(
        apl=monitor.apl_query,
        start_ns=now_ns - 60_000_000_000,
        end_ns=now_ns,
        now_ns=now_ns,
        view=partial(readable_view, services, grant),
    )
    try:
        sql_of(asked, snapshot, names, granted)
    except AplError as error:
        raise error.located(monitor.apl_query) from error
    except RecursionError as error:
        raise BadRequest("aplQuery is nested too deeply") from error
    except NotFound as error:
        # Not 404, which clients take for a monitor that is gone.
        raise BadRequest(f"aplQuery: {error.message}") from error


async def _found(request: Request, services: Services, grant: Grant) -> Document:
    return await Area(AREA, services, grant).get(request.path_params["id"])


def _range(request: Request) -> tuple[int | None, int | None]:
    """Return the time asked about; any where it is not given."""
    now_ns = time.time_ns()
    query = request.query_params
    start, end = (moment(name, with_plus(query.get(name, "")), now_ns) for name in ("startTime", "endTime"))
    return start, end


def _stored(document: Document) -> StoredMonitor:
    return msgspec.convert(document.body, StoredMonitor)


def _shown(document: Document) -> ShownMonitor:
    monitor = _stored(document).monitor
    return ShownMonitor(
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
        disabled_until=shown_time(monitor.disabled_until) or UNSET,
        compare_days=monitor.compare_days,
        tolerance=monitor.tolerance,
        trigger_from_n_runs=monitor.trigger_from_n_runs,
        trigger_after_n_positive_results=monitor.trigger_after_n_positive_results,
        notifier_ids=monitor.notifier_ids,
        created_at=document.created_at,
        created_by=document.created_by,
        updated_at=document.updated_at,
    )


def _happened(entry: HistoryEntry) -> Happened:
    return Happened(
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
    ApiRoute("GET", "/v2/monitors", list_monitors, Need("monitors", "read"), answer=list[ShownMonitor]),
    ApiRoute(
        "POST",
        "/v2/monitors",
        create_monitor,
        Need("monitors", "create"),
        act=Act("createMonitor", "monitor"),
        body=MonitorBody,
        example=_EXAMPLE,
        answer=ShownMonitor,
        refusals=(403,),
        inside=QUERY,
    ),
    ApiRoute("GET", "/v2/monitors/{id}", get_monitor, Need("monitors", "read"), answer=ShownMonitor),
    ApiRoute(
        "PUT",
        "/v2/monitors/{id}",
        update_monitor,
        Need("monitors", "update"),
        act=Act("updateMonitor", "monitor"),
        body=MonitorBody,
        example=_EXAMPLE,
        answer=ShownMonitor,
        refusals=(403,),
        inside=QUERY,
    ),
    ApiRoute(
        "DELETE",
        "/v2/monitors/{id}",
        delete_monitor,
        Need("monitors", "delete"),
        act=Act("deleteMonitor", "monitor"),
        answer=None,
    ),
    ApiRoute(
        "GET",
        "/v2/monitors/{id}/history",
        get_history,
        Need("monitors", "read"),
        answer=list[AlertHistory],
        parameters=(START_TIME, END_TIME),
    ),
    ApiRoute(
        "GET",
        "/api/internal/monitors/history",
        get_histories,
        Need("monitors", "read"),
        answer=RunHistory,
        parameters=(MONITOR_IDS,),
        refusals=(404,),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/monitors/{id}",
        get_standing,
        Need("monitors", "read"),
        answer=Standing,
        parameters=(START_TIME, END_TIME),
    ),
)
