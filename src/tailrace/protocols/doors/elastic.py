"""Elastic's bulk and document APIs: an index is a dataset, a document an event.

A document with an id is stored once; events are neither changed nor deleted by it. docs/doors/elastic.md is for users.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from tailrace.access import Grant
from tailrace.events import (
    BadRequest,
    OpenDataset,
    Receipt,
    Rejection,
    TailraceError,
    Unauthorized,
)
from tailrace.parsing import parse_documents
from tailrace.protocols.destinations import NO_LABELS, Delivery, attempt, dataset_of
from tailrace.protocols.doors import elastic_setup as setup
from tailrace.protocols.doors.elastic_bulk import (
    ID,
    OWN_ID,
    BulkOperation,
    BulkRequest,
    Failure,
    IndexBatch,
    conflict,
    error_type,
    failure_of,
    has_own_id,
    id_failure,
    items,
    read_bulk,
    with_ids,
)
from tailrace.protocols.doors.elastic_setup import PRODUCT, TOKENS
from tailrace.protocols.doors.filter_path import FilterPath, filter_of
from tailrace.protocols.http import (
    REJECTION_WORK_BYTES,
    WORST_CASE_FACTOR,
    BodyDoc,
    Handler,
    IngestService,
    ParameterDoc,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    cached,
    decoded_body,
    query_values_of,
    retry_headers,
)
from tailrace.protocols.tokens import grant_of

TIMES = ("_time", "@timestamp")  # fields, of which the first that a document has is its time
GENERATED_ID_BYTES = 15  # which become 20 characters, as Elasticsearch's have
NO_PIPELINE = "_none"
PIPELINE_IGNORED = (
    b"warning",
    b'299 Tailrace "there are no ingest pipelines here: documents are stored as they were sent"',
)
_CHALLENGES = ((b"www-authenticate", b'Basic realm="tailrace", charset="UTF-8"'), (b"www-authenticate", b"ApiKey"))


class ElasticOptions(Struct, frozen=True):
    """The settings of the protocol."""

    id_window_s: Annotated[
        float,
        Meta(ge=0, le=30 * 86_400, description="Time in which a document with an `_id` of a dataset is stored once."),
    ] = 86_400.0


class ElasticCause(Struct, frozen=True):
    """What an error is about."""

    type: str
    reason: str


class ElasticFault(Struct, frozen=True):
    """An error, and the errors that it comes from: itself."""

    root_cause: list[ElasticCause]
    type: str
    reason: str


class ElasticError(Struct, frozen=True):
    """The body of every error."""

    error: ElasticFault
    status: int


class ElasticBulk(Struct, frozen=True):
    """The answer to a bulk request: an item for each operation, in order."""

    took: int  # ms
    errors: bool  # whether any item has an error
    items: list[dict[str, Any]]


class ElasticShards(Struct, frozen=True):
    """Where a document is stored."""

    total: int = 1
    successful: int = 1
    failed: int = 0


class ElasticDocument(Struct, frozen=True):
    """The answer to one document."""

    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    version: int = msgspec.field(name="_version", default=1)
    result: str = "created"
    shards: ElasticShards = msgspec.field(name="_shards", default=ElasticShards())


class _Parameters(Struct, frozen=True):
    """What a request says in its query."""

    selection: FilterPath
    times: tuple[str, ...]
    is_strict: bool  # whether it is only for a dataset that there is
    has_pipeline: bool
    creates: bool  # of one document
    is_pretty: bool


@cached
def _parameters(sent: bytes) -> _Parameters:
    query = query_values_of(sent)
    times = query.get("timestamp-field", "")
    return _Parameters(
        filter_of(query.get("filter_path", "")),
        (times,) if times else TIMES,
        any(query.get(name) in ("", "true") for name in ("require_alias", "require_data_stream")),
        query.get("pipeline", NO_PIPELINE) not in ("", NO_PIPELINE),
        query.get("op_type") == "create",
        query.get("pretty") in ("", "true"),
    )


async def bulk(request: Request, service: IngestService) -> Response:
    """Answer `POST` and `PUT` to `/_bulk`, and to `_bulk` behind an index or a dataset."""
    began_s = time.perf_counter()
    grant, parameters = grant_of(request, service, TOKENS), _parameters(request.query)
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    read = partial(
        read_bulk,
        body,
        dataset_of=partial(_dataset_of, request, grant),
        times=parameters.times,
        limits=service.limits,
        received_ns=request.received_ns,
    )
    sent = await service.parse(lambda in_bulk: read(in_bulk=in_bulk), body)
    if not sent.operations:
        raise BadRequest("request body is required: action lines, each with its document in the line behind it")
    if sent.unnamed is not None and not sent.batches:
        raise sent.unnamed
    failures = await _store(sent, request, service, grant, is_strict=parameters.is_strict)
    took_ms = int(1000 * (time.perf_counter() - began_s))

    def answer() -> bytes:
        return items(sent.operations, failures, request.params.get("index", ""), parameters.selection, took_ms)

    said = await service.offload(answer, REJECTION_WORK_BYTES * len(sent.operations))
    piped = parameters.has_pipeline or any(operation.pipeline for operation in set(sent.operations))
    return _finished(Response(200, said), parameters, piped=piped)


async def document(request: Request, service: IngestService, *, creates: bool = False) -> Response:
    """Answer `/{index}/_doc` and `/{index}/_doc/{id}`: one document, with a new id where it has none."""
    grant, parameters = grant_of(request, service, TOKENS), _parameters(request.query)
    creates = creates or parameters.creates
    identity = request.params.get("id", "")
    body = await decoded_body(request, service, service.limits.max_body_bytes)
    refusal = id_failure(identity) or (OWN_ID if identity and has_own_id(body) else None)
    if refusal is None:
        parsed = await service.offload(
            lambda: parse_documents(
                [body], times=parameters.times, limits=service.limits, received_ns=request.received_ns
            ),
            WORST_CASE_FACTOR * len(body),
        )
        refusal = next((_refused(rejection) for rejection in parsed.rejections), None)
    if refusal is not None:
        return _finished(_failed(refusal), parameters, piped=False)
    operation = BulkOperation(
        "create" if creates else "index",
        request.params.get("index", ""),
        identity or urlsafe_b64encode(request.outcome.generated_id(GENERATED_ID_BYTES)).decode(),
        is_strict=parameters.is_strict,
    )
    batch = with_ids(IndexBatch(parsed, [0], [operation.id]))
    dataset = _dataset_of(request, grant, operation.index)
    sent = BulkRequest([operation], {dataset: batch}, {})
    failures = await _store(sent, request, service, grant, is_strict=parameters.is_strict)
    if failures:
        return _finished(_failed(failures[0]), parameters, piped=False)
    said = msgspec.to_builtins(ElasticDocument(operation.index or dataset, operation.id))
    answer = Response(201, msgspec.json.encode(parameters.selection.apply(said)))
    return _finished(answer, parameters, piped=parameters.has_pipeline)


def _dataset_of(request: Request, grant: Grant, index: str) -> str:
    """Return the dataset of an index: of a path that names a dataset that one, whatever shippers call their index."""
    path = request.params
    return path.get("dataset") or dataset_of(request, grant, named=index or path.get("index", ""))


async def _store(
    sent: BulkRequest, request: Request, service: IngestService, grant: Grant, *, is_strict: bool
) -> dict[int, Failure]:
    """Store the events, each dataset's at once; return the failures, those of before among them.

    Where nothing at all is stored, and a later attempt may help, raise why.
    """
    window_s = request.options.id_window_s if isinstance(request.options, ElasticOptions) else 0.0

    def store(name: str, dataset: OpenDataset) -> Awaitable[Receipt]:
        batch = sent.batches[name]
        more: dict[str, Any] = {"received_ns": request.received_ns, "labels": NO_LABELS}
        if not (batch.ids and window_s):
            return service.ingest(batch.parsed, dataset, request.outcome, **more)
        ids = [identity or None for identity in batch.ids]
        once = partial(service.ingest_once, id_field=ID, window_s=window_s)
        return once(batch.parsed, ids, dataset, request.outcome, **more)

    creates = not (is_strict or any(operation.is_strict for operation in set(sent.operations)))
    delivery = await attempt(sent.batches, store, service, grant, creates=creates)
    retryable = next((error for error in delivery.refusals.values() if error.retryable), None)
    if retryable is not None and not delivery.receipts:
        raise retryable
    failures = dict(sent.failures)
    for name, refusal in delivery.refusals.items():
        batch = sent.batches[name]
        request.outcome.reject_all(len(batch.numbers), refusal)
        failures.update(dict.fromkeys(batch.numbers, failure_of(refusal)))
    _add_conflicts(failures, sent, delivery)
    _note(request, sent)
    return failures


def _add_conflicts(failures: dict[int, Failure], sent: BulkRequest, delivery: Delivery) -> None:
    """Add the operations that would create a document that there is; one that indexes it is answered as before."""
    for name, receipt in delivery.receipts.items():
        numbers = sent.batches[name].numbers
        for position in receipt.repeated:
            operation = sent.operations[numbers[position]]
            if operation.action == "create":
                failures[numbers[position]] = conflict(operation.id)


def _note(request: Request, sent: BulkRequest) -> None:
    """Note the operations of which no parser knows, those that are no event's."""
    noted = {number for number, failure in sent.failures.items() if failure.type != "document_parsing_exception"}
    request.outcome.reject(
        [Rejection(number, sent.failures[number].reason, "invalid_action") for number in sorted(noted)]
    )


