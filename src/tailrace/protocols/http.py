"""What a protocol sees of HTTP: request, response, route, and the service that makes events durable."""

import typing
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from msgspec import Struct, field

from tailrace.access import Actor, Grant, KeyGrant, KeyKind
from tailrace.events import OpenDataset, ParsedBatch, Receipt, Rejection, TailraceError, Unauthorized
from tailrace.events.declarations import DeclaredFields
from tailrace.events.idempotency import IdempotencyKey, digest
from tailrace.events.outcome import RequestOutcome
from tailrace.events.upserts import Merge, Upsert
from tailrace.parsing import WORST_CASE_FACTOR as WORST_CASE_FACTOR
from tailrace.parsing import Limits

if TYPE_CHECKING:
    from tailrace.access import Access, Sessions  # of which the first brings the database along

T = TypeVar("T")
G = TypeVar("G", Grant, KeyGrant)

Headers = dict[bytes, bytes]  # names in lower case; of a repeated header the last


class NoOptions(Struct, frozen=True):
    """The options of a protocol that has none."""


PROTOBUF_TYPES = frozenset({b"application/x-protobuf", b"application/protobuf"})
CACHED_VALUES = 1024  # of a header, or query strings
CACHED_VALUE_BYTES = 1024  # longer ones are parsed each time, which bounds the size of a cache
RETRY_AFTER_S = 1  # of a retryable error that has no time of its own
REJECTION_WORK_BYTES = 128  # the work on each rejection that an answer lists, in bytes of valid events


class Response(Struct, frozen=True):
    """An answer; the server adds its length, its trace id and the cross-origin headers."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


def retry_after_s(error: TailraceError) -> int | None:
    """Return after how many seconds the same may be sent again, None where that cannot help."""
    if error.retry_after_s is None and not error.retryable:
        return None
    return error.retry_after_s or RETRY_AFTER_S


def retry_headers(error: TailraceError) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header that says when to send the same again, none where that cannot help."""
    wait_s = retry_after_s(error)
    return () if wait_s is None else ((b"retry-after", b"%d" % wait_s),)


def _count_nothing(size: int) -> None:
    pass


class Request(Struct):
    """A request whose head is known and whose body is read when asked for."""

    method: str
    path: str  # percent-decoded, without the mount prefix
    params: dict[str, str]  # the path's named segments
    query: bytes  # as sent, without the "?"
    headers: Headers
    received_ns: int  # ns since the Unix epoch
    read: Callable[[], Awaitable[bytes]]  # the body as sent; raises TooLarge past the wire limit
    raw_headers: Sequence[tuple[bytes, bytes]] = ()  # every header, names in lower case
    peer: str = ""  # IP address that the request came from
    grant: KeyGrant | Unauthorized | None = None  # of its key, or why that is refused, once it was looked up
    outcome: RequestOutcome = field(default_factory=RequestOutcome)  # where what is refused is noted
    options: Any = None  # of its protocol, as the operator chose
    # Counts bytes that are in memory beside the body as sent; raises Overloaded where all requests have too many.
    hold: Callable[[int], None] = _count_nothing

    def header(self, name: bytes) -> bytes | None:
        """Return the value of the header of that lower-case name, None when there is none."""
        return self.headers.get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return the values of a header that may be repeated, in order."""
        return [value for key, value in self.raw_headers if key == name]

    def sent_by(self, grant: G) -> G:
        """Return the grant of the request's credential, once it is noted whose request it is."""
        self.outcome.sender = grant.sender
        return grant

    def identify(self, *parts: bytes) -> None:
        """Note what a repetition of this request has too, by its protocol, as if it were an idempotency key.

        A header Idempotency-Key goes before it. The body does not count, unless it is one of the parts.
        """
        if self.outcome.idempotency is None:
            self.outcome.idempotency = IdempotencyKey(digest(*parts))

    @property
    def media_type(self) -> bytes:
        """The media type of the body in lower case, without its parameters; empty where none is sent."""
        return media_type_of(self.headers.get(b"content-type", b""))

    @property
    def content_encoding(self) -> str:
        """The header Content-Encoding, empty where there is none."""
        value = self.headers.get(b"content-encoding")
        return value.decode("latin-1") if value else ""

    def query_values(self) -> dict[str, str]:
        """Return the query's parameters, percent-decoded; of a repeated one the last."""
        return query_values_of(self.query) if self.query else {}


