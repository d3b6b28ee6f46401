"""The requests that the server refused lately, for its operator."""

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.paging import LIMIT, OFFSET, page
from tailrace.api.route import ApiRoute, Permission
from tailrace.api.services import Services, json_response
from tailrace.events.outcome import Refusal


async def list_refusals(request: Request, services: Services, grant: Grant) -> Response:
    """Return the latest requests that were refused, or some of whose events were, latest first."""
    return json_response(page(request, services.refusals()))


ROUTES = (
    ApiRoute(
        "GET",
        "/tailrace/v1/refusals",
        list_refusals,
        Permission("server", "read"),
        answer=list[Refusal],
        parameters=(LIMIT, OFFSET),
    ),
)
