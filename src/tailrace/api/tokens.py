"""Tokens over HTTP: API tokens, legacy ingest tokens, and personal tokens."""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Budget, BudgetState, Capabilities, Grant, PersonalToken, TokenRecord, TokenSpec
from tailrace.api.audit import note
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction, Permission, under
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, Forbidden


class NewToken(Struct, rename="camel"):
    """An API token to create; null counts as not given."""

    name: str
    description: str | None = None
    expires_at: str | None = None
    dataset_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    org_capabilities: dict[str, list[str] | None] | None = None
    view_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    default_dataset: str | None = None  # of what it sends where nothing else names a dataset; not Axiom's
    budget: Budget | None = None  # of its queries; not Axiom's


class TokenChange(Struct, rename="camel"):
    """A change of an API token; null leaves a member as it is.

    "" leaves it without a default dataset, {} without a budget.
    """

    name: str | None = None
    description: str | None = None
    expires_at: str | None = None
    dataset_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    org_capabilities: dict[str, list[str] | None] | None = None
    default_dataset: str | None = None
    budget: Budget | None = None


class Regeneration(Struct, rename="camel"):
    """When the old token expires, and when the new one does: RFC 3339; null for never.

    A `newToken` says what the new one is to be, which otherwise is like the old one; an `expiresAt` in it comes first.
    """

    existing_token_expires_at: str
    new_token_expires_at: str | None = None
    new_token: NewToken | None = None


class CreatedToken(Struct, rename="camel", omit_defaults=True):
    """A new token with its secret, which is not stored; with a default dataset and a budget where it has one."""

    id: str
    name: str
    description: str
    expires_at: str
    dataset_capabilities: dict[str, Capabilities]
    org_capabilities: Capabilities
    saml_authenticated: bool
    token: str
    default_dataset: str = ""
    budget: Budget | None = None


class NewIngestToken(Struct):
    """A legacy ingest token to create; its scopes are the datasets it may send to."""

    name: str
    description: str | None = None
    scopes: list[str] = []


class IngestToken(Struct, omit_defaults=True):
    """A legacy ingest token; its secret is in the answer that creates it only."""

    id: str
    name: str
    description: str
    scopes: list[str]
    token: str = ""


class NewPersonalToken(Struct, rename="camel"):
    """A personal token to create."""

    name: str
    description: str | None = None
    expires_at: str | None = None


class CreatedPersonalToken(Struct, rename="camel"):
    """A new personal token with its secret, which is not stored."""

    id: str
    name: str
    description: str
    created_at: str
    expires_at: str
    token: str


async def list_tokens(request: Request, services: Services, grant: Grant) -> Response:
    """Return all API tokens, without secrets."""
    return json_response(await asyncio.to_thread(services.access.tokens.list_tokens, grant.organisation))


async def create_token(request: Request, services: Services, grant: Grant) -> Response:
    """Create an API token; its secret is in this answer only."""
    body = await read_json(request, NewToken)
    _refuse_views(body)
    record, secret = await asyncio.to_thread(
        services.access.tokens.create_token,
        body.name,
        body.dataset_capabilities,
        body.org_capabilities,
        body.expires_at,
        body.description,
        default_dataset=body.default_dataset,
        budget=_given_budget(body.budget),
        actor=grant,
    )
    _note_default(request, body.default_dataset)
    return json_response(_created_token(record, secret))


async def get_token(request: Request, services: Services, grant: Grant) -> Response:
    """Return an API token, without its secret."""
    token_id = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.tokens.get_token, token_id, grant.organisation))


async def update_token(request: Request, services: Services, grant: Grant) -> Response:
    """Update an API token, from its next use on. Of basic ones, which only ingest, only `defaultDataset` can change."""
    body = await read_json(request, TokenChange)
    record = await asyncio.to_thread(
        services.access.tokens.update_token,
        request.path_params["id"],
        name=body.name,
        description=body.description,
        dataset_capabilities=body.dataset_capabilities,
        org_capabilities=body.org_capabilities,
        expires_at=body.expires_at,
        default_dataset=body.default_dataset,
        budget=_given_budget(body.budget),
        actor=grant,
    )
    _note_default(request, body.default_dataset)
    return json_response(record)


