"""Users, tokens and keys in SQL, and the one cached look-up that every credential goes through."""

import hmac
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from tailrace.access.capabilities import (
    FIRST_ORGANISATION,
    Capabilities,
    Grant,
    OwnerOf,
    checked_dataset_capabilities,
    checked_org_capabilities,
    nobody,
    require,
    require_all,
)
from tailrace.access.keys import (
    KeyGrant,
    KeyKind,
    KeyRecord,
    checked_given_key,
    checked_scope,
    new_key,
)
from tailrace.access.people import People, User, checked_description, checked_name
from tailrace.access.rbac import Rbac
from tailrace.access.roles import held
from tailrace.access.tokens import (
    NO_EXPIRY,
    PersonalToken,
    TokenKind,
    TokenRecord,
    checked_expiry,
    checked_overlap,
    hash_of,
    new_secret,
    rfc3339,
)
from tailrace.events import (
    AccessUnavailable,
    BadRequest,
    Conflict,
    DiskFull,
    Forbidden,
    NotFound,
    StorageUnavailable,
    Unauthorized,
)
from tailrace.storage.cache import Invalidation
from tailrace.storage.database import Database
from tailrace.storage.tables import keys, memberships, organisations, timestamp, tokens, users

logger = logging.getLogger(__name__)

OWNERS_TOKEN = "owner"  # name of the personal token that the first start makes
_MAX_CACHED = 10_000  # tokens; the cache is emptied beyond


class _Found(Struct, frozen=True):
    """What a look-up of a credential gave."""

    hash: bytes
    end_s: float  # Unix seconds; infinity when it does not end
    grant: Grant | KeyGrant  # of a personal token: in its user's first organisation
    by_organisation: Mapping[str, Grant] = {}  # of a personal token


class Replacement(Struct, frozen=True):
    """What a token is to be that takes the place of one; null and empty members of the maps count as not given."""

    name: str
    dataset_capabilities: Mapping[str, Mapping[str, Sequence[str] | None] | None] | None = None
    org_capabilities: Mapping[str, Sequence[str] | None] | None = None
    expires_at: str | datetime | None = None
    description: str | None = ""


class _NewToken(Struct, frozen=True):
    """What of a token that is made was checked."""

    kind: Literal["api", "ingest"]
    name: str
    description: str
    datasets: Mapping[str, Capabilities]
    org: Capabilities


