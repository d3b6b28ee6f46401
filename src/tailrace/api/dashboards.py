"""Dashboards over HTTP: documents with a version, against lost updates."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, require
from tailrace.api.collection import Collection, new_id
from tailrace.api.paging import LIMIT, OFFSET, page
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, Conflict, NotFound, checked_text
from tailrace.storage.documents import Document, VersionMismatch

COLLECTION = "dashboards"
EVERYONE = "X-AXIOM-EVERYONE"  # owner of a dashboard that the whole organisation sees
UID = re.compile(r"[A-Za-z0-9_-]{1,128}")
MAX_NAME_LENGTH = 100  # characters
MAX_CHARTS = 200
SCHEMA_VERSION, USUAL_REFRESH_S = 2, 60  # where a dashboard says nothing of it
USUAL_START, USUAL_END = "qr-now-1h", "qr-now"
MAX_DESCRIPTION_LENGTH = 20_000  # characters
MAX_DEPTH = 50  # of a patch


class DashboardWrite(Struct):
    """A dashboard to create or replace."""

    dashboard: dict[str, Any]
    uid: str | None = None
    version: int | None = None  # to be replaced; Go clients send 0 for none
    overwrite: bool = False  # regardless of the version
    message: str | None = None  # of the change


class ChartPatch(Struct):
    """A change of one chart."""

    chart: dict[str, Any]  # a merge patch, RFC 7396
    version: int | None = None
    overwrite: bool = False
    message: str | None = None


class Dashboard(Struct, frozen=True, rename="camel"):
    """A dashboard as Axiom's clients have it."""

    uid: str
    id: str
    version: int
    dashboard: dict[str, Any]
    created_at: str  # RFC 3339, UTC
    created_by: str
    updated_at: str  # RFC 3339, UTC
    updated_by: str


class IntegrationDashboard(Struct, frozen=True):
    """A dashboard of an integration, whose kind is its owner."""

    id: str
    owner: str


