"""What a route of the API is: a method and a path, what answers it, what it needs, and how it is documented."""

from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from tailrace.api.services import Handler
from tailrace.protocols.http import ParameterDoc


class Need(Struct, frozen=True):
    """What a token must be allowed on the organisation, as in Axiom's `orgCapabilities`."""

    capability: str
    action: str


class Act(Struct, frozen=True):
    """What the audit trail calls a change."""

    action: str  # as Axiom's trail has it, such as createDataset
    resource: str  # what sort of thing is changed, such as dataset


ANY_TOKEN = Need("", "")  # a valid token; the handler looks at what it may do where that depends on the request
PUBLIC = None  # no token
QUERY = "query:read on the datasets"  # as what a handler asks of the token


class ApiRoute(Struct, frozen=True):
    """A method and a path, what answers it, what a token needs for it, and what goes in and out.

    The handler's docstring is its summary. The statuses that follow from the rest need not be given: 400, 408, 413 and
    429 of a body, 401 and 403 of a token, 404 of a parameter in the path.
    """

    method: str
    path: str  # a segment in braces is a parameter
    handler: Handler
    need: Need | None
    act: Act | None = None  # what a good answer adds to the audit trail; None where nothing is changed
    body: Any = None  # the type that the handler decodes its JSON body to; None where it takes none
    example: Any = UNSET  # of the body, as the document shows it
    answer: Any = UNSET  # the type of its JSON answer, a tuple of several, None for one without a body
    status: int = 200  # of a good answer; one without a body is 204
    parameters: tuple[ParameterDoc, ...] = ()  # of the query string and the headers
    refusals: tuple[int, ...] = ()  # statuses of errors that do not follow from the rest
    media: dict[str, Any] = {}  # further answers by media type, each with its type or JSON Schema
    failures: dict[int, Any] = {}  # statuses of errors in a shape of their own, each with its type
    inside: str = ""  # what the handler itself asks of the token, where that depends on the request


def under(prefixes: tuple[str, ...], *routes: ApiRoute) -> tuple[ApiRoute, ...]:
    """Return the routes below each of the prefixes: all below the first, then all below the next."""
    return tuple(replace(route, path=prefix + route.path) for prefix in prefixes for route in routes)
