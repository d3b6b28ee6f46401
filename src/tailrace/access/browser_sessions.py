"""Sessions of browsers: a secret in a cookie that stands for a token, which the browser does not keep.

A session ends by itself, by `end`, and with its token. A link signs in by a code, which starts one session.
"""

import secrets
from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from tailrace.access.bootstrap import owners_token_id
from tailrace.access.tokens import hash_of
from tailrace.events import Unauthorized
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import browser_sessions, timestamp, tokens

CODE_S = 15 * 60.0  # that a code of a link is valid
MAX_OF_TOKEN = 100  # sessions and codes of one token; the oldest end beyond
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
        with self._database.changing() as connection:
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
        this = (browser_sessions.c.hash == hash_of(code)) & (browser_sessions.c.kind == "code")
        with self._database.changing() as connection:
            row = connection.execute(select(browser_sessions).where(this)).first()
            # Of two that use it at once one deletes it.
            used = row is not None and connection.execute(delete(browser_sessions).where(this)).rowcount == 1
            if row is not None and used and row.expires_at > timestamp(self._clock()):
                return self._insert(connection, "session", row.token_id, session_s)
        raise Unauthorized("the link was used before or is too old: sign in by a token, or have another link")

    def end(self, secret: str) -> None:
        """End a session, from its next use on; one that has ended, too, is none."""
        this = (browser_sessions.c.hash == hash_of(secret)) & (browser_sessions.c.kind == "session")
        with self._invalidation.changing() as connection:
            connection.execute(delete(browser_sessions).where(this))

    def _insert(self, connection: Connection, kind: Kind, token_id: str, lasts_s: float) -> SignIn:
        now_s = self._clock()
        connection.execute(delete(browser_sessions).where(browser_sessions.c.expires_at <= timestamp(now_s)))
        oldest = (
            select(browser_sessions.c.hash)
            .where(browser_sessions.c.token_id == token_id)
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


def read_session(connection: Connection, digest: bytes) -> tuple[str, str] | None:
    """Return the id of a session's token and when the session ends, by the hash of its secret; None for no session."""
    this = (browser_sessions.c.hash == digest) & (browser_sessions.c.kind == "session")
    row = connection.execute(
        select(browser_sessions.c.token_id, browser_sessions.c.expires_at)
        .join(tokens, tokens.c.id == browser_sessions.c.token_id)
        .where(this)
    ).first()
    return None if row is None else (row.token_id, row.expires_at)
