"""Splunk's HTTP Event Collector: events in envelopes, lines of text, and acknowledgements.

Routes, codes and texts are those of Splunk's documents "Format events for HTTP Event Collector", "About HTTP Event
Collector Indexer Acknowledgment" and "Troubleshoot HTTP Event Collector".
"""

import time
from collections.abc import Callable
from functools import partial

import msgspec

from tailrace.access import Grant
from tailrace.events import (
    BadRequest,
    DatasetNotFound,
    Forbidden,
    InvalidName,
    MethodNotAllowed,
    NotFound,
    ParsedBatch,
    Rejection,
    ShuttingDown,
    TailraceError,
    Unauthorized,
)
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import Delivery, dataset_of, deliver
from tailrace.protocols.doors import splunk_docs as docs
from tailrace.protocols.doors.splunk_docs import HecAcks, HecReply
from tailrace.protocols.doors.splunk_events import (
    INCORRECT_INDEX,
    Destination,
    NoIndex,
    collect_envelopes,
    collect_lines,
    line_time,
)
from tailrace.protocols.http import (
    WORST_CASE_FACTOR,
    Credential,
    IngestService,
    Protocol,
    Request,
    Response,
    Route,
    decoded_body,
    retry_headers,
)
from tailrace.protocols.tokens import TokenRule, grant_of, secret_of

TOKENS = TokenRule(schemes=(b"splunk", b"bearer", b"basic"), parameters=("token",))
CHANNEL = b"x-splunk-request-channel"
METADATA = ("host", "source", "sourcetype")  # of a request, in its query
MAX_ACK_BODY_BYTES = 1024 * 1024  # decoded

SUCCESS, TOKEN_REQUIRED, INVALID_AUTHORIZATION, INVALID_TOKEN, NO_DATA, INVALID_FORMAT = 0, 2, 3, 4, 5, 6
WRONG_INDEX, INTERNAL_ERROR, BUSY, NO_CHANNEL, EVENT_REQUIRED, EVENT_BLANK, INVALID_FIELDS = 7, 8, 9, 10, 12, 13, 15
HEALTHY, UNHEALTHY, SHUTTING_DOWN = 17, 18, 23
TEXTS = {
    SUCCESS: "Success",
    TOKEN_REQUIRED: "Token is required",
    INVALID_AUTHORIZATION: "Invalid authorization",
    INVALID_TOKEN: "Invalid token",
    NO_DATA: "No data",
    INVALID_FORMAT: "Invalid data format",
    WRONG_INDEX: "Incorrect index",
    INTERNAL_ERROR: "Internal server error",
    BUSY: "Server is busy",
    NO_CHANNEL: "Data channel is missing",
    EVENT_REQUIRED: "Event field is required",
    EVENT_BLANK: "Event field cannot be blank",
    INVALID_FIELDS: "Error in handling indexed fields",
    HEALTHY: "HEC is healthy",
    UNHEALTHY: "HEC is unhealthy, queues are full",
    SHUTTING_DOWN: "Server is shutting down",
}
# Of refused events; other codes are of events whose form is wrong.
_CODES = {
    INCORRECT_INDEX: WRONG_INDEX,
    "event_required": EVENT_REQUIRED,
    "event_blank": EVENT_BLANK,
    "invalid_fields": INVALID_FIELDS,
}
_ENCODER = msgspec.json.Encoder()
_Read = Callable[[bytes, EventCollector, Destination], None]
_SUCCESS = _ENCODER.encode(HecReply(TEXTS[SUCCESS], SUCCESS))


