"""What the audit trail says of a request that changed something: the act, who did it and to what."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.access.audit import Actor, Entry, Resource
from tailrace.api.services import Handler, Services

# Acts that Axiom's trail has other names for than the handlers: the act, and what it is done to.
_ACTS: Mapping[str, tuple[str, str]] = {
    "create_token": ("createAPIToken", "apiToken"),
    "update_token": ("updateAPIToken", "apiToken"),
    "regenerate_token": ("regenerateAPIToken", "apiToken"),
    "delete_token": ("deleteAPIToken", "apiToken"),
    "create_ingest_token": ("createAPIToken", "apiToken"),
    "create_own_token": ("createPersonalToken", "personalToken"),
    "delete_own_token": ("deletePersonalToken", "personalToken"),
    "create_user_token": ("createPersonalToken", "personalToken"),
    "delete_user_token": ("deletePersonalToken", "personalToken"),
    "create_organisation": ("createOrg", "org"),
    "update_organisation": ("updateOrg", "org"),
    "update_current_user": ("updateUserSettings", "user"),
    "set_role": ("updateUserRole", "user"),
    "delete_user": ("removeUserFromOrg", "user"),
    "replace_map_fields": ("updateMapFields", "dataset"),
    "create_map_field": ("createMapField", "dataset"),
    "delete_map_field": ("deleteMapField", "dataset"),
    "update_field": ("updateField", "dataset"),
    "update_dashboard_chart": ("updateDashboard", "dashboard"),
    "delete_dataset_v1": ("deleteDataset", "dataset"),
    "trim": ("trimDataset", "dataset"),
    "trim_counted": ("trimDataset", "dataset"),
    "vacuum": ("vacuumDataset", "dataset"),
    "delete_matching": ("aplDelete", "dataset"),
}
# Handlers of a POST that only reads.
READING = frozenset({"query", "query_dataset", "query_edge", "query_batch", "chosen_fields"})
_SAFE = ("GET", "HEAD")


class _Note(Struct):
    resource: str
    properties: dict[str, Any]
    changed: bool


class _Made(Struct):
    """What of an answer says which thing it is about."""

    id: str = ""
    name: str = ""


def note(request: Request, *, resource: str = "", changed: bool = True, **properties: Any) -> None:
    """Say more of an act than its path and its answer do; nothing was changed where `changed` is false."""
    request.state.audit = _Note(resource, properties, changed)


def act_of(method: str, handler: Handler) -> tuple[str, str] | None:
    """What a route does, as createDataset, and to what, as dataset; None where it changes nothing."""
    name = getattr(handler, "__name__", "")
    if method in _SAFE or name in READING:
        return None
    if name in _ACTS:
        return _ACTS[name]
    head, *rest = name.split("_")
    thing = "".join(each.title() for each in rest)
    return head + thing, thing[:1].lower() + thing[1:]


async def actor(services: Services, grant: Grant) -> Actor:
    """Who acts. Asked before the act, so that a store that does not answer stops the act, not its record."""
    name, email = await asyncio.to_thread(services.access.people.creator, grant.user_id)
    return Actor(grant.kind, grant.token_id, grant.user_id, name, email)


async def record(
    act: tuple[str, str], who: Actor, request: Request, services: Services, grant: Grant, response: Response
) -> None:
    """Puts an act that succeeded into the trail of the organisation; returns once it is durable."""
    said: _Note = getattr(request.state, "audit", None) or _Note("", {}, changed=True)
    if not said.changed:
        return
    action, kind = act
    made = _made(response) if request.method == "POST" else _Made()
    given = request.path_params
    inner = next((given[each] for each in ("field", "chart") if each in given), "")
    resource = said.resource or made.id or given.get("token") or given.get("uid") or given.get("id") or made.name
    await services.record(
        Entry(
            organisation=grant.organisation,
            action=action,
            actor=who,
            resource=Resource(kind, resource, made.name or inner),
            properties=said.properties,
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            trace_id=request.scope.get("trace_id", ""),
            address=request.client.host if request.client else "",
        )
    )


def _made(response: Response) -> _Made:
    try:
        return msgspec.json.decode(response.body, type=_Made)
    except msgspec.DecodeError:  # an answer that is no object with an id, such as a list
        return _Made()
