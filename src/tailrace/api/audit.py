"""The entry that a request which changed something adds to the audit trail."""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.access.audit import Actor, AuditEntry, AuditResource
from tailrace.api.route import AuditAction
from tailrace.api.services import Services


class _AuditNote(Struct):
    resource: str
    properties: dict[str, Any]
    changed: bool


class _CreatedResource(Struct):
    """The members of a response that identify the resource it is about."""

    id: str = ""
    name: str = ""


def note(request: Request, *, resource: str = "", changed: bool = True, **properties: Any) -> None:
    """Add details to the audit entry of a request; there is no entry where `changed` is false."""
    request.state.audit = _AuditNote(resource, properties, changed)


async def actor(services: Services, grant: Grant) -> Actor:
    """Return who makes a change. Read before the change, so that a database error prevents it, not its audit entry."""
    name, email = await asyncio.to_thread(services.access.users.creator, grant.user_id)
    return Actor(grant.kind, grant.token_id, grant.user_id, name, email)


async def record(
    action: AuditAction, who: Actor, request: Request, services: Services, grant: Grant, response: Response
) -> None:
    """Append the entry of a successful change to the audit trail of the organisation; return once it is durable."""
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
            action=action.action,
            actor=who,
            resource=AuditResource(action.resource, resource, created.name or inner),
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
    except msgspec.DecodeError:  # a response without an id, such as a list
        return _CreatedResource()
