"""A provider of OpenID Connect: an HTTP server on a port of its own, whose people and faults a test chooses."""

import base64
import hashlib
import html
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

CLIENT = "tailrace"
SECRET = "a secret: with %"
ADA = {"sub": "ada-1", "name": "Ada Lovelace", "email": "ada@example.com", "email_verified": True}


@cache
def rsa_key(kid: str) -> RSAKey:
    """Return the RSA key of an id, which takes a while to make."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@cache
def ec_key(kid: str) -> ECKey:
    """Return the EC key of an id."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


class TestProvider:
    """Signs in `person` at once, or once they agree on its page where it `asks`."""

    __test__ = False

    def __init__(self) -> None:
        self.person: dict[str, Any] = dict(ADA)
        self.claims: dict[str, Any] = {}  # of ID tokens, in place of the right ones; None leaves one out
        self.user_info: dict[str, Any] | None = None
        self.algorithm = "RS256"
        self.signing: RSAKey | ECKey = rsa_key("first")
        self.published: list[Key] = [self.signing]
        self.metadata: dict[str, Any] = {}  # in place of the right ones
        self.sign: Callable[[dict[str, Any]], str] = self._sign
        self.refusal: dict[str, str] = {}  # such as error, to send a browser back with
        self.asks = False
        self.answers: dict[str, tuple[int, bytes]] = {}  # by path, in place of the right ones
        self.asked: list[str] = []  # the paths
        self.codes: dict[str, dict[str, str]] = {}  # what each was made for
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self, b"")

            def do_POST(self) -> None:
                provider.answer(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def speak_tls(self, certificate: Path, key: Path) -> None:
        """Answer over https from now on, as localhost."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"https://localhost:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer a request."""
        path = urlsplit(request.path).path
        self.asked.append(path)
        headers: dict[str, str] = {}
        if path in self.answers:
            status, content = self.answers[path]
        elif path == "/authorize":
            status, headers, content = self.authorize(dict(parse_qsl(urlsplit(request.path).query)))
        else:
            status, document = self.document(path, request, body)
            content = json.dumps(document).encode()
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": len(content)}.items():
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(content)

    def document(self, path: str, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        match path:
            case "/.well-known/openid-configuration":
                return 200, self.discovery()
            case "/keys":
                return 200, KeySet(self.published).as_dict(private=False)
            case "/token":
                return self.token(request, body)
            case "/favicon.ico":  # of the page that asks
                return 200, {}
            case "/userinfo" if self.user_info is not None:
                return 200, self.user_info
        return 404, {}

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def authorize(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Send a browser back with a code; first show it a page where the provider asks."""
        assert query["client_id"] == CLIENT, query
        assert query["response_type"] == "code", query
        assert query["code_challenge_method"] == "S256", query
        assert "openid" in query["scope"].split(), query
        if self.asks and "agreed" not in query:
            again = html.escape(f"/authorize?{urlencode({**query, 'agreed': '1'})}")
            page = f'<!doctype html><title>Provider</title><a href="{again}">Continue as {self.person["name"]}</a>'
            return 200, {"Content-Type": "text/html"}, page.encode()
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        answer = {**(self.refusal or {"code": code}), "state": query["state"], "iss": self.issuer}
        return 302, {"Location": f"{query['redirect_uri']}?{urlencode(answer)}"}, b""

    def token(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for who proves to be the client and to have begun the sign-in."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        given = (form.get("client_id"), form.get("client_secret"))
        if basic := request.headers.get("authorization", ""):
            given = tuple(map(unquote_plus, base64.b64decode(basic.removeprefix("Basic ")).decode().split(":", 1)))  # type: ignore[assignment]
        if given != (CLIENT, SECRET):
            return 401, {"error": "invalid_client", "error_description": "unknown client"}
        begun = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            begun is None
            or begun["code_challenge"] != challenge.decode()
            or begun["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant", "error_description": "the code is not good"}
        now_s = int(time.time())
        right = {"iss": self.issuer, "aud": CLIENT, "iat": now_s, "exp": now_s + 300, "nonce": begun["nonce"]}
        claims = {**right, **self.person, **self.claims}
        id_token = self.sign({name: value for name, value in claims.items() if value is not None})
        return 200, {"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": id_token}

    def _sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": self.algorithm, "kid": self.signing.kid}
        return jwt.encode(header, claims, self.signing, algorithms=[self.algorithm])


@contextmanager
def running_provider() -> Iterator[TestProvider]:
    """Yield a provider that answers."""
    provider = TestProvider()
    thread = threading.Thread(target=provider.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        thread.join()
        provider.server.server_close()
