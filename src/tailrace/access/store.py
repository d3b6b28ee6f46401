"""The access store: users and tokens in SQL, and the one cached look-up that every credential goes through."""

import hmac
import os
import sqlite3
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
    String,
    Table,
    and_,
    create_engine,
    delete,
    event,
    insert,
    make_url,
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
from tailrace.access.tokens import NO_EXPIRY, TokenRecord, checked_expiry, hash_of, new_secret, rfc3339
from tailrace.events import BadRequest, NotFound, Unauthorized

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


class Access:
    """The open store. Safe to use from several threads; changes made through it are seen by the next look-up."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: dict[bytes, tuple[bytes, float, Grant]] = {}  # by hash: hash, end in Unix seconds, grant
        self._changes = 0

    @classmethod
    def open(cls, path_or_url: Path | str, clock: Callable[[], float] = time.time) -> Self:
        """Open the store, made if missing: a path is an SQLite file (mode 0600), a string an SQLAlchemy URL."""
        if isinstance(path_or_url, Path):
            path_or_url.parent.mkdir(parents=True, exist_ok=True)
            # Before SQLite makes it with the mode of the umask; its -wal and -shm files take the mode of the file.
            os.close(os.open(path_or_url, os.O_CREAT | os.O_RDWR, 0o600))
            path_or_url.chmod(0o600)
            path_or_url = f"sqlite:///{path_or_url}"
        engine = create_engine(path_or_url)
        if make_url(path_or_url).get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
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
        digest = hash_of(secret)
        found = self._cache.get(digest) or self._look_up(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            raise Unauthorized("the token is not valid")
        if self._clock() >= found[1]:
            raise Unauthorized("the token has expired")
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

    def _look_up(self, digest: bytes) -> tuple[bytes, float, Grant] | None:
        changes = self._changes
        with self._engine.connect() as connection:
            row = connection.execute(
                select(_tokens, _users.c.organisation).join(_users).where(_tokens.c.hash == digest)
            ).first()
        if row is None:
            return None
        grant = Grant(
            token_id=row.id,
            kind=row.kind,
            user_id=row.user_id,
            organisation=row.organisation,
            datasets=row.dataset_capabilities,
            org=row.org_capabilities,
        )
        expiry = datetime.fromisoformat(row.expires_at).timestamp() if row.expires_at else float("inf")
        found = (row.hash, expiry, grant)
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


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # synchronous=FULL: a token revoked before a power cut may not be back after it.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
