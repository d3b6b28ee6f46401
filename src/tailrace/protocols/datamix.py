"""Datamix: a key starts a session, and each request with logs is answered with the session's next token."""

import asyncio
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tailrace.access import KeyKind
from tailrace.access.sessions import InvalidSession, StaleSession
from tailrace.events import (
    BadRequest,
    Forbidden,
    NotFound,
    ParsedBatch,
    TailraceError,
    TooLarge,
    Unauthorized,
)
from tailrace.parsing import Limits
from tailrace.protocols.datamix_messages import LogsBody, SentLogs, excerpt, messages_to_batch, read_key, read_logs
from tailrace.protocols.http import (
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    BodyDoc,
    IngestService,
    ParameterDoc,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    decoded_body,
    decoded_wire,
    retry_headers,
)

MAX_KEY_BODY_BYTES = 64 * 1024  # of a request for a session, decoded

_NAME = "datamix"
_PARTS = ("system", "application", "environment")  # of a destination
_NO_STORE = ((b"cache-control", b"no-store"),)
_ENCODER = msgspec.json.Encoder()


class DatamixOptions(Struct, frozen=True):
    """The protocol's settings."""

    stale_token: Annotated[
        Literal["reject", "accept"],
        Meta(description="What to do with a Datamix session token that a newer one has replaced."),
    ] = "reject"


class InvalidKey(Forbidden):
    code = "invalid_key"


class WrongDestination(Forbidden):
    code = "wrong_destination"


class SessionResponse(Struct):
    """The answer to a new session."""

    system: str
    application: str
    environment: str
    token: str
    expires: int  # ms since the Unix epoch


class SessionRequest(Struct):
    """What starts a session, where the key is not in the query."""

    key: str


class RejectedLog(Struct):
    """One refused message, as the answer has it."""

    index: str  # of the message in what was sent, from 0: text, as in the document's example
    message: str


class LogsResponse(Struct):
    """The answer to a request with logs."""

    session: str
    system: str
    application: str
    environment: str
    processed: int
    rejected: list[RejectedLog]


class DatamixError(Struct):
    """The body of every error."""

    error: str
    message: str


async def create_session(request: Request, service: IngestService) -> Response:
    """Answer `POST /sessions`: a session for the destination of the key, which comes in the body or in the query."""
    wire = await request.read()
    if len(wire) > MAX_KEY_BODY_BYTES:
        raise TooLarge(f"a request for a session has at most {MAX_KEY_BODY_BYTES} bytes")
    body = await decoded_wire(request, service, wire, request.content_encoding, MAX_KEY_BODY_BYTES)
    key = read_key(body) or request.query_values().get("key")
    if not key:
        raise InvalidKey("no API key: send it as 'key', in a JSON object, a form or the query")
    if not isinstance(key, str):
        raise InvalidKey("the API key is text")
    try:
        grant = service.access.authenticate_key("datamix", key)
    except Unauthorized as error:
        raise InvalidKey(error.message) from None
    if service.closed is not None:
        raise service.closed
    sessions = service.sessions
    sessions.forget_expired(request.received_ns)
    token = sessions.start(grant, request.received_ns)
    answer = SessionResponse(*_split(grant.destination), token=sessions.sign(token), expires=token.expires_ms)
    return Response(200, _ENCODER.encode(answer), headers=_NO_STORE)