def _refused(rejection: Rejection) -> Failure:
    return Failure(400, "document_parsing_exception", rejection.reason)


def _failed(failure: Failure) -> Response:
    return Response(failure.status, msgspec.json.encode(_error(failure.status, failure.type, failure.reason)))


def _error(status: int, type: str, reason: str) -> ElasticError:
    return ElasticError(ElasticFault([ElasticCause(type, reason)], type, reason), status)


def _finished(answer: Response, parameters: _Parameters, *, piped: bool) -> Response:
    if parameters.is_pretty:
        answer = replace(answer, body=msgspec.json.format(answer.body, indent=2) + b"\n")
    return replace(answer, headers=(*answer.headers, PIPELINE_IGNORED)) if piped else answer


def render_error(error: TailraceError) -> Response:
    """Return an error in Elasticsearch's shape, with when to come again."""
    headers = [*retry_headers(error)]
    if isinstance(error, Unauthorized):
        headers += _CHALLENGES
    body = msgspec.json.encode(_error(error.status, error_type(error), error.message))
    return Response(error.status, body, headers=tuple(headers))


def finish(request: Request, service: IngestService, response: Response) -> Response:
    """Return an answer with the header by which Elastic's clients know that they are right here."""
    return replace(response, headers=(*response.headers, PRODUCT))


