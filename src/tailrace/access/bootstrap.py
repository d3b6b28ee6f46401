"""The first owner and their personal token, which are created at the first start."""

import hmac
import uuid
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from tailrace.access.capabilities import FIRST_ORGANISATION
from tailrace.access.token_store import insert_token
from tailrace.access.tokens import hash_of, new_secret
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import browser_sessions, memberships, tokens, users

OWNERS_TOKEN = "owner"  # name of that personal token


def has_owner(database: Database) -> bool:
    """Return whether the first organisation has an owner, as it has after `bootstrap`."""
    with database.reading() as connection:
        return _first_owner(connection) is not None


def owners_token_id(connection: Connection) -> str | None:
    """Return the id of the token that `bootstrap` created, None where it was revoked since."""
    owner = _first_owner(connection)
    row = None if owner is None else _owners_token(connection, owner)
    return None if row is None else str(row.id)


def bootstrap(database: Database, invalidation: Invalidation, now: str, root_token: str) -> str | None:
    """Create the owner and a personal token at the first start; return its secret, which is not stored.

    A root token is that secret; at a later start it replaces the one before, and ends the browsers' sessions of that.
    Return None when nothing changed, and write nothing then.
    """
    with database.reading() as connection:
        owner = _first_owner(connection)
        if owner is not None and not root_token:
            return None
        before = None if owner is None else _owners_token(connection, owner)
        if before is not None and hmac.compare_digest(before.hash, hash_of(root_token)):
            return None
    with invalidation.changing() as connection:
        owner = _first_owner(connection)
        if owner is not None and not root_token:
            return None
        secret = root_token or new_secret("personal")
        if owner is None:
            owner = str(uuid.uuid4())
            connection.execute(insert(users).values(id=owner, name="Owner", email="", created_at=now))
            connection.execute(
                insert(memberships).values(user_id=owner, organisation=FIRST_ORGANISATION, role="owner", created_at=now)
            )
        before = _owners_token(connection, owner)
        if before is None:
            insert_token(
                connection, "personal", secret, created_at=now, user_id=owner, name=OWNERS_TOKEN, organisation=None
            )
        elif hmac.compare_digest(before.hash, hash_of(secret)):
            return None
        else:
            connection.execute(update(tokens).where(tokens.c.id == before.id).values(hash=hash_of(secret)))
            connection.execute(delete(browser_sessions).where(browser_sessions.c.token_id == before.id))
    return secret


def add_owners_token(database: Database, now: str, name: str) -> str | None:
    """Make one more personal token for the first owner, and return its secret; None where there is no owner."""
    with database.changing() as connection:
        owner = _first_owner(connection)
        if owner is None:
            return None
        secret = new_secret("personal")
        insert_token(connection, "personal", secret, created_at=now, user_id=owner, name=name, organisation=None)
        return secret


def _first_owner(connection: Connection) -> str | None:
    """Return the id of the earliest owner of the first organisation."""
    first = (memberships.c.role == "owner") & (memberships.c.organisation == FIRST_ORGANISATION)
    found: str | None = connection.scalar(select(memberships.c.user_id).where(first).order_by(memberships.c.created_at))
    return found


def _owners_token(connection: Connection, owner: str) -> Row[Any, Any] | None:
    """Return the id and the hash of the token that `bootstrap` created for an owner."""
    mine = (tokens.c.user_id == owner) & (tokens.c.kind == "personal") & (tokens.c.name == OWNERS_TOKEN)
    return connection.execute(select(tokens.c.id, tokens.c.hash).where(mine).order_by(tokens.c.created_at)).first()
