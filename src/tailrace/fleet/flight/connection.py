"""Calls of another node's lake over Arrow Flight: with a session, a deadline, and the lake's own errors."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.flight as flight

from tailrace.fleet.flight import messages
from tailrace.fleet.flight.credentials import Credentials, Peer
from tailrace.fleet.flight.errors import RETRY_AFTER_S, OwnerUnavailable, PeerRefused, decode_error
from tailrace.fleet.flight.messages import CALL, HELLO, PARTS, PartChunk
from tailrace.fleet.flight.sessions import ClientSession, SealedAnswer, Welcome, new_hello
from tailrace.lake.snapshot import Check, HotTable, no_check

HELLO_TIMEOUT_S = 5.0
PARTS_TIMEOUT_S = 30.0  # for a stream: a node that stops is held up for so long by one that does not read
GRACE_S = 1.0  # more than the server takes at most
CHECK_S = 0.05
WAITING_CHECK_S = 0.5  # likewise, while something is waited for that may never happen
CALLS = 64  # of one node, at the same time
WAITING_CALLS = 512  # of those that wait for something to happen
OTHER_ANSWER = "it answers in another way than a lake node of this version"
MAX_MESSAGE_BYTES = 512 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A node that is back is found again at once, and not after minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

T = TypeVar("T")
logger = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_welcome = msgspec.msgpack.Decoder(Welcome)
_sealed = msgspec.msgpack.Decoder(SealedAnswer)
_chunk = msgspec.msgpack.Decoder(PartChunk)


class PeerConnection:
    """A connection to one lake node, which is opened when it is used. Thread-safe.

    It ends with its last call, once nobody has it any more: closing its client would end the process where a call is
    just being made.
    Calls raise what the lake there raises; OwnerUnavailable where it is not reached or does not answer in time, and
    PeerRefused where one of the two does not prove that it is of the fleet.
    """

    def __init__(self, peer: Peer, credentials: Credentials) -> None:
        """Raise PeerRefused where only one of the two speaks TLS."""
        self.peer = peer
        if peer.url.partition("://")[0] != credentials.scheme:
            own, its = ("does not", "does") if credentials.certificates is None else ("does", "does not")
            raise PeerRefused(
                self._text(f"it {its} speak TLS to other nodes, and this one {own} (setting fleet_tls_certificate)"),
                retry_after_s=RETRY_AFTER_S,
            )
        self._secret = credentials.secret
        self._client = flight.FlightClient(peer.url, generic_options=_OPTIONS, **credentials.client_options())
        self._calls = threading.BoundedSemaphore(CALLS)
        self._waiting_calls = threading.BoundedSemaphore(WAITING_CALLS)
        self._lock = threading.Lock()
        self._session: ClientSession | None = None

    def call(self, asked: messages.Asked, answer: Any, *, timeout_s: float, check: Check = no_check) -> Any:
        """Return the answer to a call. `check` is called while it is waited for, and raises to give up."""
        is_waiting = isinstance(asked, messages.AskChanges | messages.AskTail)
        end_s = time.monotonic() + timeout_s
        return self._waited(lambda: self._call(asked, answer, end_s), timeout_s, check, is_waiting=is_waiting)

    def parts(
        self, headers: Sequence[messages.HotHeader], *, timeout_s: float, check: Check = no_check
    ) -> list[HotTable]:
        """Return parts of hot rows, which have the same columns. Raise PartsGone for one that is in a file by now."""
        timeout_s = min(timeout_s, PARTS_TIMEOUT_S)
        readers: list[flight.FlightStreamReader] = []
        try:
            end_s = time.monotonic() + timeout_s
            return self._waited(lambda: self._parts(headers, end_s, readers), timeout_s, check)
        except BaseException:
            for reader in readers:
                reader.cancel()
            raise

    def _waited(self, work: Callable[[], T], timeout_s: float, check: Check, *, is_waiting: bool = False) -> T:
        """Return what a thread returns that may hang for as long as its deadline allows."""
        calls, check_s = (self._waiting_calls, WAITING_CHECK_S) if is_waiting else (self._calls, CHECK_S)
        if not calls.acquire(timeout=min(timeout_s, HELLO_TIMEOUT_S)):
            raise self._unavailable("too many calls of it are under way")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits
                future.set_exception(error)
            finally:
                calls.release()

        # One that would be joined at the end of the process, as those of a pool are, could hold that up.
        threading.Thread(target=run, name=f"tailrace-peer-{self.peer.node}", daemon=True).start()
        end_s = time.monotonic() + timeout_s + GRACE_S
        while True:
            try:
                return future.result(check_s)
            except NotDone:
                if future.done():  # by now, or it is what the work itself raised
                    return future.result()
            check()
            if time.monotonic() > end_s:
                raise self._unavailable("it does not answer in time")

    def _call(self, asked: messages.Asked, answer: Any, end_s: float) -> Any:
        body = self._sealed(CALL.encode(), _encode(asked), lambda call: self._action(CALL, call, end_s), end_s)
        try:
            return msgspec.msgpack.decode(body, type=answer)
        except msgspec.MsgspecError as error:
            raise self._unavailable(OTHER_ANSWER) from error

    def _parts(
        self, headers: Sequence[messages.HotHeader], end_s: float, readers: list[flight.FlightStreamReader]
    ) -> list[HotTable]:
        asked = messages.AskParts(tuple(header.number for header in headers))
        batches: dict[int, list[pa.RecordBatch]] = {header.number: [] for header in headers}

        def read(call: bytes) -> bytes:
            # What is not aligned would be for DuckDB.
            options = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.DataTypeSpecific)
            left = flight.FlightCallOptions(timeout=_left_s(end_s), read_options=options)
            reader = self._client.do_get(flight.Ticket(call), left)
            readers.append(reader)
            proof = error = b""
            while True:
                try:
                    chunk = reader.read_chunk()
                except StopIteration:
                    break
                what = _chunk.decode(chunk.app_metadata)
                proof, error = proof or what.proof, error or what.error
                batches.setdefault(what.number, []).append(chunk.data)
            return _encode(SealedAnswer(proof, error, bool(error)))

        try:
            self._sealed(PARTS, _encode(asked), read, end_s)
        finally:
            readers.clear()
        tables = []
        for header in headers:
            found = batches[header.number]
            if sum(batch.num_rows for batch in found) != header.rows:
                raise self._unavailable("a stream of hot rows broke off")
            rows = pa.Table.from_batches(found)
            tables.append(HotTable(rows, header.min_time_us, header.max_time_us, header.columns))
        return tables

    def _sealed(self, kind: bytes, body: bytes, send: Callable[[bytes], bytes], end_s: float) -> bytes:
        """Return the answer to a call in a session; in a new one where the node knows the old one no more."""
        for is_last in (False, True):
            session = self._session or self._begun(end_s)
            call = session.seal(kind, body)
            try:
                raw = self._sent(lambda call=call: send(_encode(call)))  # type: ignore[misc]
            except PeerRefused:
                with self._lock:
                    if self._session is session:
                        self._session = None
                if is_last:
                    raise
                continue
            try:
                answer = _sealed.decode(raw)
                content = session.check(kind, call, answer)
                if answer.is_error:
                    raise decode_error(content)
                return content
            except msgspec.MsgspecError as error:
                raise self._unavailable(OTHER_ANSWER) from error
        raise AssertionError

    def _begun(self, end_s: float) -> ClientSession:
        with self._lock:
            if self._session is None:
                hello = new_hello(self.peer.node)
                end_s = min(end_s, time.monotonic() + HELLO_TIMEOUT_S)
                raw = self._sent(lambda: self._action(HELLO, _encode(hello), end_s))
                try:
                    welcome = _welcome.decode(raw)
                except msgspec.MsgspecError as error:
                    raise PeerRefused(f"what answers as the node {self.peer.node!r} is no lake node") from error
                self._session = ClientSession(self._secret, hello, welcome)
            return self._session

    def _action(self, kind: str, body: bytes, end_s: float) -> bytes:
        options = flight.FlightCallOptions(timeout=_left_s(end_s))
        for result in self._client.do_action(flight.Action(kind, body), options):
            return bytes(result.body)
        raise self._unavailable("it answers nothing")

    def _sent(self, send: Callable[[], bytes]) -> bytes:
        """Return what a request gives. Raise the errors of the other node, and OwnerUnavailable."""
        try:
            return send()
        except (flight.FlightError, pa.ArrowException, msgspec.MsgspecError) as error:
            if isinstance(error, flight.FlightUnauthenticatedError):
                raise PeerRefused(self._text(f"it refuses: {_refusal(error)}"), retry_after_s=RETRY_AFTER_S) from error
            if isinstance(error, flight.FlightTimedOutError):
                raise self._unavailable("it does not answer in time") from error
            logger.debug("a call of %s failed", self.peer.url, exc_info=error)
            raise self._unavailable("it is not to be reached") from error

    def _unavailable(self, why: str) -> OwnerUnavailable:
        return OwnerUnavailable(self._text(why), retry_after_s=RETRY_AFTER_S)

    def _text(self, why: str) -> str:
        return f"the lake node {self.peer.node!r} was asked, but {why}"


def _refusal(error: flight.FlightError) -> str:
    try:
        return decode_error(error.extra_info).message
    except msgspec.MsgspecError:
        return "it says not why"


def _left_s(end_s: float) -> float:
    return max(end_s - time.monotonic(), 0.001)