class Access:
    """The users, tokens and keys of a database. Thread-safe; a change is seen by the next look-up."""

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.time, *, kinds: Iterable[KeyKind] = ()
    ) -> None:
        """`kinds` are those of the keys that can be made."""
        self._database = database
        self._clock = clock
        self._cache: dict[bytes, _Found] = {}  # by hash
        self._unknown: set[bytes] = set()  # hashes that are no credential's: a client with an old one keeps sending
        self._keys_by_id: dict[str, KeyGrant] = {}
        self._organisations: frozenset[str] | None = None
        self._owner_of: OwnerOf = nobody
        self._kinds = {kind.protocol: kind for kind in kinds}
        self._invalidation = Invalidation(database, self._clear)
        self._changing = self._invalidation.changing
        self.people = People(database, self._changing, self._now)
        self.rbac = Rbac(database, self._changing, self._now)

    def datasets_belong(self, owner_of: OwnerOf) -> None:
        """From now on keep grants to the datasets of their own organisation; call it before the first look-up."""
        self._owner_of = owner_of

    def authenticate(self, secret: str, organisation: str = "") -> Grant:
        """Return what the bearer of the secret may do; raise Unauthorized when it is unknown or has expired.

        A personal token is for any organisation of its user: for the one named, else for the first they joined. Of
        an API token, which has an organisation of its own, the name is not looked at. Raise Forbidden for an
        organisation that the user is not in; where there is only theirs, any name stands for it.
        """
        found = self._credential(secret, "token")
        grant = found.grant
        if isinstance(grant, KeyGrant):
            raise Unauthorized(f"this is a {grant.protocol} key, not a token")
        if not organisation or grant.kind != "personal" or organisation == grant.organisation:
            return grant
        named = found.by_organisation.get(organisation)
        if named is not None:
            return named
        if len(found.by_organisation) > 1 or organisation in self._known_organisations():
            raise Forbidden(f"the user is in no organisation {organisation!r}")
        return grant

    def authenticate_key(self, protocol: str, secret: str) -> KeyGrant:
        """Return what the bearer of a protocol's key may do; raise Unauthorized when it is no such key or expired."""
        grant = self._credential(secret, "key").grant
        if not isinstance(grant, KeyGrant) or grant.protocol != protocol:
            raise Unauthorized(f"this is no {protocol} key")
        return self._at_home(grant)

    def key_grant(self, key_id: str) -> KeyGrant:
        """Return what a key may do now, by its id; raise Unauthorized when it was revoked or has expired."""
        self._catch_up()
        grant = self._keys_by_id.get(key_id)
        if grant is None:
            grant = self._invalidation.read(
                lambda connection: self._found_key(connection, key_id), partial(self._put_key, key_id)
            )
        if self._clock() >= grant.expires_s:
            raise Unauthorized("the key has expired")
        return self._at_home(grant)

    def protocol_of(self, secret: str) -> str | None:
        """Return the protocol that a key is for, "" for a token; None for a credential that is not known or ended."""
        try:
            grant = self._credential(secret, "credential").grant
        except Unauthorized:
            return None
        return grant.protocol if isinstance(grant, KeyGrant) else ""

    def _credential(self, secret: str, what: str) -> _Found:
        self._catch_up()
        digest = hash_of(secret)
        found = self._cache.get(digest)
        if found is None and digest not in self._unknown:
            found = self._invalidation.read(
                lambda connection: self._look_up(connection, digest), partial(self._put_credential, digest)
            )
        if found is None or not hmac.compare_digest(found.hash, digest):
            raise Unauthorized(f"the {what} is not valid")
        if self._clock() >= found.end_s:
            raise Unauthorized(f"the {what} has expired")
        return found

    def _known_organisations(self) -> frozenset[str]:
        known = self._organisations
        return known if known is not None else self._invalidation.read(_organisation_ids, self._put_organisations)

    def get_user(self, user_id: str, organisation: str = FIRST_ORGANISATION) -> User:
        """Return a user of an organisation; raise NotFound."""
        return self.people.get_user(user_id, organisation)

    def has_owner(self) -> bool:
        """Return whether the first organisation has an owner, which `bootstrap` sees to."""
        with self._database.reading() as connection:
            return _first_owner(connection) is not None

    def bootstrap(self, root_token: str = "") -> str | None:
        """Make the owner and a personal token for them at the first start; return its secret that one time.

        A root token given is that secret, at the first start and later: it replaces the one before, which then
        ceases to work, and is returned once. None when nothing changed; then nothing is written either.
        """
        with self._database.reading() as connection:
            owner = _first_owner(connection)
            if owner is not None and not root_token:
                return None
            before = None if owner is None else _owners_token(connection, owner)
            if before is not None and hmac.compare_digest(before.hash, hash_of(root_token)):
                return None
        with self._changing() as connection:
            owner = _first_owner(connection)
            if owner is not None and not root_token:
                return None
            secret = root_token or new_secret("personal")
            if owner is None:
                owner = str(uuid.uuid4())
                now = self._now()
                connection.execute(insert(users).values(id=owner, name="Owner", email="", created_at=now))
                connection.execute(
                    insert(memberships).values(
                        user_id=owner, organisation=FIRST_ORGANISATION, role="owner", created_at=now
                    )
                )
            before = _owners_token(connection, owner)
            if before is None:
                self._insert(connection, "personal", secret, user_id=owner, name=OWNERS_TOKEN, organisation=None)
            elif hmac.compare_digest(before.hash, hash_of(secret)):
                return None
            else:
                connection.execute(update(tokens).where(tokens.c.id == before.id).values(hash=hash_of(secret)))
        return secret

    def create_token(
        self,
        name: str,
        dataset_capabilities: Mapping[str, Mapping[str, Sequence[str] | None] | None] | None = None,
        org_capabilities: Mapping[str, Sequence[str] | None] | None = None,
        expires_at: str | datetime | None = None,
        description: str | None = "",
        *,
        kind: Literal["api", "ingest"] = "api",
        who: Grant,
    ) -> tuple[TokenRecord, str]:
        """Make an API token for `who`; return it and its secret, which is shown only here.

        One of the kind "ingest" differs in its prefix alone, which is that of ingest tokens of before 2022.

        Null and empty members of the maps count as not given. Raise BadRequest for a bad name, expiry or
        capability, and where there is no capability at all; Forbidden when the new token could do what `who` may not.
        """
        new = _checked_replacement(
            Replacement(name, dataset_capabilities, org_capabilities, description=description), kind
        )
        require_all(who, new.datasets, new.org)
        expiry = checked_expiry(expires_at, self._clock())
        secret = new_secret(kind)
        with self._changing() as connection:
            token_id = self._insert(
                connection,
                kind,
                secret,
                organisation=who.organisation,
                user_id=who.user_id,
                name=new.name,
                description=new.description,
                expiry=expiry,
                datasets=new.datasets,
                org=new.org,
            )
        return self.get_token(token_id), secret

    def list_tokens(self, organisation: str | None = None) -> list[TokenRecord]:
        """Return every API token, of one organisation if it is named, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tokens).where(_api_token(None, organisation)).order_by(tokens.c.created_at, tokens.c.id)
            )
            return [_record(row) for row in rows]

    def get_token(self, token_id: str, organisation: str | None = None) -> TokenRecord:
        """Return an API token; raise NotFound, also for one of an organisation other than the one named."""
        with self._database.reading() as connection:
            return _record(_found_token(connection, token_id, organisation))

    def update_token(
        self,
        token_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        dataset_capabilities: Mapping[str, Mapping[str, Sequence[str] | None] | None] | None = None,
        org_capabilities: Mapping[str, Sequence[str] | None] | None = None,
        expires_at: str | datetime | None = None,
        who: Grant,
    ) -> TokenRecord:
        """Change an advanced API token: its next use has the new capabilities. None leaves what is.

        Raise NotFound, BadRequest for a bad value and for a basic token, which does not change once it is made (it
        only ingests), Forbidden where the token could then do what `who` may not.
        """
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = checked_name(name, "token")
        if description is not None:
            values["description"] = checked_description(description, "token")
        if dataset_capabilities is not None:
            values["dataset_capabilities"] = checked_dataset_capabilities(dataset_capabilities)
        if org_capabilities is not None:
            values["org_capabilities"] = checked_org_capabilities(org_capabilities)
        if expires_at is not None:
            expiry = checked_expiry(expires_at, self._clock())
            values["expires_at"] = rfc3339(expiry) if expiry else None
        with self._changing() as connection:
            row = _found_token(connection, token_id, who.organisation)
            if _is_basic(row):
                raise BadRequest("a basic token, which only ingests, does not change: make another, or regenerate it")
            datasets = values.get("dataset_capabilities", row.dataset_capabilities)
            org = values.get("org_capabilities", row.org_capabilities)
            if "dataset_capabilities" in values or "org_capabilities" in values:
                _require_some(datasets, org)
            require_all(who, datasets, org)
            if values:
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(**values))
            return _record(_found_token(connection, token_id, who.organisation))

    def regenerate_token(
        self,
        token_id: str,
        *,
        existing_expires_at: str,
        new_expires_at: str | None = None,
        replacement: Replacement | None = None,
        who: Grant,
    ) -> tuple[TokenRecord, str]:
        """Make a token like an API token, or the replacement given, with an id and a secret of its own.

        The old one works until the time given: neither longer than it would have, nor at all where that time has
        passed. Raise NotFound, BadRequest as for a token that is made, Forbidden where `who` may not what the new
        token may, or gives a replacement and may not make tokens.
        """
        end = checked_overlap(existing_expires_at, datetime.fromtimestamp(self._clock(), UTC))
        expiry = checked_expiry(new_expires_at, self._clock(), "newTokenExpiresAt")
        wanted = None
        if replacement is not None:
            require(who, capability="apiTokens", action="create")
            wanted = _checked_replacement(replacement)
            expiry = checked_expiry(replacement.expires_at, self._clock()) or expiry
        with self._changing() as connection:
            row = _found_token(connection, token_id, who.organisation)
            new = wanted or _NewToken(
                row.kind, row.name, row.description, row.dataset_capabilities, row.org_capabilities
            )
            require_all(who, new.datasets, new.org)
            secret = new_secret(new.kind)
            if end.timestamp() < _end(row.expires_at):
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(expires_at=rfc3339(end)))
            made = self._insert(
                connection,
                new.kind,
                secret,
                organisation=row.organisation,
                user_id=who.user_id,
                name=new.name,
                description=new.description,
                expiry=expiry,
                datasets=new.datasets,
                org=new.org,
            )
        return self.get_token(made), secret

    def delete_token(self, token_id: str, organisation: str | None = None) -> None:
        """Revoke an API token: its next use is refused. Raise NotFound."""
        with self._changing() as connection:
            gone = connection.execute(delete(tokens).where(_api_token(token_id, organisation))).rowcount
        if not gone:
            raise NotFound(f"token {token_id!r} not found")

    def create_personal_token(
        self,
        user_id: str,
        name: str,
        expires_at: str | None = None,
        description: str | None = "",
        *,
        who: Grant,
    ) -> tuple[PersonalToken, str]:
        """Make a personal token for a user; return it and its secret, which is shown only here.

        Raise BadRequest, NotFound, Forbidden unless `who` is the user or may act for them.
        """
        self.people.require_sway(user_id, who=who)
        checked_name(name, "token")
        description = checked_description(description or "", "token")
        expiry = checked_expiry(expires_at, self._clock())
        secret = new_secret("personal")
        with self._changing() as connection:
            token_id = self._insert(
                connection,
                "personal",
                secret,
                user_id=user_id,
                name=name,
                description=description,
                expiry=expiry,
                organisation=None,
            )
        (made,) = (token for token in self._personal_tokens(user_id) if token.id == token_id)
        return made, secret

    def list_personal_tokens(self, user_id: str, *, who: Grant) -> list[PersonalToken]:
        """Return the personal tokens of a user, oldest first. Raise NotFound, Forbidden."""
        self.people.require_sway(user_id, who=who)
        return self._personal_tokens(user_id)

    def delete_personal_token(self, user_id: str, token_id: str, *, who: Grant) -> None:
        """Revoke a personal token of a user. Raise NotFound, Forbidden."""
        self.people.require_sway(user_id, who=who)
        with self._changing() as connection:
            one = _personal(user_id) & (tokens.c.id == token_id)
            if not connection.execute(delete(tokens).where(one)).rowcount:
                raise NotFound(f"token {token_id!r} not found")

    def _personal_tokens(self, user_id: str) -> list[PersonalToken]:
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tokens).where(_personal(user_id)).order_by(tokens.c.created_at, tokens.c.id)
            )
            return [
                PersonalToken(row.id, row.name, row.description, row.created_at, row.expires_at or NO_EXPIRY)
                for row in rows
            ]

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
        who: Grant,
    ) -> tuple[KeyRecord, str]:
        """Make a key of a protocol for `who`; return it and the key itself, which is shown only here.

        `key` is one that the clients have already, from the service that they were made for. Raise BadRequest for
        a bad name, expiry, scope or key, Conflict for a key that is taken, Forbidden when it could do what `who`
        may not.
        """
        checked_name(name, "key")
        kind = self._kinds.get(protocol)
        if kind is None:
            raise BadRequest(f"protocol {protocol!r} is not known; keys are for {', '.join(self._kinds)}")
        names, destination = checked_scope(kind, datasets=datasets, dataset=dataset, destination=destination)
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
                    user_id=who.user_id,
                    created_at=self._now(),
                    expires_at=rfc3339(expiry) if expiry else None,
                    datasets=names,
                    destination=destination,
                    organisation=who.organisation,
                )
            )
        return self.get_key(key_id), secret

    def list_keys(self, organisation: str | None = None) -> list[KeyRecord]:
        """Return every key, of one organisation if it is named, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(keys).where(_key(None, organisation)).order_by(keys.c.created_at))
            return [self._key_record(row) for row in rows]

    def get_key(self, key_id: str, organisation: str | None = None) -> KeyRecord:
        """Return a key; raise NotFound, also for one of an organisation other than the one named."""
        with self._database.reading() as connection:
            row = connection.execute(select(keys).where(_key(key_id, organisation))).first()
        if row is None:
            raise NotFound(f"key {key_id!r} not found")
        return self._key_record(row)

    def delete_key(self, key_id: str, organisation: str | None = None) -> None:
        """Revoke a key: its next use is refused. Raise NotFound."""
        with self._changing() as connection:
            gone = connection.execute(delete(keys).where(_key(key_id, organisation))).rowcount
        if not gone:
            raise NotFound(f"key {key_id!r} not found")

    def _look_up(self, connection: Connection, digest: bytes) -> _Found | None:
        row = connection.execute(select(tokens).where(tokens.c.hash == digest)).first()
        if row is not None:
            return self._found_token(connection, row)
        key = connection.execute(select(keys).where(keys.c.hash == digest)).first()
        if key is None:
            return None
        grant = self._key_grant(key)
        return _Found(key.hash, grant.expires_s, grant)

    def _put_credential(self, digest: bytes, found: _Found | None) -> None:
        if found is None:
            if len(self._unknown) >= _MAX_CACHED:
                self._unknown.clear()
            self._unknown.add(digest)
        else:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[digest] = found

    def _found_key(self, connection: Connection, key_id: str) -> KeyGrant:
        row = connection.execute(select(keys).where(keys.c.id == key_id)).first()
        if row is None:
            raise Unauthorized("the key was revoked")
        return self._key_grant(row)

    def _put_key(self, key_id: str, grant: KeyGrant) -> None:
        if len(self._keys_by_id) >= _MAX_CACHED:
            self._keys_by_id.clear()
        self._keys_by_id[key_id] = grant

    def _put_organisations(self, known: frozenset[str]) -> None:
        self._organisations = known

    def _found_token(self, connection: Connection, row: Row[Any]) -> _Found:
        end_s = _end(row.expires_at)
        if row.kind != "personal":
            grant = Grant(
                token_id=row.id,
                kind="api",
                user_id=row.user_id,
                organisation=row.organisation,
                datasets=row.dataset_capabilities,
                org=row.org_capabilities,
                owner_of=self._owner_of,
            )
            return _Found(row.hash, end_s, grant)
        grants = {}
        for member in connection.execute(
            select(memberships)
            .where(memberships.c.user_id == row.user_id)
            .order_by(memberships.c.created_at, memberships.c.organisation)
        ).all():
            may = held(connection, row.user_id, member.organisation, member.role)
            grants[member.organisation] = Grant(
                token_id=row.id,
                kind="personal",
                user_id=row.user_id,
                organisation=member.organisation,
                datasets=may.datasets,
                org=may.org,
                role=may.role,
                views=may.views,
                owner_of=self._owner_of,
            )
        if not grants:
            raise Unauthorized("the token's user is in no organisation")
        return _Found(row.hash, end_s, next(iter(grants.values())), grants)

    def _at_home(self, grant: KeyGrant) -> KeyGrant:
        """Return the grant; raise Unauthorized where the one dataset that it is for has become another
        organisation's.
        """
        kind = self._kinds.get(grant.protocol)
        if (kind is None or kind.scope != "datasets") and grant.is_foreign(grant.datasets[0]):
            raise Unauthorized("the dataset of the key is another organisation's")
        return grant

    def _key_record(self, row: Row[Any]) -> KeyRecord:
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

    def _key_grant(self, row: Row[Any]) -> KeyGrant:
        return KeyGrant(
            key_id=row.id,
            protocol=row.protocol,
            organisation=row.organisation,
            expires_s=_end(row.expires_at),
            datasets=tuple(row.datasets),
            destination=row.destination,
            owner_of=self._owner_of,
        )

    def _insert(
        self,
        connection: Connection,
        kind: TokenKind,
        secret: str,
        *,
        organisation: str | None,
        user_id: str,
        name: str,
        description: str = "",
        expiry: datetime | None = None,
        datasets: Mapping[str, Capabilities] | None = None,
        org: Capabilities | None = None,
    ) -> str:
        token_id = str(uuid.uuid4())
        connection.execute(
            insert(tokens).values(
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
                organisation=organisation,
            )
        )
        return token_id

    def _catch_up(self) -> None:
        """Forget what was looked up before the last change of another server. Raise AccessUnavailable."""
        try:
            self._invalidation.check()
        except (SQLAlchemyError, StorageUnavailable, DiskFull) as error:
            logger.exception("The database does not answer")
            raise AccessUnavailable("the database of users and tokens does not answer; try again later") from error

    def _clear(self) -> None:
        self._cache.clear()
        self._unknown.clear()
        self._keys_by_id.clear()
        self._organisations = None

    def _now(self) -> str:
        return timestamp(self._clock())


