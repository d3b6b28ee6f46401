"""The access store: users and tokens in SQL, and the one cached look-up that every credential goes through."""

import hmac
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Engine,
    ForeignKey,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)

from tailrace.access.capabilities import (
    Capabilities,
    Grant,
    checked_dataset_capabilities,
    checked_org_capabilities,
    require_all,
)
from tailrace.access.database import open_engine
from tailrace.access.keys import (
    MOESIF_TAIL_LENGTH,
    KeyDialect,
    KeyGrant,
    KeyRecord,
    checked_given_key,
    checked_scope,
    new_key,
)
from tailrace.access.tokens import NO_EXPIRY, TokenRecord, checked_expiry, hash_of, new_secret, rfc3339
from tailrace.events import BadRequest, Conflict, NotFound, Unauthorized

ORGANISATION = "tailrace"
FILE_NAME = "access.db"
MAX_NAME_LENGTH = 256  # characters of a token's name
MAX_DESCRIPTION_LENGTH = 4096  # characters of a token's description
_MAX_CACHED = 10_000  # tokens; the cache is emptied beyond

_metadata = MetaData()
_users = Table(
    "users",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("organisation", String(128), nullable=False),
    Column("name", String(256), nullable=False),
    Column("email", String(256), nullable=False),
    Column("role", String(32), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
)
_tokens = Table(
    "tokens",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("description", String(MAX_DESCRIPTION_LENGTH), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("expires_at", String(32)),  # RFC 3339, UTC; null for no end
    Column("dataset_capabilities", JSON, nullable=False),
    Column("org_capabilities", JSON, nullable=False),
)
_keys = Table(
    "keys",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("dialect", String(16), nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("tail_hash", LargeBinary(32)),  # of the characters by which Moesif's clients tell applications apart
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("expires_at", String(32)),  # RFC 3339, UTC; null for no end
    Column("datasets", JSON, nullable=False),
    Column("destination", String(512), nullable=False),
)


class Access:
    """The open store. Safe to use from several threads; changes made through it are seen by the next look-up."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: dict[bytes, tuple[bytes, float, Grant | KeyGrant]] = {}  # by hash: hash, end, grant
        self._keys_by_id: dict[str, KeyGrant] = {}
        self._changes = 0

    @classmethod
    def open(cls, path_or_url: Path | str, clock: Callable[[], float] = time.time) -> Self:
        """Open the store, made if missing: a path is an SQLite file (mode 0600), a string an SQLAlchemy URL."""
        engine = open_engine(path_or_url)
        _metadata.create_all(engine)
        return cls(engine, clock)

    def close(self) -> None:
        """Close the connections to the store."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def authenticate(self, secret: str) -> Grant:
        """Return what the bearer of the secret may do; raises Unauthorized when it is unknown or has expired."""
        grant = self._credential(secret, "token")
        if isinstance(grant, KeyGrant):
            raise Unauthorized(f"this is a {grant.dialect} key, not a token")
        return grant

    def authenticate_key(self, dialect: KeyDialect, secret: str) -> KeyGrant:
        """Return what the bearer of a dialect's key may do; raises Unauthorized when it is no such key or expired."""
        grant = self._credential(secret, "key")
        if not isinstance(grant, KeyGrant) or grant.dialect != dialect:
            raise Unauthorized(f"this is no {dialect} key")
        return grant

    def key_grant(self, key_id: str) -> KeyGrant:
        """Return what a key may do now, by its id; raises Unauthorized when it was revoked or has expired."""
        grant = self._keys_by_id.get(key_id)
        if grant is None:
            changes = self._changes
            with self._engine.connect() as connection:
                row = connection.execute(_select_keys().where(_keys.c.id == key_id)).first()
            if row is None:
                raise Unauthorized("the key was revoked")
            grant = _key_grant(row)
            with self._lock:
                if changes == self._changes:
                    if len(self._keys_by_id) >= _MAX_CACHED:
                        self._keys_by_id.clear()
                    self._keys_by_id[key_id] = grant
        if self._clock() >= grant.expires_s:
            raise Unauthorized("the key has expired")
        return grant

    def dialect_of(self, secret: str) -> str | None:
        """Return whose protocol a credential is for, "axiom" for a token; None for one that is not known or ended."""
        try:
            grant = self._credential(secret, "credential")
        except Unauthorized:
            return None
        return grant.dialect if isinstance(grant, KeyGrant) else "axiom"

    def _credential(self, secret: str, what: str) -> Grant | KeyGrant:
        digest = hash_of(secret)
        found = self._cache.get(digest) or self._look_up(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            raise Unauthorized(f"the {what} is not valid")
        if self._clock() >= found[1]:
            raise Unauthorized(f"the {what} has expired")
        return found[2]

    def bootstrap(self, root_token: str = "") -> str | None:
        """Make the owner and a personal token for them at the first start; return its secret that one time.

        A root token given is that secret, at the first start and later: it replaces the one before, which then
        ceases to work, and is returned once. None when nothing changed.
        """
        with self._changing() as connection:
            owner = connection.scalar(select(_users.c.id).where(_users.c.role == "owner"))
            if owner is not None and not root_token:
                return None
            secret = root_token or new_secret("personal")
            if owner is None:
                owner = str(uuid.uuid4())
                connection.execute(
                    insert(_users).values(
                        id=owner,
                        organisation=ORGANISATION,
                        name="Owner",
                        email="",
                        role="owner",
                        created_at=self._now(),
                    )
                )
            mine = (_tokens.c.user_id == owner) & (_tokens.c.kind == "personal")
            before = connection.execute(select(_tokens.c.id, _tokens.c.hash).where(mine)).first()
            if before is None:
                self._insert(connection, "personal", secret, user_id=owner, name="owner")
            elif hmac.compare_digest(before.hash, hash_of(secret)):
                return None
            else:
                connection.execute(update(_tokens).where(_tokens.c.id == before.id).values(hash=hash_of(secret)))
        return secret

    def create_token(
        self,
        name: str,
        dataset_capabilities: Mapping[str, Mapping[str, Sequence[str] | None] | None] | None = None,
        org_capabilities: Mapping[str, Sequence[str] | None] | None = None,
        expires_at: str | datetime | None = None,
        description: str | None = "",
        *,
        who: Grant,
    ) -> tuple[TokenRecord, str]:
        """Make an API token for `who`; return it and its secret, which is shown only here.

        Null and empty members of the maps count as not given. Raises BadRequest for a bad name, expiry or
        capability, Forbidden when the new token could do what `who` may not.
        """
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH:
            raise BadRequest(f"the name of a token is text of 1 to {MAX_NAME_LENGTH} characters")
        description = description or ""
        if len(description) > MAX_DESCRIPTION_LENGTH:
            raise BadRequest(f"the description of a token is at most {MAX_DESCRIPTION_LENGTH} characters")
        datasets = checked_dataset_capabilities(dataset_capabilities)
        org = checked_org_capabilities(org_capabilities)
        require_all(who, datasets, org)
        expiry = checked_expiry(expires_at, self._clock())
        secret = new_secret("api")
        with self._changing() as connection:
            token_id = self._insert(
                connection,
                "api",
                secret,
                user_id=who.user_id,
                name=name,
                description=description,
                expiry=expiry,
                datasets=datasets,
                org=org,
            )
        return self.get_token(token_id), secret

    def list_tokens(self) -> list[TokenRecord]:
        """Return every API token, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(_tokens).where(_tokens.c.kind == "api").order_by(_tokens.c.created_at, _tokens.c.id)
            )
            return [_record(row) for row in rows]

    def get_token(self, token_id: str) -> TokenRecord:
        """Return an API token; raises NotFound."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_tokens).where(_api_token(token_id))).first()
        if row is None:
            raise NotFound(f"token {token_id!r} not found")
        return _record(row)

    def delete_token(self, token_id: str) -> None:
        """Revoke an API token: its next use is refused. Raises NotFound."""
        with self._changing() as connection:
            gone = connection.execute(delete(_tokens).where(_api_token(token_id))).rowcount
        if not gone:
            raise NotFound(f"token {token_id!r} not found")

    def create_key(
        self,
        dialect: str,
        name: str,
        *,
        datasets: Sequence[str] | None = None,
        dataset: str | None = None,
        destination: str | None = None,
        expires_at: str | datetime | None = None,
        key: str | None = None,
        who: Grant,
    ) -> tuple[KeyRecord, str]:
        """Make a key of a dialect for `who`; return it and the key itself, which is shown only here.

        `key` is one that the clients have already, from the service that they were made for. Raises BadRequest for
        a bad name, expiry, scope or key, Conflict for a key that is taken, Forbidden when it could do what `who`
        may not.
        """
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH:
            raise BadRequest(f"the name of a key is text of 1 to {MAX_NAME_LENGTH} characters")
        kind, names, destination = checked_scope(dialect, datasets=datasets, dataset=dataset, destination=destination)
        require_all(who, {each: {"ingest": ["create"]} for each in names}, {})
        expiry = checked_expiry(expires_at, self._clock())
        given = None if key is None else checked_given_key(kind, key)
        key_id = str(uuid.uuid4())
        with self._changing() as connection:
            secret = given or new_key(kind)
            while _is_taken(connection, kind, secret):
                if given is not None:
                    raise Conflict(
                        "the key is in use already"
                        + (f", or its last {MOESIF_TAIL_LENGTH} characters are" if kind == "moesif" else "")
                    )
                secret = new_key(kind)
            connection.execute(
                insert(_keys).values(
                    id=key_id,
                    dialect=kind,
                    name=name,
                    hash=hash_of(secret),
                    tail_hash=_tail_hash(kind, secret),
                    user_id=who.user_id,
                    created_at=self._now(),
                    expires_at=rfc3339(expiry) if expiry else None,
                    datasets=names,
                    destination=destination,
                )
            )
        return self.get_key(key_id), secret

    def list_keys(self) -> list[KeyRecord]:
        """Return every key, oldest first."""
        with self._engine.connect() as connection:
            return [_key_record(row) for row in connection.execute(_select_keys().order_by(_keys.c.created_at))]

    def get_key(self, key_id: str) -> KeyRecord:
        """Return a key; raises NotFound."""
        with self._engine.connect() as connection:
            row = connection.execute(_select_keys().where(_keys.c.id == key_id)).first()
        if row is None:
            raise NotFound(f"key {key_id!r} not found")
        return _key_record(row)

    def delete_key(self, key_id: str) -> None:
        """Revoke a key: its next use is refused. Raises NotFound."""
        with self._changing() as connection:
            gone = connection.execute(delete(_keys).where(_keys.c.id == key_id)).rowcount
        if not gone:
            raise NotFound(f"key {key_id!r} not found")

    def _look_up(self, digest: bytes) -> tuple[bytes, float, Grant | KeyGrant] | None:
        changes = self._changes
        found: tuple[bytes, float, Grant | KeyGrant]
        with self._engine.connect() as connection:
            row = connection.execute(
                select(_tokens, _users.c.organisation).join(_users).where(_tokens.c.hash == digest)
            ).first()
            key = None if row is not None else connection.execute(_select_keys().where(_keys.c.hash == digest)).first()
        if row is not None:
            grant = Grant(
                token_id=row.id,
                kind=row.kind,
                user_id=row.user_id,
                organisation=row.organisation,
                datasets=row.dataset_capabilities,
                org=row.org_capabilities,
            )
            found = (row.hash, _end(row.expires_at), grant)
        elif key is not None:
            key_grant = _key_grant(key)
            found = (key.hash, key_grant.expires_s, key_grant)
        else:
            return None
        with self._lock:
            # A change since the read may have revoked what was read: then it must not be kept.
            if changes == self._changes:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[digest] = found
        return found

    def _insert(
        self,
        connection: Connection,
        kind: Literal["personal", "api"],
        secret: str,
        *,
        user_id: str,
        name: str,
        description: str = "",
        expiry: datetime | None = None,
        datasets: Mapping[str, Capabilities] | None = None,
        org: Capabilities | None = None,
    ) -> str:
        token_id = str(uuid.uuid4())
        connection.execute(
            insert(_tokens).values(
                id=token_id,
                name=name,
                description=description,
                kind=kind,
                hash=hash_of(secret),
                user_id=user_id,
                created_at=self._now(),
                expires_at=rfc3339(expiry) if expiry else None,
                dataset_capabilities=datasets or {},
                org_capabilities=org or {},
            )
        )
        return token_id

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection
        # After the commit: a look-up that read the old rows before it finds the count changed, and keeps nothing.
        with self._lock:
            self._changes += 1
            self._cache.clear()
            self._keys_by_id.clear()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _api_token(token_id: str) -> ColumnElement[bool]:
    # Personal tokens are not managed as API tokens, so that the owner cannot be locked out through that route.
    return and_(_tokens.c.id == token_id, _tokens.c.kind == "api")


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        description=row.description,
        expires_at=row.expires_at or NO_EXPIRY,
        dataset_capabilities=row.dataset_capabilities,
        org_capabilities=row.org_capabilities,
    )


def _select_keys() -> Select[Any]:
    return select(_keys, _users.c.organisation).join(_users)


def _key_grant(row: Row[Any]) -> KeyGrant:
    return KeyGrant(
        key_id=row.id,
        dialect=row.dialect,
        organisation=row.organisation,
        expires_s=_end(row.expires_at),
        datasets=tuple(row.datasets),
        destination=row.destination,
    )


def _key_record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        dialect=row.dialect,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        datasets=row.datasets if row.dialect == "baselime" else None,
        dataset=row.datasets[0] if row.dialect == "moesif" else None,
        destination=row.destination or None,
    )


def _tail_hash(dialect: KeyDialect, key: str) -> bytes | None:
    return hash_of(key[-MOESIF_TAIL_LENGTH:]) if dialect == "moesif" else None


def _is_taken(connection: Connection, dialect: KeyDialect, key: str) -> bool:
    same = _keys.c.hash == hash_of(key)
    if dialect == "moesif":
        same |= _keys.c.tail_hash == _tail_hash(dialect, key)
    a_token = select(_tokens.c.id).where(_tokens.c.hash == hash_of(key))
    return connection.execute(select(_keys.c.id).where(same)).first() is not None or (
        connection.execute(a_token).first() is not None
    )


def _end(expires_at: str | None) -> float:
    return datetime.fromisoformat(expires_at).timestamp() if expires_at else float("inf")
