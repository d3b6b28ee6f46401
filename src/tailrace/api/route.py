"""A route of the API: its method, path and handler, the permission it needs, its audit action and documentation."""

from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from tailrace.api.services import Handler
from tailrace.protocols.http import ParameterDoc


class Permission(Struct, frozen=True):
    """What a token must be allowed to do in the organisation, as in Axiom's `orgCapabilities`."""

    capability: str
    action: str


class AuditAction(Struct, frozen=True):
    """What the audit trail says of a change."""

    action: str  # as Axiom's trail has it, such as createDataset
    resource: str  # the type of what is changed, such as dataset


ANY_TOKEN = Permission("", "")  # any valid token; the handler checks permissions that depend on the request
PUBLIC = None  # no token
QUERY = "query:read on the datasets"  # as `further_permission`


class ApiRoute(Struct, frozen=True):
    """A method and a path with a handler, the permission it needs, and the types of its body and answer.

    The handler's docstring is its summary. The statuses that follow from the rest need not be given: 400, 408, 413 and
    429 of a body, 401 and 403 of a token, 404 of a parameter in the path.
    """

    method: str
    path: str  # a segment in braces is a parameter
    handler: Handler
    permission: Permission | None
    audit: AuditAction | None = None  # of a successful request; None where nothing is changed
    body: Any = None  # the type of its JSON body; None for none
    example: Any = UNSET  # of the body, in the documentation
    answer: Any = UNSET  # the type of its JSON answer, a tuple of types, None for no body
    status: int = 200  # of success; without a body it is 204
    parameters: tuple[ParameterDoc, ...] = ()  # of the query string and the headers
    refusals: tuple[int, ...] = ()  # further statuses of errors
    media: dict[str, Any] = {}  # further answers by media type, each with its type or JSON Schema
    failures: dict[int, Any] = {}  # types of errors with another body than usual, by status
    further_permission: str = ""  # that the handler checks, in words


def under(prefixes: tuple[str, ...], *routes: ApiRoute) -> tuple[ApiRoute, ...]:
    """Return the routes below each of the prefixes: all below the first, then all below the next."""
    return tuple(replace(route, path=prefix + route.path) for prefix in prefixes for route in routes)
