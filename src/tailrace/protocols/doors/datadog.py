"""Datadog's intake of logs, as its agent, its client libraries and other vendors' forwarders send to it.

Routes, limits and answers are those of Datadog's pages "Send logs", of version 2 and of version 1, and "Validate API
key"; the attributes that may hold the time those of "Pipelines", which its preprocessing of JSON logs reads.
"""

from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from tailrace.access import Grant
from tailrace.events import ParsedBatch, Rejection, TailraceError, Unauthorized
from tailrace.events.outcome import SECRET
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import DATASET, Delivery, dataset_of, deliver
from tailrace.protocols.doors.datadog_logs import collect_lines, parse_logs, tagged_dataset, with_tags
from tailrace.protocols.http import (
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    BodyDoc,
    Claims,
    Credential,
    IngestService,
    ParameterDoc,
    PathClaim,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    Segments,
    decoded_body,
    retry_headers,
)
from tailrace.protocols.tokens import ORGANISATION, TokenRule, secret_of

KEY = b"dd-api-key"
TOKENS = TokenRule(headers=(KEY,), schemes=(b"bearer", b"basic"), parameters=("dd-api-key", "api_key"))
METADATA = ("ddsource", "ddtags", "hostname", "service")  # of a request, in its query
TEXT = b"text/plain"
# What is no event but asks whether the way is free, as the agent does at its start.
_PROBES = (b"", b"{}", b"[]")
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_ENCODER = msgspec.json.Encoder()


class DatadogFault(Struct, frozen=True):
    """Why a request, or an event of it, is refused."""

    status: str
    title: str
    detail: str


class DatadogError(Struct, frozen=True):
    """The body of every error."""

    errors: list[DatadogFault]


class DatadogValidation(Struct, frozen=True):
    """The answer to whether a key is valid."""

    valid: bool


class DatadogRefusal(Struct, frozen=True):
    """The answer where it is not."""

    errors: list[str]


class InvalidApiKey(Unauthorized):
    """There is a key, and it is none."""

    status = 403


async def ingest(request: Request, service: IngestService) -> Response:
    """Answer `POST /api/v2/logs`: logs as JSON, or lines of text."""
    return await _ingest(request, service, 202)


