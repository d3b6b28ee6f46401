"""The Flight server over a lake, for other nodes."""

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.flight as flight
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import BadRequest, TailraceError
from tailrace.fleet.flight import messages
from tailrace.fleet.flight.changes import DatasetChanges
from tailrace.fleet.flight.credentials import Credentials
from tailrace.fleet.flight.deletions import Deletions
from tailrace.fleet.flight.errors import MAX_MESSAGE, OwnerUnavailable, PartsGone, PeerRefused, encode_error
from tailrace.fleet.flight.hot_parts import PartNumbers, chunks
from tailrace.fleet.flight.messages import CALL, HELLO, PARTS, PartChunk
from tailrace.fleet.flight.operations import DatasetOperation, perform
from tailrace.fleet.flight.sessions import Hello, OpenedCall, SealedAnswer, SealedCall, ServerSessions
from tailrace.fleet.flight.tails import TailFeeds
from tailrace.lake.dataset_store import DatasetStore
from tailrace.lake.shared_lake import DatasetElsewhere
from tailrace.lake.snapshot import HotTable

PRUNE_S = 5.0
VERSIONS_KEPT = 10_000  # datasets whose files and fields are
FAILED = "the node that holds the dataset failed; its log says why"
REOPEN_S = 0.02  # between two trials to have the port again
LATE_S = 5.0  # without the port, after which that is told
CLOSE_S = 10.0  # that a call under way may take, once the server closes

logger = logging.getLogger(__name__)

_asked = msgspec.msgpack.Decoder(messages.Asked)
_sealed = msgspec.msgpack.Decoder(SealedCall)
_hello = msgspec.msgpack.Decoder(Hello)
_encode = msgspec.msgpack.Encoder().encode


class Versions:
    """Numbers of values that are replaced as a whole, by their names: another value has another number. Thread-safe.

    The values of so many names are kept, of which those that were asked for the longest ago go.
    """

    def __init__(self, kept: int = VERSIONS_KEPT) -> None:
        self._lock = threading.Lock()
        self._kept = kept
        self._next = itertools.count(1)
        self._latest: OrderedDict[str, tuple[object, int]] = OrderedDict()

    def number(self, name: str, value: object) -> int:
        """Return the number of a value."""
        with self._lock:
            latest, number = self._latest.get(name, (None, 0))
            if latest is not value:
                number = next(self._next)  # used once, or a name that was forgotten would have an old one again
            self._latest[name] = (value, number)
            self._latest.move_to_end(name)
            if len(self._latest) > self._kept:
                self._latest.popitem(last=False)
            return number


