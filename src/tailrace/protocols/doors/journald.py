"""systemd's journal: what systemd-journal-upload sends to `/upload`, entry by entry, in the journal export format.

journal-upload.c takes every answer below 300 for success, and ends at any other: systemd starts it again, and it sends
all from the last success on. So an entry that is refused must not fail the request, or it would be sent for ever.
"""

from collections.abc import Awaitable
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events import BadRequest, OpenDataset, ParsedBatch, Receipt, TooLarge, UnsupportedMediaType
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import NO_LABELS, attempt, dataset_of
from tailrace.protocols.doors.journald_entries import CURSOR, Fields, entries, time_of
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
    decoded_body,
)
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule(schemes=(b"basic", b"bearer"))
MEDIA = b"application/vnd.fdo.journal"
TAKEN = b"OK.\n"  # as systemd-journal-remote answers
LATER = "systemd-journal-upload --after-cursor=CURSOR"  # one upload has all that is in the journal
MAX_CURSOR_CHARS = 512  # of an entry that is stored once: each is remembered


class JournaldOptions(Struct, frozen=True):
    """The settings of the protocol."""

    id_window_s: Annotated[
        float,
        Meta(ge=0, le=30 * 86_400, description="Time in which a journal entry, by its `__CURSOR`, is stored once."),
    ] = 86_400.0


class _Upload(Struct):
    """What was read of an upload."""

    collector: EventCollector
    cursors: dict[int, str | None] = {}  # by number of the entry
    fault: str = ""  # of the format, from which on nothing was read


async def upload(request: Request, service: IngestService) -> Response:
    """Answer `POST /upload`: 202 where all that can be stored is, with a line of text on entries that cannot be."""
    grant = grant_of(request, service, TOKENS)
    if request.media_type != MEDIA:
        raise UnsupportedMediaType(f"the content type must be {MEDIA.decode()}, the journal export format")
    dataset = dataset_of(request, grant)
    sent = _Upload(EventCollector(service.limits, request.received_ns))
    try:
        body = await decoded_body(request, service, service.limits.max_body_bytes)
        batches = await service.offload(partial(_collect, sent, dataset, body), WORST_CASE_FACTOR * len(body))
    except TooLarge as error:
        raise TooLarge(f"{error.message}; raise that limit, or upload from a later entry on: {LATER}") from None

    def store(name: str, target: OpenDataset) -> Awaitable[Receipt]:
        parsed = batches[name]
        refused = {rejection.index for rejection in (*sent.collector.rejections, *parsed.rejections)}
        ids = [cursor for number, cursor in sent.cursors.items() if number not in refused]
        window_s, received_ns = request.options.id_window_s, request.received_ns
        if not (window_s and any(ids)):
            return service.ingest(parsed, target, request.outcome, received_ns=received_ns, labels=NO_LABELS)
        once = partial(service.ingest_once, id_field=CURSOR, window_s=window_s)
        return once(parsed, ids, target, request.outcome, received_ns=received_ns, labels=NO_LABELS)

    delivery = await attempt(batches, store, service, grant)
    for refusal in delivery.refusals.values():
        raise refusal
    request.outcome.reject(sent.collector.rejections)
    if sent.fault:
        raise BadRequest(f"{sent.fault}; what was before it is stored")
    refused = refusal_line(sent.collector, batches, delivery, what="entries")
    return Response(202, refused.encode("utf-8", "replace") + b"\n" if refused else TAKEN, TEXT)


def _collect(sent: _Upload, dataset: str, body: bytes) -> dict[str, ParsedBatch]:
    for number, entry in enumerate(entries(body)):
        if entry.is_last:
            sent.fault = f"entry {number}: {entry.fault}"
        elif entry.fault:
            sent.collector.refuse(number, entry.fault)
        else:
            _add(sent, dataset, number, entry.fields)
    return sent.collector.batches()


def _add(sent: _Upload, dataset: str, number: int, fields: Fields) -> None:
    try:
        time_ns = time_of(fields)
    except ValueError as error:
        sent.collector.refuse(number, str(error), "invalid_time")
        return
    if time_ns is not None:
        fields["_time"] = time_ns
    cursor = fields.get(CURSOR)
    is_id = isinstance(cursor, str) and 0 < len(cursor) <= MAX_CURSOR_CHARS
    sent.cursors[number] = cursor if is_id else None
    sent.collector.add(dataset, number, fields)


_ENTRY = "__REALTIME_TIMESTAMP=1767323045123456\nMESSAGE=hello\nPRIORITY=6\n\n"
_DOC = RouteDoc(
    about="Takes entries of a journal in the journal export format, as systemd-journal-upload sends them.",
    answers={202: str},
    bodies={MEDIA.decode(): BodyDoc(str, _ENTRY)},
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(ParameterDoc("X-Axiom-Dataset", "The dataset.", where="header"),),
)

PROTOCOL = Protocol(
    name="journald",
    title="systemd's journal",
    mount="/insert/journald",  # where VictoriaLogs has it
    routes=(Route("POST", "/upload", upload, _DOC),),
    render_error=render_text_error,
    error=str,
    error_media=ERROR_MEDIA,
    options=JournaldOptions,
    is_door=True,
)
