"""API tokens and personal tokens in SQL: created, listed, updated, regenerated, revoked."""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, null, select, true, update

from tailrace.access.budget import checked_budget, stored_budget
from tailrace.access.capabilities import (
    EVERY_DATASET,
    Capabilities,
    GivenCapabilities,
    Grant,
    allows,
    checked_dataset_capabilities,
    checked_org_capabilities,
    require,
    require_all,
)
from tailrace.access.names import checked_description, checked_name
from tailrace.access.tokens import (
    NO_EXPIRY,
    OF_USERS,
    PersonalToken,
    TokenKind,
    TokenRecord,
    checked_expiry,
    checked_overlap,
    expiry_s,
    hash_of,
    new_secret,
    rfc3339,
)
from tailrace.access.users import UserStore
from tailrace.events import BadRequest, NotFound
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import MAX_DATASET_NAME_LENGTH, timestamp, tokens


class TokenSpec(Struct, frozen=True):
    """A token to be created; null and empty members of the maps count as not given."""

    name: str
    dataset_capabilities: Mapping[str, GivenCapabilities | None] | None = None
    org_capabilities: GivenCapabilities | None = None
    expires_at: str | datetime | None = None
    description: str | None = ""
    default_dataset: str | None = ""
    budget: Any = None  # as JSON has it; null and {} are none


class _CheckedToken(Struct, frozen=True):
    """A token to be created whose values are valid."""

    kind: Literal["api", "ingest"]
    name: str
    description: str
    datasets: Mapping[str, Capabilities]
    org: Capabilities
    default_dataset: str
    budget: dict[str, Any] | None = None
    lineage: str = ""  # id of the token that this one stands for after it was regenerated