class LakeServer:
    """Serves a lake to other nodes, from when it is made. Its methods are called in threads of Flight.

    `node` is its name, by which clients mean it; `owns(name)` says whether the lake is the one that has, or would have,
    a dataset; `shards()` of which shards it has all by now, None for all. Raise OSError where the address cannot be
    used.
    `feeds` are what live tails on other nodes read: whoever has them published there gives them.
    """

    def __init__(
        self,
        lake: DatasetStore,
        *,
        node: str,
        host: str,
        port: int,
        credentials: Credentials,
        owns: Callable[[str], bool] = lambda name: True,
        shards: Callable[[], frozenset[int] | None] = lambda: None,
        feeds: TailFeeds | None = None,
    ) -> None:
        self.feeds = feeds or TailFeeds()
        self.changes = DatasetChanges(lake, shards)
        self._lake = lake
        self._owns = owns
        self._sessions = ServerSessions(credentials.secret, node)
        self._parts = PartNumbers()
        self._deletions = Deletions(lake)
        self._files = Versions()
        self._fields = Versions()
        self._closing = threading.Event()
        self._host = host
        self._renewing = threading.Lock()  # while the Flight server changes
        self._stopping: list[threading.Thread] = []
        try:
            self._flight = self._served(port, credentials)
        except (pa.ArrowException, flight.FlightError) as error:
            raise OSError(f"the lake cannot be served on {host}:{port}: {error}") from error
        self.port: int = self._flight.port
        self._pruning = threading.Thread(target=self._prune, name="tailrace-flight", daemon=True)
        self._pruning.start()

    def close(self) -> None:
        """Take no more calls, and wait for those under way: of what is read by nobody, until its time is up."""
        self._closing.set()
        self.changes.close()
        self.feeds.close()
        self._deletions.close()
        with self._renewing:
            self._stop(self._flight)
        end_s = time.monotonic() + CLOSE_S
        for stopping in self._stopping:
            stopping.join(max(end_s - time.monotonic(), 0))
        if any(stopping.is_alive() for stopping in self._stopping):
            logger.warning("a node that is sent hot rows does not read them; its call ends when its time is up")
        self._pruning.join()

    def renew(self, credentials: Credentials) -> None:
        """Use other credentials, of the same scheme and secret, for the connections from now on.

        Flight has a certificate for as long as it serves, so another server takes over the port: for a moment no
        connection is taken. Calls under way are answered, and sessions go on.
        """
        with self._renewing:
            late_s, is_told = time.monotonic() + LATE_S, False
            self._stop(self._flight)
            while not self._closing.is_set():
                try:
                    self._flight = self._served(self.port, credentials)
                except (pa.ArrowException, flight.FlightError) as error:
                    if not is_told and time.monotonic() >= late_s:
                        is_told = True
                        logger.error("other nodes cannot ask this one until its port %d is free: %s", self.port, error)
                    self._closing.wait(REOPEN_S)
                    continue
                if is_told:
                    logger.warning("other nodes can ask this one again")
                return

    def _served(self, port: int, credentials: Credentials) -> "_Flight":
        return _Flight(self, f"{credentials.scheme}://{_bracketed(self._host)}:{port}", credentials)

    def _stop(self, server: "_Flight") -> None:
        """Have a server take no more connections, and end once its calls are answered."""
        self._stopping = [each for each in self._stopping if each.is_alive()]
        stopping = threading.Thread(target=server.shutdown, name="tailrace-flight-stop", daemon=True)
        stopping.start()
        self._stopping.append(stopping)

    def _prune(self) -> None:
        while not self._closing.wait(PRUNE_S):
            self._parts.prune()
            self._deletions.prune()

    def hello(self, body: bytes) -> bytes:
        """Begin a session."""
        return _encode(self._sessions.welcome(_decoded(_hello, body)))

    def opened(self, kind: bytes, body: bytes) -> OpenedCall:
        """Return a call that is proven. Raise PeerRefused."""
        return self._sessions.open(kind, _decoded(_sealed, body))

    def answer(self, body: bytes) -> Struct | int | None:
        """Return the answer to a call. Raise TailraceError."""
        asked: messages.Asked = _decoded(_asked, body)
        if isinstance(asked, messages.AskChanges):
            return self.changes.wait(asked)
        if isinstance(asked, messages.AnswerFile):
            return self._deletions.step(asked)
        if isinstance(asked, messages.AskParts):
            raise BadRequest("hot rows are answered by a stream")
        name = asked.dataset if isinstance(asked, messages.AskSnapshot | messages.AskTail) else asked.name
        if not self._owns(name):
            raise DatasetElsewhere(f"this node does not hold dataset {name!r}", retry_after_s=1)
        match asked:
            case messages.AskSnapshot():
                return self._snapshot(asked)
            case messages.AskTail():
                return self.feeds.answer(asked)
            case messages.AskDeletion():
                return self._deletions.begin(asked)
            case messages.AskCopy():
                return self._copied(asked)
            case messages.AskCreate() | messages.AskUpdate() | messages.AskDeclare() | messages.AskDrop():
                return self._change(asked)
            case _:
                return perform(self._lake, asked)

    def _snapshot(self, asked: messages.AskSnapshot) -> messages.SnapshotHeader:
        snapshot = self._lake.snapshot(asked.dataset, timeout_s=asked.timeout_s)
        process = self.changes.process
        files, fields = (
            self._files.number(asked.dataset, snapshot.files),
            self._fields.number(asked.dataset, snapshot.fields),
        )
        has_files = (asked.process, asked.files_version) == (process, files)
        has_fields = (asked.process, asked.fields_version) == (process, fields)
        schemas: list[pa.Schema] = []
        hot = []
        for number, part in zip(self._parts.number(snapshot.hot), snapshot.hot, strict=True):
            schema = part.rows.schema
            if schema not in schemas:
                schemas.append(schema)
            hot.append(
                messages.HotHeader(
                    number,
                    schemas.index(schema),
                    part.rows.num_rows,
                    part.min_time_us,
                    part.max_time_us,
                    part.columns,
                )
            )
        return messages.SnapshotHeader(
            process,
            files,
            None if has_files else tuple(replace(file, location="") for file in snapshot.files),
            fields,
            None if has_fields else snapshot.fields,
            tuple(hot),
            snapshot.primary_key,
            snapshot.received,
            snapshot.timespans,
        )

    def _copied(self, asked: messages.AskCopy) -> messages.CopiedTable:
        small_files: dict[str, bytes] = {}
        copy = self._lake.copy(asked.name, small_files.__setitem__)
        copy.release()  # its files stay for a time, be this node there or not
        files = tuple(replace(file, location="") for file in copy.files)
        return messages.CopiedTable(copy.version, files, small_files, copy.fault)

    def _change(self, asked: DatasetOperation) -> Struct | int | None:
        """Change which datasets there are; every node knows of it before the answer."""
        with self.changes.changing(asked.name if isinstance(asked, messages.AskDrop) else ""):
            return perform(self._lake, asked)

    def stream(self, call: OpenedCall) -> flight.FlightDataStream:
        """Return the hot rows that a call asks for, or the error."""
        try:
            numbers, parts = self._asked_parts(call.body)
        except TailraceError as error:
            return _error_stream(call, encode_error(error))

        def batches() -> Iterator[tuple[pa.RecordBatch, bytes]]:
            proof = call.prove(b"", False)
            for number, part in zip(numbers, parts, strict=True):
                for batch in chunks(part.rows):
                    yield batch, _encode(PartChunk(number, proof))
                    proof = b""

        return flight.GeneratorStream(parts[0].rows.schema, batches())

    def _asked_parts(self, body: bytes) -> tuple[Sequence[int], Sequence[HotTable]]:
        asked = _decoded(_asked, body)
        if not isinstance(asked, messages.AskParts) or not asked.numbers:
            raise BadRequest("a stream is of hot rows")
        parts = self._parts.find(asked.numbers)
        if parts is None:
            raise PartsGone("a part of the hot rows is in a file by now")
        schema = parts[0].rows.schema
        if any(part.rows.schema != schema for part in parts):
            raise BadRequest("the parts of a stream have the same columns")
        return asked.numbers, parts


