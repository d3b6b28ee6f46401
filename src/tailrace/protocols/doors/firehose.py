"""Amazon Data Firehose: the requests of a stream whose destination is an HTTP endpoint.

Source: AWS, "Understand HTTP endpoint delivery request and response specifications". A stream takes a request for
delivered by an answer of 200 alone, which has the id of the request. After any other it sends the whole request again
for as long as its retry duration, with the same id ("in a best-effort manner"), though perhaps by another access key,
and then puts it into its bucket for errors. 413 "is considered as a permanent failure and the record batch is not sent
to error bucket": that status is not used here.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from tailrace.access import require
from tailrace.events import BadRequest, Rejection, TailraceError, TooLarge
from tailrace.events.idempotency import digest
from tailrace.parsing import EventCollector, Limits
from tailrace.parsing.structure import has_more_than
from tailrace.protocols.destinations import NO_FIELDS, NO_LABELS, deliver
from tailrace.protocols.doors.firehose_records import MAX_TIME_MS, NS_PER_MS, RecordReader
from tailrace.protocols.doors.otlp import DECLARED
from tailrace.protocols.http import (
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
)
from tailrace.protocols.labels import labels_of
from tailrace.protocols.tokens import TokenRule, grant_of

ACCESS_KEY = b"x-amz-firehose-access-key"
REQUEST_ID = b"x-amz-firehose-request-id"
COMMON_ATTRIBUTES = b"x-amz-firehose-common-attributes"
TOKENS = TokenRule(headers=(ACCESS_KEY,))
MAX_MESSAGE_CHARACTERS = 8192  # of `errorMessage`
MAX_ID_CHARACTERS = 256  # of the request's id, which is a GUID
NAMED_REJECTIONS = 10  # in `errorMessage`
_BASE64_GZIP = b'"H4sI'  # how a record begins that is compressed
_COMMAS_AROUND_RECORDS = 64


class FirehoseRequest(Struct, frozen=True, rename="camel"):
    """The body of a request."""

    request_id: str
    records: list[Raw]
    timestamp: int = 0  # ms since the Unix epoch, when the stream made the request


class FirehoseRecord(Struct, frozen=True):
    """A record of a stream."""

    data: str  # base64


class CommonAttributes(Struct, frozen=True, rename="camel"):
    """What is configured of a stream for all its records."""

    common_attributes: dict[str, str]


class FirehoseAnswer(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer to a request: of one that is not 200 why, of one that is 200 which records were refused."""

    request_id: str
    timestamp: int  # ms since the Unix epoch
    error_message: str = ""


_REQUESTS = msgspec.json.Decoder(FirehoseRequest)
_RECORDS = msgspec.json.Decoder(FirehoseRecord)
_ATTRIBUTES = msgspec.json.Decoder(CommonAttributes)
_ANSWERS = msgspec.json.Decoder(FirehoseAnswer)