# Routes.

# What Elasticsearch has and is not here: its clients are told so in its shape.
UNSERVED = (
    "/_aliases",
    "/_all",
    "/_analyze",
    "/_cat",
    "/_count",
    "/_mget",
    "/_msearch",
    "/_search",
    "/_sql",
    "/_tasks",
)
BASES = ("", "/v1/datasets/{dataset}/elastic", "/v1/ingest/{dataset}/elastic")
OPENOBSERVE = "/api/{organization}"  # where OpenObserve has the bulk API, for an organisation that the token says
_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 429, 503)
_LINES = '{"create":{"_id":"7"}}\n{"@timestamp":"2026-01-02T03:04:05Z","message":"hello"}\n'
_EVENT = {"@timestamp": "2026-01-02T03:04:05Z", "message": "hello"}
_FILTER = ParameterDoc("filter_path", "The parts of the answer that are wanted, separated by commas.")
_TIME = ParameterDoc("timestamp-field", "The field with the time of an event, instead of _time or @timestamp.")
_ALIAS = ParameterDoc("require_alias", "`true` for a dataset that there must be: it is not made.")
_BULK = RouteDoc(
    "Takes documents as events: action lines `index` or `create`, each with its document in the line behind it.",
    {200: ElasticBulk},
    {
        "application/x-ndjson": BodyDoc(str, _LINES),
        "application/json": BodyDoc(str, _LINES),
        "application/vnd.elasticsearch+x-ndjson": BodyDoc(str, _LINES),
    },
    _REFUSALS,
    (_FILTER, _TIME, _ALIAS),
)
_DOCUMENT = RouteDoc(
    "Takes one document as an event.",
    {201: (ElasticDocument, dict[str, Any])},  # of which filter_path may leave parts
    {"application/json": BodyDoc(dict[str, Any], _EVENT)},
    (*_REFUSALS[:4], 408, 409, *_REFUSALS[5:]),
    (_FILTER, _TIME, _ALIAS),
)


