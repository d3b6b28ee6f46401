"""Honeycomb's API for events: single ones, batches, markers, and what a key may do.

Routes, headers and answers are those of Honeycomb's pages "Events", "Markers" and "Auth", and of libhoney.
"""

import re
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tailrace.access import allows
from tailrace.events import BadRequest, ParsedBatch, Rejection, TailraceError
from tailrace.events.times import rfc3339
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import EVERY_DATASET, Delivery, dataset_of, deliver
from tailrace.protocols.doors.honeycomb_events import SAMPLE_RATE, collect_batch, collect_event, collect_marker
from tailrace.protocols.http import (
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    BodyDoc,
    Credential,
    IngestService,
    ParameterDoc,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    decoded_wire,
    retry_headers,
)
from tailrace.protocols.tokens import TokenRule, grant_of

KEY = b"x-honeycomb-team"
TOKENS = TokenRule(headers=(KEY,))
PACKED_TYPES = frozenset({b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack"})
MARKER_ID_BYTES = 8
EVERYWHERE = "__all__"  # in place of the dataset of a marker: for all datasets of an environment
_ENCODER = msgspec.json.Encoder()
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_STORED: dict[str, Any] = {"status": 202}


class HoneycombError(Struct, frozen=True):
    """The body of every error."""

    error: str


class HoneycombStatus(Struct, frozen=True, omit_defaults=True):
    """What became of one event of a batch."""

    status: int  # 202, or 400
    error: str = ""


class HoneycombEvent(Struct, frozen=True):
    """One event of a batch."""

    data: dict[str, Any]
    time: str = ""  # RFC 3339, or a Unix time
    samplerate: int = 1


class HoneycombName(Struct, frozen=True):
    """A team or an environment."""

    name: str
    slug: str


class HoneycombAuth(Struct, frozen=True):
    """The answer to what a key may do."""

    id: str
    type: str
    api_key_access: dict[str, bool]
    environment: HoneycombName
    team: HoneycombName


class HoneycombMarker(Struct, frozen=True, omit_defaults=True):
    """A marker."""

    id: str = ""
    message: str = ""
    type: str = ""
    url: str = ""
    start_time: int = 0  # s since the Unix epoch
    end_time: int = 0
    created_at: str = ""
    updated_at: str = ""


async def add_event(request: Request, service: IngestService) -> Response:
    """Answer `POST /1/events/{dataset}`: the fields of one event, with its time and rate in headers."""
    envelope = _envelope(request)
    read = partial(
        collect_event,
        is_packed=_is_packed(request),
        envelope=envelope,
        limits=service.limits,
        received_ns=request.received_ns,
    )
    rejections, _, _ = await _store(request, service, read)
    if rejections:
        raise BadRequest(rejections[0].reason)
    return Response(200)


async def add_batch(request: Request, service: IngestService) -> Response:
    """Answer `POST /1/batch/{dataset}`: with a status for each event."""
    read = partial(collect_batch, is_packed=_is_packed(request), limits=service.limits, received_ns=request.received_ns)
    rejections, count, _ = await _store(request, service, read)

    def answer() -> bytes:
        statuses = [_STORED] * count
        for rejection in rejections:
            statuses[rejection.index] = {"status": 400, "error": rejection.reason}
        return _ENCODER.encode(statuses)

    return Response(200, await service.offload(answer, REJECTION_WORK_BYTES * len(rejections) + count))


async def add_marker(request: Request, service: IngestService) -> Response:
    """Answer `POST /1/markers/{dataset}`: a marker is an event of the type "marker"."""
    now = rfc3339(request.received_ns)
    marker = {"id": "", "created_at": now, "updated_at": now}

    def read(body: bytes, collector: EventCollector, dataset: str) -> None:
        marker["id"] = request.outcome.generated_id(MARKER_ID_BYTES).hex()
        collect_marker(body, collector, dataset, marker=marker, received_ns=request.received_ns)

    rejections, _, body = await _store(request, service, read)
    if rejections:
        raise BadRequest(rejections[0].reason)
    return Response(201, _ENCODER.encode({**msgspec.json.decode(body, type=dict[str, Raw]), **marker}))


async def tell_access(request: Request, service: IngestService) -> Response:
    """Answer `GET /1/auth`: what the key may do."""
    grant = grant_of(request, service, TOKENS)
    sends = allows(grant, capability="ingest", action="create", dataset=EVERY_DATASET) or any(
        allows(grant, capability="ingest", action="create", dataset=name) for name in grant.datasets
    )
    access = {
        "events": sends,
        "markers": sends,
        "createDatasets": allows(grant, capability="datasets", action="create"),
    }
    team = HoneycombName(grant.organisation, grant.organisation)
    return Response(200, _ENCODER.encode(HoneycombAuth(grant.token_id, "ingest", access, team, team)))


async def _store(request: Request, service: IngestService, read: Any) -> tuple[list[Rejection], int, bytes]:
    """Store the events that `read` takes from the body; return what was refused, how many there were, and the body."""
    grant = grant_of(request, service, TOKENS)
    dataset = dataset_of(request, grant, named=_dataset_name(request.params["dataset"]))
    encoding = request.content_encoding
    if encoding == "zst":  # as Honeycomb's document names it
        encoding = "zstd"
    body = await decoded_wire(request, service, await request.read(), encoding, service.limits.max_body_bytes)
    collector = EventCollector(service.limits, request.received_ns)

    def parse() -> tuple[dict[str, ParsedBatch], int]:
        count = read(body, collector, dataset)
        return collector.batches(), count or 0

    batches, count = await service.offload(parse, WORST_CASE_FACTOR * len(body))
    request.outcome.reject(collector.rejections)
    delivery: Delivery = await deliver(batches, request, service, grant, creates=True)
    return [*collector.rejections, *delivery.rejections], count, body


def _dataset_name(sent: str) -> str:
    """Return the dataset of a path: a run of characters that no dataset's name has is taken as a hyphen."""
    return "" if sent == EVERYWHERE else _NOT_IN_NAMES.sub("-", sent).lstrip("._-")


def _envelope(request: Request) -> dict[str, Any]:
    """Return what the headers of a request say of its event; raise BadRequest for a rate that is none."""
    envelope: dict[str, Any] = {}
    sent_time = (request.header(b"x-honeycomb-event-time") or b"").decode("latin-1").strip()
    if sent_time:
        envelope["time"] = sent_time
    rate = (request.header(b"x-honeycomb-samplerate") or b"").decode("latin-1").strip()
    if rate:
        if not (rate.isascii() and rate.isdigit() and len(rate) < 19):
            raise BadRequest(f"X-Honeycomb-Samplerate is a whole number, not {rate[:40]!r}")
        envelope[SAMPLE_RATE] = int(rate)
    return envelope


def _is_packed(request: Request) -> bool:
    return request.media_type in PACKED_TYPES


def render_error(error: TailraceError) -> Response:
    """Return an error as `{"error"}`, and when to send the same again."""
    return Response(error.status, _ENCODER.encode(HoneycombError(error.message)), headers=retry_headers(error))


_FIELDS: dict[str, Any] = {"name": "checkout", "duration_ms": 12.5}
_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 429, 503)
_EVENT_DOC = RouteDoc(
    about="Takes the fields of one event.",
    answers={200: None},
    bodies={"application/json": BodyDoc(dict[str, Any], _FIELDS)},
    refusals=_REFUSALS,
    parameters=(
        ParameterDoc("X-Honeycomb-Event-Time", "Its time: RFC 3339, or a Unix time.", where="header"),
        ParameterDoc("X-Honeycomb-Samplerate", "Its field samplerate.", int, where="header"),
    ),
)
_BATCH_DOC = RouteDoc(
    about="Takes events, and tells of each whether it is stored.",
    answers={200: list[HoneycombStatus]},
    bodies={
        "application/json": BodyDoc(
            list[HoneycombEvent], [{"time": "2026-01-02T03:04:05Z", "samplerate": 1, "data": _FIELDS}]
        )
    },
    refusals=_REFUSALS,
)
_MARKER_DOC = RouteDoc(
    about='Takes a marker, which becomes an event of the type "marker".',
    answers={201: HoneycombMarker},
    bodies={"application/json": BodyDoc(HoneycombMarker, {"message": "deploy 123", "type": "deploy"})},
    refusals=_REFUSALS,
)
_AUTH_DOC = RouteDoc(about="Tells what a token may do.", answers={200: HoneycombAuth}, refusals=(401,))
PROTOCOL = Protocol(
    name="honeycomb",
    title="Honeycomb",
    mount="",
    routes=(
        Route("POST", "/1/events/{dataset}", add_event, _EVENT_DOC),
        Route("POST", "/1/batch/{dataset}", add_batch, _BATCH_DOC),
        Route("POST", "/1/markers/{dataset}", add_marker, _MARKER_DOC),
        Route("GET", "/1/auth", tell_access, _AUTH_DOC),
    ),
    render_error=render_error,
    error=HoneycombError,
    is_door=True,
    request_headers=("X-Honeycomb-Team", "X-Honeycomb-Event-Time", "X-Honeycomb-Samplerate"),
    credentials=(Credential("honeycomb", "X-Honeycomb-Team", "A token; also as `Bearer TOKEN`."),),
)
