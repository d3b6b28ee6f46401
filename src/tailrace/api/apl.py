"""APL over HTTP: the query routes of Axiom's API, in all the formats of its answers."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tailrace.access import Grant, Usage, require_own, require_query
from tailrace.api import execution, views
from tailrace.api.errors import Error, error_body
from tailrace.api.media import JSON, PLAIN, TABLES, accepted, answered, begun
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute, under
from tailrace.api.services import Services, decode_json, read_body, read_json
from tailrace.api.times import time_range
from tailrace.events import BadRequest, Forbidden, QueryMissing, TailraceError, checked_text
from tailrace.events.outcome import RequestOutcome, outcome_of
from tailrace.protocols.http import ParameterDoc
from tailrace.query import Interrupt
from tailrace.query.answers import to_legacy, to_result, to_tabular, to_tabular_rows
from tailrace.query.answers.legacy import LegacyAnswer
from tailrace.query.answers.tabular import TabularAnswer
from tailrace.query.apl.times import SECOND
from tailrace.query.apl_request import DEFAULT_BIN_AUTO_GROUPS, MAX_BIN_AUTO_GROUPS, AplRequest, FieldOrder, Variable
from tailrace.query.apl_result import AplResult, QueryMessage
from tailrace.query.legacy import LegacyQuery, compile_legacy, duration_ns
from tailrace.query.run import run_apl

MAX_DEFAULT_LIMIT = 1_000_000  # rows that a request may ask for by `defaultLimit`
MAX_BATCH = 100  # queries of one batch
MAX_CONCURRENCY = 20  # of a batch
DEFAULT_CONCURRENCY = 10

MAX_HOLD_S = 30.0  # of an answer that waits for events; connections may be ended that are silent for longer

HISTORY_HEADER = "X-Axiom-History-Query-Id"
MESSAGES_HEADER = "X-Tailrace-Messages"  # a JSON array: what CSV, NDJSON and Arrow have no place for
MAX_MESSAGES_BYTES = 4096  # of that header
MAX_SAVED_DATASET_LENGTH = 128  # characters, as of any name of a dataset
SAVED_KINDS = ("analytics", "stream", "apl")


class AplBody(Struct, rename="camel"):
    """The body of an APL query; members that are not known are passed over."""

    apl: str = ""
    start_time: str | None = None
    end_time: str | None = None
    cursor: str | None = None
    include_cursor: bool | None = None
    include_cursor_field: bool | None = None
    default_limit: int | None = None
    max_rows: int | None = None
    default_order: list[FieldOrder] | None = None
    max_bin_auto_groups: int | None = None
    variables: dict[str, Variable] | None = None


class BatchItem(Struct, rename="camel"):
    """One query of a batch."""

    query_id: str
    apl_request: AplBody | None = None
    mpl_request: Any = None


class BatchAnswer(Struct, rename="camel"):
    """What became of one query of a batch: its answer, or why there is none."""

    query_id: str
    status: int
    result: msgspec.Raw | UnsetType = UNSET
    error: Error | UnsetType = UNSET


Encode = Callable[[AplResult], bytes]
Work = Callable[["asyncio.Future[None]"], Coroutine[Any, Any, bytes]]

FORMATS: Mapping[str, Encode] = {
    "legacy": to_legacy,
    "tabular": to_tabular,
    "tabular-rows": to_tabular_rows,
}


async def query(request: Request, services: Services, grant: Grant) -> Response:
    """Answer an APL query, in the format that is asked for."""
    params = request.query_params
    form = params.get("format") or "legacy"
    if form not in FORMATS:
        raise BadRequest(f"format is {form!r}, but it may be {', '.join(FORMATS)}")
    media_type = accepted(request.headers.get("accept", JSON))
    encode: Callable[[AplResult], bytes | Iterator[bytes]]
    encode = FORMATS[form] if media_type == JSON else _plain(media_type)
    kind = _saved_kind(params.get("saveAsKind"))
    dataset = checked_text(params.get("id") or "", "the parameter id", most=MAX_SAVED_DATASET_LENGTH)
    body = _apl_body(await read_body(request))
    if not body.cursor:
        body.cursor = params.get("cursor") or None  # where the JavaScript client has it
    apl_request = _request(body, totals=_flag(params.get("totals"), True), match_cursors=encode is to_legacy)

    is_fresh = _is_fresh(request)
    messages: tuple[QueryMessage, ...] = ()

    def work(interrupt: Interrupt) -> bytes | Iterator[bytes]:
        nonlocal messages
        result = run(services, grant, apl_request, interrupt, is_fresh=is_fresh)
        messages = result.status.messages
        return begun(encode(result))

    content = await execution.run(request, services, grant, work)
    headers = {"content-type": media_type}
    if media_type != JSON and messages:
        headers[MESSAGES_HEADER] = _messages_header(messages)
    if kind is not None:
        saved = msgspec.to_builtins(body)
        headers[HISTORY_HEADER] = await asyncio.to_thread(
            services.saved_queries.save, kind, saved, dataset=dataset, who=grant.user_id
        )
    return answered(execution.counted(services, grant, content), headers)


async def query_edge(request: Request, services: Services, grant: Grant) -> Response:
    """Answer an APL query, for API tokens only, as Axiom's edge endpoint does."""
    _require_api_token(grant)
    return await query(request, services, grant)


