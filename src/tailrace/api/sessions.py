"""Sessions of browsers: signing in to the console by a token, by the code of a link or at a provider, and out."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Capabilities, Grant
from tailrace.access.identities import ProviderAnswer
from tailrace.api.audit import actor, note, record
from tailrace.api.browser_cookie import require_console, session_secret, set_session, set_sign_in
from tailrace.api.route import ANY_TOKEN, PUBLIC, ApiRoute, AuditAction
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.single_sign_on import CONSOLE_HEADER, identify
from tailrace.events import BadRequest, Unauthorized

SIGN_IN_PATH = "/#/sign-in?code="  # of the console; what is behind # is not sent, so that no proxy's log has it
# Of a sign-in and a sign-out the handlers record the entry: only they know of whom it is.
LOGIN, LOGOUT = AuditAction("login", "user"), AuditAction("logout", "user")
CREATE_CODE = AuditAction("createSignInCode", "user")
CREATE_USER = AuditAction("createUser", "user")  # of whom a provider knows, and no user was


class SignInBody(Struct):
    """A token, or the code of a link, or what the provider of single sign-on sent the browser back with."""

    token: str = ""
    code: str = ""
    provider: ProviderAnswer | None = None


class SignInCode(Struct, rename="camel"):
    """The code of a link that signs a browser in, once."""

    code: str
    path: str  # of the link
    expires_at: str


class SignedIn(Struct, rename="camel"):
    """Whom a session or a token is of, and what it may do."""

    kind: str  # personal or api
    organisation: str
    user_id: str
    user_name: str
    role: str  # of a personal token's user
    is_unlimited: bool  # whether it may do everything in the organisation
    dataset_capabilities: dict[str, Capabilities]  # by dataset, or * for each
    org_capabilities: Capabilities
    view_capabilities: dict[str, Capabilities]


async def sign_in(request: Request, services: Services, grant: None) -> Response:
    """Start a session of a browser, whose secret is in a cookie; it ends with the token."""
    require_console(request)
    body = await read_json(request, SignInBody)
    if bool(body.token) + bool(body.code) + (body.provider is not None) != 1:
        raise BadRequest('the body is {"token": "…"}, {"code": "…"} or {"provider": {…}}')
    sessions, session_s = services.access.browser_sessions, services.console.session_s
    identified = None
    if body.provider is not None:
        identified = await identify(request, services, body.provider)
        new = await asyncio.to_thread(sessions.start_for_user, identified.user_id, session_s)
    elif body.code:
        new = await asyncio.to_thread(sessions.redeem, body.code, session_s)
    else:
        token_id = services.access.authenticate(body.token.strip()).token_id
        new = await asyncio.to_thread(sessions.start, token_id, session_s)
    await _end(request, services)  # the session that this browser had
    granted = services.access.authenticate_session(new.secret)
    response = json_response(await asyncio.to_thread(_signed_in, services, granted))
    by = "provider" if identified else "code" if body.code else "token"
    note(request, resource=granted.user_id, by=by)
    who = await actor(services, granted)
    if identified is not None and identified.is_new:
        await record(CREATE_USER, who, request, services, granted, response)
    await record(LOGIN, who, request, services, granted, response)
    set_session(response, request, new.secret, datetime.fromisoformat(new.expires_at))
    if identified is not None:
        set_sign_in(response, request, "", datetime.fromtimestamp(0, UTC))
    return response


async def current_session(request: Request, services: Services, grant: None) -> Response:
    """Return whom the session or the token is of, and what it may do; null where there is neither."""
    if not session_secret(request) and "authorization" not in request.headers:
        return json_response(None)
    return json_response(await asyncio.to_thread(_signed_in, services, services.authenticate(request)))


async def sign_out(request: Request, services: Services, grant: None) -> Response:
    """End the session of the browser, if it has one."""
    require_console(request)
    response = no_content()
    ended = await _end(request, services)
    if ended is not None:
        note(request, resource=ended.user_id)
        await record(LOGOUT, await actor(services, ended), request, services, ended, response)
    set_session(response, request, "", datetime.fromtimestamp(0, UTC))
    return response


async def create_code(request: Request, services: Services, grant: Grant) -> Response:
    """Create the code of a link that signs one browser in with this token, within a quarter of an hour."""
    note(request, resource=grant.user_id)
    new = await asyncio.to_thread(services.access.browser_sessions.create_code, grant.token_id)
    return json_response(SignInCode(new.secret, SIGN_IN_PATH + new.secret, new.expires_at))


async def _end(request: Request, services: Services) -> Grant | None:
    """End the session in the cookie of a request; return its grant, None where there is no such session."""
    secret = session_secret(request)
    try:
        grant = services.access.authenticate_session(secret) if secret else None
    except Unauthorized:
        return None
    if grant is not None:
        await asyncio.to_thread(services.access.browser_sessions.end, secret)
    return grant


def _signed_in(services: Services, grant: Grant) -> SignedIn:
    name, _ = services.access.users.creator(grant.user_id)
    return SignedIn(
        kind=grant.kind,
        organisation=grant.organisation,
        user_id=grant.user_id,
        user_name=name if grant.kind == "personal" else "",
        role=grant.role if grant.kind == "personal" else "",
        is_unlimited=grant.is_unlimited,
        dataset_capabilities=grant.datasets,
        org_capabilities=grant.org,
        view_capabilities=grant.views,
    )


_TOKEN: dict[str, Any] = {"token": "xaat-…"}

ROUTES = (
    ApiRoute(
        "POST",
        "/tailrace/v1/session",
        sign_in,
        PUBLIC,
        LOGIN,
        body=SignInBody,
        example=_TOKEN,
        answer=SignedIn,
        parameters=(CONSOLE_HEADER,),
        refusals=(401, 403, 404, 503),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/session",
        current_session,
        PUBLIC,
        answer=SignedIn | None,
        parameters=(CONSOLE_HEADER,),
        refusals=(401, 403, 503),
    ),
    ApiRoute(
        "DELETE",
        "/tailrace/v1/session",
        sign_out,
        PUBLIC,
        LOGOUT,
        answer=None,
        parameters=(CONSOLE_HEADER,),
        refusals=(403,),
    ),
    ApiRoute("POST", "/tailrace/v1/session/codes", create_code, ANY_TOKEN, CREATE_CODE, answer=SignInCode),
)
