"""OpenTelemetry over HTTP with the API's tokens: logs, traces and metrics in protobuf or JSON, named as Axiom does.

The rules are those of the page "OTLP Specification 1.x" of OpenTelemetry; the dataset is where Axiom's page "Send
OpenTelemetry data to Axiom" has it. With a key of Baselime the same paths are Baselime's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from tailrace.access import Grant
from tailrace.events import Rejection, TailraceError, UnsupportedMediaType
from tailrace.events.declarations import DeclaredFields
from tailrace.events.sizes import GIB, MIB
from tailrace.parsing import Limits, Signal, otlp_answer
from tailrace.protocols.destinations import DATASET, Delivery, dataset_of, deliver, unstored
from tailrace.protocols.doors.otlp_requests import ParsedExport, parse_export
from tailrace.protocols.doors.otlp_status import (
    OtlpStatus,
    decode_status,
    encode_status,
    retry_after_s,
    status_of,
)
from tailrace.protocols.http import (
    PROTOBUF_TYPES,
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
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule()
METRICS_DATASET = b"x-axiom-metrics-dataset"  # before the other header, for metrics
JSON = b"application/json"
CUSTOM: DeclaredFields = {"attributes.custom": "map", "resource.custom": "map"}
DECLARED: dict[Signal, DeclaredFields] = {
    "traces": {"duration": "timespan", **CUSTOM},
    "logs": CUSTOM,
    "metrics": CUSTOM,
}
NOUNS: dict[Signal, str] = {"traces": "span", "logs": "log record", "metrics": "data point"}


class OtlpOptions(Struct, frozen=True):
    """The protocol's settings."""

    grpc_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="TCP port to listen on for OTLP/gRPC at `host`; 0 for none."),
    ] = 0
    grpc_max_message_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=GIB,
            description="Largest message of OTLP/gRPC, decompressed, if max_body_bytes is not less. While it comes in, "
            "each counts as so many bytes, of which there are at most receive_backlog_bytes.",
        ),
    ] = 16 * MIB


class OtlpPartialSuccess(Struct, rename="camel", frozen=True, omit_defaults=True):
    """How many were refused, and why the first of them was."""

    rejected_spans: str = ""
    rejected_log_records: str = ""
    rejected_data_points: str = ""
    error_message: str = ""


class OtlpAnswer(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The answer: empty where everything was stored."""

    partial_success: OtlpPartialSuccess | None = None


async def export(signal: Signal, request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/{signal}`."""
    grant = grant_of(request, service, TOKENS)
    media_type = request.media_type
    protobuf = media_type in PROTOBUF_TYPES
    if not protobuf and media_type != JSON:
        raise UnsupportedMediaType("OTLP has the Content-Type application/x-protobuf or application/json")
    if service.closed is not None:
        raise service.closed
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    read = partial(read_export, body, signal, request, grant, service.limits)
    if protobuf:
        exported = await service.parse(partial(read, True), body)
    else:
        exported = await service.offload(partial(read, False, False), WORST_CASE_FACTOR * len(body))
    rejected, reason = await store_export(exported, signal, request, service, grant)
    answer = otlp_answer(signal, protobuf=protobuf, rejected=rejected, reason=reason)
    return Response(200, answer, content_type=media_type)


def read_export(
    body: bytes,
    signal: Signal,
    request: Request,
    grant: Grant,
    limits: Limits,
    protobuf: bool,
    in_bulk: bool,
) -> ParsedExport:
    """Return the events of a decoded body by dataset; the request's headers name the one of what names none itself.

    Raise BadRequest and TooLarge; with `in_bulk` ExactWayNeeded.
    """
    header = METRICS_DATASET if signal == "metrics" and request.header(METRICS_DATASET) else DATASET

    def named(label: str) -> str:
        return dataset_of(request, grant, label=label, header=header)

    return parse_export(
        body,
        signal=signal,
        protobuf=protobuf,
        dataset_of=named,
        limits=limits,
        received_ns=request.received_ns,
        in_bulk=in_bulk,
    )


async def store_export(
    exported: ParsedExport, signal: Signal, request: Request, service: IngestService, grant: Grant
) -> tuple[int, str]:
    """Store the events; return how many were refused, and why, once the others are durable. Raise as `deliver` does."""
    delivery = await deliver(exported.batches, request, service, grant, declares=DECLARED[signal])
    request.outcome.reject(exported.rejections)
    rejections = [*exported.rejections, *delivery.rejections]
    return len(rejections) + unstored(exported.batches, delivery), _reason(rejections, delivery, NOUNS[signal])


def _reason(rejections: Sequence[Rejection], delivery: Delivery, noun: str) -> str:
    reasons = [f"dataset {name!r}: {error.message}" for name, error in delivery.refusals.items()]
    if rejections:
        first = min(rejections, key=lambda each: each.index)
        others = f", and {len(rejections) - 1} others" if len(rejections) > 1 else ""
        reasons.insert(0, f"{noun} {first.index}{others}: {first.reason}")
    return "; ".join(reasons)


def render_error(error: TailraceError) -> Response:
    """Return an error as JSON; `finish` makes protobuf of it where the request was."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status = error.status
    wait_s = retry_after_s(error)
    if wait_s is not None:
        headers = ((b"retry-after", b"%d" % wait_s),)
        status = status if status in (429, 502, 504) else 503  # what clients send again
    return Response(status, msgspec.json.encode(status_of(error)), headers=headers)


def finish(request: Request, service: IngestService, response: Response) -> Response:
    """Return an error in the encoding of its request."""
    media_type = request.media_type
    if response.status < 400 or media_type not in PROTOBUF_TYPES:
        return response
    return replace(response, body=encode_status(decode_status(response.body)), content_type=media_type)


def _doc(signal: Signal, example: dict[str, Any]) -> RouteDoc:
    dataset = ParameterDoc(
        "X-Axiom-Dataset", "The dataset of resources without an attribute `dataset`.", where="header"
    )
    metrics = ParameterDoc("X-Axiom-Metrics-Dataset", "The same for metrics; it goes first.", where="header")
    return RouteDoc(
        about=f"Takes OTLP {signal} with a token of the API.",
        answers={200: OtlpAnswer},
        bodies={
            "application/json": BodyDoc(dict[str, Any], example),
            "application/x-protobuf": BodyDoc({"contentMediaType": "application/x-protobuf"}, ""),
        },
        refusals=(400, 401, 403, 404, 413, 415, 429, 503),
        parameters=(dataset, metrics) if signal == "metrics" else (dataset,),
        media={"application/x-protobuf": {}},
        refusal_media={"application/x-protobuf": {}},
    )


def _route(signal: Signal, example: dict[str, Any]) -> Route:
    return Route("POST", f"/v1/{signal}", partial(export, signal), _doc(signal, example))


PROTOCOL = Protocol(
    name="otlp",
    title="OpenTelemetry",
    mount="/otlp",
    routes=(
        _route("logs", {"resourceLogs": []}),
        _route("traces", {"resourceSpans": []}),
        _route("metrics", {"resourceMetrics": []}),
    ),
    render_error=render_error,
    error=OtlpStatus,
    options=OtlpOptions,
    is_door=True,
    finish=finish,
    request_headers=("X-Axiom-Metrics-Dataset",),
)
