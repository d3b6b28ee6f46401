"""Axiom's ingest API: JSON, NDJSON and CSV bodies for a dataset."""

import time
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from tailrace.access import Grant, require
from tailrace.events import (
    BadRequest,
    DatasetNotFound,
    Forbidden,
    ParsedBatch,
    Rejection,
    TailraceError,
    Unauthorized,
    UnsupportedMediaType,
)
from tailrace.events.times import rfc3339
from tailrace.parsing import Limits, TimeRule, parse_csv, parse_json
from tailrace.protocols import logplex
from tailrace.protocols.destinations import DATASET, HOW_TO_MAKE, NO_LABELS, dataset_of
from tailrace.protocols.drains import GZIP_TYPES, drained_body, verified
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
    cached,
    media_type_of,
    query_values_of,
    retry_after_s,
)
from tailrace.protocols.labels import labels_of
from tailrace.protocols.tokens import ORGANISATION, TokenRule, grant_of

LINES_TYPES = frozenset({b"application/x-ndjson", b"application/nd-json", b"application/ndjson", b"application/jsonl"})
JSON_TYPES = LINES_TYPES | {b"application/json"}
CSV_TYPE = b"text/csv"
# Of senders such as Cloudflare's Logpush, which do not declare JSON: the first byte decides.
OPAQUE_TYPES = frozenset({b"text/plain", b"application/octet-stream"}) | GZIP_TYPES
ACCEPTED = "application/json, application/x-ndjson, application/nd-json or text/csv"
FIRST_BYTES = 1024  # of a body, in which its first byte that is not white space is searched
DEFAULT_TIMES = TimeRule()
_FIREHOSE_KEY = b"x-amz-firehose-access-key"
_COLLECTIONS = frozenset({"datasets", "ingest", "query"})  # with a segment behind them, Axiom's
TOKENS = TokenRule()


class EventFailure(msgspec.Struct):
    """A refused event in an answer."""

    timestamp: str  # RFC 3339: of the event where it is known, else of the request
    error: str


class Ingested(msgspec.Struct, rename="camel"):
    """The answer to an ingest request: exactly these six members, which clients decode strictly."""

    ingested: int
    failed: int
    failures: list[EventFailure]
    processed_bytes: int  # of the decoded body, plus the labels header's value
    blocks_created: int
    wal_length: int  # events of the dataset that are durable but not yet in its table


class AxiomError(msgspec.Struct):
    """The body of every error."""

    code: int
    message: str


