"""Organisations over HTTP, in the objects of Axiom's `/v2/orgs`."""

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, Organisation, allows
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, read_json
from tailrace.events import NotFound

PLAN = "enterprise"  # a name outside of Axiom's list breaks its command line
UNLIMITED = 0  # in a limit of the license
ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time, for none


class License(Struct, frozen=True, rename="camel"):
    """The limits of an organisation; all are 0, no limit: the server's settings limit it."""

    id: str
    issuer: str
    issued_to: str
    issued_at: str
    valid_from: str
    expires_at: str
    tier: str
    max_users: int = UNLIMITED
    max_teams: int = UNLIMITED
    max_datasets: int = UNLIMITED
    max_fields: int = UNLIMITED
    max_monitors: int = UNLIMITED
    max_endpoints: int = UNLIMITED
    monthly_ingest_gb: int = UNLIMITED
    monthly_query_gb_hours: int = UNLIMITED
    max_query_window_seconds: int = UNLIMITED
    max_audit_window_seconds: int = UNLIMITED
    api_rate_limit_per_second: int = UNLIMITED
    billing_period_start: str = ZERO_TIME  # nothing is billed
    billing_period_end: str = ZERO_TIME
    with_auths: list[str] = []
    features: dict[str, bool] = {}
    edge_deployments: list[str] = []


class Org(Struct, frozen=True, rename="camel"):
    """An organisation as Axiom's clients have it."""

    id: str
    name: str
    role: str  # of the token's user in it; "custom" for an API token
    plan: str
    plan_created: str
    last_usage_sync: str
    primary_email: str  # of an owner; "" for an API token that may not read users
    payment_status: str
    license: License
    meta_created: str
    meta_modified: str
    meta_version: str = "1"
    default_edge_deployment: str = ""


class OrgName(Struct):
    """The new name of an organisation."""

    name: str


async def list_organisations(request: Request, services: Services, grant: Grant) -> Response:
    """Return the organisations of the token's user, or the one of an API token."""
    return json_response(await asyncio.to_thread(_visible_orgs, services, grant))


async def create_organisation(request: Request, services: Services, grant: Grant) -> Response:
    """Create an organisation, owned by the token's user, who must be an owner of the first one."""
    body = await read_json(request, OrgName)
    organisation = await asyncio.to_thread(services.access.organisations.create_organisation, body.name, actor=grant)
    return json_response(await asyncio.to_thread(_org, services, organisation, "owner"))


async def get_organisation(request: Request, services: Services, grant: Grant) -> Response:
    """Return an organisation of the token's user."""
    return json_response(await asyncio.to_thread(_find_org, services, grant, request.path_params["id"]))


async def update_organisation(request: Request, services: Services, grant: Grant) -> Response:
    """Rename the organisation of the request; its id stays."""
    body = await read_json(request, OrgName)
    name = request.path_params["id"]
    if name != grant.organisation:
        raise NotFound(f"organisation {name!r} not found; name it in the header X-Axiom-Org-Id too")

    def update() -> Org:
        services.access.organisations.update_organisation(name, name=body.name)
        return _find_org(services, grant, name)

    return json_response(await asyncio.to_thread(update))


def _visible_orgs(services: Services, grant: Grant) -> list[Org]:
    organisations = services.access.organisations
    if grant.kind != "personal":
        with_email = allows(grant, capability="users", action="read")
        return [_org(services, organisations.get_organisation(grant.organisation), "custom", with_email)]
    return [_org(services, each.organisation, each.role) for each in organisations.memberships(grant.user_id)]


def _find_org(services: Services, grant: Grant, name: str) -> Org:
    for each in _visible_orgs(services, grant):
        if each.id == name:
            return each
    raise NotFound(f"organisation {name!r} not found")


def _org(services: Services, organisation: Organisation, role: str, with_email: bool = True) -> Org:
    users = services.access.users.list_users(organisation.id) if with_email else ()
    emails = [user.email for user in users if user.role.id == "owner" and user.email]
    began = organisation.created_at
    return Org(
        id=organisation.id,
        name=organisation.name,
        role=role,
        plan=PLAN,
        plan_created=began,
        last_usage_sync=ZERO_TIME,
        primary_email=emails[0] if emails else "",
        payment_status="na",
        meta_created=began,
        meta_modified=began,
        license=License(
            id=organisation.id,
            issuer="tailrace",
            issued_to=organisation.name,
            issued_at=began,
            valid_from=began,
            expires_at=ZERO_TIME,
            tier=PLAN,
        ),
    )


_EXAMPLE = {"name": "Shop"}

ROUTES = (
    ApiRoute("GET", "/v2/orgs", list_organisations, ANY_TOKEN, answer=list[Org]),
    ApiRoute(
        "POST",
        "/v2/orgs",
        create_organisation,
        ANY_TOKEN,
        audit=AuditAction("createOrg", "org"),
        body=OrgName,
        example=_EXAMPLE,
        answer=Org,
        refusals=(409,),
        further_permission="an owner of the first organisation",
    ),
    ApiRoute("GET", "/v2/orgs/{id}", get_organisation, ANY_TOKEN, answer=Org),
    ApiRoute(
        "PUT",
        "/v2/orgs/{id}",
        update_organisation,
        Permission("billing", "update"),
        audit=AuditAction("updateOrg", "org"),
        body=OrgName,
        example=_EXAMPLE,
        answer=Org,
    ),
)
