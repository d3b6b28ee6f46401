"""Sign-ins at a provider: the way there and back, and what is no sign-in."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

pytest.importorskip("authlib", reason="pip install tailrace[oidc]")

from joserfc import jwt
from support.provider import CLIENT, SECRET, TestProvider, ec_key, rsa_key, running_provider
from support.tls import needs_openssl, self_signed

from tailrace.access.identities import Identity, ProviderAnswer
from tailrace.events import Forbidden, Overloaded, TailraceError
from tailrace.oidc.errors import IdTokenInvalid, ProviderUnavailable, SignInInvalid
from tailrace.oidc.settings import OidcSettings
from tailrace.oidc.single_sign_on import MAX_AT_ONCE, SIGN_IN_S, SingleSignOn, derived

HERE = "http://tailrace.example/tailrace/console/sign-in"
KEYS = "/keys"
FAR_FUTURE_S = 4_102_444_800  # the year 2100: a moment after the import may have come before the test runs


@pytest.fixture
def provider() -> Iterator[TestProvider]:
    with running_provider() as running:
        yield running


class Offset:
    """The time, moved."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.by_s


def at(provider: TestProvider, clock: Callable[[], float] = time.time, **settings: Any) -> SingleSignOn:
    """Return the sign-ins at a provider."""
    known = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "timeout_s": 5.0}
    return SingleSignOn(OidcSettings(**{**known, **settings}), clock)


async def gone_there(sign_on: SingleSignOn) -> tuple[str, ProviderAnswer]:
    """Begin, and return what the browser keeps and what the provider sends it back with."""
    begun = await sign_on.begin(HERE)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with httpx.AsyncClient(verify=trusting) as browser:
        back = urlsplit((await browser.get(begun.url)).headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == HERE
    return begun.secret, ProviderAnswer(**dict(parse_qsl(back.query)))


def signed_in(sign_on: SingleSignOn) -> Identity:
    """Sign in; return who did."""

    async def run() -> Identity:
        return await sign_on.complete(*await gone_there(sign_on), HERE)

    return asyncio.run(run())


def refusal(sign_on: SingleSignOn, kind: type[TailraceError]) -> str:
    """Sign in, which fails; return why."""
    with pytest.raises(kind) as refused:
        signed_in(sign_on)
    assert type(refused.value) is kind or kind is IdTokenInvalid
    return refused.value.message


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_a_person_signs_in(provider: TestProvider, algorithm: str) -> None:
    if algorithm == "ES256":
        provider.signing = ec_key("elliptic")
        provider.published.append(provider.signing)
    provider.algorithm = algorithm

    assert signed_in(at(provider)) == Identity(provider.issuer, "ada-1", "ada@example.com", True, "Ada Lovelace")


@needs_openssl
def test_over_https_the_provider_has_to_show_a_trusted_certificate(
    provider: TestProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    provider.speak_tls(certificate, key)
    assert "no connection" in refusal(at(provider), ProviderUnavailable)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert signed_in(at(provider)).issuer == provider.issuer


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_post", "client_secret_basic"]])
def test_the_client_proves_who_it_is_as_the_provider_has_it(provider: TestProvider, methods: list[str]) -> None:
    provider.metadata["token_endpoint_auth_methods_supported"] = methods

    assert signed_in(at(provider)).subject == "ada-1"


def test_a_wrong_secret_is_refused_in_the_providers_words(provider: TestProvider) -> None:
    assert refusal(at(provider, client_secret="wrong"), SignInInvalid) == (
        "the provider refused: invalid_client: unknown client"
    )
    assert "invalid_client" in refusal(at(provider, client_secret=""), SignInInvalid)


def test_what_goes_through_the_browser_tells_neither_nonce_nor_verifier_of_its_cookie(provider: TestProvider) -> None:
    async def run() -> None:
        begun = await at(provider).begin(HERE)
        query = dict(parse_qsl(urlsplit(begun.url).query))
        assert {query["state"], query["nonce"], query["code_challenge"]}.isdisjoint({begun.secret})
        assert derived(begun.secret, "verifier") not in begun.url
        assert begun.secret not in begun.url
        assert (query["redirect_uri"], query["scope"]) == (HERE, "openid email profile")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": [CLIENT, "another"]}, "azp"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"iss": "https://another.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"iat": FAR_FUTURE_S}, "in the future"),
        ({"nbf": FAR_FUTURE_S}, "not yet valid"),
        ({"sub": ""}, "subject"),
        ({"sub": "s" * 256}, "subject"),
        ({"sub": 1}, "sub"),
        ({"sub": None}, "sub"),
        ({"at_hash": "bm90IGl0cyBoYXNo"}, "at_hash"),
    ],
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    provider: TestProvider, wrong: dict[str, Any], words: str
) -> None:
    provider.claims = wrong

    assert words in refusal(at(provider), IdTokenInvalid)


