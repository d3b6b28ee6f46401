"""Sessions: signed tokens, each valid for one request, and the state of the sessions in use."""

import asyncio
import hashlib
import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode
from msgspec import Struct
from msgspec.structs import replace

from tailrace.access.keys import KeyGrant
from tailrace.events import Forbidden, TailraceError
from tailrace.storage.files import replace_durably

SESSION_MS = 60 * 60 * 1000  # "typically logging sessions are good for an hour"
RATE_BYTES_PER_S = 5_000_000.0  # "~ 5 MB/s per session", of decoded bodies
BURST_S = 4.0  # of that rate, which an idle session may send at once
MAX_DELAY_S = 10.0  # that a response is delayed to hold the rate; a request that would need more is refused
MAX_LIVE = 50_000  # sessions in memory
SWEEP_S = 60.0  # between two removals of expired sessions

_SECRET_BYTES = 32
_SECRET = re.compile(rb"[0-9a-f]{%d}\n?" % (2 * _SECRET_BYTES))
_SALT = b"tailrace.session"
_VERSION: Literal[1] = 1
_MAX_TOKEN_LENGTH = 4096  # characters
_NS_PER_MS = 1_000_000


class InvalidSession(Forbidden):
    code = "invalid_session"


class SessionExpired(InvalidSession):
    code = "session_expired"


class StaleSession(InvalidSession):
    """A token that a newer one has replaced."""

    code = "stale_session"


class RateExceeded(TailraceError):
    """A session has sent so much that its response would have to be delayed for too long."""

    status = 503
    code = "rate_exceeded"
    retryable = True


class SessionToken(Struct, frozen=True, array_like=True):
    """The content of a session token, which is signed, not encrypted."""

    version: Literal[1]  # of this layout
    session_id: str
    key_id: str  # of the key that started the session
    destination: str  # system.application.environment
    issued_ms: int  # start of the session, ms since the Unix epoch
    expires_ms: int  # end of the session, the same in each of its tokens
    sequence: int  # of the token within the session, from 0
    nonce: bytes


class Use(Struct, frozen=True):
    """The last processed request of a session, by which a retry of it is recognised and answered."""

    nonce: bytes  # of its token
    digest: bytes  # of its body
    received_ns: int  # ns since the Unix epoch
    next_token: SessionToken  # the token in its response


class Pace(Struct, frozen=True):
    """How fast a session may send."""

    rate_bytes_per_s: float = RATE_BYTES_PER_S
    burst_s: float = BURST_S
    max_delay_s: float = MAX_DELAY_S


class LiveSession:
    """The state of a session in use; changed only by the request that holds its lock."""

    __slots__ = ("_clock", "_level", "_level_s", "_pace", "expires_ms", "lock", "sequence", "used", "users")

    def __init__(self, token: SessionToken, pace: Pace, clock: Callable[[], float]) -> None:
        self.expires_ms = token.expires_ms
        self.sequence = token.sequence  # of the valid token; lower ones are stale
        self.used: Use | None = None
        self.lock = asyncio.Lock()
        self.users = 0  # requests that hold the lock or wait for it
        self._pace = pace
        self._clock = clock
        self._level = pace.rate_bytes_per_s * pace.burst_s  # bytes left in the token bucket; negative after a burst
        self._level_s = clock()

    def last_use_if_retry(self, token: SessionToken, digest: bytes) -> Use | None:
        """Return the last request if this is a retry of it: the same token, and a body of the same digest."""
        used = self.used
        return used if used is not None and used.nonce == token.nonce and used.digest == digest else None

    def is_stale(self, token: SessionToken) -> bool:
        """Whether the token, or a later one, was used before."""
        return token.sequence < self.sequence

    def use(self, token: SessionToken, digest: bytes, received_ns: int) -> SessionToken:
        """Mark a token as used, once its request was processed; return the next one."""
        self.sequence = max(self.sequence, token.sequence) + 1
        next_token = replace(token, sequence=self.sequence, nonce=_nonce())
        self.used = Use(token.nonce, digest, received_ns, next_token)
        return next_token

    def check_pace(self, size: int) -> None:
        """Raise RateExceeded when the response to `size` more bytes would have to be delayed for too long.

        An idle session may always send, however large the body; the next responses are delayed then.
        """
        self._refill()
        pace = self._pace
        full = pace.rate_bytes_per_s * pace.burst_s
        missing = min(size - self._level - pace.rate_bytes_per_s * pace.max_delay_s, full - self._level)
        if missing > 0:
            raise RateExceeded(
                f"the session sends more than {pace.rate_bytes_per_s:g} bytes a second; "
                "come back later, or split the logs across several sessions",
                retry_after_s=max(1, math.ceil(missing / pace.rate_bytes_per_s)),
            )

    def charge(self, size: int) -> float:
        """Count `size` bytes as sent; return by how many seconds to delay the response."""
        self._refill()
        self._level -= size
        return min(max(0.0, -self._level / self._pace.rate_bytes_per_s), self._pace.max_delay_s)

    def _refill(self) -> None:
        now_s = self._clock()
        rate = self._pace.rate_bytes_per_s
        self._level = min(rate * self._pace.burst_s, self._level + rate * (now_s - self._level_s))
        self._level_s = now_s