class ListedDashboard(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A dashboard as Axiom's MCP server lists them."""

    id: str
    name: str
    owner: str
    charts: list[dict[str, Any]]
    layout: list[dict[str, Any]]
    refresh_time: float  # seconds
    schema_version: float
    time_window_start: str
    time_window_end: str
    version: str
    created_at: str  # RFC 3339, UTC
    updated_at: str  # RFC 3339, UTC
    created_by: str
    updated_by: str
    description: str = ""


class DashboardWritten(Struct, frozen=True, omit_defaults=True):
    """The answer to a dashboard that was created or replaced."""

    status: str  # created or updated
    dashboard: Dashboard
    overwritten: bool = False


class DashboardConflict(Struct, frozen=True, rename="camel"):
    """The answer to a change whose dashboard exists or has another version."""

    code: str
    message: str
    current_version: int
    reason: str
    uid: str


async def list_dashboards(request: Request, services: Services, grant: Grant) -> Response:
    """Return the dashboards that the token may see: of its user and of everyone; for owners, admins, API tokens all."""
    documents = await Collection(COLLECTION, services, grant).all()
    return json_response(page(request, [_dashboard(each) for each in documents if _is_visible(each, grant)]))


async def list_integrations(request: Request, services: Services, grant: Grant) -> Response:
    """Return the dashboards of integrations, of which there are none; Axiom's MCP server lists them."""
    no_dashboards: list[IntegrationDashboard] = []
    return json_response(no_dashboards)


async def list_for_mcp(request: Request, services: Services, grant: Grant) -> Response:
    """Return the dashboards that the token may see, as Axiom's MCP server lists them."""
    documents = await Collection(COLLECTION, services, grant).all()
    return json_response([_listed(each) for each in documents if _is_visible(each, grant)])


async def get_for_mcp(request: Request, services: Services, grant: Grant) -> Response:
    """Return a dashboard, as Axiom's MCP server shows it."""
    return json_response(_listed(await _visible_document(services, grant, request.path_params["id"])))


async def create_dashboard(request: Request, services: Services, grant: Grant) -> Response:
    """Create a dashboard (201), or replace the one of the `uid` if `overwrite` or its `version` is given."""
    body = await read_json(request, DashboardWrite)
    content = _validated_body(body.dashboard)
    uid = _requested_uid(body)
    if uid:
        try:
            before = await _visible_document(services, grant, uid)
        except NotFound:
            before = None
        if before is not None:
            if not body.overwrite and not body.version:
                return _conflict_response(before, 409, "already_exists", "there is a dashboard of that uid already")
            require(grant, capability="dashboards", action="update")
            return await _replace(services, grant, uid, lambda _: content, body.version, body.overwrite)
    new_uid = uid or new_id()
    try:
        document = await Collection(COLLECTION, services, grant).add(content, new_uid)
    except Conflict:
        # Created meanwhile, or not visible to this token.
        current = await Collection(COLLECTION, services, grant).get(new_uid)
        return _conflict_response(current, 409, "already_exists", "there is a dashboard of that uid already")
    return json_response(DashboardWritten("created", _dashboard(document)), 201)


async def get_dashboard(request: Request, services: Services, grant: Grant) -> Response:
    """Return a dashboard, by its `uid`."""
    return json_response(_dashboard(await _visible_document(services, grant, request.path_params["uid"])))


async def update_dashboard(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a dashboard: 412 where `version` is not its current version, unless `overwrite` is true."""
    before = await _visible_document(services, grant, request.path_params["uid"])
    body = await read_json(request, DashboardWrite)
    content = _validated_body(body.dashboard)
    if _requested_uid(body) not in ("", before.id):
        raise BadRequest(f"uid {_requested_uid(body)!r} of the body is not {before.id!r} of the path")
    if not body.overwrite and not body.version:
        raise BadRequest("version, the one that is replaced, is missing; or let overwrite be true")
    return await _replace(services, grant, before.id, lambda _: content, body.version, body.overwrite)


async def delete_dashboard(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a dashboard."""
    before = await _visible_document(services, grant, request.path_params["uid"])
    await Collection(COLLECTION, services, grant).delete(before.id)
    return no_content()


async def update_dashboard_chart(request: Request, services: Services, grant: Grant) -> Response:
    """Update one chart by a merge patch (RFC 7396); the rest of the dashboard stays."""
    uid, chart = request.path_params["uid"], request.path_params["chart"]
    await _visible_document(services, grant, uid)
    body = await read_json(request, ChartPatch)
    if body.chart.get("id", chart) != chart:
        raise BadRequest(f"id {str(body.chart['id'])[:100]!r} of the patch is not {chart!r} of the path")

    def changed(before: Document) -> dict[str, Any]:
        charts = list(before.body["dashboard"]["charts"])
        position = next((number for number, each in enumerate(charts) if each.get("id") == chart), None)
        if position is None:
            raise NotFound(f"chart {chart!r} of dashboard {uid!r} not found")
        charts[position] = _merge_patched(charts[position], body.chart)
        return _validated_body({**before.body["dashboard"], "charts": charts})

    return await _replace(services, grant, uid, changed, body.version or None, body.overwrite)


async def _visible_document(services: Services, grant: Grant, uid: str) -> Document:
    document = await Collection(COLLECTION, services, grant).get(uid)
    if not _is_visible(document, grant):
        raise NotFound(f"{uid!r} not found in {COLLECTION}")
    return document


def _is_visible(document: Document, grant: Grant) -> bool:
    if grant.kind == "api" or grant.is_unlimited:
        return True
    return document.body["dashboard"]["owner"] in (EVERYONE, grant.user_id) or document.created_by == grant.user_id


async def _replace(
    services: Services,
    grant: Grant,
    uid: str,
    change: Callable[[Document], dict[str, Any]],
    version: int | None,
    overwrite: bool,
) -> Response:
    def change_if_visible(before: Document) -> dict[str, Any]:
        if not _is_visible(before, grant):  # its owner may have changed meanwhile
            raise NotFound(f"{uid!r} not found in {COLLECTION}")
        return change(before)

    try:
        document = await Collection(COLLECTION, services, grant).replace(
            uid, change_if_visible, version=None if overwrite else version
        )
    except VersionMismatch as error:
        current = error.current
        text = f"the dashboard has version {current.version}, not {version}: read it again, or let overwrite be true"
        return _conflict_response(current, 412, "version_mismatch", text)
    overwritten = overwrite and version != document.version - 1
    return json_response(DashboardWritten("updated", _dashboard(document), overwritten=overwritten))


def _conflict_response(current: Document, status: int, reason: str, message: str) -> Response:
    return json_response(DashboardConflict(str(status), message, current.version, reason, current.id), status)


def _requested_uid(body: DashboardWrite) -> str:
    """Return the uid of the request, "" for none; raise BadRequest."""
    inner = body.dashboard.get("uid") or ""
    uid = body.uid or inner
    if uid and (not isinstance(uid, str) or not UID.fullmatch(uid)):
        raise BadRequest(f"uid {str(uid)[:140]!r} is not valid: 1 to 128 ASCII letters, digits, '_' and '-'")
    if inner and inner != uid:
        raise BadRequest(f"uid {uid!r} and dashboard.uid {str(inner)[:140]!r} are not the same")
    return str(uid)


def _validated_body(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return the body to store; raise BadRequest for a bad value of a member that every dashboard has.

    The rest is stored as it is; the clients interpret it.
    """
    name = dashboard.get("name")
    if not isinstance(name, str):
        raise BadRequest(f"dashboard.name is text of 1 to {MAX_NAME_LENGTH} characters")
    checked_text(name, "dashboard.name", least=1, most=MAX_NAME_LENGTH)
    description = dashboard.get("description")
    if isinstance(description, str):
        checked_text(description, "dashboard.description", most=MAX_DESCRIPTION_LENGTH, lines=True)
    owner = dashboard.setdefault("owner", EVERYONE)
    if not isinstance(owner, str) or not owner:
        raise BadRequest(f"dashboard.owner is the id of a user, or {EVERYONE} for all of the organisation")
    for member in ("charts", "layout"):
        items = dashboard.setdefault(member, [])
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise BadRequest(f"dashboard.{member} is an array of objects")
        if len(items) > MAX_CHARTS:
            raise BadRequest(f"dashboard.{member} has {len(items)} entries, but it may have {MAX_CHARTS}")
    ids = [each.get("id") for each in dashboard["charts"]]
    for each in ids:
        if not isinstance(each, str) or not each:
            raise BadRequest("each of dashboard.charts has an id, a text")
        if ids.count(each) > 1:
            raise BadRequest(f"two charts have the id {each[:100]!r}")
    return {"dashboard": dashboard}


def _merge_patched(target: Any, patch: Any, depth: int = 0) -> Any:
    """Return the target with a merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    if depth > MAX_DEPTH:
        raise BadRequest(f"the patch is nested more than {MAX_DEPTH} levels deep")
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_patched(merged.get(name), value, depth + 1)
    return merged


def _dashboard(document: Document) -> Dashboard:
    return Dashboard(
        uid=document.id,
        id=document.id,
        version=document.version,
        dashboard=document.body["dashboard"],
        created_at=document.created_at,
        created_by=document.created_by,
        updated_at=document.updated_at,
        updated_by=document.updated_by,
    )


def _listed(document: Document) -> ListedDashboard:
    """Return a dashboard with all that Axiom's MCP server requires; the usual where it was stored without, or odd."""
    dashboard = document.body["dashboard"]

    def number(member: str, usual: int) -> float:
        value = dashboard.get(member)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else usual

    def text(member: str, usual: str) -> str:
        value = dashboard.get(member)
        return value if isinstance(value, str) else usual

    return ListedDashboard(
        id=document.id,
        name=dashboard["name"],
        owner=dashboard["owner"],
        charts=dashboard["charts"],
        layout=dashboard["layout"],
        refresh_time=number("refreshTime", USUAL_REFRESH_S),
        schema_version=number("schemaVersion", SCHEMA_VERSION),
        time_window_start=text("timeWindowStart", USUAL_START),
        time_window_end=text("timeWindowEnd", USUAL_END),
        version=str(document.version),
        created_at=document.created_at,
        updated_at=document.updated_at,
        created_by=document.created_by,
        updated_by=document.updated_by,
        description=text("description", ""),
    )


_FAILURES = {409: DashboardConflict, 412: DashboardConflict}
_EXAMPLE = {
    "dashboard": {
        "name": "Shop",
        "owner": EVERYONE,
        "charts": [{"id": "errors", "name": "Errors", "type": "TimeSeries", "query": {"apl": "demo | count"}}],
        "layout": [],
        "refreshTime": 60,
        "schemaVersion": 2,
        "timeWindowStart": "qr-now-1h",
        "timeWindowEnd": "qr-now",
    },
}

ROUTES = (
    ApiRoute(
        "GET",
        "/v2/dashboards",
        list_dashboards,
        Permission("dashboards", "read"),
        answer=list[Dashboard],
        parameters=(LIMIT, OFFSET),
    ),
    ApiRoute(
        "POST",
        "/v2/dashboards",
        create_dashboard,
        Permission("dashboards", "create"),
        audit=AuditAction("createDashboard", "dashboard"),
        body=DashboardWrite,
        example=_EXAMPLE,
        answer=DashboardWritten,
        status=201,
        failures=_FAILURES,
    ),
    ApiRoute("GET", "/v2/dashboards/uid/{uid}", get_dashboard, Permission("dashboards", "read"), answer=Dashboard),
    ApiRoute(
        "PUT",
        "/v2/dashboards/uid/{uid}",
        update_dashboard,
        Permission("dashboards", "update"),
        audit=AuditAction("updateDashboard", "dashboard"),
        body=DashboardWrite,
        example=_EXAMPLE,
        answer=DashboardWritten,
        failures=_FAILURES,
    ),
    ApiRoute(
        "DELETE",
        "/v2/dashboards/uid/{uid}",
        delete_dashboard,
        Permission("dashboards", "delete"),
        audit=AuditAction("deleteDashboard", "dashboard"),
        answer=None,
    ),
    ApiRoute(
        "PATCH",
        "/v2/dashboards/uid/{uid}/charts/{chart}",
        update_dashboard_chart,
        Permission("dashboards", "update"),
        audit=AuditAction("updateDashboard", "dashboard"),
        body=ChartPatch,
        example={"chart": {"name": "Errors an hour"}, "version": 1},
        answer=DashboardWritten,
        failures=_FAILURES,
    ),
    ApiRoute(
        "GET",
        "/api/internal/integrations/dashboards",
        list_integrations,
        Permission("dashboards", "read"),
        answer=list[IntegrationDashboard],
    ),
    ApiRoute(
        "GET",
        "/api/internal/dashboards",
        list_for_mcp,
        Permission("dashboards", "read"),
        answer=list[ListedDashboard],
    ),
    ApiRoute(
        "GET",
        "/api/internal/dashboards/{id}",
        get_for_mcp,
        Permission("dashboards", "read"),
        answer=ListedDashboard,
    ),
)