def test_clocks_may_differ_a_little(provider: TestProvider) -> None:
    provider.claims = {"exp": time.time() - 30, "iat": time.time() + 30}

    assert signed_in(at(provider)).subject == "ada-1"


def test_an_audience_of_several_is_good_where_this_client_is_the_authorized_party(provider: TestProvider) -> None:
    provider.claims = {"aud": ["another", CLIENT], "azp": CLIENT}

    assert signed_in(at(provider)).subject == "ada-1"


def parts(*contents: bytes) -> bytes:
    return b".".join(base64.urlsafe_b64encode(content).rstrip(b"=") for content in contents)


def by_hmac(claims: dict[str, Any]) -> str:
    """Return an ID token whose HMAC is keyed with the public key that everybody knows."""
    signed = parts(b'{"alg":"HS256","kid":"first"}', json.dumps(claims).encode())
    key = rsa_key("first").as_pem(private=False)
    return (signed + b"." + parts(hmac.digest(key, signed, hashlib.sha256))).decode()


def unsigned(claims: dict[str, Any]) -> str:
    return parts(b'{"alg":"none"}', json.dumps(claims).encode(), b"").decode()


def by_none_of_a_kind(claims: dict[str, Any]) -> str:
    return parts(b'{"alg":"NONE","kid":"first"}', json.dumps(claims).encode(), b"").decode()


def by_another(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, rsa_key("another"))


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        (unsigned, "algorithm"),
        (by_hmac, "algorithm"),
        (by_another, "no valid signature"),
        (by_none_of_a_kind, "algorithm"),
        (lambda claims: "a.b.c", "no valid signature"),
        (lambda claims: "", "no valid signature"),
        (lambda claims: "ü" * 200_000, "no valid signature"),
        (lambda claims: f"{by_another(claims)}.e.f", "no valid signature"),
    ],
)
def test_an_id_token_that_the_provider_did_not_sign_is_refused(
    provider: TestProvider, sign: Callable[[dict[str, Any]], str], words: str
) -> None:
    provider.sign = sign

    assert words in refusal(at(provider), IdTokenInvalid)


def test_an_unknown_key_has_the_keys_fetched_again_once(provider: TestProvider) -> None:
    sign_on = at(provider)
    signed_in(sign_on)
    signed_in(sign_on)
    assert provider.asked.count(KEYS) == 1

    provider.signing = rsa_key("second")
    assert "none of its keys" in refusal(sign_on, IdTokenInvalid)
    assert provider.asked.count(KEYS) == 2

    provider.published.append(provider.signing)
    assert signed_in(sign_on).subject == "ada-1"
    assert provider.asked.count(KEYS) == 3


def test_what_the_provider_says_of_itself_is_fetched_again_after_a_while(provider: TestProvider) -> None:
    clock = Offset()
    sign_on = at(provider, clock)
    signed_in(sign_on)
    clock.by_s = 3601

    provider.claims = {"iat": clock(), "exp": clock() + 300}
    signed_in(sign_on)

    assert provider.asked.count("/.well-known/openid-configuration") == provider.asked.count(KEYS) == 2


