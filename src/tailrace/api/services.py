"""The parts of the server that handlers use, and functions that read a request and write an answer."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Access, AuditEntry, Grant
from tailrace.access.console_settings import ConsoleSettings
from tailrace.access.identities import IdentityProvider
from tailrace.api.browser_cookie import session_secret
from tailrace.api.concurrency_limiter import ConcurrencyLimiter
from tailrace.api.field_store import FieldStore
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.backup.running import Backups
from tailrace.events import BadRequest, TailraceError, TooLarge
from tailrace.events.outcome import Refusal
from tailrace.lake import DatasetStore, Snapshot
from tailrace.monitors import MonitorStore, Notification, Notifier
from tailrace.protocols import axiom
from tailrace.protocols.http import Protocol
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.tokens import ORGANISATION
from tailrace.query import Engine, Interrupt
from tailrace.storage.documents import DocumentStore
from tailrace.tail import Tails

MAX_BODY_BYTES = 4 * 1024 * 1024  # of a management or query request

T = TypeVar("T")


class ServerHealth(Struct, frozen=True):
    """Whether the server can ingest and query, and why not."""

    reason: str = ""  # empty when it can
    degraded: tuple[str, ...] = ()  # parts that cannot be used


class Monitoring(Struct, frozen=True, eq=False):
    """The interface of the running monitors to the API."""

    store: MonitorStore
    changed: Callable[[str], None]  # called with the id of a monitor that was created, updated or deleted
    deliver: Callable[[Notifier, Notification], Awaitable[None]]  # raises NotDelivered, DeliveryFailed


class Services(Struct, frozen=True, eq=False):
    """The parts of the server that handlers use."""

    access: Access
    lake: DatasetStore
    engine: Engine
    query_threads: Executor
    running: set[Interrupt]  # of the queries under way
    health: Callable[[], Awaitable[ServerHealth]]
    metrics: Callable[[], Awaitable[bytes]]  # in the Prometheus text format
    closed: Callable[[], TailraceError | None]  # why datasets cannot be used now, None where they can
    documents: DocumentStore
    fields: FieldStore
    saved_queries: SavedQueryStore
    query_limiter: ConcurrencyLimiter
    tails: Tails
    monitoring: Monitoring
    backups: Backups
    record: Callable[[AuditEntry], Awaitable[None]]  # into the audit trail
    protocols: Sequence[Protocol] = PROTOCOLS
    refusals: Callable[[], Sequence[Refusal]] = tuple  # latest first
    vacuuming: set[str] = set()  # names of the datasets being vacuumed
    console: ConsoleSettings = ConsoleSettings()
    provider: IdentityProvider | None = None  # of single sign-on

    def snapshot(self, dataset: str) -> Snapshot:
        """Return a snapshot of a dataset, within the time of a query; raise TailraceError."""
        return self.lake.snapshot(dataset, timeout_s=self.engine.limits.timeout_s)

    def authenticate(self, request: Request) -> Grant:
        """Return what the token of a request, or of its browser's session, may do; raise Unauthorized, Forbidden."""
        value = request.headers.get("authorization")
        organisation = request.headers.get(ORGANISATION.decode(), "")
        session = "" if value else session_secret(request)
        if session:
            return self.access.authenticate_session(session, organisation)
        return self.access.authenticate(axiom.bearer(value.encode("latin-1") if value else None), organisation)


# The grant is None for public routes only.
Handler = Callable[[Request, Services, Any], Awaitable[Response]]


async def read_json(request: Request, kind: type[T]) -> T:
    """Return the request's body as `kind`; raise BadRequest for what does not fit it, TooLarge past MAX_BODY_BYTES."""
    return decode_json(await read_body(request), kind)


async def read_body(request: Request) -> bytes:
    """Return the request's body; raise TooLarge past MAX_BODY_BYTES."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def decode_json(body: bytes, kind: type[T]) -> T:
    """Return JSON as `kind`; raise BadRequest for what does not fit it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as error:
        raise BadRequest("the body is not the JSON expected: it is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not the JSON expected: {error}") from error


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer of what msgspec can encode as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def no_content() -> Response:
    """Return an answer without a body."""
    return Response(status_code=204)