def _organisation_ids(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(organisations.c.id)))


def _first_owner(connection: Connection) -> str | None:
    """Return the id of who has been an owner of the first organisation for the longest time."""
    first = (memberships.c.role == "owner") & (memberships.c.organisation == FIRST_ORGANISATION)
    found: str | None = connection.scalar(select(memberships.c.user_id).where(first).order_by(memberships.c.created_at))
    return found


def _owners_token(connection: Connection, owner: str) -> Row[Any, Any] | None:
    """Return the id and the hash of the token that `bootstrap` made for an owner."""
    mine = (tokens.c.user_id == owner) & (tokens.c.kind == "personal") & (tokens.c.name == OWNERS_TOKEN)
    return connection.execute(select(tokens.c.id, tokens.c.hash).where(mine).order_by(tokens.c.created_at)).first()


def _api_token(token_id: str | None, organisation: str | None) -> ColumnElement[bool]:
    # Personal tokens are not managed as API tokens, so that the owner cannot be locked out through that route.
    return and_(
        tokens.c.kind != "personal",
        true() if token_id is None else tokens.c.id == token_id,
        true() if organisation is None else tokens.c.organisation == organisation,
    )


def _found_token(connection: Connection, token_id: str, organisation: str | None) -> Row[Any]:
    row = connection.execute(select(tokens).where(_api_token(token_id, organisation))).first()
    if row is None:
        raise NotFound(f"token {token_id!r} not found")
    return row