async def regenerate_token(request: Request, services: Services, grant: Grant) -> Response:
    """Create a token like this one, or as `newToken` says, with a new id and secret; this one ends at the time given.

    A `newToken` needs the permission to create tokens, and gives no permission that the request's token lacks.
    """
    body = await read_json(request, Regeneration)
    new = body.new_token
    if new is not None:
        _refuse_views(new)
    record, secret = await asyncio.to_thread(
        services.access.tokens.regenerate_token,
        request.path_params["id"],
        existing_expires_at=body.existing_token_expires_at,
        new_expires_at=body.new_token_expires_at,
        replacement=None
        if new is None
        else TokenSpec(
            new.name,
            new.dataset_capabilities,
            new.org_capabilities,
            new.expires_at,
            new.description,
            new.default_dataset,
            _given_budget(new.budget),
        ),
        actor=grant,
    )
    return json_response(_created_token(record, secret))


async def delete_token(request: Request, services: Services, grant: Grant) -> Response:
    """Revoke an API token, from its next use on."""
    await asyncio.to_thread(services.access.tokens.delete_token, request.path_params["id"], grant.organisation)
    return no_content()


async def list_ingest_tokens(request: Request, services: Services, grant: Grant) -> Response:
    """Return all API tokens that only ingest, without secrets."""
    tokens = await asyncio.to_thread(services.access.tokens.list_tokens, grant.organisation)
    return json_response([_ingest_token(each) for each in tokens if _is_basic(each)])


async def create_ingest_token(request: Request, services: Services, grant: Grant) -> Response:
    """Create a token that only ingests, into the datasets that are its scopes."""
    body = await read_json(request, NewIngestToken)
    record, secret = await asyncio.to_thread(
        services.access.tokens.create_token,
        body.name,
        {scope: {"ingest": ["create"]} for scope in body.scopes},
        description=body.description,
        kind="ingest",
        actor=grant,
    )
    return json_response(_ingest_token(record, secret))


async def list_own_tokens(request: Request, services: Services, grant: Grant) -> Response:
    """Return the personal tokens of the token's user, without secrets."""
    _require_personal(grant)
    return json_response(
        await asyncio.to_thread(services.access.tokens.list_personal_tokens, grant.user_id, actor=grant)
    )


async def create_own_token(request: Request, services: Services, grant: Grant) -> Response:
    """Create a personal token for the token's user."""
    _require_personal(grant)
    return await _create_personal(request, services, grant, grant.user_id)


async def delete_own_token(request: Request, services: Services, grant: Grant) -> Response:
    """Revoke a personal token of the token's user."""
    _require_personal(grant)
    token_id = request.path_params["id"]
    await asyncio.to_thread(services.access.tokens.delete_personal_token, grant.user_id, token_id, actor=grant)
    return no_content()


async def list_user_tokens(request: Request, services: Services, grant: Grant) -> Response:
    """Return the personal tokens of a user, without secrets."""
    user_id = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.tokens.list_personal_tokens, user_id, actor=grant))


async def create_user_token(request: Request, services: Services, grant: Grant) -> Response:
    """Create a personal token for a user who is in no other organisation."""
    return await _create_personal(request, services, grant, request.path_params["id"])


async def delete_user_token(request: Request, services: Services, grant: Grant) -> Response:
    """Revoke a personal token of a user."""
    user_id, token_id = request.path_params["id"], request.path_params["token"]
    await asyncio.to_thread(services.access.tokens.delete_personal_token, user_id, token_id, actor=grant)
    return no_content()


async def _create_personal(request: Request, services: Services, grant: Grant, user_id: str) -> Response:
    body = await read_json(request, NewPersonalToken)
    record, secret = await asyncio.to_thread(
        services.access.tokens.create_personal_token,
        user_id,
        body.name,
        body.expires_at,
        body.description,
        actor=grant,
    )
    return json_response(msgspec.convert({**msgspec.to_builtins(record), "token": secret}, CreatedPersonalToken))


def _require_personal(grant: Grant) -> None:
    if grant.kind != "personal":
        raise Forbidden("this takes a personal token, for it is about the user that it belongs to")


def _refuse_views(body: NewToken) -> None:
    # Rather than a token with fewer rights than its author expects.
    if any(held for held in (body.view_capabilities or {}).values() if held and any(held.values())):
        raise BadRequest("viewCapabilities are for roles: name the view in datasetCapabilities, with query: [read]")


def _given_budget(budget: Budget | None) -> dict[str, Any] | None:
    return None if budget is None else msgspec.to_builtins(budget)


async def budget(request: Request, services: Services, grant: Grant) -> Response:
    """Return the budget of the token of the request, and what of it is left today."""
    return json_response(await asyncio.to_thread(services.access.budgets.state, grant))


