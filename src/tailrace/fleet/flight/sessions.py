"""Mutual authentication of nodes: both prove that they know the fleet's secret, which is never sent.

Client and server each choose a nonce. The key of a session is an HMAC by the secret of both nonces, the session and the
name of the node that the client means, so that what one node answers proves nothing of another. Each call has a number,
and with its content a code by that key; so has each answer.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from tailrace.fleet.flight.errors import PeerRefused

MIN_SECRET = 16  # characters
NONCE_BYTES = 16
UNPROVEN_SESSIONS = 256  # most of those that were begun and not used yet
SESSIONS = 4096  # most of the others
NUMBERS_REMEMBERED = 4096  # of the latest calls of a session, which may come in another order


class Hello(Struct, frozen=True, array_like=True):
    """What a client begins a session with."""

    node: str  # the name of the node that it means
    nonce: bytes


class Welcome(Struct, frozen=True, array_like=True):
    """The server's answer, which proves that it knows the secret."""

    session: bytes
    nonce: bytes
    proof: bytes


class SealedCall(Struct, frozen=True, array_like=True):
    """A call with its proof."""

    session: bytes
    number: int
    proof: bytes
    body: bytes


class SealedAnswer(Struct, frozen=True, array_like=True):
    """An answer with its proof, or an error."""

    proof: bytes
    body: bytes
    is_error: bool = False


class OpenedCall(Struct, frozen=True, eq=False):
    """A call that was proven."""

    body: bytes
    prove: Callable[[bytes, bool], bytes]  # gives the proof of an answer, or an error


def check_secret(secret: str) -> None:
    """Raise ValueError for a secret that can be guessed from what is sent."""
    if len(secret) < MIN_SECRET:
        raise ValueError(f"it has {len(secret)} characters, but needs {MIN_SECRET} or more, chosen at random")


class ClientSession:
    """A session as its client has it. Thread-safe.

    Raise PeerRefused where the welcome does not prove that it comes from the node that was meant.
    """

    def __init__(self, secret: str, hello: Hello, welcome: Welcome) -> None:
        self._key = _session_key(secret, hello, welcome.session, welcome.nonce)
        if not hmac.compare_digest(welcome.proof, _code(self._key, b"welcome")):
            raise PeerRefused(f"what answers as the node {hello.node!r} does not know the secret of the fleet")
        self._session = welcome.session
        self._number = 0
        self._lock = threading.Lock()

    def seal(self, kind: bytes, body: bytes) -> SealedCall:
        """Return a call of some kind."""
        with self._lock:
            self._number += 1
            number = self._number
        return SealedCall(self._session, number, _code(self._key, _call(kind, number), body), body)

    def check(self, kind: bytes, call: SealedCall, answer: SealedAnswer) -> bytes:
        """Return the content of the answer, or error, to a call. Raise PeerRefused."""
        expected = _code(self._key, _answer(kind, call.number, answer.is_error), answer.body)
        if not hmac.compare_digest(answer.proof, expected):
            raise PeerRefused("an answer was not made by the node that was asked")
        return answer.body


class _Session:
    """A session as the server has it."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._highest = 0
        self._seen: set[int] = set()

    def note(self, number: int) -> bool:
        """Return whether a number is new."""
        floor = self._highest - NUMBERS_REMEMBERED
        if number <= floor or number in self._seen:
            return False
        self._seen.add(number)
        if number > self._highest:
            self._highest = number
        if len(self._seen) > 2 * NUMBERS_REMEMBERED:
            floor = self._highest - NUMBERS_REMEMBERED
            self._seen = {each for each in self._seen if each > floor}
        return True


class ServerSessions:
    """The sessions of a server with its clients. Thread-safe."""

    def __init__(self, secret: str, node: str) -> None:
        self._secret = secret
        self._node = node
        self._lock = threading.Lock()
        self._unproven: OrderedDict[bytes, _Session] = OrderedDict()
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def welcome(self, hello: Hello) -> Welcome:
        """Begin a session, in which each call proves who the client is. Raise PeerRefused where it means another."""
        if hello.node != self._node:
            raise PeerRefused(f"this is the node {self._node!r}, and not {hello.node[:40]!r}")
        session, nonce = secrets.token_bytes(NONCE_BYTES), secrets.token_bytes(NONCE_BYTES)
        key = _session_key(self._secret, hello, session, nonce)
        with self._lock:
            self._unproven[session] = _Session(key)
            if len(self._unproven) > UNPROVEN_SESSIONS:
                self._unproven.popitem(last=False)
        return Welcome(session, nonce, _code(key, b"welcome"))

    def open(self, kind: bytes, call: SealedCall) -> OpenedCall:
        """Return a call that is proven. Raise PeerRefused for any other, and for one that came before."""
        with self._lock:
            session = self._sessions.get(call.session) or self._unproven.get(call.session)
            if session is None:
                raise PeerRefused("the session is not known, or not any more")
            expected = _code(session.key, _call(kind, call.number), call.body)
            if not hmac.compare_digest(call.proof, expected) or not session.note(call.number):
                raise PeerRefused("the call is not one of this session's")
            self._unproven.pop(call.session, None)
            self._sessions[call.session] = session
            self._sessions.move_to_end(call.session)
            if len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)

        def prove(body: bytes, is_error: bool) -> bytes:
            return _code(session.key, _answer(kind, call.number, is_error), body)

        return OpenedCall(call.body, prove)


def new_hello(node: str) -> Hello:
    """Return what begins a session with a node."""
    return Hello(node, secrets.token_bytes(NONCE_BYTES))


def _session_key(secret: str, hello: Hello, session: bytes, nonce: bytes) -> bytes:
    return _code(secret.encode(), b"session", hello.node.encode(), hello.nonce, session, nonce)


def _call(kind: bytes, number: int) -> bytes:
    return b"call %s %d" % (kind, number)


def _answer(kind: bytes, number: int, is_error: bool) -> bytes:
    return b"%s %s %d" % (b"error" if is_error else b"answer", kind, number)


def _code(key: bytes, *parts: bytes) -> bytes:
    """Return the code of some parts, which cannot be split in another way."""
    return hmac.digest(key, b"".join(b"%d:%s" % (len(part), part) for part in parts), "sha256")
