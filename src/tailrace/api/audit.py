"""What the audit trail says of a request that changed something: the act, who did it and to what."""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.access.audit import Actor, AuditEntry, AuditResource
from tailrace.api.route import Act
from tailrace.api.services import Services


class _AuditNote(Struct):
    resource: str
    properties: dict[str, Any]
    changed: bool


class _CreatedResource(Struct):
    """What of an answer says which thing it is about."""

    id: str = ""
    name: str = ""


def note(request: Request, *, resource: str = "", changed: bool = True, **properties: Any) -> None:
    """Say more of an act than its path and its answer do; nothing was changed where `changed` is false."""
    request.state.audit = _AuditNote(resource, properties, changed)


async def actor(services: Services, grant: Grant) -> Actor:
    """Who acts. Asked before the act, so that a store that does not answer stops the act, not its record."""
    name, email = await asyncio.to_thread(services.access.users.creator, grant.user_id)
    return Actor(grant.kind, grant.token_id, grant.user_id, name, email)


async def record(act: Act, who: Actor, request: Request, services: Services, grant: Grant, response: Response) -> None:
    """Put an act that succeeded into the trail of the organisation; return once it is durable."""
    audit_note: _AuditNote = getattr(request.state, "audit", None) or _AuditNote("", {}, changed=True)
    if not audit_note.changed:
        return
    created = _created_resource(response) if request.method == "POST" else _CreatedResource()
    given = request.path_params
    inner = next((given[each] for each in ("field", "chart") if each in given), "")
    resource = (
        audit_note.resource or created.id or given.get("token") or given.get("uid") or given.get("id") or created.name
    )
    await services.record(
        AuditEntry(
            organisation=grant.organisation,
            action=act.action,
            actor=who,
            resource=AuditResource(act.resource, resource, created.name or inner),
            properties=audit_note.properties,
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            trace_id=request.scope.get("trace_id", ""),
            address=request.client.host if request.client else "",
        )
    )


def _created_resource(response: Response) -> _CreatedResource:
    try:
        return msgspec.json.decode(response.body, type=_CreatedResource)
    except msgspec.DecodeError:  # an answer that is no object with an id, such as a list
        return _CreatedResource()