class _OnlyCalls(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Refuses what the server has no method for before its content is waited for."""

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> None:
        if info.method not in (flight.FlightMethod.DO_ACTION, flight.FlightMethod.DO_GET):
            raise flight.FlightUnauthorizedError("there is no such call")


class _Flight(flight.FlightServerBase):  # type: ignore[misc]
    def __init__(self, lake: LakeServer, location: str, credentials: Credentials) -> None:
        super().__init__(location, middleware={"calls": _OnlyCalls()}, **credentials.server_options())
        self._lake = lake

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[bytes]:
        return iter([_guarded(lambda: self._answer(action.type, action.body.to_pybytes()))])

    def _answer(self, kind: str, body: bytes) -> bytes:
        if kind == HELLO:
            return self._lake.hello(body)
        if kind != CALL:
            raise BadRequest("there is no such action")
        call = self._lake.opened(CALL.encode(), body)
        is_error = False
        try:
            answer = _encode(self._lake.answer(call.body))
        except TailraceError as error:
            answer, is_error = encode_error(error), True
        except Exception:
            logger.exception("a call of another node failed")
            answer, is_error = encode_error(OwnerUnavailable(FAILED, retry_after_s=5)), True
        return _encode(SealedAnswer(call.prove(answer, is_error), answer, is_error))

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        return _guarded(lambda: self._lake.stream(self._lake.opened(PARTS, ticket.ticket)))


def _guarded(answer: Callable[[], Any]) -> Any:
    """Return an answer. Errors here prove nothing of the node that they come from, and say little."""
    try:
        return answer()
    except PeerRefused as error:
        raise flight.FlightUnauthenticatedError("refused", encode_error(error)) from error
    except TailraceError as error:
        raise flight.FlightServerError(error.message[:MAX_MESSAGE]) from error


def _error_stream(call: OpenedCall, error: bytes) -> flight.FlightDataStream:
    empty = pa.record_batch([], schema=pa.schema([]))
    return flight.GeneratorStream(empty.schema, iter([(empty, _encode(PartChunk(0, call.prove(error, True), error)))]))


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the call is not understood: {error}") from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
