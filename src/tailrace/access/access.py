"""The users, tokens and keys of a database, and the cached look-up that every credential goes through."""

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import SQLAlchemyError

from tailrace.access import bootstrap
from tailrace.access.browser_sessions import BrowserSessionStore, read_session
from tailrace.access.budget import stored_budget
from tailrace.access.budgets import Budgets
from tailrace.access.capabilities import Grant, OwnerOf, no_owner
from tailrace.access.identities import IdentityStore
from tailrace.access.key_store import KeyStore
from tailrace.access.key_store import key_grant as grant_of_row
from tailrace.access.keys import KeyGrant, KeyKind
from tailrace.access.organisations import OrganisationStore
from tailrace.access.rbac import Rbac
from tailrace.access.roles import effective_role
from tailrace.access.token_store import TokenStore
from tailrace.access.tokens import OF_USERS, expiry_s, hash_of
from tailrace.access.users import UserStore
from tailrace.events import AccessUnavailable, DiskFull, Forbidden, StorageUnavailable, Unauthorized
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import keys, memberships, organisations, timestamp, tokens

logger = logging.getLogger(__name__)

MAX_AGE_S = 0.5  # in which a server does not know yet what another one changed
_MAX_CACHED = 10_000  # credentials; a cache is emptied beyond


class CachedCredential(Struct, frozen=True):
    """A token or a key as it is cached."""

    hash: bytes
    expires_s: float  # Unix seconds; infinity when it does not end
    grant: Grant | KeyGrant  # of a personal token: in its user's first organisation
    by_organisation: Mapping[str, Grant] = {}  # of a personal token


