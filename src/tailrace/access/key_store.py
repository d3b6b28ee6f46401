"""Ingest keys in SQL: created, listed, revoked."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, true

from tailrace.access.capabilities import Grant, OwnerOf, require_all
from tailrace.access.keys import KeyGrant, KeyKind, KeyRecord, checked_given_key, checked_scope, new_key
from tailrace.access.names import checked_name
from tailrace.access.tokens import checked_expiry, expiry_s, hash_of, rfc3339
from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import keys, timestamp, tokens


class KeyStore:
    """The keys of a database."""

    def __init__(
        self, database: Database, invalidation: Invalidation, clock: Callable[[], float], kinds: Iterable[KeyKind]
    ) -> None:
        """`kinds` are the kinds of keys that can be created."""
        self._database = database
        self._invalidation = invalidation
        self._clock = clock
        self._kinds = {kind.protocol: kind for kind in kinds}

    def create_key(
        self,
        protocol: str,
        name: str,
        *,
        datasets: Sequence[str] | None = None,
        dataset: str | None = None,
        destination: str | None = None,
        expires_at: str | datetime | None = None,
        key: str | None = None,
        actor: Grant,
    ) -> tuple[KeyRecord, str]:
        """Create a key of a protocol; return it and its secret, which is not stored.

        `key` is a secret that clients already have. Raise BadRequest for a bad name, expiry, scope or key, Conflict
        for a key that is taken, Forbidden when it would allow more than `actor` may.
        """
        checked_name(name, "key")
        kind = self._kinds.get(protocol)
        if kind is None:
            raise BadRequest(f"protocol {protocol!r} is not known; keys are for {', '.join(self._kinds)}")
        names, destination = checked_scope(kind, datasets=datasets, dataset=dataset, destination=destination)
        require_all(actor, {each: {"ingest": ["create"]} for each in names}, {})
        expiry = checked_expiry(expires_at, self._clock())
        given = None if key is None else checked_given_key(kind, key)
        key_id = str(uuid.uuid4())
        with self._invalidation.changing() as connection:
            secret = given or new_key(kind)
            while _is_taken(connection, kind, secret):
                if given is not None:
                    raise Conflict(
                        "the key is in use already"
                        + (f", or its last {kind.tail_length} characters are" if kind.tail_length else "")
                    )
                secret = new_key(kind)
            connection.execute(
                insert(keys).values(
                    id=key_id,
                    protocol=protocol,
                    name=name,
                    hash=hash_of(secret),
                    tail_hash=_tail_hash(kind, secret),
                    user_id=actor.user_id,
                    created_at=timestamp(self._clock()),
                    expires_at=rfc3339(expiry) if expiry else None,
                    datasets=names,
                    destination=destination,
                    organisation=actor.organisation,
                )
            )
        return self.get_key(key_id), secret

    def list_keys(self, organisation: str | None = None) -> list[KeyRecord]:
        """Return every key, of one organisation if it is named, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(keys).where(_key(None, organisation)).order_by(keys.c.created_at))
            return [self._record(row) for row in rows]

    def get_key(self, key_id: str, organisation: str | None = None) -> KeyRecord:
        """Return a key; raise NotFound, also for one of an organisation other than the one named."""
        with self._database.reading() as connection:
            row = connection.execute(select(keys).where(_key(key_id, organisation))).first()
        if row is None:
            raise NotFound(f"key {key_id!r} not found")
        return self._record(row)

    def delete_key(self, key_id: str, organisation: str | None = None) -> None:
        """Revoke a key: its next use is refused. Raise NotFound."""
        with self._invalidation.changing() as connection:
            gone = connection.execute(delete(keys).where(_key(key_id, organisation))).rowcount
        if not gone:
            raise NotFound(f"key {key_id!r} not found")

    def is_of_one_dataset(self, protocol: str) -> bool:
        """Return whether a key of the protocol is for one dataset."""
        kind = self._kinds.get(protocol)
        return kind is None or kind.scope != "datasets"

    def _record(self, row: Row[Any]) -> KeyRecord:
        kind = self._kinds.get(row.protocol)
        scope = "datasets" if kind is None else kind.scope
        return KeyRecord(
            id=row.id,
            protocol=row.protocol,
            name=row.name,
            created_at=row.created_at,
            expires_at=row.expires_at,
            datasets=row.datasets if scope == "datasets" else None,
            dataset=row.datasets[0] if scope == "dataset" else None,
            destination=row.destination or None,
        )


def key_grant(row: Row[Any], owner_of: OwnerOf) -> KeyGrant:
    """Return what the bearer of the key in a row may do."""
    return KeyGrant(
        key_id=row.id,
        protocol=row.protocol,
        organisation=row.organisation,
        expires_s=expiry_s(row.expires_at),
        datasets=tuple(row.datasets),
        destination=row.destination,
        owner_of=owner_of,
    )


def _key(key_id: str | None, organisation: str | None) -> ColumnElement[bool]:
    return and_(
        true() if key_id is None else keys.c.id == key_id,
        true() if organisation is None else keys.c.organisation == organisation,
    )


def _tail_hash(kind: KeyKind, key: str) -> bytes | None:
    return hash_of(key[-kind.tail_length :]) if kind.tail_length else None


def _is_taken(connection: Connection, kind: KeyKind, key: str) -> bool:
    same = keys.c.hash == hash_of(key)
    if kind.tail_length:
        same |= keys.c.tail_hash == _tail_hash(kind, key)
    a_token = select(tokens.c.id).where(tokens.c.hash == hash_of(key))
    return connection.execute(select(keys.c.id).where(same)).first() is not None or (
        connection.execute(a_token).first() is not None
    )