async def query_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Answer a structured query over a dataset, as Axiom's clients had it before APL.

    With a `streaming-duration` it waits so long at most for events that match, as long as there are none.
    """
    dataset = request.path_params["id"]
    hold_s = _hold_s(request.query_params.get("streaming-duration"))
    kind = _saved_kind(request.query_params.get("saveAsKind"))
    sent = await read_body(request)
    body = decode_json(sent, LegacyQuery)
    compiled = compile_legacy(dataset, body)
    start_ns, end_ns = time_range(body.start_time, body.end_time)
    apl_request = AplRequest(
        apl="",
        program=compiled.program,
        start_ns=start_ns,
        end_ns=end_ns,
        cursor=body.cursor or request.query_params.get("cursor") or "",
        include_cursor=bool(body.include_cursor),
        include_cursor_field=True,
    )

    is_fresh = _is_fresh(request)

    def work(interrupt: Interrupt) -> tuple[bytes, bool]:
        result = run(services, grant, apl_request, interrupt, is_fresh=is_fresh)
        return to_legacy(result, compiled.ops), result.status.rows_matched > 0

    if hold_s:
        services.lake.check(dataset)
        require_query(grant, dataset)
        content = await _held(request, services, grant, dataset, work, hold_s, end_ns)
    else:
        content, _ = await execution.run(request, services, grant, work)
    headers = {"content-type": JSON}
    if kind is not None:
        headers[HISTORY_HEADER] = await asyncio.to_thread(
            services.saved_queries.save, kind, msgspec.json.decode(sent), dataset=dataset, who=grant.user_id
        )
    return Response(content, headers=headers)


async def query_batch(request: Request, services: Services, grant: Grant) -> Response:
    """Answer several APL queries, each by a server-sent event when it is done."""
    _require_api_token(grant)
    concurrency = _concurrency(request.query_params.get("maxConcurrency"))
    items = await read_json(request, list[BatchItem])
    if not items or len(items) > MAX_BATCH:
        raise BadRequest(f"the batch has {len(items)} queries, but it may have 1 to {MAX_BATCH}")
    ids = [item.query_id for item in items]
    if len(set(ids)) < len(ids):
        raise BadRequest("two queries of the batch have the same queryId")
    # Queries beyond the token's limit wait here instead of being refused.
    slots = asyncio.Semaphore(min(concurrency, services.query_limiter.limit))

    async def one(item: BatchItem, gone: "asyncio.Future[None]") -> bytes:
        async with slots:
            answer = await _batch_answer(item, services, grant, gone, outcome_of(request.scope))
        return b"data: " + msgspec.json.encode(answer) + b"\n\n"

    return BatchResponse(request, [partial(one, item) for item in items])


async def _held(
    request: Request,
    services: Services,
    grant: Grant,
    dataset: str,
    work: Callable[[Interrupt], tuple[bytes, bool]],
    hold_s: float,
    end_ns: int | None,
) -> bytes:
    """Return the answer once something matches, else after `hold_s`.

    Of a time that has passed nothing more can match: then it is given once the dataset has new events, which a client
    that follows it asks for next.
    """
    clock = asyncio.get_running_loop()
    until_s = clock.time() + hold_s
    async with execution.disconnection(request) as gone:
        with services.tails.reader(dataset, grant.token_id) as reader:
            while True:
                while reader.take() is not None:  # what came until now is in the answer
                    pass
                content, found = await execution.run_until(services, grant, work, gone)
                left_s = until_s - clock.time()
                if found or left_s <= 0:
                    return content
                coming = asyncio.ensure_future(reader.wait())
                either: set[asyncio.Future[Any]] = {coming, gone, reader.ended}
                try:
                    done, _ = await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    coming.cancel()
                if gone in done:
                    raise ClientDisconnect
                if not done or reader.ended in done or (end_ns is not None and end_ns <= time.time_ns()):
                    return content


class BatchResponse(Response):
    """Server-sent events, in the order in which what they tell of is done; stops when the client hangs up."""

    media_type = "text/event-stream"

    def __init__(self, request: Request, work: "list[Work]") -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._request = request
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with execution.disconnection(self._request) as gone:
            tasks = [asyncio.ensure_future(make(gone)) for make in self._work]
            try:
                for done in asyncio.as_completed(tasks):
                    await send({"type": "http.response.body", "body": await done, "more_body": True})
            except ClientDisconnect:
                return  # nobody reads on
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _batch_answer(
    item: BatchItem, services: Services, grant: Grant, gone: "asyncio.Future[None]", outcome: RequestOutcome
) -> BatchAnswer:
    try:
        if item.apl_request is None:
            raise BadRequest("the query has no aplRequest; other languages are not answered")
        if not item.apl_request.apl.strip():
            raise QueryMissing("the query has no apl")
        apl_request = _request(item.apl_request, totals=True, match_cursors=False)

        def work(interrupt: Interrupt) -> bytes:
            return to_tabular(run(services, grant, apl_request, interrupt))

        content = await execution.run_until(services, grant, work, gone)
    except TailraceError as error:
        outcome.parts.append(error)
        return BatchAnswer(item.query_id, error.status, error=error_body(error))
    return BatchAnswer(item.query_id, 200, result=msgspec.Raw(content))


def run(
    services: Services, grant: Grant, apl_request: AplRequest, interrupt: Interrupt, *, is_fresh: bool = False
) -> AplResult:
    """Run a query; one that `is_fresh` is not answered by what was answered before."""
    check = partial(require_query, grant)
    answers_of = "" if is_fresh else msgspec.json.encode([grant.organisation, grant.token_id]).decode()
    whole = with_definitions(msgspec.structs.replace(apl_request, answers_of=answers_of), services, grant)
    result = run_apl(
        services.lake,
        services.engine,
        whole,
        check=check,
        check_organisation=partial(require_own, grant),
        interrupt=interrupt,
    )
    services.access.budgets.spend(grant, Usage(rows=result.tables[0].rows.num_rows))
    return result


def _messages_header(messages: Sequence[QueryMessage]) -> str:
    """Return the messages as JSON in ASCII, as many of the first as a header may hold."""
    texts: list[str] = []
    size = len("[]")
    for message in messages:
        text = json.dumps(msgspec.to_builtins(message))
        size += len(text) + 1
        if size > MAX_MESSAGES_BYTES:
            break
        texts.append(text)
    return f"[{','.join(texts)}]"


def with_definitions(apl_request: AplRequest, services: Services, grant: Grant) -> AplRequest:
    """Return a query with what the organisation keeps beside its events: virtual fields, map fields, views."""
    return msgspec.structs.replace(
        apl_request,
        virtual_fields=services.fields.expressions(),
        map_fields=services.fields.shown_map_fields(),
        view=partial(views.readable_view, services, grant),
        notes=partial(_notes, services),
    )


def _notes(services: Services, dataset: str) -> dict[str, dict[str, str]]:
    """Return the units and the descriptions of a dataset's fields, where they have any."""
    notes = {
        name: {"unit": note.unit, "description": note.description}
        for name, note in services.fields.field_notes(dataset).items()
    }
    return {name: {key: text for key, text in note.items() if text} for name, note in notes.items()}


