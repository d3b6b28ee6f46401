"""Single sign-on: whether there is a provider to sign in at, the beginning of a sign-in, and whom it ends with."""

import asyncio
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access.identities import IdentifiedUser, IdentityProvider, ProviderAnswer
from tailrace.api.browser_cookie import HEADER, require_console, set_sign_in, sign_in_secret
from tailrace.api.route import PUBLIC, ApiRoute
from tailrace.api.services import Services, json_response
from tailrace.events import NotFound
from tailrace.events.outcome import FORWARDED_HOST
from tailrace.protocols.http import ParameterDoc

CALLBACK_PATH = "/tailrace/console/sign-in"  # of the console, which the provider sends browsers back to

CONSOLE_HEADER = ParameterDoc(
    HEADER, "Any value: a page of another origin cannot send it with the cookie.", where="header"
)


class SignInProvider(Struct, frozen=True):
    """The provider of single sign-on."""

    name: str  # for people


class ProviderPage(Struct, frozen=True):
    """The page of the provider at which a sign-in goes on."""

    url: str


async def sign_in_provider(request: Request, services: Services, grant: None) -> Response:
    """Return the provider that one may sign in at; null where there is none."""
    return json_response(SignInProvider(services.provider.name) if services.provider else None)


async def begin_sign_in(request: Request, services: Services, grant: None) -> Response:
    """Begin a sign-in at the provider, and return where it goes on; a cookie binds it to the browser."""
    require_console(request)
    begun = await _provider(services).begin(_redirect_uri(request, services))
    response = json_response(ProviderPage(begun.url))
    set_sign_in(response, request, begun.secret, datetime.now(UTC) + timedelta(seconds=begun.lasts_s))
    return response


async def identify(request: Request, services: Services, answer: ProviderAnswer) -> IdentifiedUser:
    """Return the user whom a provider's answer signs in; raise TailraceError."""
    provider = _provider(services)
    identity = await provider.complete(sign_in_secret(request), answer, _redirect_uri(request, services))
    return await asyncio.to_thread(services.access.identities.identify, identity, provider.new_user_role)


def _provider(services: Services) -> IdentityProvider:
    if services.provider is None:
        raise NotFound("there is no single sign-on here: sign in by a token or a link")
    return services.provider


def _redirect_uri(request: Request, services: Services) -> str:
    """Return where the provider is to send the browser back to; it knows which addresses are this server's."""
    host = request.scope.get(FORWARDED_HOST) or request.headers.get("host", "")
    url = services.console.url or f"{request.scope['scheme']}://{host}"
    return url.rstrip("/") + CALLBACK_PATH


ROUTES = (
    ApiRoute("GET", "/tailrace/v1/session/provider", sign_in_provider, PUBLIC, answer=SignInProvider | None),
    ApiRoute(
        "POST",
        "/tailrace/v1/session/provider",
        begin_sign_in,
        PUBLIC,
        answer=ProviderPage,
        parameters=(CONSOLE_HEADER,),
        refusals=(403, 404, 429, 503),
    ),
)
