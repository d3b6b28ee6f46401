"""OpenObserve's JSON ingestion: `_json`, an array of events, and `_multi`, one a line; a stream is a dataset.

Its bulk API is Elastic's, under `/api/{organization}`. Which organisation a request is for, the token says.
"""

from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from tailrace.events import ParsedBatch, TailraceError
from tailrace.parsing import ArrayFields, Limits, document_lines, parse_array, parse_documents
from tailrace.protocols.destinations import dataset_of, deliver
from tailrace.protocols.http import (
    BodyDoc,
    Handler,
    IngestService,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    decoded_body,
    retry_headers,
)
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule(schemes=(b"basic", b"bearer"))
TIMES = ("_time", "_timestamp", "@timestamp")  # fields, of which the first that an event has is its time
_NO_FIELDS = ArrayFields(times=())


class StreamStatus(Struct, frozen=True):
    """What became of the events of a stream."""

    name: str
    successful: int
    failed: int
    error: str | UnsetType = UNSET  # of the first that failed


class IngestionStatus(Struct, frozen=True):
    """The answer to a request that was read."""

    code: int
    status: list[StreamStatus]


class OpenObserveError(Struct, frozen=True):
    """The body of every error."""

    code: int
    message: str


def ingest(*, lines: bool) -> Handler:
    """Return the handler of `_multi`, whose events are lines, or of `_json`."""

    async def take(request: Request, service: IngestService) -> Response:
        grant = grant_of(request, service, TOKENS)
        dataset = dataset_of(request, grant, named=request.params["stream"])
        body = await decoded_body(request, service, service.limits.max_body_bytes)
        parse = partial(_parse_lines if lines else _parse_array, body, service.limits, request.received_ns)
        parsed = await service.parse(lambda in_bulk: parse(in_bulk=in_bulk), body)
        delivery = await deliver({dataset: parsed}, request, service, grant, creates=True)
        first = next(iter(parsed.rejections), None)
        reason = UNSET if first is None else f"event {first.index}: {first.reason}"
        status = StreamStatus(dataset, delivery.stored, len(parsed.rejections), reason)
        return Response(200, msgspec.json.encode(IngestionStatus(200, [status])))

    return take


def _parse_lines(body: bytes, limits: Limits, received_ns: int, *, in_bulk: bool) -> ParsedBatch:
    return parse_documents(
        document_lines(body, limits), times=TIMES, limits=limits, received_ns=received_ns, in_bulk=in_bulk
    )


def _parse_array(body: bytes, limits: Limits, received_ns: int, *, in_bulk: bool) -> ParsedBatch:
    """Return the events of an array, of which one whose time cannot be read is a rejection, or of one object."""
    parse = partial(parse_documents, times=TIMES, limits=limits, received_ns=received_ns, in_bulk=in_bulk)
    if body.lstrip()[:1] == b"{":
        return parse([body])
    split = parse_array(
        body,
        fields=_NO_FIELDS,
        limits=limits,
        max_event_bytes=limits.max_event_bytes,
        received_ns=received_ns,
        in_bulk=in_bulk,
    )
    timed = parse(split.events.split(b"\n")[:-1])
    refused = {rejection.index for rejection in split.rejections}
    places = [number for number in range(split.count + len(refused)) if number not in refused]
    untimed = [replace(each, index=places[each.index]) for each in timed.rejections]
    rejections = sorted((*split.rejections, *untimed), key=lambda rejection: rejection.index)
    return replace(timed, processed_bytes=len(body), rejections=tuple(rejections))


def render_error(error: TailraceError) -> Response:
    """Return an error as OpenObserve does, and when to come again."""
    body = msgspec.json.encode(OpenObserveError(error.status, error.message))
    return Response(error.status, body, headers=retry_headers(error))


_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 429, 503)
_EVENT = {"_timestamp": 1767323045123456, "level": "info", "log": "hello"}
_JSON_DOC = RouteDoc(
    "Takes an array of events for a stream; the answer says how many failed.",
    {200: IngestionStatus},
    {"application/json": BodyDoc((list[dict[str, Any]], dict[str, Any]), [_EVENT])},
    _REFUSALS,
)
_MULTI_DOC = RouteDoc(
    "Takes events for a stream, one a line; the answer says how many failed.",
    {200: IngestionStatus},
    {"application/x-ndjson": BodyDoc(str, msgspec.json.encode(_EVENT).decode() + "\n")},
    _REFUSALS,
)
PROTOCOL = Protocol(
    name="openobserve",
    title="OpenObserve",
    mount="",
    routes=(
        Route("POST", "/api/{organization}/{stream}/_json", ingest(lines=False), _JSON_DOC),
        Route("POST", "/api/{organization}/{stream}/_multi", ingest(lines=True), _MULTI_DOC),
    ),
    render_error=render_error,
    error=OpenObserveError,
    is_door=True,
)
