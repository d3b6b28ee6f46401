"""Sessions of browsers: a secret in a cookie that stands for a token, which the browser does not keep.

A session ends by itself, by `end`, and with its token. A link signs in by a code, which starts one session. Of both
only hashes are stored. A session by single sign-on has a token of its own, whose secret nobody has, and which ends
with it.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, delete, insert, select

from tailrace.access.bootstrap import owners_token_id
from tailrace.access.token_store import insert_token
from tailrace.access.tokens import hash_of, new_secret
from tailrace.events import Unauthorized
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import browser_sessions, timestamp, tokens

CODE_S = 15 * 60.0  # that a code of a link is valid
MAX_OF_TOKEN = 100  # sessions of one token, or of one user by single sign-on, and as many codes; the oldest end beyond
SECRET_BYTES = 32

Kind = Literal["session", "code"]


class SignIn(Struct, frozen=True):
    """A new session, or the code of a link that starts one; the secret is not stored."""

    secret: str
    expires_at: str  # RFC 3339, UTC


class BrowserSessionStore:
    """The sessions of a database."""

    def __init__(self, database: Database, invalidation: Invalidation, clock: Callable[[], float]) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock

    def start(self, token_id: str, session_s: float) -> SignIn:
        """Start a session for a token, which the caller has authenticated."""
        with self._invalidation.changing() as connection:
            return self._insert(connection, "session", token_id, session_s)

    def start_for_user(self, user_id: str, session_s: float) -> SignIn:
        """Start a session for a user, whom the caller has authenticated."""
        now_s = self._clock()
        with self._invalidation.changing() as connection:
            _end_surplus(connection, user_id, timestamp(now_s))
            token_id = insert_token(
                connection,
                "session",
                new_secret("session"),
                created_at=timestamp(now_s),
                organisation=None,
                user_id=user_id,
                name="single sign-on",
                expiry=datetime.fromtimestamp(now_s + session_s, UTC),
            )
            return self._insert(connection, "session", token_id, session_s)

    def create_code(self, token_id: str) -> SignIn:
        """Create a code that starts one session for a token, within CODE_S."""
        with self._database.changing() as connection:
            return self._insert(connection, "code", token_id, CODE_S)

    def create_owners_code(self) -> SignIn | None:
        """Create a code for the token that the first start made for the owner, None where there is no such token."""
        with self._database.changing() as connection:
            token_id = owners_token_id(connection)
            return None if token_id is None else self._insert(connection, "code", token_id, CODE_S)

    def redeem(self, code: str, session_s: float) -> SignIn:
        """Start the session of a code, which is used up; raise Unauthorized for one that is none, or no more."""
        this = _of_secret(code, "code") & (browser_sessions.c.expires_at > timestamp(self._clock()))
        if self._exists(this):
            with self._invalidation.changing() as connection:
                # Of two that use it at once one finds it.
                token_id = connection.scalar(select(browser_sessions.c.token_id).where(this))
                if token_id is not None:
                    connection.execute(delete(browser_sessions).where(this))
                    return self._insert(connection, "session", token_id, session_s)
        raise Unauthorized("the link was used before or is too old: sign in by a token, or have another link")

    def end(self, secret: str) -> None:
        """End a session, from its next use on; one that has ended, too, is none."""
        this = _of_secret(secret, "session")
        if self._exists(this):
            with self._invalidation.changing() as connection:
                own = select(browser_sessions.c.token_id).where(this)
                ended = (tokens.c.kind == "session") & tokens.c.id.in_(own)
                if not connection.execute(delete(tokens).where(ended)).rowcount:  # its sessions go with it
                    connection.execute(delete(browser_sessions).where(this))

    def _exists(self, this: ColumnElement[bool]) -> bool:
        """Return whether there is such a row: whoever guesses makes no change, which would wait for others."""
        with self._database.reading() as connection:
            return connection.execute(select(browser_sessions.c.hash).where(this)).first() is not None

    def _insert(self, connection: Connection, kind: Kind, token_id: str, lasts_s: float) -> SignIn:
        """Insert a session or a code, in place of those that have expired, and of the oldest where there are many."""
        now_s = self._clock()
        connection.execute(delete(browser_sessions).where(browser_sessions.c.expires_at <= timestamp(now_s)))
        oldest = (
            select(browser_sessions.c.hash)
            .where((browser_sessions.c.token_id == token_id) & (browser_sessions.c.kind == kind))
            .order_by(browser_sessions.c.expires_at.desc())
            .offset(MAX_OF_TOKEN - 1)
        )
        connection.execute(delete(browser_sessions).where(browser_sessions.c.hash.in_(oldest)))
        new = SignIn(secrets.token_urlsafe(SECRET_BYTES), timestamp(now_s + lasts_s))
        connection.execute(
            insert(browser_sessions).values(
                hash=hash_of(new.secret), kind=kind, token_id=token_id, expires_at=new.expires_at
            )
        )
        return new


def _end_surplus(connection: Connection, user_id: str, now: str) -> None:
    """End the oldest sessions by single sign-on of a user, so that there is room for one; remove what has expired."""
    of_session = tokens.c.kind == "session"
    newest_first = (tokens.c.created_at.desc(), tokens.c.id)
    surplus = select(tokens.c.id).where(of_session & (tokens.c.user_id == user_id)).order_by(*newest_first)
    connection.execute(delete(tokens).where(tokens.c.id.in_(surplus.offset(MAX_OF_TOKEN - 1))))
    connection.execute(delete(tokens).where(of_session & (tokens.c.expires_at <= now)))


def _of_secret(secret: str, kind: Kind) -> ColumnElement[bool]:
    return (browser_sessions.c.hash == hash_of(secret)) & (browser_sessions.c.kind == kind)


def read_session(connection: Connection, digest: bytes) -> tuple[str, str] | None:
    """Return the id of a session's token and when the session ends, by the hash of its secret; None for no session."""
    this = (browser_sessions.c.hash == digest) & (browser_sessions.c.kind == "session")
    row = connection.execute(
        select(browser_sessions.c.token_id, browser_sessions.c.expires_at)
        .join(tokens, tokens.c.id == browser_sessions.c.token_id)
        .where(this)
    ).first()
    return None if row is None else (row.token_id, row.expires_at)
