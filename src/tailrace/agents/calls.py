"""The calls of tools to the HTTP API, with the token of whoever calls the tool."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Resolve

MAX_MESSAGE_CHARACTERS = 2000  # of an error

Connect = Callable[[Mapping[str, str]], httpx.AsyncClient]
"""Returns a client of the API, with the credential that is in the headers of a request, where it has any."""


class Api:
    """The HTTP API as one caller may use it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON that a path answers with; raise ToolError with the server's words."""
        return await self._ask("GET", path, params={name: value for name, value in parameters.items() if value})

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that a path answers to a body with; raise ToolError with the server's words."""
        return await self._ask("POST", path, json={name: value for name, value in body.items() if value is not None})

    async def _ask(self, method: str, path: str, **sent: Any) -> Any:
        try:
            answer = await self._client.request(method, path, **sent)
            content = answer.json() if answer.content else None
        except httpx.TransportError as error:
            raise ToolError(f"the server does not answer: {error or type(error).__name__}") from error
        except ValueError as error:
            raise ToolError("what answers does not answer in JSON: it is no Tailrace server") from error
        if not answer.is_success:
            message = content.get("message") if isinstance(content, dict) else None
            raise ToolError(_shortened(str(message or f"the server answered with status {answer.status_code}")))
        return content


def _shortened(message: str) -> str:
    """Return an error's message with at most so many characters, as it may quote the whole query."""
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:MAX_MESSAGE_CHARACTERS]}…"


def _api_of(context: Context[Connect]) -> Api:
    connect = context.request_context.lifespan_context
    return Api(connect(context.headers or {}))


Caller = Annotated[Api, Resolve(_api_of)]
"""A parameter of a tool that the agent does not give: the API as its token may use it."""


def segment(name: str) -> str:
    """Return a name as one segment of a URL's path; raise ToolError where there is none."""
    if not name:
        raise ToolError("a name is missing: list_datasets has those of datasets, list_monitors the ids of monitors")
    return quote(name, safe="")
