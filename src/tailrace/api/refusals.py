"""The requests that the server refused of late, for who runs it."""

from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.paging import page
from tailrace.api.services import Services, json_response


async def list_refusals(request: Request, services: Services, grant: Grant) -> Response:
    """The requests refused since the server started, as a whole or some of their events; the latest first."""
    return json_response(page(request, services.refusals()))
