"""The documentation of the API over HTTP: as OpenAPI, and as an HTML page."""

import asyncio
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.route import PUBLIC, ApiRoute
from tailrace.api.services import Services
from tailrace.events.outcome import FORWARDED_HOST

# Without characters that a shell interprets, as the examples are pasted into one.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# The page has no script and loads nothing.
PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


async def openapi(request: Request, services: Services, grant: Grant | None) -> Response:
    """Return this document, in OpenAPI 3.1."""
    content = await asyncio.to_thread(request.app.state.openapi)
    return Response(content, media_type="application/json")


def _base_url(request: Request) -> str:
    """Return the URL of the server in the request; empty where a shell would interpret characters of it."""
    host = request.scope.get(FORWARDED_HOST) or request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else ""


async def page_of_routes(request: Request, services: Services, grant: Grant | None) -> Response:
    """Return this document as a page."""
    # Imported late, for a fast start.
    from tailrace.api import page

    content = await asyncio.to_thread(request.app.state.page)
    return Response(page.at(content, _base_url(request) or page.URL), media_type="text/html", headers=PAGE_HEADERS)


ROUTES = (
    ApiRoute("GET", "/openapi.json", openapi, PUBLIC, answer=dict[str, Any]),
    ApiRoute("GET", "/docs", page_of_routes, PUBLIC, media={"text/html": str}),
)