class Access:
    """The users, tokens and keys of a database. Thread-safe; a change is seen by the next look-up.

    One that another server makes is seen within half a second.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        kinds: Iterable[KeyKind] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`kinds` are the kinds of keys that can be created."""
        self._database = database
        self._clock = clock
        self._credentials: dict[bytes, CachedCredential] = {}  # by hash
        self._by_secret: dict[str, CachedCredential] = {}  # the same, so that no request computes a hash
        # Hashes that match no credential: a client with a revoked one goes on sending.
        self._unknown: set[bytes] = set()
        self._keys_by_id: dict[str, KeyGrant] = {}
        self._browser_sessions: dict[bytes, CachedCredential] = {}  # by hash
        self._organisation_ids: frozenset[str] | None = None
        self._owner_of: OwnerOf = no_owner
        self._invalidation = Invalidation(database, self._clear, max_age_s=MAX_AGE_S, monotonic=monotonic)
        self.users = UserStore(database, self._invalidation, clock)
        self.organisations = OrganisationStore(database, self._invalidation, clock)
        self.rbac = Rbac(database, self._invalidation, clock)
        self.tokens = TokenStore(database, self._invalidation, clock, self.users)
        self.budgets = Budgets(database, clock)
        self.keys = KeyStore(database, self._invalidation, clock, kinds)
        self.identities = IdentityStore(database, self._invalidation, clock)
        self.browser_sessions = BrowserSessionStore(database, self._invalidation, clock)

    def set_dataset_owners(self, owner_of: OwnerOf) -> None:
        """Set the look-up of the organisation that owns a dataset, which limits grants to their own organisation's.

        Call it before the first look-up: a cached grant keeps the look-up that it was made with.
        """
        self._owner_of = owner_of

    def has_owner(self) -> bool:
        """Return whether the first organisation has an owner, which `bootstrap` sees to."""
        return bootstrap.has_owner(self._database)

    def bootstrap(self, root_token: str = "") -> str | None:
        """Make the first owner and a personal token for them; see `tailrace.access.bootstrap`."""
        return bootstrap.bootstrap(self._database, self._invalidation, timestamp(self._clock()), root_token)

    def authenticate(self, secret: str, organisation: str = "") -> Grant:
        """Return the grant of a token; raise Unauthorized when it is unknown or has expired.

        A personal token is valid in every organisation of its user: the grant is for the organisation named, else for
        the one that the user joined first. Raise Forbidden where the user is not in the organisation named; but where
        there is no organisation of that name, and the user is in one only, the grant is for that one. An API token
        belongs to one organisation, so the name is ignored.
        """
        return self._grant_in(self._credential(secret, "token"), organisation)

    def authenticate_session(self, secret: str, organisation: str = "") -> Grant:
        """Return the grant of a browser's session, which is its token's; raise as `authenticate` does."""
        self._check_invalidation()
        digest = hash_of(secret)
        credential = self._browser_sessions.get(digest)
        if credential is None:
            credential = self._invalidation.read(
                lambda connection: self._read_session(connection, digest), partial(self._cache_session, digest)
            )
        if self._clock() >= credential.expires_s:
            raise Unauthorized("the session has ended: sign in again")
        return self._grant_in(credential, organisation)

    def _grant_in(self, credential: CachedCredential, organisation: str) -> Grant:
        """Return the grant of a credential in the organisation named; raise as `authenticate` does."""
        grant = credential.grant
        if isinstance(grant, KeyGrant):
            raise Unauthorized(f"this is a {grant.protocol} key, not a token")
        if not organisation or grant.kind != "personal" or organisation == grant.organisation:
            return grant
        named = credential.by_organisation.get(organisation)
        if named is not None:
            return named
        if len(credential.by_organisation) > 1 or organisation in self._known_organisations():
            raise Forbidden(f"the user is in no organisation {organisation!r}")
        return grant

    def authenticate_key(self, protocol: str, secret: str) -> KeyGrant:
        """Return the grant of a protocol's key; raise Unauthorized when it is not one, or has expired."""
        grant = self._credential(secret, "key").grant
        if not isinstance(grant, KeyGrant) or grant.protocol != protocol:
            raise Unauthorized(f"this is no {protocol} key")
        return self._require_own_dataset(grant)

    def key_grant(self, key_id: str) -> KeyGrant:
        """Return the current grant of a key, by its id; raise Unauthorized when it was revoked or has expired."""
        self._check_invalidation()
        grant = self._keys_by_id.get(key_id)
        if grant is None:
            with _answering():
                grant = self._invalidation.read(
                    lambda connection: self._read_key(connection, key_id), partial(self._cache_key, key_id)
                )
        if self._clock() >= grant.expires_s:
            raise Unauthorized("the key has expired")
        return self._require_own_dataset(grant)

    def protocol_of(self, secret: str) -> str | None:
        """Return the protocol that a key is for, "" for a token; None for an unknown or expired one."""
        try:
            grant = self._credential(secret, "credential").grant
        except Unauthorized:
            return None
        return grant.protocol if isinstance(grant, KeyGrant) else ""

    def _credential(self, secret: str, what: str) -> CachedCredential:
        self._check_invalidation()
        known = self._by_secret.get(secret)
        credential = known or self._look_up(secret, what)
        if self._clock() >= credential.expires_s:
            raise Unauthorized(f"the {what} has expired")
        return credential

    def _look_up(self, secret: str, what: str) -> CachedCredential:
        """Return the token or key of a secret by its hash; raise Unauthorized where there is none."""
        generation = self._invalidation.generation
        digest = hash_of(secret)
        credential = self._credentials.get(digest)
        if credential is None and digest not in self._unknown:
            with _answering():
                credential = self._invalidation.read(
                    lambda connection: self._read_credential(connection, digest),
                    partial(self._cache_credential, digest),
                )
        if credential is None or not hmac.compare_digest(credential.hash, digest):
            raise Unauthorized(f"the {what} is not valid")
        self._invalidation.put(generation, partial(self._cache_secret, secret, credential))
        return credential

    def _read_credential(self, connection: Connection, digest: bytes) -> CachedCredential | None:
        token = connection.execute(select(tokens).where(tokens.c.hash == digest)).first()
        if token is not None:
            return self._token_credential(connection, token)
        key = connection.execute(select(keys).where(keys.c.hash == digest)).first()
        if key is None:
            return None
        grant = grant_of_row(key, self._owner_of)
        return CachedCredential(key.hash, grant.expires_s, grant)

    def _token_credential(self, connection: Connection, token: Row[Any]) -> CachedCredential:
        grants = _token_grants(connection, token, self._owner_of)
        return CachedCredential(
            token.hash,
            expiry_s(token.expires_at),
            next(iter(grants.values())),
            grants if token.kind in OF_USERS else {},
        )

    def _read_session(self, connection: Connection, digest: bytes) -> CachedCredential:
        found = read_session(connection, digest)
        if found is None:
            raise Unauthorized("the session has ended: sign in again")
        token_id, expires_at = found
        token = connection.execute(select(tokens).where(tokens.c.id == token_id)).one()
        credential = self._token_credential(connection, token)
        return replace(credential, hash=digest, expires_s=min(credential.expires_s, expiry_s(expires_at)))

    def _cache_session(self, digest: bytes, credential: CachedCredential) -> None:
        if len(self._browser_sessions) >= _MAX_CACHED:
            self._browser_sessions.clear()
        self._browser_sessions[digest] = credential

    def _cache_secret(self, secret: str, credential: CachedCredential) -> None:
        if len(self._by_secret) >= _MAX_CACHED:
            self._by_secret.clear()
        self._by_secret[secret] = credential

    def _cache_credential(self, digest: bytes, credential: CachedCredential | None) -> None:
        if credential is None:
            if len(self._unknown) >= _MAX_CACHED:
                self._unknown.clear()
            self._unknown.add(digest)
        else:
            if len(self._credentials) >= _MAX_CACHED:
                self._credentials.clear()
            self._credentials[digest] = credential

    def _read_key(self, connection: Connection, key_id: str) -> KeyGrant:
        row = connection.execute(select(keys).where(keys.c.id == key_id)).first()
        if row is None:
            raise Unauthorized("the key was revoked")
        return grant_of_row(row, self._owner_of)

    def _cache_key(self, key_id: str, grant: KeyGrant) -> None:
        if len(self._keys_by_id) >= _MAX_CACHED:
            self._keys_by_id.clear()
        self._keys_by_id[key_id] = grant

    def _known_organisations(self) -> frozenset[str]:
        known = self._organisation_ids
        return known if known is not None else self._invalidation.read(_organisation_ids, self._cache_organisations)

    def _cache_organisations(self, ids: frozenset[str]) -> None:
        self._organisation_ids = ids

    def _require_own_dataset(self, grant: KeyGrant) -> KeyGrant:
        """Return the grant; raise Unauthorized where its one dataset has become another organisation's."""
        if self.keys.is_of_one_dataset(grant.protocol) and grant.is_foreign(grant.datasets[0]):
            raise Unauthorized("the dataset of the key is another organisation's")
        return grant

    def _check_invalidation(self) -> None:
        """Empty the caches if another server changed the database. Raise AccessUnavailable."""
        with _answering():
            self._invalidation.check()

    def _clear(self) -> None:
        self._credentials.clear()
        self._by_secret.clear()
        self._unknown.clear()
        self._keys_by_id.clear()
        self._browser_sessions.clear()
        self._organisation_ids = None