def _plain(media_type: str) -> Callable[[AplResult], Iterator[bytes]]:
    encode = PLAIN[media_type]
    return lambda result: encode(to_result(result))


def _apl_body(sent: bytes) -> AplBody:
    """Return the query; raise QueryMissing where there is none, which Axiom tells from one that is wrong."""
    body = decode_json(sent, AplBody) if sent.strip() else AplBody()
    if not body.apl.strip():
        raise QueryMissing('there is no query: the body is JSON, {"apl": "…"}')
    return body


def _request(body: AplBody, *, totals: bool, match_cursors: bool) -> AplRequest:
    """Return the query that a body asks for; raise BadRequest for what is past a limit."""
    _within("defaultLimit", body.default_limit, MAX_DEFAULT_LIMIT)
    _within("maxRows", body.max_rows, MAX_DEFAULT_LIMIT)
    _within("maxBinAutoGroups", body.max_bin_auto_groups, MAX_BIN_AUTO_GROUPS)
    start_ns, end_ns = time_range(body.start_time, body.end_time)
    return AplRequest(
        apl=body.apl,
        start_ns=start_ns,
        end_ns=end_ns,
        default_limit=body.default_limit or None,
        most_rows=body.max_rows or None,
        default_order=tuple(body.default_order or ()),
        max_bin_auto_groups=body.max_bin_auto_groups or DEFAULT_BIN_AUTO_GROUPS,
        variables=body.variables or {},
        cursor=body.cursor or "",
        include_cursor=bool(body.include_cursor),
        include_cursor_field=bool(body.include_cursor_field) or match_cursors,
        totals=totals,
    )


