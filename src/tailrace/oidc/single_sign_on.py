"""The authorization code flow with PKCE: from the browser that sets out for the provider to who came back.

What a sign-in has to be known by again - state, nonce, code verifier - is derived from one secret, which the browser
keeps in a cookie. So the server keeps nothing of sign-ins that are under way, and one is bound to its browser.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tailrace.access.identities import BegunSignIn, Identity, ProviderAnswer
from tailrace.events import Forbidden, Overloaded
from tailrace.oidc.errors import IdTokenInvalid, SignInInvalid
from tailrace.oidc.id_token import KeyUnknown, verified_claims
from tailrace.oidc.provider import Provider, words_of
from tailrace.oidc.settings import OidcSettings

SIGN_IN_S = 600.0  # from the beginning of a sign-in to its end
SECRET_BYTES = 32
MAX_USED = 10_000  # sign-ins that are remembered so that none ends twice; the oldest are forgotten beyond
MAX_AT_ONCE = 16  # sign-ins that wait for the provider; further ones are refused
_SECRET = re.compile(r"([0-9]{1,12})\.[A-Za-z0-9_-]{43}")


class SingleSignOn:
    """Sign-ins at the provider of the settings. For one event loop's thread."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._provider = Provider(settings, clock)
        self._used: dict[str, None] = {}  # states, the oldest first
        self._waiting = 0

    @property
    def name(self) -> str:
        """The name of the provider, for people."""
        return self._settings.name

    @property
    def new_user_role(self) -> str:
        """The role of users that are made of the provider's people; "" where none are."""
        return "" if self._settings.new_users == "refused" else self._settings.new_users

    async def begin(self, redirect_uri: str) -> BegunSignIn:
        """Return where a browser is to go and what it is to keep; raise ProviderUnavailable, Overloaded.

        The provider sends it back to the redirect URI.
        """
        with self._one_of_few():
            metadata = await self._provider.metadata()
        secret = f"{int(self._clock())}.{secrets.token_urlsafe(SECRET_BYTES)}"
        url = prepare_grant_uri(
            metadata.authorization_endpoint,
            self._settings.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(self._settings.scopes),
            state=derived(secret, "state"),
            nonce=derived(secret, "nonce"),
            code_challenge=create_s256_code_challenge(derived(secret, "verifier")),
            code_challenge_method="S256",
        )
        return BegunSignIn(url, secret, SIGN_IN_S)

    async def complete(self, secret: str, answer: ProviderAnswer, redirect_uri: str) -> Identity:
        """Return who signed in, by what the browser kept and what the provider sent it back with.

        Raise SignInInvalid for a sign-in that this browser did not begin, that took too long, that has ended before, or
        that the provider refused; IdTokenInvalid; ProviderUnavailable; Forbidden for an email of another domain;
        Overloaded.
        """
        with self._one_of_few():
            self._use(secret, answer)
            metadata = await self._provider.metadata()
            if answer.iss != metadata.issuer and (
                answer.iss or metadata.authorization_response_iss_parameter_supported
            ):
                raise SignInInvalid("the answer is that of another provider")  # RFC 9207, section 2.4
            return self._identity(await self._claims(secret, answer.code, redirect_uri))

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        """Count who waits for the provider; raise Overloaded where these are many."""
        if self._waiting >= MAX_AT_ONCE:
            raise Overloaded("too many sign in at once; try again later")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _use(self, secret: str, answer: ProviderAnswer) -> None:
        """Mark a sign-in as ended; raise SignInInvalid."""
        begun = _SECRET.fullmatch(secret)
        # In bytes, as a text that is not ASCII is not compared.
        given = answer.state.encode("utf-8", "surrogatepass")
        if begun is None or not hmac.compare_digest(derived(secret, "state").encode(), given):
            raise SignInInvalid(
                "this sign-in was not begun in this browser, or at another address or more than "
                f"{SIGN_IN_S / 60:g} minutes ago, or another one was begun since: sign in again"
            )
        if self._clock() - int(begun[1]) >= SIGN_IN_S:
            raise SignInInvalid(f"the sign-in took more than {SIGN_IN_S / 60:g} minutes: sign in again")
        if answer.state in self._used:
            raise SignInInvalid("this sign-in has ended before: sign in again")
        if len(self._used) >= MAX_USED:
            del self._used[next(iter(self._used))]
        self._used[answer.state] = None
        if answer.error:
            said = words_of(answer.error, answer.error_description)
            raise SignInInvalid(f"the provider refused: {said}")
        if not answer.code:
            raise SignInInvalid("the provider sent no code: sign in again")

    async def _claims(self, secret: str, code: str, redirect_uri: str) -> dict[str, Any]:
        """Return what the provider says of who signed in: the claims of the ID token, and of the user info."""
        tokens = await self._provider.tokens(code, derived(secret, "verifier"), redirect_uri)
        expected: dict[str, Any] = {
            "issuer": self._settings.issuer,
            "client_id": self._settings.client_id,
            "nonce": derived(secret, "nonce"),
            "access_token": tokens.access_token,
            "now_s": self._clock(),
        }
        try:
            claims = verified_claims(tokens.id_token, await self._provider.keys(), **expected)
        except KeyUnknown:  # the provider has new keys, maybe
            claims = verified_claims(tokens.id_token, await self._provider.keys(anew=True), **expected)
        if "email" in claims and (not self._settings.groups_claim or self._settings.groups_claim in claims):
            return claims
        more = await self._provider.user_info(tokens.access_token)
        if more and more.get("sub") != claims["sub"]:  # section 5.3.2
            raise IdTokenInvalid("the provider's user info is not of who signed in")
        # An email and whether it is verified are one statement.
        if "email" in claims:
            more = {key: value for key, value in more.items() if key != "email_verified"}
        return {**more, **claims}

    def _identity(self, claims: dict[str, Any]) -> Identity:
        settings = self._settings
        email = _text(claims, "email")
        verified = claims.get("email_verified")
        # Some providers have a text there.
        is_verified = verified is True or verified == "true" or (verified is None and settings.trust_emails)
        domain = email.rpartition("@")[2].lower()
        if settings.email_domains and not (is_verified and domain in map(str.lower, settings.email_domains)):
            raise Forbidden(f"an email {email!r} is not of a domain whose people may sign in")
        groups = None
        if settings.groups_claim:
            given = claims.get(settings.groups_claim)
            groups = frozenset(
                name for name in (given if isinstance(given, list) else [given]) if isinstance(name, str)
            )
        name = _text(claims, "name") or _text(claims, "preferred_username") or email
        return Identity(settings.issuer, claims["sub"], email, is_verified, name, groups)


def derived(secret: str, purpose: str) -> str:
    """Return a text of 43 characters of base64url, by which the secret cannot be found."""
    digest = hashlib.sha256(f"{purpose}:{secret}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
