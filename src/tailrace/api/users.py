"""The user that a token belongs to, for clients that ask who they are."""

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.services import Services, json_response


class Role(Struct, frozen=True):
    """A user's role."""

    id: str
    name: str


class CurrentUser(Struct, frozen=True):
    """The object of `GET /v2/user`: exactly these members, which Axiom's Go client decodes strictly."""

    id: str
    name: str
    email: str
    role: Role


class CurrentUserV1(Struct, frozen=True):
    """The object of `GET /v1/user`: what Axiom's document has, and the list of addresses its Rust client needs."""

    id: str
    name: str
    email: str
    emails: list[str]
    permissions: list[str]
    role: Role


async def current_user(request: Request, services: Services, grant: Grant) -> Response:
    """Who the token belongs to."""
    return json_response(CurrentUser(grant.user_id, grant.user_id, "", _role(grant)))


async def current_user_v1(request: Request, services: Services, grant: Grant) -> Response:
    """Who the token belongs to, in the older shape."""
    return json_response(CurrentUserV1(grant.user_id, grant.user_id, "", [], [], _role(grant)))


def _role(grant: Grant) -> Role:
    """A personal token carries all its user may, an API token only what it was given."""
    return Role("owner", "Owner") if grant.kind == "personal" else Role("custom", "Custom")