class TokenStore:
    """The tokens of a database."""

    def __init__(
        self, database: Database, invalidation: Invalidation, clock: Callable[[], float], users: UserStore
    ) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock
        self._users = users

    def create_token(
        self,
        name: str,
        dataset_capabilities: Mapping[str, GivenCapabilities | None] | None = None,
        org_capabilities: GivenCapabilities | None = None,
        expires_at: str | datetime | None = None,
        description: str | None = "",
        *,
        default_dataset: str | None = "",
        budget: Any = None,
        kind: Literal["api", "ingest"] = "api",
        actor: Grant,
    ) -> tuple[TokenRecord, str]:
        """Create an API token; return it and its secret, which is not stored.

        The kind "ingest" differs in its prefix only, which ingest tokens had before 2022.

        Null and empty members of the maps count as not given. Raise BadRequest for a bad name, expiry or
        capability, where there is none, and for a default dataset that the token may not ingest into; Forbidden when
        the token would allow more than `actor` may.
        """
        spec = TokenSpec(
            name,
            dataset_capabilities,
            org_capabilities,
            description=description,
            default_dataset=default_dataset,
            budget=budget,
        )
        new = _checked(spec, kind)
        require_all(actor, new.datasets, new.org)
        _require_ingestible(new.default_dataset, new.datasets, actor)
        expiry = checked_expiry(expires_at, self._clock())
        with self._invalidation.changing() as connection:
            token_id, secret = self._insert(connection, new, actor.organisation, actor.user_id, expiry)
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
        dataset_capabilities: Mapping[str, GivenCapabilities | None] | None = None,
        org_capabilities: GivenCapabilities | None = None,
        expires_at: str | datetime | None = None,
        default_dataset: str | None = None,
        budget: Any = None,
        actor: Grant,
    ) -> TokenRecord:
        """Change an API token, from its next use on. None leaves a value as it is.

        "" is no default dataset, {} no budget.

        Raise NotFound, BadRequest for a bad value, for a default dataset that the token may then not ingest into, and
        for a basic token (one that only ingests), of which only the default dataset can change; Forbidden when the
        token would then allow more than `actor` may.
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
        if budget is not None:
            values["budget"] = checked_budget(budget)
        with self._invalidation.changing() as connection:
            row = _found_token(connection, token_id, actor.organisation)
            if _is_basic(row) and (values or default_dataset is None):
                raise BadRequest("a basic token, which only ingests, does not change: make another, or regenerate it")
            datasets = values.get("dataset_capabilities", row.dataset_capabilities)
            org = values.get("org_capabilities", row.org_capabilities)
            if "dataset_capabilities" in values or "org_capabilities" in values:
                _require_some(datasets, org)
            require_all(actor, datasets, org)
            if default_dataset is not None:
                values["default_dataset"] = default_dataset
            _require_ingestible(values.get("default_dataset", row.default_dataset), datasets, actor)
            if values:
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(**values))
            return _record(_found_token(connection, token_id, actor.organisation))

    def regenerate_token(
        self,
        token_id: str,
        *,
        existing_expires_at: str,
        new_expires_at: str | None = None,
        replacement: TokenSpec | None = None,
        actor: Grant,
    ) -> tuple[TokenRecord, str]:
        """Create a token like another, or as `replacement` says, with a new id and secret.

        The old one expires at the time given, unless it would have before. Raise NotFound, BadRequest as `create_token`
        does, Forbidden when the new token would allow more than `actor` may, or when `actor` gives a replacement and
        may not create tokens.
        """
        end = checked_overlap(existing_expires_at, datetime.fromtimestamp(self._clock(), UTC))
        expiry = checked_expiry(new_expires_at, self._clock(), "newTokenExpiresAt")
        wanted = None
        if replacement is not None:
            require(actor, capability="apiTokens", action="create")
            wanted = _checked(replacement)
            expiry = checked_expiry(replacement.expires_at, self._clock()) or expiry
        with self._invalidation.changing() as connection:
            row = _found_token(connection, token_id, actor.organisation)
            new = wanted or _CheckedToken(
                row.kind,
                row.name,
                row.description,
                row.dataset_capabilities,
                row.org_capabilities,
                row.default_dataset,
                row.budget,
            )
            new = replace(new, lineage=row.lineage or row.id)
            require_all(actor, new.datasets, new.org)
            if wanted is not None:
                _require_ingestible(wanted.default_dataset, wanted.datasets, actor)
            if end.timestamp() < expiry_s(row.expires_at):
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(expires_at=rfc3339(end)))
            new_id, secret = self._insert(connection, new, row.organisation, actor.user_id, expiry)
        return self.get_token(new_id), secret

    def _insert(
        self, connection: Connection, new: _CheckedToken, organisation: str, user_id: str, expiry: datetime | None
    ) -> tuple[str, str]:
        """Insert an API token; return its id and its new secret."""
        secret = new_secret(new.kind)
        token_id = insert_token(
            connection,
            new.kind,
            secret,
            created_at=timestamp(self._clock()),
            organisation=organisation,
            user_id=user_id,
            name=new.name,
            description=new.description,
            expiry=expiry,
            datasets=new.datasets,
            org=new.org,
            default_dataset=new.default_dataset,
            budget=new.budget,
            lineage=new.lineage,
        )
        return token_id, secret

    def delete_token(self, token_id: str, organisation: str | None = None) -> None:
        """Revoke an API token: its next use is refused. Raise NotFound."""
        with self._invalidation.changing() as connection:
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
        actor: Grant,
    ) -> tuple[PersonalToken, str]:
        """Create a personal token for a user; return it and its secret, which is not stored.

        Raise BadRequest, NotFound, Forbidden unless `actor` is the user or has authority over them.
        """
        self._users.require_authority_over(user_id, actor=actor)
        checked_name(name, "token")
        description = checked_description(description or "", "token")
        expiry = checked_expiry(expires_at, self._clock())
        secret = new_secret("personal")
        with self._invalidation.changing() as connection:
            token_id = insert_token(
                connection,
                "personal",
                secret,
                created_at=timestamp(self._clock()),
                user_id=user_id,
                name=name,
                description=description,
                expiry=expiry,
                organisation=None,
            )
        (made,) = (token for token in self._personal_tokens(user_id) if token.id == token_id)
        return made, secret

    def list_personal_tokens(self, user_id: str, *, actor: Grant) -> list[PersonalToken]:
        """Return the personal tokens of a user, oldest first. Raise NotFound, Forbidden."""
        self._users.require_authority_over(user_id, actor=actor)
        return self._personal_tokens(user_id)

    def delete_personal_token(self, user_id: str, token_id: str, *, actor: Grant) -> None:
        """Revoke a personal token of a user. Raise NotFound, Forbidden."""
        self._users.require_authority_over(user_id, actor=actor)
        with self._invalidation.changing() as connection:
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


def insert_token(
    connection: Connection,
    kind: TokenKind,
    secret: str,
    *,
    created_at: str,
    organisation: str | None,
    user_id: str,
    name: str,
    description: str = "",
    expiry: datetime | None = None,
    datasets: Mapping[str, Capabilities] | None = None,
    org: Capabilities | None = None,
    default_dataset: str = "",
    budget: Mapping[str, Any] | None = None,
    lineage: str = "",
) -> str:
    """Insert a row of a token, of which only the hash of the secret is stored; return its id."""
    token_id = str(uuid.uuid4())
    connection.execute(
        insert(tokens).values(
            id=token_id,
            name=name,
            description=description,
            kind=kind,
            hash=hash_of(secret),
            user_id=user_id,
            created_at=created_at,
            expires_at=rfc3339(expiry) if expiry else None,
            dataset_capabilities=datasets or {},
            org_capabilities=org or {},
            organisation=organisation,
            default_dataset=default_dataset,
            budget=null() if budget is None else budget,
            lineage=lineage,
        )
    )
    return token_id


def _api_token(token_id: str | None, organisation: str | None) -> ColumnElement[bool]:
    # Tokens of users are not managed as API tokens, so that the owner cannot be locked out through that route.
    return and_(
        tokens.c.kind.not_in(OF_USERS),
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


def _checked(given: TokenSpec, kind: Literal["api", "ingest"] = "api") -> _CheckedToken:
    """Return the token with checked values; raise BadRequest."""
    datasets = checked_dataset_capabilities(given.dataset_capabilities)
    org = checked_org_capabilities(given.org_capabilities)
    name, description = checked_name(given.name, "token"), checked_description(given.description or "", "token")
    _require_some(datasets, org)
    budget = checked_budget(given.budget)
    return _CheckedToken(kind, name, description, datasets, org, given.default_dataset or "", budget)


def _require_some(datasets: Mapping[str, Capabilities], org: Capabilities) -> None:
    # Axiom's Terraform provider looks for these words.
    if not datasets and not org:
        raise BadRequest("at least one capability must be set: in datasetCapabilities or orgCapabilities")


def _require_ingestible(dataset: str, datasets: Mapping[str, Capabilities], actor: Grant) -> None:
    """Raise BadRequest for a default dataset that a token of these capabilities may not ingest into."""
    if not dataset:
        return
    if dataset == EVERY_DATASET or len(dataset) > MAX_DATASET_NAME_LENGTH:
        raise BadRequest(f"defaultDataset {dataset[:MAX_DATASET_NAME_LENGTH]!r} is not the name of one dataset")
    holder = Grant(
        token_id="",
        kind="api",
        user_id=actor.user_id,
        organisation=actor.organisation,
        datasets=dict(datasets),
        owner_of=actor.owner_of,
    )
    if not allows(holder, capability="ingest", action="create", dataset=dataset):
        raise BadRequest(
            f"defaultDataset {dataset!r} is not a dataset that the token may ingest into: "
            "give it ingest:create there, or another default, or none"
        )


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        description=row.description,
        expires_at=row.expires_at or NO_EXPIRY,
        dataset_capabilities=row.dataset_capabilities,
        org_capabilities=row.org_capabilities,
        saml_authenticated=False,
        default_dataset=row.default_dataset,
        budget=stored_budget(row.budget),
    )
