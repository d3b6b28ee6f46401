"""Users over HTTP: the one that a token belongs to, and those of the organisation."""

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import FIRST_ORGANISATION, Grant, Role, User, allows
from tailrace.api.audit import note
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction, Permission, under
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import Forbidden

DEFAULT_ROLE = "user"


class CurrentUserV1(Struct, frozen=True):
    """The object of `GET /v1/user`: what Axiom's document has, and the list of addresses its Rust client needs."""

    id: str
    name: str
    email: str
    emails: list[str]
    permissions: list[str]  # such as "datasets:read"
    role: Role


class UserChange(Struct):
    """A change of the current user; null leaves a member as it is."""

    name: str | None = None
    email: str | None = None


class UserName(Struct):
    """The new name of a user."""

    name: str


class NewUser(Struct):
    """A user to add to the organisation; the role is a built-in one, such as user, or the id of a custom one."""

    name: str
    email: str
    role: str = DEFAULT_ROLE


class RoleChange(Struct):
    """A user's new role."""

    role: str


async def current_user(request: Request, services: Services, grant: Grant) -> Response:
    """Return the user of the token; of an API token its author, without name and email unless it may read users."""
    return json_response(await asyncio.to_thread(_current, services, grant))


async def current_user_v1(request: Request, services: Services, grant: Grant) -> Response:
    """Return the user of the token, in the shape of v1."""
    user = await asyncio.to_thread(_current, services, grant)
    permissions = [f"{capability}:{action}" for capability, actions in grant.org.items() for action in actions]
    emails = [user.email] if user.email else []
    return json_response(CurrentUserV1(user.id, user.name, user.email, emails, permissions, user.role))


async def update_current_user(request: Request, services: Services, grant: Grant) -> Response:
    """Update the name or the email of the token's user; not for API tokens."""
    body = await read_json(request, UserChange)
    if grant.kind != "personal":
        raise Forbidden("only a personal token changes its user")
    if body.email is not None and services.provider is not None and not _sets_emails(grant):
        user = await asyncio.to_thread(services.access.users.get_user, grant.user_id, grant.organisation)
        if body.email.lower() != user.email.lower():
            raise Forbidden("with single sign-on users do not choose their email, by which the provider's are known")
    user = await asyncio.to_thread(
        services.access.users.update_user, grant.user_id, grant.organisation, name=body.name, email=body.email
    )
    return json_response(user)


async def list_users(request: Request, services: Services, grant: Grant) -> Response:
    """Return the users of the organisation."""
    return json_response(await asyncio.to_thread(services.access.users.list_users, grant.organisation))


async def create_user(request: Request, services: Services, grant: Grant) -> Response:
    """Add a user, who has no token yet, to the organisation; a user of another organisation with the email joins it.

    The latter takes a personal token of a user who is in both organisations.
    """
    body = await read_json(request, NewUser)
    user = await asyncio.to_thread(services.access.users.create_user, body.name, body.email, body.role, actor=grant)
    return json_response(user)


async def get_user(request: Request, services: Services, grant: Grant) -> Response:
    """Return a user of the organisation."""
    return json_response(
        await asyncio.to_thread(services.access.users.get_user, request.path_params["id"], grant.organisation)
    )


async def update_user(request: Request, services: Services, grant: Grant) -> Response:
    """Rename a user who is in no other organisation; others rename themselves, by `PUT /v2/user`."""
    body = await read_json(request, UserName)
    user_id = request.path_params["id"]
    return json_response(await asyncio.to_thread(services.access.users.rename_user, user_id, body.name, actor=grant))


async def delete_user(request: Request, services: Services, grant: Grant) -> Response:
    """Remove a user from the organisation; API tokens that they created stay."""
    await asyncio.to_thread(services.access.users.delete_user, request.path_params["id"], actor=grant)
    return no_content()


async def set_role(request: Request, services: Services, grant: Grant) -> Response:
    """Change the role of a user, from the next use of their tokens on."""
    body = await read_json(request, RoleChange)
    note(request, role=body.role)
    user = await asyncio.to_thread(services.access.users.set_role, request.path_params["id"], body.role, actor=grant)
    return json_response(user)


def _sets_emails(grant: Grant) -> bool:
    return grant.is_unlimited and grant.organisation == FIRST_ORGANISATION


def _current(services: Services, grant: Grant) -> User:
    if grant.kind == "personal":
        return services.access.users.get_user(grant.user_id, grant.organisation)
    # API tokens are often public, in browsers: they must not disclose personal data of their author.
    if allows(grant, capability="users", action="read"):
        name, email = services.access.users.creator(grant.user_id)
    else:
        name, email = services.access.tokens.get_token(grant.token_id, grant.organisation).name, ""
    return User(grant.user_id, name, email, Role("custom", "Custom"))


ROUTES = (
    *under(
        ("/v1", "/api/v1"),
        ApiRoute("GET", "/user", current_user_v1, ANY_TOKEN, answer=CurrentUserV1),
    ),
    ApiRoute("GET", "/v2/user", current_user, ANY_TOKEN, answer=User),
    ApiRoute(
        "PUT",
        "/v2/user",
        update_current_user,
        ANY_TOKEN,
        audit=AuditAction("updateUserSettings", "user"),
        body=UserChange,
        example={"name": "Ada"},
        answer=User,
        refusals=(409,),
        further_permission="a personal token",
    ),
    *under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/users", list_users, Permission("users", "read"), answer=list[User]),
        ApiRoute(
            "POST",
            "/users",
            create_user,
            Permission("users", "create"),
            audit=AuditAction("createUser", "user"),
            body=NewUser,
            example={"name": "Ada", "email": "ada@example.com", "role": "user"},
            answer=User,
            refusals=(409,),
        ),
        ApiRoute("GET", "/users/{id}", get_user, Permission("users", "read"), answer=User),
        ApiRoute(
            "PUT",
            "/users/{id}",
            update_user,
            Permission("users", "update"),
            audit=AuditAction("updateUser", "user"),
            body=UserName,
            example={"name": "Ada"},
            answer=User,
        ),
        ApiRoute(
            "DELETE",
            "/users/{id}",
            delete_user,
            Permission("users", "delete"),
            audit=AuditAction("removeUserFromOrg", "user"),
            answer=None,
            refusals=(409,),
        ),
        ApiRoute(
            "PUT",
            "/users/{id}/role",
            set_role,
            Permission("users", "update"),
            audit=AuditAction("updateUserRole", "user"),
            body=RoleChange,
            example={"role": "read-only"},
            answer=User,
            refusals=(409,),
        ),
    ),
)