@contextmanager
def _answering() -> Iterator[None]:
    """Raise AccessUnavailable where the database does not answer what is asked for in the block."""
    try:
        yield
    except (SQLAlchemyError, StorageUnavailable, DiskFull) as error:
        logger.exception("The database does not answer")
        raise AccessUnavailable("the database of users and tokens does not answer; try again later") from error


def _token_grants(connection: Connection, token: Row[Any], owner_of: OwnerOf) -> dict[str, Grant]:
    """Return what a token may do, by organisation: an API token in its one, a personal token in those of its user."""
    if token.kind not in OF_USERS:
        grant = Grant(
            token_id=token.id,
            kind="api",
            user_id=token.user_id,
            organisation=token.organisation,
            datasets=token.dataset_capabilities,
            org=token.org_capabilities,
            owner_of=owner_of,
            default_dataset=token.default_dataset,
            budget=stored_budget(token.budget),
            sender=token.lineage or token.id,
        )
        return {token.organisation: grant}
    grants = {}
    for membership in connection.execute(
        select(memberships)
        .where(memberships.c.user_id == token.user_id)
        .order_by(memberships.c.created_at, memberships.c.organisation)
    ).all():
        role = effective_role(connection, token.user_id, membership.organisation, membership.role)
        grants[membership.organisation] = Grant(
            token_id=token.id,
            kind="personal",
            user_id=token.user_id,
            organisation=membership.organisation,
            datasets=role.datasets,
            org=role.org,
            role=role.name,
            views=role.views,
            owner_of=owner_of,
            sender=token.user_id,
        )
    if not grants:
        raise Unauthorized("the token's user is in no organisation")
    return grants


def _organisation_ids(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(organisations.c.id)))