async def firehose(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/ingest/{dataset}/firehose`: 200 once all records are durable but those that never can be.

    Where that is all of them, the request is refused.
    """
    grant = grant_of(request, service, TOKENS)
    dataset = request.params["dataset"]
    require(grant, capability="ingest", action="create", dataset=dataset)
    service.check_dataset(dataset)
    labels = _labels(request, service.limits)
    body = await decoded_body(request, service, service.limits.max_body_bytes)

    def read() -> _ReadRequest:
        return _read(body, dataset, service.limits, request.received_ns)

    is_inflated = _BASE64_GZIP in body
    size = service.limits.max_body_bytes if is_inflated else WORST_CASE_FACTOR * len(body)
    found = await service.offload(read, size)
    if found.id:
        request.identify(REQUEST_ID, found.id.encode("utf-8", "replace"), found.digest)
    declares = DECLARED["metrics"] if found.has_data_points else NO_FIELDS
    delivery = await deliver(found.collector.batches(), request, service, grant, labels=labels, declares=declares)
    request.outcome.reject(found.collector.rejections)
    rejections = [*found.collector.rejections, *delivery.rejections]
    refused = _refused(rejections)
    if refused and not delivery.stored:
        raise BadRequest(refused)  # so that the stream puts them into its bucket in the end
    return _answer(200, found.id, refused)


def _labels(request: Request, limits: Limits) -> dict[str, Any]:
    value = request.header(COMMON_ATTRIBUTES)
    if not value:
        return NO_LABELS
    name = COMMON_ATTRIBUTES.decode().title()
    try:
        attributes = _ATTRIBUTES.decode(value).common_attributes
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadRequest(f"{name} is not like {{'commonAttributes': {{…}}}}: {error}") from error
    return labels_of(msgspec.json.encode(attributes), name, limits, request.received_ns) if attributes else NO_LABELS


class _ReadRequest(Struct, frozen=True):
    """What is read of a request."""

    id: str
    digest: bytes  # of its records
    collector: EventCollector
    has_data_points: bool  # with the fields of OpenTelemetry


def _read(body: bytes, dataset: str, limits: Limits, received_ns: int) -> _ReadRequest:
    if has_more_than(body, limits.max_events + _COMMAS_AROUND_RECORDS, b","):
        raise TooLarge(f"the request holds more than max_events = {limits.max_events} records")
    try:
        sent = _REQUESTS.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"the body is no request of Firehose: {error}") from error
    sent_ns = sent.timestamp * NS_PER_MS if 0 < sent.timestamp <= MAX_TIME_MS else received_ns
    collector = EventCollector(limits, received_ns)
    reader = RecordReader(collector, limits, dataset, sent_ns)
    for number, record in enumerate(sent.records):
        try:
            data = _RECORDS.decode(record).data
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            collector.refuse(number, f"the record is not like {{'data': '…'}}: {error}")
        else:
            reader.read(number, data)
    request_id = sent.request_id[:MAX_ID_CHARACTERS]
    return _ReadRequest(request_id, digest(*sent.records), collector, reader.has_data_points)


def _refused(rejections: Sequence[Rejection]) -> str:
    """Return what is said of records that were refused, empty where none was."""
    if not rejections:
        return ""
    named = sorted(rejections, key=lambda each: each.index)[:NAMED_REJECTIONS]
    reasons = "; ".join(f"record {each.index}: {each.reason}" for each in named)
    return f"{len(rejections)} of the events are refused: {reasons}"


def _answer(status: int, request_id: str, message: str = "") -> Response:
    answer = FirehoseAnswer(request_id, time.time_ns() // NS_PER_MS, message[:MAX_MESSAGE_CHARACTERS])
    return Response(status, msgspec.json.encode(answer))


def render_error(error: TailraceError) -> Response:
    """Return an error as a stream reads it; `complete` adds the id of the request."""
    answer = _answer(400 if error.status == 413 else error.status, "", error.message)
    if error.retry_after_s is None:
        return answer
    return replace(answer, headers=((b"retry-after", b"%d" % error.retry_after_s),))


def complete(request: Request, service: IngestService, response: Response) -> Response:
    """Return an error with the id of its request, without which a stream takes it for one of no form."""
    if response.status == 200:
        return response
    request_id = (request.header(REQUEST_ID) or b"").decode("latin-1")[:MAX_ID_CHARACTERS]
    answer = replace(_ANSWERS.decode(response.body), request_id=request_id)
    return replace(response, body=msgspec.json.encode(answer))


_ID = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"
_DOC = RouteDoc(
    "Takes the records of a Firehose stream.",
    {200: FirehoseAnswer},
    {
        "application/json": BodyDoc(
            FirehoseRequest,
            {"requestId": _ID, "timestamp": 1578090901599, "records": [{"data": "eyJsZXZlbCI6ImluZm8ifQ=="}]},
        )
    },
    (400, 401, 403, 404, 408, 415, 429, 503),
    (
        ParameterDoc("X-Amz-Firehose-Access-Key", "The token.", where="header"),
        ParameterDoc("X-Amz-Firehose-Request-Id", "The id of the request, as in its body.", where="header"),
        ParameterDoc(
            "X-Amz-Firehose-Common-Attributes",
            '`{"commonAttributes": {…}}`, whose members every event gets.',
            where="header",
        ),
    ),
)
PROTOCOL = Protocol(
    name="firehose",
    title="Amazon Data Firehose",
    mount="",
    routes=(
        Route("POST", "/v1/ingest/{dataset}/firehose", firehose, _DOC),
        Route("POST", "/v1/datasets/{dataset}/ingest/firehose", firehose, _DOC),
    ),
    render_error=render_error,
    error=FirehoseAnswer,
    is_door=True,
    finish=complete,
)
