"""Prometheus' remote write, 1.0 and 2.0: samples, native histograms, exemplars and metadata as events.

Senders send a request again at 5xx, and at 429 where they are told to; at any other 4xx they drop it: so 400 stands for
samples that were refused, beside others that are stored, and headers tell how many of each are stored.
"""

from email.message import Message

from tailrace.events import ParsedBatch, UnsupportedMediaType
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import DATASET, Delivery, dataset_of, deliver
from tailrace.protocols.doors.plain_text import ERROR_MEDIA, TEXT, refusal_line, render_text_error
from tailrace.protocols.doors.prometheus_messages import WRITTEN_KINDS, CollectedSamples, collect_samples
from tailrace.protocols.doors.snappy_body import SNAPPY, snappy_body
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
    cached,
)
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule()
METRICS_DATASET = b"x-axiom-metrics-dataset"  # before the other header
VERSIONS = {"": 1, "prometheus.WriteRequest": 1, "io.prometheus.write.v2.Request": 2}  # by the message's name
_WRITTEN = b"x-prometheus-remote-write-%b-written"


async def write(request: Request, service: IngestService) -> Response:
    """Answer `POST /api/v1/write`."""
    grant = grant_of(request, service, TOKENS)
    version = _version(request.header(b"content-type") or b"")
    # vmagent sends zstd instead of snappy.
    is_snappy = not request.content_encoding or SNAPPY in request.content_encoding.lower()
    body = await snappy_body(request, service, is_snappy=is_snappy)
    header = METRICS_DATASET if request.header(METRICS_DATASET) else DATASET
    collector = EventCollector(service.limits, request.received_ns)

    def named(label: str) -> str:
        return dataset_of(request, grant, label=label, header=header)

    def collect() -> tuple[CollectedSamples, dict[str, ParsedBatch]]:
        return collect_samples(body, version, collector, service.limits, named), collector.batches()

    samples, batches = await service.offload(collect, WORST_CASE_FACTOR * len(body))
    delivery = await deliver(batches, request, service, grant)
    request.outcome.reject(collector.rejections)
    written = _written(samples, collector, delivery)
    refused = refusal_line(collector, batches, delivery, what="samples")
    if refused:
        return Response(400, refused.encode("utf-8", "replace") + b"\n", TEXT, written)
    return Response(204, headers=written)


@cached
def _version(content_type: bytes) -> int:
    """Return the version of the protocol that the header Content-Type says, 1 where there is none.

    Raise UnsupportedMediaType.
    """
    header = Message()
    header["Content-Type"] = content_type.decode("latin-1")
    name = header.get_param("proto")
    version = VERSIONS.get(name if isinstance(name, str) else "")
    if content_type and (version is None or header.get_content_type().encode() not in PROTOBUF_TYPES):
        raise UnsupportedMediaType(
            f"content type {content_type.decode('latin-1')!r} is not supported: send application/x-protobuf, with "
            f"proto={' or proto='.join(filter(None, VERSIONS))}"
        )
    return version or 1


def _written(
    samples: CollectedSamples, collector: EventCollector, delivery: Delivery
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that say how much is stored, which 2.0 asks for."""
    refused = {each.index for each in (*collector.rejections, *delivery.rejections)}
    return tuple(
        (_WRITTEN % kind.encode(), b"%d" % samples.stored(kind, refused, delivery.refusals)) for kind in WRITTEN_KINDS
    )


_DOC = RouteDoc(
    about="Takes samples, native histograms, exemplars and metadata, as remote write 1.0 and 2.0 send them.",
    answers={204: None},
    bodies={"application/x-protobuf": BodyDoc(str, "a write request in protobuf, compressed by snappy")},
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        ParameterDoc("X-Axiom-Metrics-Dataset", "The dataset, before that of X-Axiom-Dataset.", where="header"),
        ParameterDoc("X-Axiom-Dataset", "The dataset, before the label `dataset` of a series.", where="header"),
    ),
)

PROTOCOL = Protocol(
    name="prometheus",
    title="Prometheus remote write",
    mount="",
    routes=(Route("POST", "/api/v1/write", write, _DOC),),
    render_error=render_text_error,
    error=str,
    error_media=ERROR_MEDIA,
    is_door=True,
)
