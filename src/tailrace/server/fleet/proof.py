"""The proof that a request comes from another node: what it says of the client, signed with the fleet's secret."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from tailrace.server.asgi import Scope

HEADER = b"x-tailrace-forwarded"
MAX_AGE_S = 60.0  # and how far the clocks of two nodes may be apart


class ForwardedRequest(Struct, frozen=True, array_like=True):
    """What a node says of a request that it forwards."""

    node: str  # that forwards it
    at_s: float  # Unix time
    hops: int  # how often it was forwarded, this time included
    address: str  # of the client, or of the proxy before the node that it met
    port: int
    scheme: str


class ForwardingProof:
    """Signs and checks what nodes say of requests. The secret itself is never sent."""

    def __init__(self, secret: str, node: str, clock: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"tailrace forwarded request\n" + secret.encode()).digest()
        self._node = node
        self._clock = clock

    def header(self, scope: Scope, hops: int) -> tuple[bytes, bytes]:
        """Return the header of a request that is forwarded."""
        address, port = scope["client"][:2]
        said = ForwardedRequest(self._node, self._clock(), hops, address, int(port), scope["scheme"])
        payload = base64.urlsafe_b64encode(msgspec.msgpack.encode(said))
        return HEADER, payload + b"." + self._signature(scope, payload)

    def check(self, scope: Scope) -> ForwardedRequest | None:
        """Return what a node says of a request; None where no node says it now, of this method and target."""
        values = [value for name, value in scope["headers"] if name == HEADER]
        if len(values) != 1:
            return None
        payload, _, signature = values[0].rpartition(b".")
        if not hmac.compare_digest(self._signature(scope, payload), signature):
            return None
        said = msgspec.msgpack.decode(base64.urlsafe_b64decode(payload), type=ForwardedRequest)
        return said if abs(self._clock() - said.at_s) <= MAX_AGE_S else None

    def _signature(self, scope: Scope, payload: bytes) -> bytes:
        signed = b"\n".join((payload, scope["method"].encode(), scope["raw_path"], scope["query_string"]))
        return hmac.digest(self._key, signed, "sha256").hex().encode()
