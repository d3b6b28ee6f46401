"""Queries that were saved by running them, over HTTP."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.services import Services, json_response


async def saved_query(request: Request, services: Services, grant: Grant) -> Response:
    """A query that the same user saved."""
    found = await asyncio.to_thread(services.saved_queries.get, request.path_params["id"], who=grant.user_id)
    return json_response(found)
