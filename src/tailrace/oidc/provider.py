"""A provider over HTTP: its discovery document, its keys, its tokens, what it says of a person."""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet
from msgspec import Struct

from tailrace.oidc.errors import ProviderUnavailable, SignInInvalid
from tailrace.oidc.settings import SAFE_URL, OidcSettings

logger = logging.getLogger(__name__)

DISCOVERY_PATH = "/.well-known/openid-configuration"
CACHED_S = 3600.0  # that the discovery document and the keys are used before they are fetched again
MAX_WORDS = 300  # characters of what a provider says that are passed on

T = TypeVar("T")


class ProviderMetadata(Struct, frozen=True):
    """The discovery document (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(Struct, frozen=True):
    """The answer of the token endpoint."""

    id_token: str
    access_token: str = ""


class TokenError(Struct, frozen=True):
    """The refusal of the token endpoint (RFC 6749, section 5.2)."""

    error: str
    error_description: str = ""


class KeyDocument(Struct, frozen=True):
    """The document of the keys (RFC 7517, section 5)."""

    keys: list[dict[str, Any]]


class Cached(Struct, frozen=True):
    """What was fetched, and until when it is used."""

    value: Any
    until_s: float


class Provider:
    """The provider of the settings. What it answers is kept for a while; for one event loop's thread."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        # Reading the certificates to trust takes longer than most requests; over http none are needed.
        is_https = settings.issuer.startswith("https://")
        self._tls = httpx.create_ssl_context() if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._metadata: Cached | None = None
        self._keys: Cached | None = None

    async def metadata(self) -> ProviderMetadata:
        """Return the discovery document; raise ProviderUnavailable."""
        cached = self._metadata
        if cached is None or self._clock() >= cached.until_s:
            url = self._settings.issuer.rstrip("/") + DISCOVERY_PATH
            found = self._decoded(await self._call("GET", url), ProviderMetadata)
            self._check(found)
            cached = self._metadata = Cached(found, self._clock() + CACHED_S)
        metadata: ProviderMetadata = cached.value
        return metadata

    async def keys(self, *, anew: bool = False) -> KeySet:
        """Return the public keys that ID tokens are signed with, fetched `anew` or not; raise ProviderUnavailable."""
        cached = self._keys
        if cached is None or anew or self._clock() >= cached.until_s:
            url = (await self.metadata()).jwks_uri
            document = self._decoded(await self._call("GET", url), KeyDocument)
            cached = self._keys = Cached(_key_set(document), self._clock() + CACHED_S)
        keys: KeySet = cached.value
        return keys

    async def tokens(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Exchange a code for tokens (RFC 6749, section 4.1.3); raise ProviderUnavailable, SignInInvalid."""
        settings, metadata = self._settings, await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        basic = None
        if not settings.client_secret:
            form["client_id"] = settings.client_id
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # Both are encoded as a form is (RFC 6749, section 2.3.1).
            basic = httpx.BasicAuth(quote_plus(settings.client_id), quote_plus(settings.client_secret))
        else:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        answer = await self._call("POST", metadata.token_endpoint, data=form, auth=basic)
        if 400 <= answer.status_code < 500:
            raise self._refusal(answer)
        return self._decoded(answer, Tokens)

    async def user_info(self, access_token: str) -> dict[str, Any]:
        """Return what the provider says of the person of an access token; {} where it has no such endpoint."""
        url = (await self.metadata()).userinfo_endpoint
        if not url or not access_token:
            return {}
        answer = await self._call("GET", url, headers={"Authorization": f"Bearer {access_token}"})
        return self._decoded(answer, dict[str, Any])

    async def _call(self, method: str, url: str, **options: Any) -> httpx.Response:
        timeout_s = self._settings.timeout_s
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        try:
            async with asyncio.timeout(timeout_s), httpx.AsyncClient(verify=self._tls, timeout=timeout_s) as client:
                return await client.request(method, url, headers=headers, **options)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            logger.warning("the provider of single sign-on does not answer at %s: %r", url, error)
            slow = isinstance(error, TimeoutError | httpx.TimeoutException)
            reason = f"no answer within {timeout_s:g} s" if slow else "no connection"
            raise self._unavailable(f"cannot be asked: {reason}") from error

    def _decoded(self, answer: httpx.Response, kind: type[T]) -> T:
        """Return an answer's JSON; raise ProviderUnavailable for another status than 200, and for what does not fit."""
        path = answer.request.url.path
        if answer.status_code != 200:
            raise self._unavailable(f"answered {answer.status_code} for {path}")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            logger.warning("what the provider of single sign-on answered for %s is not as expected: %s", path, error)
            raise self._unavailable(f"answered something unexpected for {path}") from error

    def _check(self, metadata: ProviderMetadata) -> None:
        """Raise ProviderUnavailable for metadata of another issuer, or with an address that is not safe to go to."""
        if metadata.issuer != self._settings.issuer:  # to the letter: section 4.3
            logger.warning("the issuer calls itself %r: set oidc_issuer to that", metadata.issuer)
            raise self._unavailable("calls itself by another name than the setting oidc_issuer")
        for url in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            self._check_url(url)
        if metadata.userinfo_endpoint:
            self._check_url(metadata.userinfo_endpoint)

    def _check_url(self, url: str) -> None:
        is_safe = re.fullmatch(SAFE_URL, url)
        if not is_safe or (url.startswith("http://") and self._settings.issuer.startswith("https://")):
            raise self._unavailable("names an address without https")

    def _refusal(self, answer: httpx.Response) -> SignInInvalid | ProviderUnavailable:
        try:
            said = msgspec.json.decode(answer.content, type=TokenError)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._unavailable(f"answered {answer.status_code} for {answer.request.url.path}")
        logger.warning(
            "the provider of single sign-on gives no token: %s", words_of(said.error, said.error_description)
        )
        return SignInInvalid(f"the provider refused: {words_of(said.error, said.error_description)}")

    def _unavailable(self, what: str) -> ProviderUnavailable:
        return ProviderUnavailable(f"{self._settings.name} {what}")


def words_of(error: str, description: str) -> str:
    """Return what a provider says of an error as one line, cut off where it is long."""
    line = " ".join(f"{error}: {description}".split() if description else error.split())
    printable = "".join(character if character.isprintable() else "�" for character in line)
    return printable if len(printable) <= MAX_WORDS else f"{printable[:MAX_WORDS]}…"


def _key_set(document: KeyDocument) -> KeySet:
    """Return the keys that are public ones of a known kind; a malformed one affects no other."""
    keys: list[Any] = []
    for number, given in enumerate(document.keys):
        if given.get("kty") not in ("RSA", "EC"):
            continue
        try:
            keys.append(JWKRegistry.import_key(given))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            logger.warning("key %d of the provider of single sign-on cannot be used: %s", number, error)
    return KeySet(keys)
