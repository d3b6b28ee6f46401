"""Loki's push API: entries of log streams, in protobuf with snappy or in JSON.

Promtail, Alloy and their like send a batch again at 429, 5xx and where there is no answer, and drop it at any other
error (Promtail's client.go, `sendBatch`): so 400 stands for entries that were refused, beside others that are stored.
"""

import re
from typing import Any

from tailrace.events import BadRequest, ParsedBatch
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import NO_LABELS, dataset_of, deliver
from tailrace.protocols.doors.loki_messages import collect_json, collect_protobuf
from tailrace.protocols.doors.plain_text import ERROR_MEDIA, TEXT, refusal_line, render_text_error
from tailrace.protocols.doors.snappy_body import snappy_body
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
)
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule()
TENANT = b"x-scope-orgid"
_TENANT = re.compile(r"[A-Za-z0-9!._*'()-]{1,150}")  # as Loki takes them ("Manage tenant isolation")
_JSON = b"application/json"


async def push(request: Request, service: IngestService) -> Response:
    """Answer `POST /loki/api/v1/push`, and `POST /api/prom/push` of older clients."""
    grant = grant_of(request, service, TOKENS)
    labels = _tenant_label(request.header(TENANT))
    is_json = request.media_type == _JSON
    try:
        body = await snappy_body(request, service, is_snappy=not is_json)
    except BadRequest as error:
        hint = "" if is_json else "; JSON needs the header 'Content-Type: application/json'"
        raise BadRequest(error.message + hint) from None
    collector = EventCollector(service.limits, request.received_ns)

    def collect() -> dict[str, ParsedBatch]:
        take = collect_json if is_json else collect_protobuf
        take(body, collector, service.limits, lambda label: dataset_of(request, grant, label=label))
        return collector.batches()

    batches = await service.offload(collect, WORST_CASE_FACTOR * len(body))
    delivery = await deliver(batches, request, service, grant, labels=labels)
    request.outcome.reject(collector.rejections)
    refused = refusal_line(collector, batches, delivery, what="entries")
    return Response(400, refused.encode("utf-8", "replace") + b"\n", TEXT) if refused else Response(204)


async def ready(request: Request, service: IngestService) -> Response:
    """Answer `GET /ready`, by which Vector finds out whether there is a Loki."""
    if service.closed is not None:
        raise service.closed
    return Response(200, b"ready\n", TEXT)


def _tenant_label(sent: bytes | None) -> dict[str, str]:
    """Return the field that the header of Loki's tenants becomes: it tells senders apart, and gives no rights here."""
    if not sent:
        return NO_LABELS
    tenant = sent.decode("latin-1")
    if not _TENANT.fullmatch(tenant):
        raise BadRequest("X-Scope-OrgID is no tenant: 1 to 150 letters, digits and characters of !-_.*'()")
    return {"tenant": tenant}


_JSON_EXAMPLE = {"streams": [{"stream": {"job": "api"}, "values": [["1767323045000000000", "hello", {"user": "7"}]]}]}
_DOC = RouteDoc(
    about="Takes the entries of log streams, as Loki does; an answer 400 says how many were refused, and why.",
    answers={204: None},
    bodies={
        "application/x-protobuf": BodyDoc(str, "a push request in protobuf, compressed by snappy"),
        "application/json": BodyDoc(dict[str, Any], _JSON_EXAMPLE),
    },
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        ParameterDoc("X-Axiom-Dataset", "The dataset, before the stream's labels.", where="header"),
        ParameterDoc("X-Scope-OrgID", "Loki's tenant: the field `tenant` of every entry.", where="header"),
    ),
)
_READY_DOC = RouteDoc(about="Tells whether events are taken.", answers={200: None}, refusals=(503,), credential=False)

PROTOCOL = Protocol(
    name="loki",
    title="Loki",
    mount="",
    routes=(
        Route("POST", "/loki/api/v1/push", push, _DOC),
        Route("POST", "/api/prom/push", push, _DOC),
        Route("GET", "/ready", ready, _READY_DOC),
    ),
    render_error=render_text_error,
    error=str,
    error_media=ERROR_MEDIA,
    is_door=True,
    request_headers=("X-Scope-OrgID",),
)