class Sessions:
    """Starts sessions, reads their tokens and holds the state of those in use; for one event loop's thread.

    A token is verified by its signature. Which tokens were used is in memory only: after a restart, and for a session
    evicted by `max_live` others, the first token received is accepted and the session continues from its sequence.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        pace: Pace = Pace(),
        max_live: int = MAX_LIVE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds, for the rate only; the time of day is an argument of each call."""
        self._signer = Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        self._pace = pace
        self._max_live = max_live
        self._clock = clock
        self._live: OrderedDict[str, LiveSession] = OrderedDict()  # by id, least recently used first
        self._swept_ms = 0

    @classmethod
    def open(cls, path: Path, *, pace: Pace = Pace()) -> Self:
        """Open with the secret in the file at `path`; create that (mode 0600), durably, where it is missing.

        Raise ValueError when the file holds no valid secret.
        """
        return cls(_load_secret(path), pace=pace)

    def __len__(self) -> int:
        return len(self._live)

    def start(self, key: KeyGrant, now_ns: int) -> SessionToken:
        """Return the first token of a new session, which lasts an hour, but not longer than its key."""
        now_ms = now_ns // _NS_PER_MS
        end_ms = now_ms + SESSION_MS
        if math.isfinite(key.expires_s):
            end_ms = min(end_ms, int(key.expires_s * 1000))
        return SessionToken(
            version=_VERSION,
            session_id=secrets.token_hex(16),
            key_id=key.key_id,
            destination=key.destination,
            issued_ms=now_ms,
            expires_ms=end_ms,
            sequence=0,
            nonce=_nonce(),
        )

    def sign(self, token: SessionToken) -> str:
        """Return the signed token as text: ASCII letters, digits, "-", "_" and one dot."""
        return self._signer.sign(base64_encode(msgspec.msgpack.encode(token))).decode()

    def read(self, text: str, now_ns: int) -> SessionToken:
        """Return the content of a token. Raise InvalidSession for a bad signature, SessionExpired."""
        if len(text) > _MAX_TOKEN_LENGTH or not text.isascii():
            raise InvalidSession("the session token is not valid")
        given = text.encode()
        payload = given.rpartition(b".")[0]
        # Base64 has several encodings of one signature; only the canonical one is valid.
        if not hmac.compare_digest(self._signer.sign(payload), given):
            raise InvalidSession("the session token is not valid")
        try:
            token = msgspec.msgpack.decode(base64_decode(payload), type=SessionToken)
        except msgspec.MsgspecError as error:  # of another version
            raise InvalidSession("the session token is not valid") from error
        if now_ns // _NS_PER_MS >= token.expires_ms:
            raise SessionExpired("the session has expired; create a new one")
        return token

    @asynccontextmanager
    async def hold(self, token: SessionToken) -> AsyncIterator[LiveSession]:
        """Yield the token's session to one request at a time; others wait."""
        live = self._live.get(token.session_id)
        if live is None:
            live = self._remember(token)
        else:
            self._live.move_to_end(token.session_id)
        live.users += 1
        try:
            async with live.lock:
                yield live
        finally:
            live.users -= 1

    def forget_expired(self, now_ns: int) -> None:
        """Remove expired sessions that are not in use, at most once in SWEEP_S."""
        now_ms = now_ns // _NS_PER_MS
        if abs(now_ms - self._swept_ms) < SWEEP_S * 1000:
            return
        self._swept_ms = now_ms
        for session_id, live in list(self._live.items()):
            if live.expires_ms <= now_ms and not live.users:
                del self._live[session_id]

    def _remember(self, token: SessionToken) -> LiveSession:
        while len(self._live) >= self._max_live:
            idle = next((session_id for session_id, live in self._live.items() if not live.users), None)
            if idle is None:
                break
            del self._live[idle]
        live = self._live[token.session_id] = LiveSession(token, self._pace, self._clock)
        return live


def _nonce() -> bytes:
    return secrets.token_bytes(8)


def _load_secret(path: Path) -> bytes:
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = _make_secret(path)
    if not _SECRET.fullmatch(found):
        raise ValueError(
            f"{path} does not hold {_SECRET_BYTES} bytes in hexadecimal: restore it, or remove it, which makes a new "
            "secret at the next start and ends the sessions signed with the old one"
        )
    path.chmod(0o600)
    return bytes.fromhex(found.decode())


def _make_secret(path: Path) -> bytes:
    text = secrets.token_hex(_SECRET_BYTES).encode() + b"\n"
    replace_durably(path, text)
    return text