def cached(parse: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return a function with a cache of what it returns for the values of a header or a query, which clients repeat."""
    known = lru_cache(CACHED_VALUES)(parse)

    @wraps(parse)
    def look_up(value: bytes) -> T:
        return known(value) if len(value) <= CACHED_VALUE_BYTES else parse(value)

    return look_up


def media_type_of(content_type: bytes) -> bytes:
    """Return the media type of a header Content-Type in lower case, without its parameters."""
    return content_type.partition(b";")[0].strip().lower()


def query_values_of(query: bytes) -> dict[str, str]:
    """Return the parameters of a query string, percent-decoded; of a repeated one the last."""
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


async def decoded_body(request: Request, service: "IngestService", max_bytes: int) -> bytes:
    """Return the body of a request without its content encoding: at most `max_bytes`, and `max_body_bytes`.

    Raise TooLarge, UnsupportedEncoding, BadRequest, Overloaded.
    """
    return await decoded_wire(request, service, await request.read(), request.content_encoding, max_bytes)


async def decoded_wire(request: Request, service: "IngestService", wire: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the body of a request, read already, without an encoding. Raise as `decoded_body` does.

    What it was decoded to is counted among the bodies in memory.
    """
    body = await service.decode(wire, encoding, min(max_bytes, service.limits.max_body_bytes))
    if body is not wire:
        request.hold(len(body))
    return body


class IngestService(typing.Protocol):
    """The way from a protocol to the log."""

    @property
    def access(self) -> "Access":
        """Tokens and what they may do."""
        ...

    @property
    def sessions(self) -> "Sessions":
        """Tokens of sessions, and what is known of the live ones."""
        ...

    @property
    def limits(self) -> Limits:
        """How large a body, an event and its parts may be."""
        ...

    @property
    def closed(self) -> TailraceError | None:
        """Why no events are let through, None while they are."""
        ...

    async def ensure_dataset(self, name: str, *, organisation: str, actor: Actor, primary_key: str = "") -> OpenDataset:
        """Return the organisation's dataset, made where there is none; with a primary key one that is upserted into.

        `actor` is the credential that it is made for. Raises what `check_dataset` raises, InvalidName, and Conflict at
        `max_datasets` or where a dataset of the name is of the other sort or another organisation's.
        """
        ...

    async def declare(self, dataset: OpenDataset, fields: DeclaredFields) -> None:
        """Have the dataset read fields as they are declared; of one where that is done it costs nothing.

        Raise DatasetNotFound, DatasetUnavailable, DiskFull, Overloaded, StorageUnavailable.
        """
        ...

    def check_dataset(self, name: str) -> OpenDataset:
        """Return the dataset that events may be sent to, before a body is read for nothing.

        Raise ShuttingDown, NotReady, Forbidden for an audit trail, DatasetNotFound, DatasetUnavailable, Overloaded.
        """
        ...

    async def offload(self, work: Callable[[], T], size: int) -> T:
        """Return `work()`, run beside the event loop when it is as much as `size` bytes of valid events are."""
        ...

    async def decode(self, wire: bytes, encoding: str, max_bytes: int) -> bytes:
        """Return a body without its content encoding, as `decode_body` does, a long one beside the event loop."""
        ...

    async def fingerprint(self, wire: bytes, encoding: str) -> bytes:
        """Return a digest of a body without its content encoding, which a client may do otherwise in a repetition."""
        ...

    async def parse(self, parse: Callable[[bool], T], body: bytes) -> T:
        """Return `parse(in_bulk)` of a decoded body, of a long one beside the event loop.

        It is called with True first, and raises ExactWayNeeded where that is not enough.
        """
        ...

    async def ingest(
        self,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: dict[str, Any],
    ) -> Receipt:
        """Put the events into the log and return once they are durable; note in `outcome` what was refused.

        Raise DatasetNotFound, DiskFull, Overloaded, ShuttingDown.
        """
        ...

    async def ingest_part(
        self,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: dict[str, Any],
    ) -> Receipt:
        """Do as `ingest` does for one of several datasets of a request, but for a part that `keep_part` has of it."""
        ...

    async def keep_part(
        self,
        receipt: Receipt,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: dict[str, Any],
    ) -> None:
        """Keep in memory what is stored of a request that is answered with an error and is to be sent again.

        The part stands in for that of the next request that is alike, once and for some minutes.
        """
        ...

    async def ingest_once(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        id_field: str,
        window_s: float,
        received_ns: int,
        labels: dict[str, Any],
    ) -> Receipt:
        """Do as `ingest` does, but for the events whose id (None: it has none) was stored in the window before, by
        whomever.

        The id is the text of the events' top-level field `id_field`. Of those with one id the first is taken; the
        others are repeated in the receipt. Return once what they stand for is durable, too.
        """
        ...

    async def upsert(
        self,
        upserts: Sequence[Upsert],
        merge: Merge,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
    ) -> list[Rejection]:
        """Merge each upsert into the state of its id in a dataset with a primary key; return once that is durable.

        The rejections are those whose merged state would be too large. Raises what `ingest` raises.
        """
        ...

    def uncommitted(self, dataset: str) -> int:
        """How many events of the dataset are durable but not yet in its table."""
        ...


Handler = Callable[[Request, IngestService], Awaitable[Response]]


class ParameterDoc(Struct, frozen=True):
    """What a request may have in its query string or in a header, for the API's document."""

    name: str
    about: str
    type: Any = str  # a type that msgspec has a JSON Schema for
    required: bool = False
    where: Literal["query", "header"] = "query"
    example: str = ""


class BodyDoc(Struct, frozen=True):
    """A body that a route takes in one media type, for the API's document."""

    type: Any  # a type that msgspec has a JSON Schema for, a tuple of several, or a JSON Schema itself
    example: Any  # what is sent as JSON; of another media type the text


class RouteDoc(Struct, frozen=True):
    """What goes in and out of a route, for the API's document."""

    about: str  # one sentence
    answers: dict[int, Any]  # good ones: status to the type of the JSON body, None for no body
    bodies: dict[str, BodyDoc] = {}  # by media type
    refusals: tuple[int, ...] = ()  # statuses whose body is the protocol's error
    parameters: tuple[ParameterDoc, ...] = ()
    credential: bool = True  # whether one of the protocol's credentials must be sent
    media: dict[str, Any] = {}  # good answers in further media types, each with its type or JSON Schema
    failures: dict[int, Any] = {}  # statuses of errors in a shape of their own, each with its type
    refusal_media: dict[str, Any] = {}  # refusals in further media types, each with its type or JSON Schema


class Credential(Struct, frozen=True):
    """Where the secret of a client of a protocol stands, for the API's document."""

    name: str
    header: str  # of Authorization a bearer token
    about: str


class Route(Struct, frozen=True):
    """A method and a path whose segments in braces are named, and what answers it."""

    method: str
    path: str
    handler: Handler
    doc: RouteDoc | None = None


class PathClaim(IntEnum):
    """How strongly a protocol claims a path under /v1."""

    NONE = 0
    ANY = 1  # the path fits a pattern that any path fits
    OWN = 2  # a path of its documents; of two protocols with the same, the one registered later has it


Segments = tuple[str, ...]


def claims_nothing(method: str, segments: Segments) -> PathClaim:
    """Claim no path."""
    return PathClaim.NONE


class Claims(Struct, frozen=True):
    """How a request for a path under /v1, which several protocols share, is recognised as one for this protocol.

    Header names are in lower case.
    """

    paths: Callable[[str, Segments], PathClaim] = claims_nothing  # of a method and the segments behind /v1
    key_header: bytes = b""  # its own header for a credential
    bearer: bool = False  # whether the credential may be in Authorization too
    prefixes: tuple[bytes, ...] = ()  # of Authorization, which no other protocol's credential has
    headers: tuple[bytes, ...] = ()  # that only its clients send
    instead: bytes = b""  # one of these, which has the credential where Authorization is missing
    absent: tuple[str, ...] = ()  # segments of the vendor's paths there that this server does not have


class Protocol(Struct, frozen=True):
    """A protocol: its routes, credentials, errors, options and documentation."""

    name: str
    title: str  # for people
    mount: str  # a path prefix under which all of its routes are available too; "" for none
    routes: tuple[Route, ...]
    render_error: Callable[[TailraceError], Response]
    error: Any = None  # the type of the body of its errors
    error_media: str = "application/json"  # the media type of that body
    options: type[Struct] = NoOptions  # fields with a default, each Annotated with a Meta: its settings
    credentials: tuple[Credential, ...] = ()  # any one of them is enough
    key: KeyKind | None = None  # the kind of its keys; None where it takes tokens
    key_usage: tuple[str, ...] = ()  # lines on how to use a key, with {url}, {key} and {target} to fill in
    own_paths: tuple[str, ...] = ()  # prefixes that no other protocol has
    hosts: tuple[str, ...] = ()  # the vendor's host names; "*.example.com" is every name under it
    claims: Claims = Claims()
    has_api: bool = False  # whether the management API is this protocol's: its paths, its tokens, its errors
    is_door: bool = False  # whether it takes the API's tokens, on routes that are among the paths of the API's protocol
    fallback: Handler | None = None  # answers paths without a route; 404 without it
    exact_slashes: bool = False  # whether an empty segment, also at the end, makes another path
    finish: Callable[[Request, IngestService, Response], Response] | None = None  # completes every response
    request_headers: tuple[str, ...] = ()  # that pages of other origins may send
    response_headers: tuple[str, ...] = ()  # and read
    same_origin: tuple[str, ...] = ()  # prefixes of paths that create credentials, closed to other origins