def _asked(about: str, *, public: bool = False) -> RouteDoc:
    return RouteDoc(about, {200: dict[str, Any]}, refusals=(401, 503), credential=not public)


def _setting_routes(base: str, path: str, about: str, handler: Handler) -> tuple[Route, ...]:
    taken = RouteDoc(f"Acknowledges {about}, which is not kept.", {200: dict[str, Any]}, refusals=(401, 503))
    return (
        Route("GET", f"{base}{path}", handler, _asked(f"Says that there is {about}.")),
        Route("PUT", f"{base}{path}", handler, taken),
    )


def _event_routes(base: str) -> tuple[Route, ...]:
    """Return the routes below a base that take events."""
    index = f"{base}/{{index}}"
    create = partial(document, creates=True)
    return (
        Route("POST", f"{base}/_bulk", bulk, _BULK),
        Route("PUT", f"{base}/_bulk", bulk, _BULK),
        Route("POST", f"{index}/_bulk", bulk, _BULK),
        Route("PUT", f"{index}/_bulk", bulk, _BULK),
        Route("POST", f"{index}/_doc", document, _DOCUMENT),
        Route("POST", f"{index}/_doc/{{id}}", document, _DOCUMENT),
        Route("PUT", f"{index}/_doc/{{id}}", document, _DOCUMENT),
        Route("POST", f"{index}/_create/{{id}}", create, _DOCUMENT),
        Route("PUT", f"{index}/_create/{{id}}", create, _DOCUMENT),
    )


def _setup_routes(base: str) -> tuple[Route, ...]:
    """Return the routes below a base that clients ask first."""
    return (
        Route("GET", base or "/", setup.info, _asked("Says which version of Elasticsearch this is like.", public=True)),
        Route("GET", f"{base}/_license", setup.license_info, _asked("Says that the licence is active.")),
        Route("GET", f"{base}/_xpack", setup.xpack, _asked("Says which features of Elasticsearch there are: none.")),
        Route("GET", f"{base}/_cluster/health", setup.health, _asked("Says whether events are taken.")),
        Route("GET", f"{base}/_nodes", setup.nodes, _asked("Says which nodes there are: this one.")),
        Route("GET", f"{base}/_nodes/http", setup.nodes, _asked("Says which nodes there are: this one.")),
        Route("GET", f"{base}/_nodes/_all/http", setup.nodes, _asked("Says which nodes there are: this one.")),
        *(
            Route(method, f"{base}{path}", setup.refresh, _asked("Says that what is stored is visible: always."))
            for method in ("GET", "POST")
            for path in ("/_refresh", "/{index}/_refresh")
        ),
        *_setting_routes(base, "/_index_template/{name}", "an index template", setup.template),
        *_setting_routes(base, "/_template/{name}", "a legacy index template", setup.legacy_template),
        *_setting_routes(base, "/_ilm/policy/{name}", "an index lifecycle policy", setup.policy),
        *_setting_routes(base, "/_ingest/pipeline/{name}", "an ingest pipeline", setup.pipeline),
        *_setting_routes(base, "/_data_stream/{name}", "a data stream", setup.data_stream),
    )


PROTOCOL = Protocol(
    name="elastic",
    title="Elastic",
    mount="/insert/elasticsearch",  # where VictoriaLogs has it
    own_paths=UNSERVED,
    routes=(
        *(route for base in BASES for route in (*_setup_routes(base), *_event_routes(base))),
        *_setup_routes(OPENOBSERVE),
        Route("POST", f"{OPENOBSERVE}/_bulk", bulk, _BULK),
        Route("POST", "/v1/datasets/{dataset}/elastic", bulk, _BULK),
    ),
    render_error=render_error,
    error=ElasticError,
    options=ElasticOptions,
    is_door=True,
    finish=finish,
    request_headers=("X-Elastic-Client-Meta", "X-Elastic-Product-Origin", "X-Opaque-Id"),
    response_headers=("X-Elastic-Product",),
)