def _within(name: str, value: int | None, most: int) -> None:
    if value is not None and not 0 <= value <= most:
        raise BadRequest(f"{name} is {value}, but it may be 1 to {most}, or 0 for the default")


def _hold_s(text: str | None) -> float:
    """Return seconds of a duration as Go's clients write it: `5s`, or nanoseconds; at most MAX_HOLD_S."""
    if not text:
        return 0.0
    size_ns = int(text) if re.fullmatch("[0-9]{1,18}", text) else duration_ns(text)
    if size_ns is None:
        raise BadRequest(f"streaming-duration is {text[:40]!r}, but it is a duration such as 5s")
    return min(size_ns / SECOND, MAX_HOLD_S)


def _is_fresh(request: Request) -> bool:
    """Return whether a client wants no answer that was given before."""
    directives = {part.strip().lower() for part in request.headers.get("cache-control", "").split(",")}
    return bool(directives & {"no-cache", "no-store"}) or _flag(request.query_params.get("nocache"), False)


def _flag(text: str | None, default: bool) -> bool:
    """Return a boolean of the query string; Python clients write `True`, and what is none is passed over."""
    return {"true": True, "1": True, "false": False, "0": False}.get((text or "").lower(), default)


def _saved_kind(text: str | None) -> str | None:
    if not text:
        return None
    if text.lower() not in SAVED_KINDS:
        raise BadRequest(f"saveAsKind is {text!r}, but it may be {', '.join(SAVED_KINDS)}")
    return text.lower()


def _concurrency(text: str | None) -> int:
    if not text:
        return DEFAULT_CONCURRENCY
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_CONCURRENCY:
        raise BadRequest(f"maxConcurrency is {text[:40]!r}, but it may be 1 to {MAX_CONCURRENCY}")
    return int(text)


def _require_api_token(grant: Grant) -> None:
    if grant.kind != "api":
        raise Forbidden(
            "this endpoint takes API tokens only, not personal tokens; send to /v1/datasets/_apl or create an API token"
        )


FORMAT = ParameterDoc("format", "The shape of the answer; legacy where it is not given.", Literal[tuple(FORMATS)])
SAVE = ParameterDoc(
    "saveAsKind", "Keeps the query; its id is in the header X-Axiom-History-Query-Id.", Literal[SAVED_KINDS]
)
NOCACHE = ParameterDoc("nocache", "true answers anew, as the header `Cache-Control: no-cache` does.")
TOTALS = ParameterDoc("totals", "false leaves out the table _totals.")
CURSOR = ParameterDoc("cursor", "Rows after this one, where the body has none.")
STREAMING = ParameterDoc(
    "streaming-duration", f"How long to wait for events that match, as in 5s; {MAX_HOLD_S:g}s at most."
)
CONCURRENCY = ParameterDoc(
    "maxConcurrency",
    f"How many run at once; {DEFAULT_CONCURRENCY} where it is not given.",
    Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)],
)
_EXAMPLE = {
    "apl": "demo | summarize count() by bin(_time, 1h), level",
    "startTime": "now-1d",
    "endTime": "now",
}

_QUERY = ApiRoute(
    "POST",
    "/datasets/_apl",
    query,
    ANY_TOKEN,
    body=AplBody,
    example=_EXAMPLE,
    answer=(LegacyAnswer, TabularAnswer),
    parameters=(FORMAT, SAVE, TOTALS, CURSOR, NOCACHE),
    refusals=(404, 406, 422, 429),
    further_permission=QUERY,
    media=TABLES,
)

ROUTES = (
    *under(
        ("/v1", "/api/v1"),
        _QUERY,
        ApiRoute(
            "POST",
            "/datasets/{id}/query",
            query_dataset,
            ANY_TOKEN,
            body=LegacyQuery,
            example={
                "startTime": "now-1d",
                "endTime": "now",
                "resolution": "1h",
                "aggregations": [{"op": "count", "field": "*"}],
                "groupBy": ["level"],
            },
            answer=LegacyAnswer,
            parameters=(SAVE, CURSOR, STREAMING, NOCACHE),
            refusals=(422, 429, 503),
            further_permission=QUERY,
        ),
    ),
    msgspec.structs.replace(_QUERY, path="/v1/query/_apl", handler=query_edge),
    ApiRoute(
        "POST",
        "/v1/query/batch",
        query_batch,
        ANY_TOKEN,
        body=list[BatchItem],
        example=[{"queryId": "by-level", "aplRequest": _EXAMPLE}],
        parameters=(CONCURRENCY,),
        further_permission=QUERY,
        media={"text/event-stream": str},
    ),
)
