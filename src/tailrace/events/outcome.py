"""The outcome of a request, which the layers that handle it fill in, for the metrics and for the operator."""

import secrets
from collections import Counter
from collections.abc import MutableMapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct, field

from tailrace.events import Rejection, TailraceError
from tailrace.events.idempotency import IdempotencyKey

KEY = "tailrace.outcome"  # in the scope of a request
FORWARDED_HOST = "tailrace.forwarded_host"  # in the scope: the Host of the request to a trusted proxy
CLIENT_GONE = "client_gone"  # the reason where the client hung up before its request was complete
UNKNOWN_ROUTE = "unknown"  # of an unknown path: paths as sent must not become labels of a metric
SECRET = "{secret}"  # a parameter of a route whose value is a credential


class RequestOutcome(Struct):
    """The protocol and route of a request, what it stored, and why it, or some of its events, were refused."""

    protocol: str = "unknown"
    route: str = UNKNOWN_ROUTE  # with its parameters in braces
    reason: str = ""  # code of the error; empty where the request was not refused as a whole
    message: str = ""
    stored_bytes: int = 0  # decoded, of bodies whose events became durable
    rejections: dict[str, int] = field(default_factory=dict)  # refused events, by code
    idempotency: IdempotencyKey | None = None  # of a request with such a key
    sender: str = ""  # id of whom its credential is of, which a new secret does not change; empty until it is known
    parts: list[TailraceError] = field(default_factory=list)  # why requests within this one were refused

    def generated_id(self, size: int) -> bytes:
        """Return so many random bytes, of a request with an idempotency key the same again for its repetitions."""
        if self.idempotency is None:
            return secrets.token_bytes(size)
        return self.idempotency.generated_id(self.sender, size)

    def refuse(self, error: TailraceError) -> None:
        """Record that the request is refused as a whole."""
        self.reason, self.message = error.code, error.message

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Record refused events."""
        for code, count in Counter(map(attrgetter("code"), rejections)).items():
            self.rejections[code] = self.rejections.get(code, 0) + count
        if rejections:
            self.message = self.message or rejections[0].reason

    def include(self, other: "RequestOutcome") -> None:
        """Add what became of a part of the request."""
        self.stored_bytes += other.stored_bytes
        for code, count in other.rejections.items():
            self.rejections[code] = self.rejections.get(code, 0) + count
        self.message = self.message or other.message

    def reject_all(self, count: int, error: TailraceError) -> None:
        """Record that so many events were refused for one reason, as those of a dataset that takes none."""
        self.rejections[error.code] = self.rejections.get(error.code, 0) + count
        self.message = self.message or error.message


class Refusal(Struct, rename="camel"):
    """A request that was refused, or some of whose events were, with its repetitions."""

    time: str  # RFC 3339: of the last one
    first: str  # and of the first
    count: int
    method: str
    path: str  # as sent, without the query string, and without what may be a credential
    route: str  # with its parameters in braces; "unknown" where no route has the path
    status: int  # of the answer; 0 where there was none
    reason: str  # as in the metrics
    message: str
    protocol: str  # of the route, else guessed from the path
    events: int  # refused ones in all; 0 where the requests were refused as a whole
    address: str  # of the client
    user_agent: str
    trace_id: str  # of the last answer, as in its header


def shown_path(path: str, route: str) -> str:
    """Return the path of a request as it may be logged: that of its route where a part of it is a credential."""
    return route if SECRET in route else path


def outcome_of(scope: MutableMapping[str, Any]) -> RequestOutcome:
    """Return the outcome of the request of an ASGI scope, which is new if there is none."""
    outcome: RequestOutcome | None = scope.get(KEY)
    if outcome is None:
        outcome = scope[KEY] = RequestOutcome()
    return outcome
