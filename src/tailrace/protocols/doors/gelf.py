"""GELF by HTTP: a message in JSON is an event, or one a line, as Graylog's input takes them.

Most clients can send no header of their own: so the token may be in the path. They read the status at most.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from tailrace.events import BadRequest, ParsedBatch
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import dataset_of, deliver
from tailrace.protocols.doors.gelf_messages import encoding_of, gelf_event, split_messages
from tailrace.protocols.doors.plain_text import ERROR_MEDIA, TEXT, refusal_line, render_text_error
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
    decoded_wire,
)
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule(segment="secret")
DATASET_FIELD = "dataset"  # of the event, sent as `_dataset`
_JSON_BEGINS = (b"{", b"[", b" ", b"\t", b"\r", b"\n")


async def messages(request: Request, service: IngestService) -> Response:
    """Answer `POST /gelf`, and `POST /gelf/{secret}` with the token in the path."""
    grant = grant_of(request, service, TOKENS)
    body = await _body(request, service)
    collector = EventCollector(service.limits, request.received_ns)

    def collect() -> dict[str, ParsedBatch]:
        for number, message in enumerate(split_messages(body)):
            try:
                event = gelf_event(message)
                collector.add(dataset_of(request, grant, label=_label(event)), number, event)
            except BadRequest as error:
                collector.refuse(number, error.message)
        return collector.batches()

    batches = await service.offload(collect, WORST_CASE_FACTOR * len(body))
    delivery = await deliver(batches, request, service, grant)
    request.outcome.reject(collector.rejections)
    refused = refusal_line(collector, batches, delivery, what="messages")
    return (
        Response(400, refused.encode("utf-8", "replace") + b"\n", TEXT) if refused else Response(202, content_type=TEXT)
    )


async def _body(request: Request, service: IngestService) -> bytes:
    """Return the decoded body: how it begins says how it is compressed, as graypy names others."""
    wire = await request.read()
    encoding = encoding_of(wire)
    if not encoding and not wire.startswith(_JSON_BEGINS):
        encoding = request.content_encoding
    return await decoded_wire(request, service, wire, encoding, service.limits.max_body_bytes)


def _label(event: dict[str, Any]) -> str:
    """Return the dataset that an event names itself, "" where it names none."""
    value = bytes(event.get(DATASET_FIELD, b""))
    return msgspec.json.decode(value, type=str) if value[:1] == b'"' else ""


_EXAMPLE = {"version": "1.1", "host": "web-1", "short_message": "hello", "timestamp": 1767323045.123, "_user": "7"}
_DOC = RouteDoc(
    about="Takes a GELF message in JSON, compressed or not, or one a line.",
    answers={202: None},
    bodies={"application/json": BodyDoc(dict[str, Any], _EXAMPLE)},
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        ParameterDoc("X-Axiom-Dataset", "The dataset, before the field `_dataset` of a message.", where="header"),
    ),
)
_PATH_DOC = replace(_DOC, about="Takes a GELF message from a client that can send no header: the token is in the path.")

PROTOCOL = Protocol(
    name="gelf",
    title="GELF",
    mount="",
    routes=(Route("POST", "/gelf", messages, _DOC), Route("POST", "/gelf/{secret}", messages, _PATH_DOC)),
    render_error=render_text_error,
    error=str,
    error_media=ERROR_MEDIA,
    is_door=True,
)