async def ingest_v1(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/input`, and with a key in the path: as `ingest`, but with the status of version 1."""
    return await _ingest(request, service, 200)


async def validate(request: Request, service: IngestService) -> Response:
    """Answer `GET /api/v1/validate`: whether the key is one."""
    try:
        _grant(request, service)
    except Unauthorized as error:
        request.outcome.refuse(error)
        return Response(403, _ENCODER.encode(DatadogRefusal(["Forbidden"])))
    return Response(200, _ENCODER.encode(DatadogValidation(True)))


async def _ingest(request: Request, service: IngestService, status: int) -> Response:
    grant = _grant(request, service)
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    collector = EventCollector(service.limits, request.received_ns)
    query = request.query_values()
    batches: dict[str, ParsedBatch] = {}
    if body.strip() not in _PROBES:
        collect = partial(_batches, body, request, grant, collector, service)
        batches = await service.offload(collect, WORST_CASE_FACTOR * len(body))
    request.outcome.reject(collector.rejections)
    labels = {name: query[name] for name in METADATA if query.get(name)}
    delivery = await deliver(batches, request, service, grant, labels=labels, creates=True)
    rejections = [*collector.rejections, *delivery.rejections]
    if not rejections and not delivery.refusals:
        return Response(status, b"{}")
    answer = partial(_faults, rejections, delivery)
    return Response(400, await service.offload(answer, REJECTION_WORK_BYTES * len(rejections)))


def _batches(
    body: bytes, request: Request, grant: Grant, collector: EventCollector, service: IngestService
) -> dict[str, ParsedBatch]:
    """Return the events of a body by dataset; refuse in `collector` those that are in none."""
    query_tags = request.query_values().get("ddtags", "")
    default = partial(dataset_of, request, grant, label=tagged_dataset(query_tags))
    if request.media_type == TEXT or body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] not in (b"{", b"["):
        collect_lines(body, collector, default())
        return collector.batches()
    parsed = parse_logs(body, service.limits, request.received_ns)
    tags_decide = b"dataset:" in body and not request.header(DATASET)
    if not tags_decide and not (query_tags and b'"ddtags"' in body):
        return {default(): parsed}
    with_tags(parsed, collector, default, query_tags, tags_decide=tags_decide)
    return collector.batches()


def _faults(rejections: list[Rejection], delivery: Delivery) -> bytes:
    faults = [
        _fault(400, f"event {rejection.index}: {rejection.reason}")
        for rejection in sorted(rejections, key=lambda each: each.index)
    ]
    faults += [_fault(error.status, f"dataset {name!r}: {error.message}") for name, error in delivery.refusals.items()]
    return _ENCODER.encode(DatadogError(faults))


def _fault(status: int, detail: str) -> DatadogFault:
    return DatadogFault(str(status), _TITLES.get(status, "Error"), detail)


def _grant(request: Request, service: IngestService) -> Grant:
    """Return what the key may do; raise Unauthorized where there is none, InvalidApiKey where it is none."""
    secret = request.params.get("secret") or secret_of(request, TOKENS)
    organisation = (request.header(ORGANISATION) or b"").decode("latin-1")
    try:
        return request.sent_by(service.access.authenticate(secret, organisation))
    except Unauthorized as error:
        raise InvalidApiKey(error.message) from None


def render_error(error: TailraceError) -> Response:
    """Return an error as `{"errors": [{"status", "title", "detail"}]}`, and when to send the same again.

    Datadog's clients wait as long as X-RateLimit-Reset says, others as Retry-After does.
    """
    headers = retry_headers(error)
    headers += tuple((b"x-ratelimit-reset", wait_s) for _, wait_s in headers)
    body = _ENCODER.encode(DatadogError([_fault(error.status, error.message)]))
    return Response(error.status, body, headers=headers)


def claims(method: str, segments: Segments) -> PathClaim:
    """Return whether a path under /v1 is that of the intake's version 1."""
    return PathClaim.OWN if segments[:1] == ("input",) and len(segments) <= 2 else PathClaim.NONE


_LOG: dict[str, Any] = {
    "message": "hello",
    "ddsource": "nginx",
    "ddtags": "env:staging,version:5.1",
    "hostname": "web-1",
    "service": "payment",
    "status": "info",
    "timestamp": 1767323045123,
}
_DOC = RouteDoc(
    about="Takes logs; the answer says of each one that was refused why.",
    answers={202: dict[str, str]},
    bodies={
        "application/json": BodyDoc((list[dict[str, Any]], dict[str, Any]), [_LOG]),
        "text/plain": BodyDoc(str, "first line\nsecond line\n"),
    },
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        *(ParameterDoc(name, f"The field {name} of logs that have none.") for name in METADATA),
        ParameterDoc("X-Axiom-Dataset", "The dataset.", where="header"),
    ),
)
_DOC_V1 = msgspec.structs.replace(_DOC, answers={200: dict[str, str]})
_DOC_PATH = msgspec.structs.replace(_DOC_V1, about="Takes logs, with the token in the path.", credential=False)
_DOC_VALIDATE = RouteDoc(
    about="Tells whether a token is one.",
    answers={200: DatadogValidation},
    refusals=(401,),
    failures={403: DatadogRefusal},
)
PROTOCOL = Protocol(
    name="datadog",
    title="Datadog logs",
    mount="/datadog",
    routes=(
        Route("POST", "/api/v2/logs", ingest, _DOC),
        Route("POST", "/v1/input", ingest_v1, _DOC_V1),
        Route("POST", f"/v1/input/{SECRET}", ingest_v1, _DOC_PATH),
        Route("GET", "/api/v1/validate", validate, _DOC_VALIDATE),
    ),
    render_error=render_error,
    error=DatadogError,
    is_door=True,
    claims=Claims(paths=claims, key_header=KEY),
    request_headers=("DD-API-KEY",),
    response_headers=("X-RateLimit-Reset",),
    credentials=(Credential("datadog", "DD-API-KEY", "A token; also `dd-api-key` in the query, or `Bearer TOKEN`."),),
)
