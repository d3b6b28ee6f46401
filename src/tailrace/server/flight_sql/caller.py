"""Who makes a call: what they ask of the application is asked as by an HTTP client, with their credentials."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import pyarrow as pa

from tailrace.events.outcome import KEY
from tailrace.protocols.doors.otlp_status import UNAVAILABLE, code_of_status
from tailrace.server.asgi import Application, Message, Scope
from tailrace.server.grpc_port import address_of

ROUTE = "/tailrace/v1/sql"
TOKEN_ROUTE = "/tailrace/v1/budget"  # which takes any token
ARROW = "application/vnd.apache.arrow.stream"
DEADLINE_EXCEEDED = 4  # of gRPC
TIMEOUT = "query_timeout_s"  # which a query that took too long names

# Metadata of a call that are headers of its requests: who asks, on whose behalf, and for what trace.
_PASSED_ON = frozenset(
    {
        "authorization",
        "forwarded",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-axiom-org-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)

Take = Callable[[bytes], Awaitable[None]]


class CallRefused(Exception):
    """A call ends with a status of gRPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Caller:
    """The client of one call. To be used on the event loop."""

    def __init__(self, application: Application, scheme: str, context: Any) -> None:
        self._application = application
        self._scheme = scheme
        self._headers = _headers_of(context.invocation_metadata() or ())
        self._client = address_of(context.peer())
        self._gone: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        context.add_done_callback(lambda _: self.leave())

    @property
    def is_gone(self) -> bool:
        """Whether the call has ended."""
        return self._gone.done()

    @property
    def authorization(self) -> str:
        """Their credentials as a header, a bearer token; empty for none."""
        return next((value.decode("latin-1") for name, value in self._headers if name == b"authorization"), "")

    async def check_token(self) -> None:
        """Raise CallRefused where there is no valid token."""
        await self._ask("GET", TOKEN_ROUTE)

    async def schema(self, sql: str) -> pa.Schema:
        """Return the columns of the answer of a statement; raise CallRefused."""
        body = await self._ask("POST", ROUTE, {"sql": sql, "schemaOnly": True})
        with pa.ipc.open_stream(body) as reader:
            return reader.schema

    async def table(self, sql: str) -> pa.Table:
        """Return the answer of a statement; raise CallRefused."""
        body = await self._ask("POST", ROUTE, {"sql": sql})
        with pa.ipc.open_stream(body) as reader:
            return reader.read_all()

    async def stream(self, sql: str, take: Take) -> None:
        """Give the answer of a statement as it comes, an Arrow IPC stream, to `take`; raise CallRefused."""
        await self._ask("POST", ROUTE, {"sql": sql}, take)

    async def _ask(self, method: str, path: str, content: object = None, take: Take | None = None) -> bytes:
        body = b"" if content is None else msgspec.json.encode(content)
        scope: Scope = {
            "type": "http",
            "http_version": "2",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                *self._headers,
                (b"host", b"localhost"),
                (b"accept", ARROW.encode() if content is not None else b"*/*"),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
            "client": self._client,
            "scheme": self._scheme,
        }
        answer = _ApplicationAnswer(take)
        asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        def receive() -> "asyncio.Future[Message]":
            return asyncio.ensure_future(_message(asked.pop()) if asked else self._disconnected())

        await self._application(scope, receive, answer.send)
        return answer.finished(scope)

    async def _disconnected(self) -> Message:
        return await asyncio.shield(self._gone)

    def leave(self) -> None:
        """Know that the call has ended: what they asked for is given up."""
        if not self._gone.done():
            self._gone.set_result({"type": "http.disconnect"})


class _ApplicationAnswer:
    """What the application answers."""

    def __init__(self, take: Take | None) -> None:
        self._take = take
        self._status = 0
        self._parts: list[bytes] = []
        self._is_whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return
        body = message.get("body", b"")
        if self._take is not None and self._status == 200:
            await self._take(body)
        else:
            self._parts.append(body)
        self._is_whole = not message.get("more_body", False)

    def finished(self, scope: Scope) -> bytes:
        """Return the body; raise CallRefused."""
        body = b"".join(self._parts)
        if self._status == 200 and self._is_whole:
            return body
        if self._status in (0, 200):
            reason = getattr(scope.get(KEY), "message", "")
            raise CallRefused(UNAVAILABLE, f"the answer broke off{reason and ': '}{reason}")
        message = _message_in(body) or f"the request was answered with {self._status}"
        code = DEADLINE_EXCEEDED if self._status == 422 and TIMEOUT in message else code_of_status(self._status)
        raise CallRefused(code, message)


class _Refusal(msgspec.Struct):
    message: str


def _message_in(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except msgspec.MsgspecError:
        return ""


async def _message(message: Message) -> Message:
    return message


def _headers_of(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that are in the metadata of a call, with a bearer token where it has a password."""
    sent = [(name.lower(), value) for name, value in metadata if isinstance(value, str)]
    return [
        (name.encode(), (_bearer(value) if name == "authorization" else value).encode("latin-1", "replace"))
        for name, value in sent
        if name in _PASSED_ON
    ]


def _bearer(authorization: str) -> str:
    """Return credentials as a bearer token: of a user and a password the password, whoever the user is."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        padding = "=" * (-len(value) % 4)  # which clients in Go leave out
        pair = base64.b64decode(value + padding, validate=True).decode("latin-1")
    except binascii.Error:
        return authorization
    return f"Bearer {pair.partition(':')[2]}"