def _note_default(request: Request, default_dataset: str | None) -> None:
    if default_dataset is not None:
        note(request, default_dataset=default_dataset)


def _created_token(record: TokenRecord, secret: str) -> CreatedToken:
    return msgspec.convert({**msgspec.to_builtins(record), "token": secret}, CreatedToken)


def _is_basic(record: TokenRecord) -> bool:
    held = record.dataset_capabilities.values()
    return bool(held) and not record.org_capabilities and all(set(each) == {"ingest"} for each in held)


def _ingest_token(record: TokenRecord, secret: str = "") -> IngestToken:
    return IngestToken(record.id, record.name, record.description, list(record.dataset_capabilities), secret)


_EXAMPLE = {"name": "laptop"}

ROUTES = (
    ApiRoute("GET", "/tailrace/v1/budget", budget, ANY_TOKEN, answer=BudgetState),
    ApiRoute("GET", "/v2/tokens", list_tokens, Permission("apiTokens", "read"), answer=list[TokenRecord]),
    ApiRoute(
        "POST",
        "/v2/tokens",
        create_token,
        Permission("apiTokens", "create"),
        audit=AuditAction("createAPIToken", "apiToken"),
        body=NewToken,
        example={
            "name": "shop",
            "datasetCapabilities": {"demo": {"ingest": ["create"], "query": ["read"]}},
            "defaultDataset": "demo",
        },
        answer=CreatedToken,
    ),
    ApiRoute("GET", "/v2/tokens/{id}", get_token, Permission("apiTokens", "read"), answer=TokenRecord),
    ApiRoute(
        "PUT",
        "/v2/tokens/{id}",
        update_token,
        Permission("apiTokens", "update"),
        audit=AuditAction("updateAPIToken", "apiToken"),
        body=TokenChange,
        example={"description": "Of the shop"},
        answer=TokenRecord,
    ),
    ApiRoute(
        "DELETE",
        "/v2/tokens/{id}",
        delete_token,
        Permission("apiTokens", "delete"),
        audit=AuditAction("deleteAPIToken", "apiToken"),
        answer=None,
    ),
    ApiRoute(
        "POST",
        "/v2/tokens/{id}/regenerate",
        regenerate_token,
        Permission("apiTokens", "update"),
        audit=AuditAction("regenerateAPIToken", "apiToken"),
        body=Regeneration,
        example={"existingTokenExpiresAt": "2100-01-02T00:00:00Z", "newTokenExpiresAt": None},
        answer=CreatedToken,
    ),
    *under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "GET", "/tokens/ingest", list_ingest_tokens, Permission("apiTokens", "read"), answer=list[IngestToken]
        ),
        ApiRoute(
            "POST",
            "/tokens/ingest",
            create_ingest_token,
            Permission("apiTokens", "create"),
            audit=AuditAction("createAPIToken", "apiToken"),
            body=NewIngestToken,
            example={"name": "shop", "scopes": ["demo"]},
            answer=IngestToken,
        ),
        ApiRoute(
            "GET",
            "/tokens/personal",
            list_own_tokens,
            ANY_TOKEN,
            answer=list[PersonalToken],
            further_permission="a personal token",
        ),
        ApiRoute(
            "POST",
            "/tokens/personal",
            create_own_token,
            ANY_TOKEN,
            audit=AuditAction("createPersonalToken", "personalToken"),
            body=NewPersonalToken,
            example=_EXAMPLE,
            answer=CreatedPersonalToken,
            further_permission="a personal token",
        ),
        ApiRoute(
            "DELETE",
            "/tokens/personal/{id}",
            delete_own_token,
            ANY_TOKEN,
            audit=AuditAction("deletePersonalToken", "personalToken"),
            answer=None,
            further_permission="a personal token",
        ),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/users/{id}/tokens",
        list_user_tokens,
        Permission("users", "read"),
        answer=list[PersonalToken],
    ),
    ApiRoute(
        "POST",
        "/tailrace/v1/users/{id}/tokens",
        create_user_token,
        Permission("users", "update"),
        audit=AuditAction("createPersonalToken", "personalToken"),
        body=NewPersonalToken,
        example=_EXAMPLE,
        answer=CreatedPersonalToken,
    ),
    ApiRoute(
        "DELETE",
        "/tailrace/v1/users/{id}/tokens/{token}",
        delete_user_token,
        Permission("users", "update"),
        audit=AuditAction("deletePersonalToken", "personalToken"),
        answer=None,
    ),
)
