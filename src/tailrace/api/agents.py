"""Agents over HTTP: the route of the Model Context Protocol."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tailrace.access import Grant
from tailrace.agents import Application
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute
from tailrace.api.services import Services

EXAMPLE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


async def answer(request: Request, services: Services, grant: Grant) -> Response:
    """Answer a message of the Model Context Protocol (streamable HTTP, without sessions)."""
    return _Delegated(await request.app.state.agents.started())


class _Delegated(Response):
    """An answer that another application gives."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


ROUTES = (
    ApiRoute(
        "POST",
        "/mcp",
        answer,
        ANY_TOKEN,
        body=dict[str, Any],
        example=EXAMPLE,
        answer=dict[str, Any],
        refusals=(406, 501),
        further_permission=QUERY,
    ),
)
