"""The Starlette application over the table of routes."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tailrace.access import Grant, require
from tailrace.agents import AgentApplication
from tailrace.api import audit
from tailrace.api.errors import error_body
from tailrace.api.route import ANY_TOKEN, ApiRoute
from tailrace.api.routes import ROUTES
from tailrace.api.services import Services, json_response
from tailrace.events import MethodNotAllowed, NotFound, TailraceError
from tailrace.events.outcome import CLIENT_GONE, outcome_of
from tailrace.protocols import axiom
from tailrace.protocols.http import Protocol
from tailrace.storage.faults import disk_fault

__all__ = ["Services", "build"]

logger = logging.getLogger(__name__)

METRICS_QUERIES = ("/v1/query/_mpl", "/v1/query/metrics/")  # where Axiom has them

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(table: Sequence[ApiRoute], services: Services) -> list[Route]:
    """Return one Starlette route for each path, so that a 405 lists all methods of the path."""
    by_path: dict[str, dict[str, ApiRoute]] = {}
    for route in table:
        by_path.setdefault(route.path, {})[route.method] = route
    return [Route(path, _endpoint(methods, services), methods=list(methods)) for path, methods in by_path.items()]


def build(services: Services) -> Starlette:
    """Return the application; its answers, errors included, are JSON in Axiom's shape unless a route says otherwise."""
    app = Starlette(
        routes=routes(ROUTES, services),
        exception_handlers={
            TailraceError: _tailrace_error,
            HTTPException: _http_error,
            OSError: _os_error,
            ClientDisconnect: _client_gone,
            Exception: _unexpected_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.agents = AgentApplication(app)
    document = cache(partial(_document, services.protocols))
    app.state.openapi = cache(lambda: msgspec.json.encode(document()))
    app.state.page = cache(lambda: _page(document()))
    return app


def _missing(path: str) -> str:
    """Return why there is nothing at a path."""
    if path.startswith(METRICS_QUERIES):
        return "there are no metrics queries in MPL here: data points are events of their dataset, query it by APL"
    return f"{path} not found"


def _document(protocols: Sequence[Protocol]) -> Mapping[str, Any]:
    # Imported late: importing it builds the schemas of all types, which most servers never need.
    from tailrace.api import openapi

    return openapi.document(ROUTES, protocols)


def _page(document: Mapping[str, Any]) -> bytes:
    from tailrace.api import page

    return page.render(document)


def _endpoint(methods: dict[str, ApiRoute], services: Services) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        # Starlette routes HEAD to GET.
        method = "GET" if request.method == "HEAD" else request.method
        route = methods[method]
        outcome_of(request.scope).route = route.path
        grant = _grant(route, request, services)
        if route.audit is None or grant is None:
            return await route.handler(request, services, grant)
        who = await audit.actor(services, grant)
        response = await route.handler(request, services, grant)
        if response.status_code < 400:
            await audit.record(route.audit, who, request, services, grant, response)
        return response

    return endpoint


def _grant(route: ApiRoute, request: Request, services: Services) -> Grant | None:
    if route.permission is None:
        return None
    grant = services.authenticate(request)
    if route.permission != ANY_TOKEN:
        require(grant, capability=route.permission.capability, action=route.permission.action)
    closed = services.closed()
    if closed is not None:
        raise closed
    return grant


async def _tailrace_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, TailraceError):
        raise error
    outcome_of(request.scope).refuse(error)
    return rendered(error)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return await _tailrace_error(request, NotFound(_missing(request.url.path)))
    if error.status_code == 405:
        refused = MethodNotAllowed(f"{request.method} is not allowed for {request.url.path}")
        outcome_of(request.scope).route = _path_of(request)
        response = await _tailrace_error(request, refused)
        response.headers.update(error.headers or {})
        return response
    return json_response({"code": error.status_code, "message": error.detail}, error.status_code)


async def _os_error(request: Request, error: Exception) -> Response:
    """Return the same error from every route for a full or read-only disk."""
    fault = disk_fault(error)
    if fault is None:
        raise error
    logger.error("a request to %s failed: %s", request.url.path, error)
    return await _tailrace_error(request, fault)


def _path_of(request: Request) -> str:
    """Return the path template of the matched route, which lacks the method."""
    endpoint = request.scope["endpoint"]
    return next(str(route.path) for route in request.app.routes if route.endpoint is endpoint)


async def _client_gone(request: Request, error: Exception) -> Response:
    outcome_of(request.scope).reason = CLIENT_GONE
    return Response(status_code=499)  # not read by anyone; 499 is nginx's "client closed request"


async def _unexpected_error(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this response, and the server logs it.
    return await _tailrace_error(request, TailraceError("internal error"))


def rendered(error: TailraceError) -> Response:
    """Return an error in Axiom's shape."""
    answer = axiom.render_error(error)
    return Response(
        msgspec.json.encode(error_body(error)),
        answer.status,
        headers={name.decode(): value.decode() for name, value in answer.headers},
        media_type="application/json",
    )
