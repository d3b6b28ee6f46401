"""Baselime's Events API: JSON arrays of events for a dataset, and OTLP, as its clients of every era send them.

The rules are those of the vendor's page "Events API" and of its later revisions; docs/baselime.md tells where this
server departs from them.
"""

import re
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from tailrace.access import KeyGrant, KeyKind
from tailrace.events import (
    BadRequest,
    MethodNotAllowed,
    OpenDataset,
    ParsedBatch,
    Receipt,
    Rejection,
    TailraceError,
    TooLarge,
    Unauthorized,
)
from tailrace.parsing import (
    ArrayFields,
    Copy,
    Signal,
    otlp_answer,
    parse_array,
    parse_otlp,
)
from tailrace.protocols.http import (
    PROTOBUF_TYPES,
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

MAX_REQUEST_BYTES = 6 * 1024 * 1024  # decoded
MAX_EVENT_BYTES = 32 * 1024  # /v1/{dataset}/{namespace}, each as sent without the white space around it
MAX_SERVICE_EVENT_BYTES = 128 * 1024  # /v1/{dataset}/{service}/{namespace}
MAX_LATER_EVENT_BYTES = 256 * 1024  # /v1/{dataset}, and bodies whose dataset is in a header
MAX_NAME_BYTES = 512  # of a service or namespace, percent-decoded

KEY_HEADER = b"x-api-key"
SERVICE = "$baselime.service"
NAMESPACE = "$baselime.namespace"
FIELDS = ArrayFields(
    times=("timestamp", "@timestamp", "_time", "time", "date"),
    copies=(Copy("service", SERVICE), Copy("namespace", NAMESPACE)),
)

OTLP_DATASET = "otel"  # where the header x-baselime-dataset names no other

_FIRST_OF_OTLP = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")  # in JSON

ACCEPTED = b'{"message": "Request Accepted"}'
MESSAGES = {
    400: b'{"message": "Bad Request"}',
    401: b'{"message": "Unauthorised"}',
    405: b'{"message": "Method Not Allowed"}',
    413: b'{"message": "Request Entity Too Large"}',
    429: b'{"message": "Too Many Requests"}',
    500: b'{"message": "Internal Error"}',
    503: b'{"message": "Service Unavailable"}',
}
MAX_REASON_CHARS = 400
REASON = b"x-tailrace-error"  # the documented bodies have no place for why


class BaselimeOptions(Struct, frozen=True):
    """The protocol's settings."""

    partial: Annotated[
        Literal[202, 400],
        Meta(
            description="Status when some events of a Baselime request were stored and others refused. 400 is "
            "documented; with it, `@baselime/edge-logger` sends the good ones again."
        ),
    ] = 400
    strict_path: Annotated[
        bool, Meta(description="Take only `/v1/{dataset}/{namespace}` of Baselime's routes for events.")
    ] = False
    auto_create: Annotated[
        bool,
        Meta(description="Make an unknown dataset of `/v1/{dataset}/{namespace}`; `/v1/{dataset}` always does."),
    ] = False


class _Target(Struct, frozen=True):
    """Where events go by the path and headers of a request."""

    dataset: str
    labels: dict[str, Any]
    max_event_bytes: int
    is_made: bool  # whether a dataset that is not there yet is made
    grant: KeyGrant  # whose organisation it is of then


class RefusedEvent(Struct, frozen=True):
    """Why one event was refused, as the answer has it."""

    index: int
    reason: str


class BaselimeMessage(Struct, frozen=True):
    """The body of every other answer, errors included."""

    message: str


class Partly(Struct, frozen=True):
    """The answer when events were refused; those not listed were stored."""

    message: str
    invalid: list[Raw | str]  # the events, as they were sent; as a string where that was not JSON
    errors: list[RefusedEvent]


async def ingest_namespace(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/{dataset}/{namespace}`, the first route: the dataset must be there."""
    grant = _grant(request, service)
    labels = _labels(_header(request, b"x-service"), request.params["namespace"])
    is_made = request.options.auto_create
    target = _Target(request.params["dataset"], labels, MAX_EVENT_BYTES, is_made, grant)
    return await _ingest(request, service, grant, target)


async def ingest_service(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/{dataset}/{service}/{namespace}`, of 2023: the dataset must be there."""
    grant = _grant(request, service)
    _refuse_if_strict(request)
    labels = _labels(request.params["service"], request.params["namespace"])
    is_made = request.options.auto_create
    target = _Target(request.params["dataset"], labels, MAX_SERVICE_EVENT_BYTES, is_made, grant)
    return await _ingest(request, service, grant, target)


async def ingest_dataset(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/{dataset}`, the last route: service and namespace are headers, the dataset comes into being."""
    grant = _grant(request, service)
    _refuse_if_strict(request)
    return await _ingest(request, service, grant, _by_headers(request, grant, request.params["dataset"]))


async def ingest_unnamed(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1` and `/`: OTLP, of traces where it does not tell, or an array for the dataset of `x-dataset`."""
    return await _ingest_either(request, service, "traces", _header(request, b"x-dataset"))


async def ingest_traces(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/traces`: OTLP, or an array for the dataset of that name."""
    return await _ingest_either(request, service, "traces", "traces")


async def ingest_logs(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/logs`: OTLP, or an array for the dataset of that name, which was the most used."""
    return await _ingest_either(request, service, "logs", "logs")


async def ingest_metrics(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/metrics`: OTLP, or an array for the dataset of that name."""
    return await _ingest_either(request, service, "metrics", "metrics")


async def refuse(request: Request, service: IngestService) -> Response:
    """Every other path."""
    if request.method != "POST":
        raise MethodNotAllowed(f"{request.method} is not allowed, only POST")
    _grant(request, service)
    raise _no_path(request)


def _grant(request: Request, service: IngestService) -> KeyGrant:
    """Return what the key of a request may do; raise Unauthorized."""
    secret = (request.header(KEY_HEADER) or b"").strip()
    if not secret:
        # Log shippers send it as a bearer token, an old example bare.
        scheme, _, rest = (request.header(b"authorization") or b"").strip().partition(b" ")
        secret = rest.strip() or scheme
    if not secret:
        raise Unauthorized("no key: send it in the header x-api-key")
    return request.sent_by(service.access.authenticate_key("baselime", secret.decode("latin-1")))


def _header(request: Request, name: bytes) -> str:
    """Return a header's value; "" where there is none, or the text "undefined", which edge-logger sends for none."""
    value = (request.header(name) or b"").strip()
    return "" if value == b"undefined" else value.decode("utf-8", "replace")


def _labels(service: str, namespace: str) -> dict[str, Any]:
    for value in (service, namespace):
        if len(value.encode()) > MAX_NAME_BYTES:
            raise BadRequest(f"a service or namespace has at most {MAX_NAME_BYTES} bytes, not {len(value.encode())}")
    return {name: value for name, value in ((SERVICE, service), (NAMESPACE, namespace)) if value}


def _by_headers(request: Request, grant: KeyGrant, dataset: str) -> _Target:
    labels = _labels(_header(request, b"x-service"), _header(request, b"x-namespace"))
    return _Target(dataset, labels, MAX_LATER_EVENT_BYTES, is_made=True, grant=grant)


def _refuse_if_strict(request: Request) -> None:
    if request.options.strict_path:
        raise _no_path(request)


def _no_path(request: Request) -> BadRequest:
    return BadRequest(f"{request.path!r} is no path for events; send to /v1/{{dataset}}/{{namespace}}")


async def _ingest(request: Request, service: IngestService, grant: KeyGrant, target: _Target) -> Response:
    dataset = _check(service, grant, target)
    parsed = await _parsed_events(await _body(request, service), target, request, service)
    return await _store(parsed, target, dataset, request, service)


async def _ingest_either(request: Request, service: IngestService, signal: Signal, array_dataset: str) -> Response:
    """OTLP, or an array of events, as the body tells; the content type counts for protobuf only."""
    grant = _grant(request, service)
    content_type = request.media_type
    protobuf = content_type in PROTOBUF_TYPES
    otlp = _by_headers(request, grant, _header(request, b"x-baselime-dataset") or OTLP_DATASET)
    array = _by_headers(request, grant, array_dataset)
    body = await _body(request, service)
    if not protobuf and _FIRST_OF_OTLP.match(body) is None:
        _refuse_if_strict(request)
        if not array_dataset:
            raise BadRequest("the body is no OTLP, and the header x-dataset names no dataset for an array")
        _check(service, grant, array)
        parsed = await _parsed_events(body, array, request, service)
        return await _store(parsed, array, None, request, service)
    _check(service, grant, otlp)
    parse = partial(
        parse_otlp,
        body,
        signal=signal,
        protobuf=protobuf,
        service_field=SERVICE,
        limits=service.limits,
        max_event_bytes=otlp.max_event_bytes,
        received_ns=request.received_ns,
    )
    found, parsed = await service.offload(parse, WORST_CASE_FACTOR * len(body))
    receipt = await _stored(parsed, otlp, None, request, service)
    reason = receipt.rejections[0].reason if receipt.rejections else ""
    answer = otlp_answer(found, protobuf=protobuf, rejected=len(receipt.rejections), reason=reason)
    return Response(200, answer, content_type=content_type if protobuf else b"application/json")


async def _parsed_events(body: bytes, target: _Target, request: Request, service: IngestService) -> ParsedBatch:
    def parse(in_bulk: bool) -> ParsedBatch:
        return parse_array(
            body,
            fields=FIELDS,
            limits=service.limits,
            max_event_bytes=target.max_event_bytes,
            received_ns=request.received_ns,
            in_bulk=in_bulk,
        )

    return await service.parse(parse, body)


def _check(service: IngestService, grant: KeyGrant, target: _Target) -> OpenDataset | None:
    """Return the dataset, None for one that is made where it is missing, before a body is read for nothing.

    Raise Unauthorized, and what `check_dataset` does.
    """
    if not grant.may_send_to(target.dataset):
        raise Unauthorized(f"the key may not send to the dataset {target.dataset!r}")
    if not target.is_made:
        return service.check_dataset(target.dataset)
    if service.closed is not None:
        raise service.closed
    return None


async def _body(request: Request, service: IngestService) -> bytes:
    """Return the decoded body; raise what `decoded_body` does, of a declared length before the body is read."""
    max_bytes = min(MAX_REQUEST_BYTES, service.limits.max_body_bytes)
    length = request.header(b"content-length")
    if not request.content_encoding and length is not None and int(length) > max_bytes:
        raise TooLarge(f"the body is larger than {max_bytes} bytes")
    return await decoded_body(request, service, max_bytes)


async def _stored(
    parsed: ParsedBatch, target: _Target, dataset: OpenDataset | None, request: Request, service: IngestService
) -> Receipt:
    grant = target.grant
    if dataset is None:
        dataset = await service.ensure_dataset(target.dataset, organisation=grant.organisation, actor=grant.actor)
    return await service.ingest(parsed, dataset, request.outcome, received_ns=request.received_ns, labels=target.labels)


async def _store(
    parsed: ParsedBatch, target: _Target, dataset: OpenDataset | None, request: Request, service: IngestService
) -> Response:
    receipt = await _stored(parsed, target, dataset, request, service)
    if not receipt.rejections:
        return Response(202, ACCEPTED)
    status = request.options.partial if receipt.stored else 400

    def answer() -> bytes:
        partly = Partly(
            message="Request Accepted" if status == 202 else "Bad Request",
            invalid=[_as_sent(rejection) for rejection in receipt.rejections],
            errors=[RefusedEvent(rejection.index, rejection.reason) for rejection in receipt.rejections],
        )
        return msgspec.json.encode(partly)

    size = sum(len(rejection.event or b"") for rejection in receipt.rejections)
    return Response(status, await service.offload(answer, size + REJECTION_WORK_BYTES * len(receipt.rejections)))


def _as_sent(rejection: Rejection) -> Raw | str:
    """Return a refused event: its JSON, or its text where it is not JSON."""
    event = rejection.event or b""
    try:
        event.decode()
        _RAWS.decode(event)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return event.decode("utf-8", "replace")
    return Raw(event)


_RAWS = msgspec.json.Decoder(Raw)
_UNPRINTABLE = re.compile(r"[^ -~]")


def render_error(error: TailraceError) -> Response:
    """Return an error with exactly the documented body; why is said in the header `x-tailrace-error`."""
    status = 401 if error.status == 403 else error.status
    if status not in MESSAGES:
        status = 400 if status < 500 else 500
    reason = (REASON, _UNPRINTABLE.sub("?", error.message)[:MAX_REASON_CHARS].encode())
    return Response(status, MESSAGES[status], headers=(reason, *retry_headers(error)))


def with_allow(request: Request, service: IngestService, response: Response) -> Response:
    """Return a 405 that names the methods that are allowed, also those that are answered for every protocol alike."""
    if response.status != 405:
        return response
    others = tuple(header for header in response.headers if header[0] != b"allow")
    return replace(response, headers=(*others, (b"allow", b"POST, OPTIONS")))


_REFUSALS = (400, 401, 413, 429, 500, 503)
_EVENTS = BodyDoc(list[dict[str, Any]], [{"timestamp": 1767323045000, "message": "hello", "service": "shop"}])
_SERVICE = ParameterDoc("x-service", "The service that the events are of.", where="header")
_NAMESPACE = ParameterDoc("x-namespace", "The namespace that the events are of.", where="header")
_PARTLY = {
    400: (BaselimeMessage, Partly)
}  # the answer where some events were stored; also 202, if the operator says so


def _doc(about: str, *parameters: ParameterDoc) -> RouteDoc:
    return RouteDoc(
        about, {202: (BaselimeMessage, Partly)}, {"application/json": _EVENTS}, _REFUSALS, parameters, failures=_PARTLY
    )


def _doc_either(signal: Signal, array: str) -> RouteDoc:
    """Of the routes that take OTLP or an array."""
    resource = {"traces": "resourceSpans", "logs": "resourceLogs", "metrics": "resourceMetrics"}[signal]
    return RouteDoc(
        about=f"Takes OTLP {signal} for the dataset of x-baselime-dataset ({OTLP_DATASET}), or an array {array}.",
        answers={200: dict[str, Any], 202: (BaselimeMessage, Partly)},
        bodies={
            "application/json": BodyDoc((list[dict[str, Any]], dict[str, Any]), {resource: []}),
            "application/x-protobuf": BodyDoc({"contentMediaType": "application/x-protobuf"}, ""),
        },
        refusals=_REFUSALS,
        failures=_PARTLY,
        parameters=(
            ParameterDoc("x-baselime-dataset", "The dataset of OTLP.", where="header"),
            _SERVICE,
            _NAMESPACE,
        ),
        media={"application/x-protobuf": {}},
    )


_DOC_NAMESPACE = _doc("Takes an array of events for a dataset that is there.", _SERVICE)
_DOC_SERVICE = _doc("Takes an array of events of a service for a dataset that is there.")
_DOC_DATASET = _doc("Takes an array of events for a dataset, which comes into being.", _SERVICE, _NAMESPACE)
_DOC_UNNAMED = _doc_either("traces", "of events for the dataset of x-dataset")
_DOC_TRACES = _doc_either("traces", "of events for the dataset traces")
_DOC_LOGS = _doc_either("logs", "of events for the dataset logs")
_DOC_METRICS = _doc_either("metrics", "of events for the dataset metrics")


def claims(method: str, segments: Segments) -> PathClaim:
    """Claim every path under /v1, as any may name a dataset."""
    return PathClaim.ANY


PROTOCOL = Protocol(
    name="baselime",
    title="Baselime",
    mount="/baselime",
    routes=(
        Route("POST", "/", ingest_unnamed, _DOC_UNNAMED),
        Route("POST", "/v1", ingest_unnamed, _DOC_UNNAMED),
        Route("POST", "/v1/", ingest_unnamed, _DOC_UNNAMED),
        Route("POST", "/v1/traces", ingest_traces, _DOC_TRACES),
        Route("POST", "/v1/logs", ingest_logs, _DOC_LOGS),
        Route("POST", "/v1/metrics", ingest_metrics, _DOC_METRICS),
        Route("POST", "/v1/{dataset}", ingest_dataset, _DOC_DATASET),
        Route("POST", "/v1/{dataset}/{namespace}", ingest_namespace, _DOC_NAMESPACE),
        Route("POST", "/v1/{dataset}/{service}/{namespace}", ingest_service, _DOC_SERVICE),
    ),
    render_error=render_error,
    options=BaselimeOptions,
    hosts=("events.baselime.io", "otel.baselime.io", "otel-ingest.baselime.io", "cloudflare.baselime.io"),
    claims=Claims(paths=claims, key_header=KEY_HEADER, bearer=True),
    key=KeyKind("baselime", "datasets", hint="'datasets': [\"*\"] for every one"),
    key_usage=(
        "Set:   BASELIME_API_KEY={key} BASELIME_URL={url}/baselime/v1 COLLECTOR_URL={url}/baselime/v1",
        'Try:   curl -sS {url}/baselime/v1/{target} -H "x-api-key: {key}" -d \'[{"message":"hello","level":"info"}]\'',
    ),
    request_headers=("x-api-key", "x-service", "x-namespace"),
    fallback=refuse,
    exact_slashes=True,
    finish=with_allow,
    credentials=(Credential("baselime", "x-api-key", "A key; also as `Authorization: Bearer KEY`."),),
    error=BaselimeMessage,
)