async def ingest(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/datasets/{dataset}/ingest`, with a personal or an API token."""
    grant = _grant(request, service)
    return verified(request, await _ingest(request, service, grant, request.params["dataset"]))


async def ingest_edge(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/ingest/{dataset}` as `ingest` does, but for API tokens only, like Axiom's edge endpoint."""
    grant = _grant(request, service)
    if grant.kind != "api":
        raise Forbidden(
            "this endpoint takes API tokens only, not personal tokens; "
            "send to /v1/datasets/{dataset}/ingest or create an API token"
        )
    return verified(request, await _ingest(request, service, grant, request.params["dataset"]))


async def ingest_unnamed(request: Request, service: IngestService) -> Response:
    """Answer `POST /api/v1/ingest`: for the dataset that the header or the token says."""
    grant = _grant(request, service)
    return await _ingest(request, service, grant, dataset_of(request, grant))


def _grant(request: Request, service: IngestService) -> Grant:
    return grant_of(request, service, TOKENS)


def bearer(value: bytes | None) -> str:
    """Return the token of an Authorization header's value; raise Unauthorized where there is none."""
    if value is None:
        raise Unauthorized("no token: send the header 'Authorization: Bearer TOKEN'")
    scheme, _, secret = value.partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret:
        raise Unauthorized("the Authorization header must be 'Bearer TOKEN'")
    return secret.decode("latin-1")


async def _ingest(request: Request, service: IngestService, grant: Grant, dataset: str) -> Response:
    try:
        return await _store(request, service, grant, dataset)
    except TailraceError as error:
        retried = logplex.retried(request, error)
        if retried is None:
            raise
        raise retried from error


async def _store(request: Request, service: IngestService, grant: Grant, dataset: str) -> Response:
    require(grant, capability="ingest", action="create", dataset=dataset)
    try:
        target = service.check_dataset(dataset)
    except DatasetNotFound as error:
        raise DatasetNotFound(f"{error.message}: {HOW_TO_MAKE}") from None
    media, csv = _media(request.headers.get(b"content-type", b""))
    times = _time_rule(request.query) if request.query else DEFAULT_TIMES
    label_header = request.header(b"x-axiom-event-labels")
    labels = NO_LABELS
    if label_header:
        labels = labels_of(label_header, "X-Axiom-Event-Labels", service.limits, request.received_ns)
    delimiter, fields = _csv_options(request) if csv else ("", None)
    rule = _BodyRule(media, times, csv, delimiter, fields)
    body = await drained_body(request, service)
    parse = partial(_parse_body, body, rule, service.limits, request.received_ns)
    if csv:
        parsed = await service.offload(partial(parse, in_bulk=False), WORST_CASE_FACTOR * len(body))
    elif media == logplex.MEDIA:
        logplex.identify(request)
        labels = {**labels, **logplex.labels(request)}
        read = partial(logplex.parse_logplex, body, request, service.limits)
        parsed = await service.offload(read, WORST_CASE_FACTOR * len(body))
    else:
        parsed = await service.parse(parse, body)
    receipt = await service.ingest(parsed, target, request.outcome, received_ns=request.received_ns, labels=labels)
    processed = receipt.processed_bytes + (len(label_header) if label_header else 0)
    if not receipt.rejections:
        return Response(
            200,
            b'{"ingested":%d,"failed":0,"failures":[],"processedBytes":%d,"blocksCreated":0,"walLength":%d}'
            % (receipt.stored, processed, service.uncommitted(dataset)),
        )
    wal_length = service.uncommitted(dataset)

    def answer() -> bytes:
        failures = [_failure(rejection, request.received_ns) for rejection in receipt.rejections]
        return msgspec.json.encode(Ingested(receipt.stored, len(failures), failures, processed, 0, wal_length))

    return Response(200, await service.offload(answer, REJECTION_WORK_BYTES * len(receipt.rejections)))


class _BodyRule(msgspec.Struct, frozen=True):
    """How a body is read."""

    media: bytes
    times: TimeRule
    is_csv: bool
    delimiter: str
    fields: list[str] | None  # of CSV without a header row


def _parse_body(body: bytes, rule: _BodyRule, limits: Limits, received_ns: int, in_bulk: bool) -> ParsedBatch:
    if rule.is_csv:
        return parse_csv(
            body,
            fields=rule.fields,
            delimiter=rule.delimiter,
            times=rule.times,
            limits=limits,
            received_ns=received_ns,
        )
    lines = rule.media in LINES_TYPES or (rule.media in OPAQUE_TYPES and _is_lines(body, rule.media))
    return parse_json(body, times=rule.times, limits=limits, received_ns=received_ns, lines=lines, in_bulk=in_bulk)


@cached
def _media(content_type: bytes) -> tuple[bytes, bool]:
    """Return the media type, and whether it is CSV; raise UnsupportedMediaType where it is neither CSV nor JSON."""
    media = media_type_of(content_type)
    if media in JSON_TYPES or media in OPAQUE_TYPES or media == logplex.MEDIA or not media:
        return media, False
    if media == CSV_TYPE:
        return media, True
    raise _unsupported(media)


def _is_lines(body: bytes, media: bytes) -> bool:
    """Return whether a body of an opaque type is NDJSON, not a JSON array; raise UnsupportedMediaType for neither."""
    first = body[:FIRST_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1] if body else b"["
    if first not in (b"{", b"["):
        raise _unsupported(media, ", or JSON by its first byte")
    return first == b"{"


def _unsupported(media: bytes, more: str = "") -> UnsupportedMediaType:
    return UnsupportedMediaType(f"content type '{media.decode('latin-1')}' is not supported: send {ACCEPTED}{more}")


@cached
def _time_rule(sent: bytes) -> TimeRule:
    query = query_values_of(sent)
    return TimeRule(
        field=query.get("timestamp-field") or DEFAULT_TIMES.field,
        format=query.get("timestamp-format") or DEFAULT_TIMES.format,
    )


def _csv_options(request: Request) -> tuple[str, list[str] | None]:
    delimiter = request.query_values().get("csv-delimiter", "")
    names = request.header(b"x-axiom-csv-fields")
    if names is None or not names.strip():
        return delimiter, None
    try:
        return delimiter, [name.strip() for name in names.decode().split(",")]
    except UnicodeDecodeError as error:
        raise BadRequest("X-Axiom-CSV-Fields is not UTF-8") from error


def _failure(rejection: Rejection, received_ns: int) -> EventFailure:
    time_ns = received_ns if rejection.time_ns is None else rejection.time_ns
    return EventFailure(rfc3339(time_ns), f"event {rejection.index}: {rejection.reason}")


def render_error(error: TailraceError) -> Response:
    """Return an error as Axiom's clients read it: `{"code", "message"}`, and when to retry."""
    headers: list[tuple[bytes, bytes]] = []
    wait_s = retry_after_s(error)
    if wait_s is not None:
        headers.append((b"retry-after", b"%d" % wait_s))
        if error.status == 429:
            # Axiom's Go client takes a limit only from the full set, its Rust client also wants the scope.
            headers += [
                (b"x-ratelimit-scope", b"organization"),
                (b"x-ratelimit-limit", b"0"),
                (b"x-ratelimit-remaining", b"0"),
                (b"x-ratelimit-reset", b"%d" % (int(time.time()) + wait_s)),
            ]
    body = msgspec.json.encode(AxiomError(error.status, error.message))
    return Response(error.status, body, headers=tuple(headers))


_EVENT = {"_time": "2026-01-02T03:04:05Z", "level": "info", "message": "hello"}
_DOC = RouteDoc(
    about="Takes events for a dataset; the answer says of each one that was refused why.",
    answers={200: Ingested},
    bodies={
        "application/json": BodyDoc((list[dict[str, Any]], dict[str, Any]), [_EVENT]),
        "application/x-ndjson": BodyDoc(str, '{"level": "info", "message": "hello"}\n{"level": "error"}\n'),
        "text/csv": BodyDoc(str, "level,message\ninfo,hello\n"),
        "text/plain": BodyDoc(str, '{"level": "info", "message": "hello"}\n'),
        "application/octet-stream": BodyDoc(str, '{"level": "info", "message": "hello"}\n'),
        logplex.MEDIA.decode(): BodyDoc(str, logplex.EXAMPLE),
    },
    refusals=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    parameters=(
        ParameterDoc("timestamp-field", "The field that has the time of an event; _time where it is not given."),
        ParameterDoc("timestamp-format", "How that time is written, as a layout of Go's package time."),
        ParameterDoc("csv-delimiter", "What stands between two fields of CSV; a comma where it is not given."),
        ParameterDoc("X-Axiom-CSV-Fields", "Names of the CSV fields, if there is no header row.", where="header"),
        ParameterDoc("X-Axiom-Event-Labels", "A JSON object whose members every event gets.", where="header"),
        ParameterDoc(
            "Logplex-Frame-Id", "The id of a request of Heroku's drains, by which a repetition is told.", where="header"
        ),
        ParameterDoc("Logplex-Drain-Token", "The id of the drain, which every event gets.", where="header"),
        ParameterDoc("x-vercel-verify", "The value that Vercel shows of a drain, which is answered.", where="header"),
    ),
)
_DOC_EDGE = replace(_DOC, about="Takes events for a dataset, from API tokens only.")
_DOC_UNNAMED = replace(
    _DOC, about="Takes events for the dataset that the header X-Axiom-Dataset or the API token names."
)


def claims(method: str, segments: Segments) -> PathClaim:
    """Return whether a path under /v1 is Axiom's, in addition to those of its API."""
    return PathClaim.OWN if len(segments) > 1 and segments[0] in _COLLECTIONS else PathClaim.NONE


PROTOCOL = Protocol(
    name="axiom",
    title="Axiom",
    mount="/axiom",
    routes=(
        Route("POST", "/v1/datasets/{dataset}/ingest", ingest, _DOC),
        Route("POST", "/v1/ingest/{dataset}", ingest_edge, _DOC_EDGE),
        Route("POST", "/api/v1/datasets/{dataset}/ingest", ingest, _DOC),
        Route("POST", "/api/v1/ingest", ingest_unnamed, _DOC_UNNAMED),
    ),
    render_error=render_error,
    own_paths=("/api/v1", "/v2", "/services/collector"),
    hosts=("api.axiom.co", "*.axiom.co"),
    claims=Claims(
        paths=claims,
        bearer=True,
        prefixes=(b"Bearer xaat-", b"Bearer xapt-", b"Bearer xait-"),
        headers=(ORGANISATION, DATASET, b"x-axiom-metrics-dataset", _FIREHOSE_KEY),
        instead=_FIREHOSE_KEY,
    ),
    has_api=True,
    request_headers=("X-Axiom-Client", "X-Axiom-Org-Id", "X-Axiom-CSV-Fields", "X-Axiom-Event-Labels"),
    response_headers=("X-RateLimit-Scope", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    credentials=(
        Credential(
            "axiom",
            "Authorization",
            "`Bearer TOKEN`: a personal token (`xapt-…`) or an API token (`xaat-…`); to ingest also Basic, with the "
            "token as the password. "
            "The header `X-Axiom-Org-Id` names the organisation that a personal token is used for.",
        ),
    ),
    error=AxiomError,
)
