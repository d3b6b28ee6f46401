"""VictoriaLogs' JSON lines: `/insert/jsonline`, a JSON object a line, for shippers that were set up for it.

https://docs.victoriametrics.com/victorialogs/data-ingestion/ has the parameters. Fields keep their names here, so those
that say which of them is the message, or makes a stream, change nothing.
"""

from functools import partial

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import BadRequest, ParsedBatch
from tailrace.parsing import EventCollector, Limits, TimeRule, document_lines, parse_documents, parse_json
from tailrace.protocols.destinations import dataset_of, deliver
from tailrace.protocols.doors.plain_text import ERROR_MEDIA, TEXT, refusal_line, render_text_error
from tailrace.protocols.http import (
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

TOKENS = TokenRule(schemes=(b"bearer", b"basic"))
TIME = "_time"
UNSUPPORTED = ("ignore_fields", "decolorize_fields")  # which would change what is stored


class _LinesRule(Struct, frozen=True):
    """What the parameters of a request say."""

    times: tuple[str, ...]  # fields, of which the first that an event has is its time
    labels: dict[str, str]  # that every event gets


async def jsonline(request: Request, service: IngestService) -> Response:
    """Answer `POST /insert/jsonline`: 200 where all lines are stored, else 400 with how many are not, and why."""
    grant = grant_of(request, service, TOKENS)
    rule = _rule(request)
    dataset = dataset_of(request, grant)
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    parse = partial(_parse, body, rule.times, service.limits, request.received_ns)
    parsed = await service.parse(lambda in_bulk: parse(in_bulk=in_bulk), body)
    batches = {dataset: parsed}
    delivery = await deliver(batches, request, service, grant, labels=rule.labels)
    none = EventCollector(service.limits, request.received_ns)
    refused = refusal_line(none, batches, delivery, what="lines")
    return Response(400, refused.encode("utf-8", "replace") + b"\n", TEXT) if refused else Response(200, b"", TEXT)


def _rule(request: Request) -> _LinesRule:
    query = request.query_values()
    for name in UNSUPPORTED:
        if _parameter(request, query, name):
            raise BadRequest(f"{name} is not supported: events are stored as they are sent")
    times = tuple(name for name in _parameter(request, query, "_time_field").split(",") if name) or (TIME,)
    labels: dict[str, str] = {}
    for pair in filter(None, _parameter(request, query, "extra_fields").split(",")):
        name, equals, value = pair.partition("=")
        if not (name and equals) or name == TIME:
            raise BadRequest(f"extra_fields is name=value, separated by commas; {pair[:60]!r} is not, or sets {TIME}")
        labels[name] = value
    return _LinesRule(times, labels)


def _parameter(request: Request, query: dict[str, str], name: str) -> str:
    """Return a parameter, of the query or else of the header that stands for it: `VL-Time-Field` for `_time_field`."""
    header = "vl-" + name.removeprefix("_").replace("_", "-")
    sent = request.header(header.encode())
    return query.get(name) or (sent.decode("utf-8", "replace") if sent else "")


def _parse(body: bytes, times: tuple[str, ...], limits: Limits, received_ns: int, *, in_bulk: bool) -> ParsedBatch:
    if len(times) == 1:
        rule = TimeRule(times[0])
        parsed = parse_json(body, times=rule, limits=limits, received_ns=received_ns, lines=True, in_bulk=in_bulk)
    else:
        documents = document_lines(body, limits)
        parsed = parse_documents(documents, times=times, limits=limits, received_ns=received_ns, in_bulk=in_bulk)
    # The time "0" stands for now.
    return replace(parsed, times=np.where(parsed.times == 0, received_ns, parsed.times)) if parsed.count else parsed


_LINES = '{"date": "0", "stream": "stream1", "log": {"level": "info", "message": "hello world"}}\n'
_DOC = RouteDoc(
    about="Takes JSON lines as VictoriaLogs does; an answer 400 says how many lines were refused, and why.",
    answers={200: str},
    bodies={
        media: BodyDoc(str, _LINES)
        for media in ("application/stream+json", "application/x-ndjson", "application/jsonl", "text/plain")
    },
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        ParameterDoc("_time_field", "Fields, separated by commas, of which the first that a line has is its time."),
        ParameterDoc("_msg_field", "Fields with the message; they keep their names."),
        ParameterDoc("_stream_fields", "Fields that make a stream of VictoriaLogs; here there are no streams."),
        ParameterDoc("extra_fields", "Fields that every event gets: `name=value`, separated by commas."),
        ParameterDoc("X-Axiom-Dataset", "The dataset.", where="header"),
    ),
)

PROTOCOL = Protocol(
    name="victorialogs",
    title="VictoriaLogs",
    mount="",
    routes=(Route("POST", "/insert/jsonline", jsonline, _DOC),),
    render_error=render_text_error,
    error=str,
    error_media=ERROR_MEDIA,
    is_door=True,
    request_headers=("VL-Time-Field", "VL-Msg-Field", "VL-Stream-Fields", "VL-Extra-Fields"),
)