def test_a_key_that_cannot_be_read_affects_no_other(provider: TestProvider) -> None:
    good = rsa_key("first").as_dict(private=False)
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}
    keys = [{"kty": "RSA", "kid": "bad", "n": "?", "e": "AQAB"}, {"kty": "new"}, {}, secret, good]
    provider.answers[KEYS] = (200, json.dumps({"keys": keys}).encode())

    assert signed_in(at(provider)).subject == "ada-1"


Change = Callable[[str, ProviderAnswer], tuple[str, ProviderAnswer]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda secret, answer: ("", answer), "not begun in this browser"),
        (lambda secret, answer: ("1.wrong", answer), "not begun in this browser"),
        (lambda secret, answer: (f"9{secret}", answer), "not begun in this browser"),
        (
            lambda secret, answer: (secret, ProviderAnswer("x", answer.code, answer.iss)),
            "not begun in this browser",
        ),
        (lambda secret, answer: (secret, ProviderAnswer("ü\ud800", answer.code)), "not begun in this browser"),
        (lambda secret, answer: (secret, ProviderAnswer(answer.state, answer.code)), "another provider"),
        (lambda secret, answer: (secret, ProviderAnswer(answer.state, answer.code, "https://x")), "another provider"),
        (lambda secret, answer: (secret, ProviderAnswer(answer.state, "", answer.iss)), "no code"),
        (lambda secret, answer: (secret, ProviderAnswer(answer.state, "wrong", answer.iss)), "invalid_grant"),
    ],
)
def test_an_answer_that_is_not_of_this_browsers_sign_in_is_refused(
    provider: TestProvider, change: Change, words: str
) -> None:
    async def run() -> None:
        sign_on = at(provider)
        with pytest.raises(SignInInvalid, match=words):
            await sign_on.complete(*change(*await gone_there(sign_on)), HERE)

    asyncio.run(run())


def test_a_sign_in_ends_once(provider: TestProvider) -> None:
    async def run() -> None:
        sign_on = at(provider)
        secret, answer = await gone_there(sign_on)
        assert (await sign_on.complete(secret, answer, HERE)).subject == "ada-1"
        with pytest.raises(SignInInvalid, match="ended before"):
            await sign_on.complete(secret, answer, HERE)
        # Another server does not know of it, but the provider does.
        with pytest.raises(SignInInvalid, match="invalid_grant"):
            await at(provider).complete(secret, answer, HERE)

    asyncio.run(run())


def test_a_code_is_of_no_use_in_another_sign_in(provider: TestProvider) -> None:
    async def run() -> None:
        sign_on = at(provider)
        _, theirs = await gone_there(sign_on)
        secret, mine = await gone_there(sign_on)
        with pytest.raises(SignInInvalid, match="invalid_grant"):
            await sign_on.complete(secret, ProviderAnswer(mine.state, theirs.code, mine.iss), HERE)

    asyncio.run(run())


def test_a_sign_in_takes_ten_minutes_at_most(provider: TestProvider) -> None:
    async def run() -> None:
        clock = Offset()
        sign_on = at(provider, clock)
        secret, answer = await gone_there(sign_on)
        clock.by_s = SIGN_IN_S
        with pytest.raises(SignInInvalid, match="took more than 10 minutes"):
            await sign_on.complete(secret, answer, HERE)

    asyncio.run(run())


def test_what_the_provider_refuses_is_said_in_its_words_on_one_line(provider: TestProvider) -> None:
    provider.refusal = {"error": "access_denied", "error_description": "not\n\x00you" + "!" * 1000}

    message = refusal(at(provider), SignInInvalid)

    assert message.startswith("the provider refused: access_denied: not �you!!!")
    assert len(message) < 350
    assert "/token" not in provider.asked


