"""Queries that were saved when they ran, over HTTP."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.route import ANY_TOKEN, ApiRoute, under
from tailrace.api.saved_queries import SavedQuery
from tailrace.api.services import Services, json_response


async def saved_query(request: Request, services: Services, grant: Grant) -> Response:
    """Return a query that the same user saved."""
    query = await asyncio.to_thread(services.saved_queries.get, request.path_params["id"], who=grant.user_id)
    return json_response(query)


ROUTES = (
    *under(
        ("/v1", "/api/v1"),
        ApiRoute("GET", "/datasets/_history/{id}", saved_query, ANY_TOKEN, answer=SavedQuery),
    ),
)