class HecRefusal(TailraceError):
    """A request that is refused with one of the collector's own codes."""

    def __init__(self, status: int, hec_code: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.hec_code = hec_code
        self.code = code


class Acknowledgements:
    """The ids that requests with a channel are answered with.

    An id is given once its events are on disk, so each that was given is acknowledged. It is the time at which it was
    given, in microseconds, and one more where that is taken. So nothing is kept for a channel, and ids from before a
    restart, or from another process of the machine, are still known.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """Return a new id, higher than all before."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last

    def is_given(self, ack_id: int) -> bool:
        """Whether an id may have been given."""
        return 0 <= ack_id <= max(self._last, time.time_ns() // 1000)


_acknowledgements = Acknowledgements()


async def collect(request: Request, service: IngestService) -> Response:
    """Answer `POST /services/collector` and its other names: events in envelopes, one after the other."""
    read = partial(collect_envelopes, limits=service.limits, received_ns=request.received_ns)
    return await _collect(request, service, _grant(request, service), read)


async def collect_raw(request: Request, service: IngestService) -> Response:
    """Answer `POST /services/collector/raw`: an event is a line of the body."""
    grant = _grant(request, service)
    time_ns = line_time(request.query_values().get("time", ""), request.received_ns)
    return await _collect(request, service, grant, partial(collect_lines, time_ns=time_ns))


async def _collect(request: Request, service: IngestService, grant: Grant, read: _Read) -> Response:
    query = request.query_values()
    limits = service.limits
    body = await decoded_body(request, service, limits.max_body_bytes)
    destination = Destination(query.get("index", ""), partial(dataset_of, request, grant))

    collector = EventCollector(limits, request.received_ns)

    def parse() -> dict[str, ParsedBatch]:
        read(body, collector, destination)
        return collector.batches()

    batches = await service.offload(parse, WORST_CASE_FACTOR * len(body))
    if not batches and not collector.rejections:
        raise HecRefusal(400, NO_DATA, "the body holds no event", "no_data")
    labels = {name: query[name] for name in METADATA if query.get(name)}
    request.outcome.reject(collector.rejections)
    delivery = await deliver(batches, request, service, grant, labels=labels, creates=True)
    return _answer(request, query, collector.rejections, delivery, destination.first_numbers)


def _answer(
    request: Request,
    query: dict[str, str],
    rejections: list[Rejection],
    delivery: Delivery,
    first_numbers: dict[str, int],
) -> Response:
    """Return the answer to what was delivered: with the first refused event where there is one."""
    refused = [
        *rejections,
        *delivery.rejections,
        *(Rejection(first_numbers[name], error.message, INCORRECT_INDEX) for name, error in delivery.refusals.items()),
    ]
    if refused:
        first = min(refused, key=lambda rejection: rejection.index)
        code = _CODES.get(first.code, INVALID_FORMAT)
        reply = HecReply(
            TEXTS[code],
            code,
            number=first.index,
            detail=f"event {first.index}: {first.reason}",
            refused=sum(request.outcome.rejections.values()),
            stored=delivery.stored,
        )
        return Response(400, _ENCODER.encode(reply))
    if not _channel(request, query):
        return Response(200, _SUCCESS)
    return Response(200, _ENCODER.encode(HecReply(TEXTS[SUCCESS], SUCCESS, _acknowledgements.next())))


async def acknowledge(request: Request, service: IngestService) -> Response:
    """Answer `POST /services/collector/ack`: which of the ids that a channel was answered with are on disk."""
    _grant(request, service)
    if not _channel(request, request.query_values()):
        raise HecRefusal(
            400, NO_CHANNEL, "send the header X-Splunk-Request-Channel, or channel in the query", "no_channel"
        )
    body = await decoded_body(request, service, MAX_ACK_BODY_BYTES)
    if not body:
        raise HecRefusal(400, NO_DATA, 'send {"acks": [NUMBER, …]}', "no_data")
    try:
        asked = msgspec.json.decode(body, type=docs.HecAckQuery)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'the body is not {{"acks": [NUMBER, …]}}: {error}') from None
    acks = {str(ack_id): _acknowledgements.is_given(ack_id) for ack_id in asked.acks}
    return Response(200, _ENCODER.encode(HecAcks(acks)))


async def health(request: Request, service: IngestService) -> Response:
    """Answer `GET /services/collector/health`, whose clients send no token."""
    if service.closed is None:
        return Response(200, _ENCODER.encode(HecReply(TEXTS[HEALTHY], HEALTHY)))
    code = SHUTTING_DOWN if isinstance(service.closed, ShuttingDown) else UNHEALTHY
    return Response(503, _ENCODER.encode(HecReply(TEXTS[code], code)))


def _grant(request: Request, service: IngestService) -> Grant:
    """Return what the token may do; raise HecRefusal with the code of what is wrong with it."""
    try:
        secret_of(request, TOKENS)
    except Unauthorized as error:
        code = INVALID_AUTHORIZATION if request.header(b"authorization") is not None else TOKEN_REQUIRED
        raise HecRefusal(401, code, error.message, error.code) from None
    try:
        return grant_of(request, service, TOKENS)
    except Unauthorized as error:
        raise HecRefusal(403, INVALID_TOKEN, error.message, error.code) from None


def _channel(request: Request, query: dict[str, str]) -> str:
    return (request.header(CHANNEL) or b"").decode("latin-1").strip() or query.get("channel", "")


def render_error(error: TailraceError) -> Response:
    """Return an error as the collector answers it: `{"text", "code"}`, and in `detail` what to do.

    What may be sent again is 503, which its clients retry, with the time after which.
    """
    status, code = _status_and_code(error)
    text = TEXTS.get(code) or {404: "Not found", 405: "Method not allowed"}[code]
    return Response(status, _ENCODER.encode(HecReply(text, code, detail=error.message)), headers=retry_headers(error))


def _status_and_code(error: TailraceError) -> tuple[int, int]:
    match error:
        case HecRefusal():
            return error.status, error.hec_code
        case ShuttingDown():
            return 503, SHUTTING_DOWN
        case TailraceError(retryable=True):
            return 503, BUSY
        case NoIndex() | Forbidden() | DatasetNotFound() | InvalidName():
            return 400, WRONG_INDEX
        case NotFound() | MethodNotAllowed():
            return error.status, error.status
        case TailraceError(status=status) if status < 500:
            return status, INVALID_FORMAT
    return 500, INTERNAL_ERROR


def _named(path: str) -> tuple[str, str]:
    """Return a path of the collector without a version and with the only one that there is."""
    return f"/services/collector/{path}", f"/services/collector/{path}/1.0"


PROTOCOL = Protocol(
    name="splunk",
    title="Splunk HTTP Event Collector",
    mount="",
    routes=(
        *(Route("POST", path, collect, docs.EVENTS) for path in ("/services/collector", *_named("event"))),
        Route("POST", "/services/collector/1.0", collect, docs.EVENTS),
        *(Route("POST", path, collect_raw, docs.LINES) for path in _named("raw")),
        *(Route("POST", path, acknowledge, docs.ACKS) for path in _named("ack")),
        *(Route("GET", path, health, docs.HEALTH) for path in _named("health")),
    ),
    render_error=render_error,
    error=HecReply,
    is_door=True,
    request_headers=("X-Splunk-Request-Channel",),
    credentials=(
        Credential(
            "splunk",
            "Authorization",
            "`Splunk TOKEN`, `Bearer TOKEN`, or Basic with the token as the password; also `token` in the query.",
        ),
    ),
)
