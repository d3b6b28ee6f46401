"""The requests that the server refused of late, for who runs it."""

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.paging import LIMIT, OFFSET, page
from tailrace.api.route import ApiRoute, Need
from tailrace.api.services import Services, json_response
from tailrace.events.outcome import Refusal


async def list_refusals(request: Request, services: Services, grant: Grant) -> Response:
    """Return the requests refused since the server started, as a whole or some of their events; the latest first."""
    return json_response(page(request, services.refusals()))


ROUTES = (
    ApiRoute(
        "GET",
        "/tailrace/v1/refusals",
        list_refusals,
        Need("server", "read"),
        answer=list[Refusal],
        parameters=(LIMIT, OFFSET),
    ),
)
