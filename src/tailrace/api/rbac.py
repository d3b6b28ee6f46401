"""Roles and groups over HTTP: what users may do beyond the built-in roles."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, GroupBody, RoleBody
from tailrace.access.rbac import CustomRole, UserGroup
from tailrace.api.audit import note
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json


async def list_roles(request: Request, services: Services, grant: Grant) -> Response:
    """Return the custom roles of the organisation, without built-in ones such as admin."""
    return json_response(await asyncio.to_thread(services.access.rbac.list_roles, grant.organisation))


async def create_role(request: Request, services: Services, grant: Grant) -> Response:
    """Create a role, which may not allow more than the token does."""
    body = await read_json(request, RoleBody)
    note(request, members=body.members or [])
    return json_response(await asyncio.to_thread(services.access.rbac.create_role, body, actor=grant))


async def get_role(request: Request, services: Services, grant: Grant) -> Response:
    """Return a role."""
    role = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.rbac.get_role, role, grant.organisation))


async def update_role(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a role, from the next use of its users' tokens on."""
    body = await read_json(request, RoleBody)
    note(request, members=body.members or [])
    role = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.rbac.update_role, role, body, actor=grant))


async def delete_role(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a role: users with it get the role none."""
    await asyncio.to_thread(services.access.rbac.delete_role, request.path_params["id"], actor=grant)
    return no_content()


async def list_groups(request: Request, services: Services, grant: Grant) -> Response:
    """Return the groups of the organisation."""
    return json_response(await asyncio.to_thread(services.access.rbac.list_groups, grant.organisation))


async def create_group(request: Request, services: Services, grant: Grant) -> Response:
    """Create a group, whose members have its roles in addition to their own."""
    body = await read_json(request, GroupBody)
    note(request, members=body.members or [], roles=body.roles or [])
    return json_response(await asyncio.to_thread(services.access.rbac.create_group, body, actor=grant))


async def get_group(request: Request, services: Services, grant: Grant) -> Response:
    """Return a group."""
    group = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.rbac.get_group, group, grant.organisation))


async def update_group(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a group, with its members and roles."""
    body = await read_json(request, GroupBody)
    note(request, members=body.members or [], roles=body.roles or [])
    group = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.rbac.update_group, group, body, actor=grant))


async def delete_group(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a group; its members keep their own roles."""
    await asyncio.to_thread(services.access.rbac.delete_group, request.path_params["id"], actor=grant)
    return no_content()


_ROLE_BODY_EXAMPLE = {"name": "Reader of the shop", "datasetCapabilities": {"demo": {"query": ["read"]}}}
_GROUP_BODY_EXAMPLE = {"name": "On call", "members": [], "roles": []}

ROUTES = (
    ApiRoute("GET", "/v2/rbac/roles", list_roles, Permission("rbac", "read"), answer=list[CustomRole]),
    ApiRoute(
        "POST",
        "/v2/rbac/roles",
        create_role,
        Permission("rbac", "create"),
        audit=AuditAction("createRole", "role"),
        body=RoleBody,
        example=_ROLE_BODY_EXAMPLE,
        answer=CustomRole,
        refusals=(404, 409),
    ),
    ApiRoute("GET", "/v2/rbac/roles/{id}", get_role, Permission("rbac", "read"), answer=CustomRole),
    ApiRoute(
        "PUT",
        "/v2/rbac/roles/{id}",
        update_role,
        Permission("rbac", "update"),
        audit=AuditAction("updateRole", "role"),
        body=RoleBody,
        example=_ROLE_BODY_EXAMPLE,
        answer=CustomRole,
        refusals=(409,),
    ),
    ApiRoute(
        "DELETE",
        "/v2/rbac/roles/{id}",
        delete_role,
        Permission("rbac", "delete"),
        audit=AuditAction("deleteRole", "role"),
        answer=None,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/rbac/groups", list_groups, Permission("rbac", "read"), answer=list[UserGroup]),
    ApiRoute(
        "POST",
        "/v2/rbac/groups",
        create_group,
        Permission("rbac", "create"),
        audit=AuditAction("createGroup", "group"),
        body=GroupBody,
        example=_GROUP_BODY_EXAMPLE,
        answer=UserGroup,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/rbac/groups/{id}", get_group, Permission("rbac", "read"), answer=UserGroup),
    ApiRoute(
        "PUT",
        "/v2/rbac/groups/{id}",
        update_group,
        Permission("rbac", "update"),
        audit=AuditAction("updateGroup", "group"),
        body=GroupBody,
        example=_GROUP_BODY_EXAMPLE,
        answer=UserGroup,
        refusals=(409,),
    ),
    ApiRoute(
        "DELETE",
        "/v2/rbac/groups/{id}",
        delete_group,
        Permission("rbac", "delete"),
        audit=AuditAction("deleteGroup", "group"),
        answer=None,
        refusals=(409,),
    ),
)
