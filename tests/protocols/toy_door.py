"""A door of the tests: a line of text is an event, for the dataset before its colon or the request's, with a token."""

from functools import partial

import msgspec
from msgspec import Struct

from tailrace.events import TailraceError
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import dataset_of, deliver
from tailrace.protocols.http import (
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

TOKENS = TokenRule(headers=(b"x-lines-token",), schemes=(b"lines", b"bearer", b"basic", b"apikey"), parameters=("t",))


class LinesTaken(Struct, frozen=True):
    """The answer: how many were stored, and why others were not."""

    stored: int
    refused: list[str] = []


class LinesError(Struct, frozen=True):
    """The body of every error."""

    lines: str


async def lines(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/lines/{dataset}` and `POST /{dataset}/_lines`."""
    grant = grant_of(request, service, TOKENS)
    body = await request.read()

    def collect() -> EventCollector:
        collector = EventCollector(service.limits, request.received_ns)
        default = partial(dataset_of, request, grant, named=request.params.get("dataset", ""))
        for number, line in enumerate(body.decode("utf-8", "surrogateescape").splitlines()):
            before, colon, after = line.partition(":")
            named = bool(colon) and not before.startswith("{")
            dataset, text = (before, after) if named else ("", line)
            if text.startswith("{"):
                collector.add_json(dataset or default(), number, text.encode("utf-8", "surrogateescape"))
            elif text:
                collector.add(dataset or default(), number, {"line": text, "_time": request.received_ns - number})
            else:
                collector.refuse(number, "the line is empty")
        return collector

    collector = await service.offload(collect, len(body))
    batches = collector.batches()
    delivery = await deliver(batches, request, service, grant, creates=True)
    request.outcome.reject(collector.rejections)
    rejections = [
        *collector.rejections,
        *delivery.rejections,
    ]
    refused = [f"{each.index}: {each.reason}" for each in sorted(rejections, key=lambda each: each.index)]
    refused += [f"{name}: {error.message}" for name, error in delivery.refusals.items()]
    return Response(200, msgspec.json.encode(LinesTaken(delivery.stored, refused)))


def render_error(error: TailraceError) -> Response:
    """Return an error in the door's shape."""
    return Response(error.status, msgspec.json.encode(LinesError(error.message)))


_DOC = RouteDoc(
    "Takes lines of text.",
    {200: LinesTaken},
    {"text/plain": BodyDoc(str, "hello\n")},
    (400, 401, 403, 404, 413, 429, 503),
    (ParameterDoc("X-Axiom-Dataset", "The dataset of lines that name none.", where="header"),),
)
TOY_DOOR = Protocol(
    name="lines",
    title="Lines",
    mount="/lines",
    routes=(
        Route("POST", "/v1/lines", lines, _DOC),
        Route("POST", "/{dataset}/_lines", lines, _DOC),
    ),
    render_error=render_error,
    error=LinesError,
    is_door=True,
    request_headers=("X-Lines-Token",),
)
