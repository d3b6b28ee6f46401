"""A protocol of the tests: a line of text is an event. All that a server knows of it is in this file."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tailrace.access import KeyKind
from tailrace.events import TailraceError, Unauthorized
from tailrace.parsing import TimeRule, parse_json
from tailrace.protocols.http import (
    BodyDoc,
    Claims,
    Credential,
    IngestService,
    PathClaim,
    Protocol,
    Request,
    Response,
    Route,
    RouteDoc,
    Segments,
)

KEY_HEADER = b"x-toy-key"


class ToyOptions(Struct, frozen=True):
    """The protocol's settings."""

    field: Annotated[str, Meta(min_length=1, description="Name of the field that has the line.")] = "line"


class ToyStored(Struct, frozen=True):
    """The answer to lines."""

    stored: int


class ToyError(Struct, frozen=True):
    """The body of every error."""

    toy: str


async def lines(request: Request, service: IngestService) -> Response:
    """Answer `POST /v1/lines`: the lines of a text, for the dataset of the key."""
    secret = request.header(KEY_HEADER)
    if not secret:
        raise Unauthorized("no toy key")
    grant = service.access.authenticate_key("toy", secret.decode("latin-1"))
    dataset = service.check_dataset(grant.datasets[0])
    options: ToyOptions = request.options
    body = (await request.read()).decode("utf-8", "replace")
    events = msgspec.json.encode([{options.field: line} for line in body.splitlines()])
    parsed = parse_json(events, times=TimeRule(), limits=service.limits, received_ns=request.received_ns)
    receipt = await service.ingest(
        parsed, dataset, request.outcome, received_ns=request.received_ns, labels={"host": request.peer}
    )
    return Response(200, msgspec.json.encode(ToyStored(receipt.stored)))


def render_error(error: TailraceError) -> Response:
    """Return an error in the toy's shape."""
    return Response(error.status, msgspec.json.encode(ToyError(error.message)))


def claims(method: str, segments: Segments) -> PathClaim:
    """Which paths under /v1 are the toy's."""
    return PathClaim.OWN if segments == ("lines",) else PathClaim.NONE


TOY = Protocol(
    name="toy",
    title="Toy",
    mount="/toy",
    routes=(
        Route(
            "POST",
            "/v1/lines",
            lines,
            RouteDoc("Takes lines of text.", {200: ToyStored}, {"text/plain": BodyDoc(str, "hello\n")}, (401, 404)),
        ),
    ),
    render_error=render_error,
    error=ToyError,
    options=ToyOptions,
    credentials=(Credential("toy", "X-Toy-Key", "A key of the toy."),),
    key=KeyKind("toy", "dataset", length=20, min_given_length=8, hint="its lines go there"),
    key_usage=('Try:   curl -sS {url}/toy/v1/lines -H "X-Toy-Key: {key}" -d hello  # goes to {target}',),
    hosts=("lines.toy.example",),
    claims=Claims(paths=claims, key_header=KEY_HEADER),
    request_headers=("X-Toy-Key",),
    response_headers=("X-Toy-Tag",),
    same_origin=("/toy/secret",),
)