def _personal(user_id: str) -> ColumnElement[bool]:
    return and_(tokens.c.kind == "personal", tokens.c.user_id == user_id)


def _is_basic(row: Row[Any]) -> bool:
    """Whether a token only ingests."""
    return not row.org_capabilities and all(set(held) == {"ingest"} for held in row.dataset_capabilities.values())


def _checked_replacement(given: Replacement, kind: Literal["api", "ingest"] = "api") -> _NewToken:
    """Return what a token that is made has; raise BadRequest."""
    datasets = checked_dataset_capabilities(given.dataset_capabilities)
    org = checked_org_capabilities(given.org_capabilities)
    name, description = checked_name(given.name, "token"), checked_description(given.description or "", "token")
    _require_some(datasets, org)
    return _NewToken(kind, name, description, datasets, org)


def _require_some(datasets: Mapping[str, Capabilities], org: Capabilities) -> None:
    # In the words of Axiom's answer, which its Terraform provider looks for.
    if not datasets and not org:
        raise BadRequest("at least one capability must be set: in datasetCapabilities or orgCapabilities")


def _key(key_id: str | None, organisation: str | None) -> ColumnElement[bool]:
    return and_(
        true() if key_id is None else keys.c.id == key_id,
        true() if organisation is None else keys.c.organisation == organisation,
    )


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        description=row.description,
        expires_at=row.expires_at or NO_EXPIRY,
        dataset_capabilities=row.dataset_capabilities,
        org_capabilities=row.org_capabilities,
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


def _end(expires_at: str | None) -> float:
    return datetime.fromisoformat(expires_at).timestamp() if expires_at else float("inf")
