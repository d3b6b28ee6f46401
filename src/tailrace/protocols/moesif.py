"""Moesif's collector API: API calls and actions are events; users, companies and subscriptions are upserted."""

import hashlib
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tailrace.access import KeyGrant, KeyKind
from tailrace.events import ParsedBatch, Rejection, TailraceError, TooLarge, Unauthorized
from tailrace.parsing import Signal, otlp_answer, parse_otlp
from tailrace.protocols import moesif_docs as docs
from tailrace.protocols.http import (
    PROTOBUF_TYPES,
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    Claims,
    Credential,
    Handler,
    IngestService,
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
from tailrace.protocols.moesif_docs import Accepted, Config, MoesifError, Probed, RefusedElement
from tailrace.protocols.moesif_entities import (
    COMPANY,
    PRIMARY_KEY,
    SUBSCRIPTION,
    USER,
    CheckedEntities,
    Entity,
    check_entities,
    merged,
)
from tailrace.protocols.moesif_events import ACTION, CALL, CheckedEvents, EventKind, EventSender, check_events, in_order

APPLICATION_ID = b"x-moesif-application-id"
MIN_KEY_LENGTH = 50  # Moesif's Node client refuses shorter application ids
KEY_TAIL_LENGTH = 10  # last characters, by which Moesif's Kong plugin tells applications apart
SMALL_BATCH_BYTES = 250 * 1024  # decoded, of /moesifapi/events/batch, as the first document has it
MAX_REQUEST_BYTES = 50 * 1024 * 1024  # decoded, of every other route
MAX_IDS = 4  # application ids of one request that are looked up
MAX_OTLP_BYTES = 16 * 1024 * 1024  # after content decoding; parsed it takes several times its size
TRANSACTION_ID = "transaction_id"  # the field of an event by which it is stored once
REGION = "self-hosted"
TAG_LENGTH = 32
OTLP_TYPES: dict[Signal, str] = {"traces": "span", "logs": "log", "metrics": "metric"}  # `event_type`


class MoesifOptions(Struct, frozen=True):
    """The settings of the protocol."""

    window_s: Annotated[
        float,
        Meta(
            ge=0,
            le=30 * 86_400,
            description="Time in which a `transaction_id` of a Moesif application is stored once.",
        ),
    ] = 86_400.0
    max_age_s: Annotated[
        float, Meta(ge=0, description="Age past which a Moesif event is refused; 0 takes every age.")
    ] = 0.0


class TaggedDocument(Struct, frozen=True):
    """A document that SDKs cache, with its entity tag."""

    body: bytes
    tag: bytes


@lru_cache(maxsize=10_000)
def config_of(organisation: str, application: str) -> TaggedDocument:
    """Return the configuration of an application; the same in every run."""
    return _tagged(msgspec.json.encode(Config(organisation, application)))


def _tagged(body: bytes) -> TaggedDocument:
    return TaggedDocument(body, hashlib.sha256(body).hexdigest()[:TAG_LENGTH].encode())


RULES = _tagged(b"[]")


def grant_of(request: Request, service: IngestService) -> KeyGrant:
    """Return the grant of a request's application id: of several ids the first that is known. Raise Unauthorized.

    It is looked up once in a request.
    """
    if request.grant is None:
        try:
            request.grant = _look_up(request, service)
        except Unauthorized as error:
            request.grant = error
    if isinstance(request.grant, Unauthorized):
        raise request.grant
    return request.grant


def _look_up(request: Request, service: IngestService) -> KeyGrant:
    sent = request.header_values(APPLICATION_ID)
    if not sent:
        raise Unauthorized("no application id: send the header 'X-Moesif-Application-Id'")
    refusal: Unauthorized | None = None
    for value in sent[:MAX_IDS]:
        try:
            return request.sent_by(service.access.authenticate_key("moesif", value.decode("latin-1").strip()))
        except Unauthorized as error:
            refusal = refusal or error
    raise Unauthorized(
        f"X-Moesif-Application-Id is refused: {refusal.message if refusal else ''}; "
        "an id is made with 'tailrace key create' or POST /tailrace/v1/keys"
    )


async def decoded(request: Request, service: IngestService, max_bytes: int) -> bytes:
    """Return the body without its content encoding. Raise TooLarge, UnsupportedEncoding, BadRequest."""
    limit_bytes = min(max_bytes, service.limits.max_body_bytes)
    try:
        return await decoded_body(request, service, max_bytes)
    except TooLarge:
        limit = " (max_body_bytes)" if limit_bytes < max_bytes else f", the limit of {request.path}"
        raise TooLarge(f"the body is larger than {limit_bytes} bytes after content decoding{limit}") from None


def events(kind: EventKind, *, single: bool, max_bytes: int = MAX_REQUEST_BYTES) -> Handler:
    """Return the handler of a route for API calls or actions."""

    async def ingest(request: Request, service: IngestService) -> Response:
        dataset = service.check_dataset(grant_of(request, service).datasets[0])
        body = await decoded(request, service, max_bytes)
        sender = EventSender(request.peer, request.received_ns, request.options.max_age_s)

        def check() -> CheckedEvents:
            return check_events(body, kind, single=single, sender=sender, limits=service.limits)

        checked = await service.offload(check, WORST_CASE_FACTOR * len(body))
        labels = {"event_type": kind.name}
        if any(checked.transaction_ids) and request.options.window_s:
            receipt = await service.ingest_once(
                checked.parsed,
                checked.transaction_ids,
                dataset,
                request.outcome,
                id_field=TRANSACTION_ID,
                window_s=request.options.window_s,
                received_ns=request.received_ns,
                labels=labels,
            )
        else:
            receipt = await service.ingest(
                checked.parsed, dataset, request.outcome, received_ns=request.received_ns, labels=labels
            )
        return await answer(checked.parsed.count, receipt.rejections, service)

    return ingest


def states(entity: Entity, *, single: bool) -> Handler:
    """Return the handler of a route for users, companies or subscriptions."""

    async def ingest(request: Request, service: IngestService) -> Response:
        grant = grant_of(request, service)
        application = grant.datasets[0]
        service.check_dataset(application)
        body = await decoded(request, service, MAX_REQUEST_BYTES)

        def check() -> CheckedEntities:
            return check_entities(body, entity, single=single, limits=service.limits, received_ns=request.received_ns)

        changes = await service.offload(check, WORST_CASE_FACTOR * len(body))
        request.outcome.reject(changes.rejections)
        rejections = changes.rejections
        if changes.upserts:
            dataset = await service.ensure_dataset(
                f"{application}-{entity.name}",
                organisation=grant.organisation,
                actor=grant.actor,
                primary_key=PRIMARY_KEY,
            )
            rejections += tuple(
                await service.upsert(changes.upserts, merged, dataset, request.outcome, received_ns=request.received_ns)
            )
        sent = len(changes.upserts) + len(changes.rejections)
        return await answer(sent - len(rejections), in_order(rejections), service)

    return ingest


def otlp(signal: Signal) -> Handler:
    """Return the handler of a route for OTLP, which answers as the OTLP specification says."""

    async def ingest(request: Request, service: IngestService) -> Response:
        dataset = service.check_dataset(grant_of(request, service).datasets[0])
        body = await decoded(request, service, MAX_OTLP_BYTES)
        content_type = request.media_type
        protobuf = content_type in PROTOBUF_TYPES

        def parse_body() -> tuple[Signal, ParsedBatch]:
            return parse_otlp(
                body,
                signal=signal,
                protobuf=protobuf,
                service_field="service",
                limits=service.limits,
                max_event_bytes=service.limits.max_event_bytes,
                received_ns=request.received_ns,
            )

        signal_of_body, parsed = await service.offload(parse_body, WORST_CASE_FACTOR * len(body))
        receipt = await service.ingest(
            parsed,
            dataset,
            request.outcome,
            received_ns=request.received_ns,
            labels={"event_type": OTLP_TYPES[signal_of_body]},
        )
        reason = receipt.rejections[0].reason if receipt.rejections else ""
        answer_body = otlp_answer(signal_of_body, protobuf=protobuf, rejected=len(receipt.rejections), reason=reason)
        return Response(200, answer_body, content_type=content_type if protobuf else b"application/json")

    return ingest


async def answer(accepted: int, rejections: tuple[Rejection, ...], service: IngestService) -> Response:
    """Return 201 where something was stored or nothing sent; 400 where all of it was refused."""

    def render() -> Response:
        refused = [RefusedElement(rejection.index, rejection.reason) for rejection in rejections]
        if accepted or not refused:
            return Response(201, msgspec.json.encode(Accepted(accepted, refused)))
        first = refused[0]
        message = f"nothing of the {len(refused)} sent is valid; element {first.index}: {first.reason}"
        return Response(400, msgspec.json.encode(MoesifError("invalid", message, refused)))

    return await service.offload(render, REJECTION_WORK_BYTES * len(rejections))


async def config(request: Request, service: IngestService) -> Response:
    """Answer `GET /v1/config`."""
    grant = grant_of(request, service)
    return _unless_cached(request, config_of(grant.organisation, grant.datasets[0]))


async def rules(request: Request, service: IngestService) -> Response:
    """Answer `GET /v1/rules` with no rules: they are managed in Moesif's own product."""
    grant_of(request, service)
    return _unless_cached(request, RULES)


def _unless_cached(request: Request, document: TaggedDocument) -> Response:
    cached_tags = [
        tag.strip().removeprefix(b"W/").strip(b'"') for tag in (request.header(b"if-none-match") or b"").split(b",")
    ]
    etag = (b"etag", b'"' + document.tag + b'"')
    if document.tag in cached_tags:
        return Response(304, headers=(etag,))
    return Response(200, document.body, headers=(etag,))


async def probe(request: Request, service: IngestService) -> Response:
    """Answer `GET /health/probe`: whether events are accepted."""
    if service.closed is not None:
        raise service.closed
    return Response(200, msgspec.json.encode(Probed(True, REGION)))


def finish(request: Request, service: IngestService, response: Response) -> Response:
    """Add the tags of the application's configuration and rules, which tell SDKs that they must fetch them again."""
    try:
        grant = grant_of(request, service)
        tag = config_of(grant.organisation, grant.datasets[0]).tag
    except TailraceError:  # where the request needs a key, this error is in the response already
        tag = config_of("", "").tag
    tags = ((b"x-moesif-config-etag", tag), (b"x-moesif-rules-tag", RULES.tag))
    return msgspec.structs.replace(response, headers=(*response.headers, *tags))


def render_error(error: TailraceError) -> Response:
    """Return the response of an error: `{"error", "message"}`, and when to retry."""
    body = msgspec.json.encode(MoesifError(error.code, error.message))
    return Response(error.status, body, headers=retry_headers(error))


_ROUTES: tuple[tuple[str, str, Handler, RouteDoc], ...] = (
    ("POST", "/events", events(CALL, single=True), docs.CALL_DOC),
    ("POST", "/events/batch", events(CALL, single=False), docs.CALLS_DOC),
    ("POST", "/actions", events(ACTION, single=True), docs.ACTION_DOC),
    ("POST", "/actions/batch", events(ACTION, single=False), docs.ACTIONS_DOC),
    ("POST", "/users", states(USER, single=True), docs.USER_DOC),
    ("POST", "/users/batch", states(USER, single=False), docs.USERS_DOC),
    ("POST", "/companies", states(COMPANY, single=True), docs.COMPANY_DOC),
    ("POST", "/companies/batch", states(COMPANY, single=False), docs.COMPANIES_DOC),
    ("POST", "/subscriptions", states(SUBSCRIPTION, single=True), docs.SUBSCRIPTION_DOC),
    ("POST", "/subscriptions/batch", states(SUBSCRIPTION, single=False), docs.SUBSCRIPTIONS_DOC),
    ("POST", "/traces", otlp("traces"), docs.otlp_doc("traces")),
    ("POST", "/logs", otlp("logs"), docs.otlp_doc("logs")),
    # Moesif's documents have the signal in the base address, to which exporters append it.
    ("POST", "/traces/v1/traces", otlp("traces"), docs.otlp_doc("traces")),
    ("POST", "/logs/v1/logs", otlp("logs"), docs.otlp_doc("logs")),
    ("GET", "/config", config, docs.CONFIG_DOC),
    ("GET", "/rules", rules, docs.RULES_DOC),
)

_small_batch = events(CALL, single=False, max_bytes=SMALL_BATCH_BYTES)
_KEY_EXAMPLE = r"{\"request\":{\"time\":\"$(date -u +%FT%TZ)\",\"verb\":\"GET\",\"uri\":\"https://example.com/\"}}"
_COLLECTIONS = frozenset({"events", "actions", "users", "companies", "subscriptions"})
_READ_PATHS = frozenset({"config", "rules"})
_MANAGEMENT = "~"  # a segment of Moesif's management API, never the name of a dataset


def claims(method: str, segments: Segments) -> PathClaim:
    """Return whether a path under /v1 is Moesif's: of events and entities, or one that its SDKs read."""
    if len(segments) == 1 and segments[0] in _READ_PATHS:
        return PathClaim.OWN if method in {"GET", "HEAD"} else PathClaim.NONE
    if _COLLECTIONS.isdisjoint(segments[:1]) or segments[1:] not in {(), ("batch",)}:
        return PathClaim.NONE
    # Other protocols have paths below these names, but no POST to them.
    return PathClaim.OWN if method == "POST" or len(segments) == 2 else PathClaim.ANY


PROTOCOL = Protocol(
    name="moesif",
    title="Moesif",
    mount="/moesif",
    routes=(
        Route("POST", "/moesifapi/events", events(CALL, single=True), docs.CALL_DOC),
        Route("POST", "/moesifapi/events/batch", _small_batch, docs.CALLS_DOC),
        *(
            Route(method, base + path, handler, doc)
            for base in ("/v1", "/collector/v1")
            for method, path, handler, doc in _ROUTES
        ),
        Route("GET", "/health/probe", probe, docs.PROBE_DOC),
    ),
    render_error=render_error,
    options=MoesifOptions,
    own_paths=("/moesifapi", "/collector/v1", "/health/probe"),
    hosts=("api.moesif.net",),
    claims=Claims(paths=claims, key_header=APPLICATION_ID, absent=(_MANAGEMENT,)),
    key=KeyKind(
        "moesif",
        "dataset",
        length=64,
        min_given_length=MIN_KEY_LENGTH,
        tail_length=KEY_TAIL_LENGTH,
        hint="the application's events go there",
    ),
    key_usage=(
        "Set:   the client's base URL (baseUri, BASE_URI, api_endpoint) to {url}/moesif, its application id to {key}",
        'Try:   curl -sS {url}/moesif/v1/events -H "X-Moesif-Application-Id: {key}" -d "' + _KEY_EXAMPLE + '"',
    ),
    request_headers=("X-Moesif-Application-Id", "X-Moesif-SDK"),
    response_headers=("X-Moesif-Config-ETag", "X-Moesif-Rules-Tag"),
    finish=finish,
    credentials=(Credential("moesif", "X-Moesif-Application-Id", "An application id."),),
    error=MoesifError,
)