async def add_logs(request: Request, service: IngestService) -> Response:
    """Answer `POST /destinations/{system.application.environment}/logs`, with a session's token and a list of
    messages.
    """
    destination = request.params["destination"]
    parts = _split(destination)
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    sent = await service.offload(partial(read_logs, body, service.limits), WORST_CASE_FACTOR * len(body))
    text = sent.session or request.query_values().get("session")
    if not text:
        raise InvalidSession("no session token: send it as 'session', beside 'messages' or in the query")
    if not isinstance(text, str):
        raise InvalidSession("the session token is text")
    sessions = service.sessions
    token = sessions.read(text, request.received_ns)
    if token.destination != destination:
        raise WrongDestination(f"the session is for another destination than {excerpt(destination)}")
    if sent.logs is None:
        raise BadRequest("'messages' is missing: send a list of {level, timestamp, message}")

    async with sessions.hold(token) as live:
        try:
            grant = request.sent_by(service.access.key_grant(token.key_id))
        except Unauthorized as error:
            raise InvalidKey(f"the session has ended: {error.message}") from None
        previous_use = live.last_use_if_retry(token, sent.digest)
        if previous_use is not None:
            parsed = await service.offload(
                partial(_to_batch, sent, previous_use.received_ns, service.limits), WORST_CASE_FACTOR * sent.size
            )
            next_token = previous_use.next_token
            delay_s = 0.0
        else:
            if live.is_stale(token) and request.options.stale_token == "reject":
                raise StaleSession(
                    "the session token was used already: send the one from the last answer, one request at a time"
                )
            live.check_pace(sent.size)
            to_batch = partial(_to_batch, sent, request.received_ns, service.limits)
            parsed = await service.offload(to_batch, WORST_CASE_FACTOR * sent.size)
            labels = {**dict(zip(_PARTS, parts, strict=True)), "session": token.session_id}
            dataset = await service.ensure_dataset(destination, organisation=grant.organisation, actor=grant.actor)
            await service.ingest(parsed, dataset, request.outcome, received_ns=request.received_ns, labels=labels)
            next_token = live.use(token, sent.digest, request.received_ns)
            delay_s = live.charge(sent.size)
    session = sessions.sign(next_token)

    def answer() -> bytes:
        rejected = [RejectedLog(str(rejection.index), rejection.reason) for rejection in parsed.rejections]
        return _ENCODER.encode(LogsResponse(session, *parts, processed=parsed.count, rejected=rejected))

    body = await service.offload(answer, REJECTION_WORK_BYTES * len(parsed.rejections))
    if delay_s > 0:
        await asyncio.sleep(delay_s)
    return Response(200, body, headers=_NO_STORE)


def _to_batch(sent: SentLogs, received_ns: int, limits: Limits) -> ParsedBatch:
    return messages_to_batch(sent.logs or (), sent.indexes, size=sent.size, received_ns=received_ns, limits=limits)


def _split(destination: str) -> tuple[str, str, str]:
    """Return the system, application and environment of a destination; raise NotFound."""
    parts = destination.split(".")
    if len(parts) != 3 or not all(parts):
        raise NotFound(f"{excerpt(destination)} is no destination, which is like system.application.environment")
    return parts[0], parts[1], parts[2]


def render_error(error: TailraceError) -> Response:
    """Return an error as `{"error", "message"}`; 401 and 429 are not among the documented answers, 403 and 503 are."""
    status = {401: 403, 429: 503}.get(error.status, error.status)
    body = _ENCODER.encode(DatamixError(error.code, error.message))
    return Response(status, body, headers=(*_NO_STORE, *retry_headers(error)))


_FORM = "application/x-www-form-urlencoded"
_DOC_SESSION = RouteDoc(
    about="Starts a session for the destination of a key.",
    answers={200: SessionResponse},
    bodies={"application/json": BodyDoc(SessionRequest, {"key": "KEY"}), _FORM: BodyDoc(SessionRequest, "key=KEY")},
    refusals=(400, 403, 408, 413, 415, 503),
    parameters=(ParameterDoc("key", "The key, where the body has none."),),
    credential=False,
)
_LOG = {"level": "info", "timestamp": 1767323045000, "message": "hello"}
_DOC_LOGS = RouteDoc(
    about="Takes messages of a session; the answer has the session's next token.",
    answers={200: LogsResponse},
    bodies={
        "application/json": BodyDoc(LogsBody, {"session": "TOKEN", "messages": [_LOG]}),
        _FORM: BodyDoc(
            {"type": "object", "properties": {"session": {"type": "string"}}},
            "session=TOKEN&messages[0][level]=info&messages[0][timestamp]=1767323045000&messages[0][message]=hello",
        ),
    },
    refusals=(400, 403, 404, 408, 413, 415, 503),
    parameters=(ParameterDoc("session", "The session's token, where the body has none."),),
    credential=False,
)

KEY = KeyKind(_NAME, "destination", parts=_PARTS)
PROTOCOL = Protocol(
    name=_NAME,
    title="Datamix",
    key=KEY,
    key_usage=(
        'Open:  SESSION=$(curl -sS {url}/datamix/sessions --data-urlencode "key={key}" | '
        r"""sed 's/.*"token":"\([^"]*\)".*/\1/')""",
        'Try:   curl -sS {url}/datamix/destinations/{target}/logs -d "session=$SESSION" -d "messages[0][level]=info" '
        '-d "messages[0][timestamp]=$(date +%s)000" -d "messages[0][message]=hello"',
    ),
    same_origin=("/sessions",),
    mount="/datamix",
    routes=(
        Route("POST", "/sessions", create_session, _DOC_SESSION),
        Route("POST", "/destinations/{destination}/logs", add_logs, _DOC_LOGS),
    ),
    render_error=render_error,
    options=DatamixOptions,
    own_paths=("/sessions", "/destinations"),
    hosts=("datamix.mixbook.com",),
    error=DatamixError,
)
