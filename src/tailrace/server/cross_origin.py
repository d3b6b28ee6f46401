"""What pages of other origins may do (CORS): send events and read answers, but not create credentials."""

from collections.abc import Sequence

from msgspec import Struct

from tailrace.api import ROUTES
from tailrace.protocols.http import Headers, Protocol, Response

ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
ALLOW_METHODS = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
MAX_AGE = (b"access-control-max-age", b"86400")
# Headers that a page of another origin may send and read, in addition to those of the protocols.
REQUEST_HEADERS = ("Authorization", "Content-Type", "Content-Encoding", "Accept", "Idempotency-Key")
RESPONSE_HEADERS = (
    "X-Axiom-Trace-Id",
    "Retry-After",
    "X-Axiom-History-Query-Id",
    "X-Tailrace-Messages",
    "X-Tailrace-Error",
)
# Paths of the API that create, manage or are credentials, which no page of another origin may use.
SAME_ORIGIN = tuple(
    sorted(
        {
            route.path.partition("/{")[0]
            for route in ROUTES
            if "/tokens" in route.path
            or "/session" in route.path
            or (route.permission and route.permission.capability == "apiTokens")
        }
    )
)


class CrossOrigin(Struct, frozen=True):
    """What pages of other origins may do (CORS): the same on every path but those that create credentials."""

    allowed: bytes  # the headers that may be sent, for a preflight that names none
    headers: tuple[tuple[bytes, bytes], ...]  # of every response that they may read
    same_origin: tuple[str, ...]  # prefixes of the paths that they may not use

    def answer(self, path: str) -> tuple[tuple[bytes, bytes], ...]:
        """Return the CORS headers of a response for a path."""
        return () if path.startswith(self.same_origin) else self.headers

    def preflight(self, path: str, headers: Headers) -> Response:
        """Return the response to OPTIONS, which allows the headers that the browser asks for."""
        if path.startswith(self.same_origin):
            return Response(204)
        allowed = headers.get(b"access-control-request-headers") or self.allowed
        return Response(204, headers=(ALLOW_METHODS, (b"access-control-allow-headers", allowed), MAX_AGE))


def cross_origin(protocols: Sequence[Protocol]) -> CrossOrigin:
    """Return what pages of other origins may do on a server with these protocols."""
    sent = [*REQUEST_HEADERS, *(name for protocol in protocols for name in protocol.request_headers)]
    read = [*RESPONSE_HEADERS, *(name for protocol in protocols for name in protocol.response_headers)]
    return CrossOrigin(
        ", ".join(sent).encode(),
        (ALLOW_ORIGIN, (b"access-control-expose-headers", ", ".join(read).encode())),
        (*(prefix for protocol in protocols for prefix in protocol.same_origin), *SAME_ORIGIN),
    )
