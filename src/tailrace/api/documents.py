"""The API's document over HTTP: as OpenAPI, and as a page to be read."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.services import Services

# The page has no script, and nothing of it comes from elsewhere.
PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


async def openapi(request: Request, services: Services, grant: Grant | None) -> Response:
    """This document, in OpenAPI 3.1."""
    content = await asyncio.to_thread(request.app.state.openapi)
    return Response(content, media_type="application/json")


async def page(request: Request, services: Services, grant: Grant | None) -> Response:
    """This document as a page."""
    content = await asyncio.to_thread(request.app.state.page)
    return Response(content, media_type="text/html", headers=PAGE_HEADERS)