@pytest.mark.parametrize(
    ("path", "status", "content", "words"),
    [
        ("/.well-known/openid-configuration", 500, b"", "single sign-on answered 500 for /.well-known"),
        ("/.well-known/openid-configuration", 302, b"", "answered 302"),
        ("/.well-known/openid-configuration", 200, b"<html>", "something unexpected"),
        ("/.well-known/openid-configuration", 200, b"{}", "something unexpected"),
        (KEYS, 404, b"", "answered 404 for /keys"),
        (KEYS, 200, b"[" * 100_000, "something unexpected"),
        ("/token", 500, b"", "answered 500 for /token"),
        ("/token", 400, b"no JSON", "answered 400 for /token"),
        ("/token", 200, b'{"access_token": "a"}', "something unexpected"),
    ],
)
def test_a_provider_that_answers_otherwise_is_unavailable(
    provider: TestProvider, path: str, status: int, content: bytes, words: str
) -> None:
    provider.answers[path] = (status, content)

    assert words in refusal(at(provider), ProviderUnavailable)
    del provider.answers[path]
    assert signed_in(at(provider)).subject == "ada-1"


def test_a_provider_that_is_down_is_said_to_be(provider: TestProvider) -> None:
    with running_provider() as gone:
        issuer = gone.issuer

    assert refusal(at(provider, issuer=issuer, name="Acme"), ProviderUnavailable) == (
        "Acme cannot be asked: no connection"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://another.example/authorize"},
        {"token_endpoint": "http://another.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"userinfo_endpoint": "ftp://another.example"},
    ],
)
def test_metadata_that_leads_elsewhere_are_refused(provider: TestProvider, metadata: dict[str, str]) -> None:
    provider.metadata = metadata

    refusal(at(provider), ProviderUnavailable)


def test_only_so_many_wait_for_the_provider(provider: TestProvider) -> None:
    async def run() -> list[Any]:
        sign_on = at(provider)
        begun: list[Awaitable[Any]] = [sign_on.begin(HERE) for _ in range(MAX_AT_ONCE + 1)]
        return await asyncio.gather(*begun, return_exceptions=True)

    refused = [result for result in asyncio.run(run()) if isinstance(result, Exception)]
    assert [type(error) for error in refused] == [Overloaded]


def test_claims_that_the_id_token_lacks_are_asked_for(provider: TestProvider) -> None:
    provider.claims = {"email": None, "email_verified": None, "name": None}
    provider.user_info = {"sub": "ada-1", "email": "ada@example.com", "email_verified": "true", "name": "Ada"}

    assert signed_in(at(provider)) == Identity(provider.issuer, "ada-1", "ada@example.com", True, "Ada")

    provider.user_info["sub"] = "eve-1"
    assert "not of who signed in" in refusal(at(provider), IdTokenInvalid)


@pytest.mark.parametrize(
    ("verified", "trusted", "is_verified"),
    [(True, False, True), ("true", False, True), (None, True, True), (None, False, False), (False, True, False)],
)
def test_an_email_is_verified_where_the_provider_says_so(
    provider: TestProvider, verified: Any, trusted: bool, is_verified: bool
) -> None:
    provider.claims = {"email_verified": verified}

    assert signed_in(at(provider, trust_emails=trusted)).is_verified is is_verified


def test_only_emails_of_the_domains_named_sign_in(provider: TestProvider) -> None:
    assert signed_in(at(provider, email_domains=("Example.com",))).subject == "ada-1"
    assert "domain" in refusal(at(provider, email_domains=("example.org", "com")), Forbidden)
    provider.claims = {"email_verified": False}
    assert "domain" in refusal(at(provider, email_domains=("example.com",)), Forbidden)


@pytest.mark.parametrize(
    ("given", "groups"), [(["ops", 1, "dev"], {"ops", "dev"}), ("ops", {"ops"}), (None, set()), ({"a": 1}, set())]
)
def test_groups_are_those_of_the_claim(provider: TestProvider, given: Any, groups: set[str]) -> None:
    provider.claims = {"groups": given}
    provider.user_info = {"sub": "ada-1"}

    assert signed_in(at(provider, groups_claim="groups")).groups == frozenset(groups)
