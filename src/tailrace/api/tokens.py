"""API tokens over HTTP: list, create, get, revoke."""

import asyncio

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.services import Services, json_response, no_content, read_json


class NewToken(Struct, rename="camel"):
    """What a client sends to create one; Axiom's Python client sends null for what is not set."""

    name: str
    description: str | None = None
    expires_at: str | None = None
    dataset_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    org_capabilities: dict[str, list[str] | None] | None = None


async def list_tokens(request: Request, services: Services, grant: Grant) -> Response:
    """Every API token, without secrets."""
    return json_response(await asyncio.to_thread(services.access.list_tokens))


async def create_token(request: Request, services: Services, grant: Grant) -> Response:
    """Makes an API token; the answer is the only place where its secret is shown."""
    wanted = await read_json(request, NewToken)
    record, secret = await asyncio.to_thread(
        services.access.create_token,
        wanted.name,
        wanted.dataset_capabilities,
        wanted.org_capabilities,
        wanted.expires_at,
        wanted.description,
        who=grant,
    )
    return json_response({**msgspec.to_builtins(record), "token": secret})


async def get_token(request: Request, services: Services, grant: Grant) -> Response:
    """One API token, without its secret."""
    return json_response(await asyncio.to_thread(services.access.get_token, request.path_params["id"]))


async def delete_token(request: Request, services: Services, grant: Grant) -> Response:
    """Revokes an API token: its next use is refused."""
    await asyncio.to_thread(services.access.delete_token, request.path_params["id"])
    return no_content()
