"""Users: who belongs to which organisation, in which role, and who may change that."""

import re
import uuid
from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from tailrace.access.capabilities import ROLE_NAMES, Grant
from tailrace.access.names import checked_name
from tailrace.access.roles import require_role, roles_by_groups
from tailrace.access.tokens import OF_USERS
from tailrace.events import BadRequest, Conflict, Forbidden, NotFound
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import (
    group_members,
    groups,
    identities,
    memberships,
    roles,
    timestamp,
    tokens,
    users,
)

MAX_EMAIL_LENGTH = 254  # characters, RFC 5321
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Role(Struct, frozen=True):
    """A user's role in an organisation."""

    id: str
    name: str


class User(Struct, frozen=True):
    """A user as Axiom's `/v2/users` shows one; its Go client decodes exactly these members."""

    id: str
    name: str
    email: str
    role: Role


class UserStore:
    """The users of a database, each in one or more organisations."""

    def __init__(self, database: Database, invalidation: Invalidation, clock: Callable[[], float]) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock

    def list_users(self, organisation: str) -> list[User]:
        """Return the users of an organisation, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_select_users(organisation).order_by(memberships.c.created_at, users.c.id))
            return [_user(row) for row in rows]

    def get_user(self, user_id: str, organisation: str) -> User:
        """Return a user of an organisation; raise NotFound."""
        with self._database.reading() as connection:
            return _found_user(connection, user_id, organisation)

    def creator(self, user_id: str) -> tuple[str, str]:
        """Return the name and the email of a user, also of a removed one; empty for an unknown id."""
        with self._database.reading() as connection:
            row = connection.execute(select(users.c.name, users.c.email).where(users.c.id == user_id)).first()
        return (row.name, row.email) if row is not None else ("", "")

    def create_user(self, name: str, email: str, role: str, *, actor: Grant) -> User:
        """Add a user to the organisation of `actor`; a user with the email in another organisation of `actor` joins it.

        Raise BadRequest, Conflict where the email is taken, Forbidden when the role allows more than `actor` may.
        """
        name, email = checked_name(name, "user"), checked_email(email)
        with self._invalidation.changing() as connection:
            require_role(connection, actor, role)
            known = email_holder(connection, email) if email else None
            if known is not None and _role_of(connection, known, actor.organisation) is not None:
                raise Conflict(f"there is a user with the email {email!r} already")
            if known is not None and not _share_an_organisation(connection, known, actor):
                # Emails are not verified: the user there may be someone else, whose tokens would be valid here then.
                raise Conflict(
                    f"the email {email!r} is that of a user of another organisation: somebody who is in both "
                    "adds them, with a personal token"
                )
            user_id = known or str(uuid.uuid4())
            now = timestamp(self._clock())
            if known is None:
                connection.execute(insert(users).values(id=user_id, name=name, email=email, created_at=now))
            connection.execute(
                insert(memberships).values(user_id=user_id, organisation=actor.organisation, role=role, created_at=now)
            )
            return _found_user(connection, user_id, actor.organisation)

    def update_user(self, user_id: str, organisation: str, *, name: str | None, email: str | None) -> User:
        """Change the name or the email of a user; None leaves it. Raise BadRequest, NotFound, Conflict."""
        values = {}
        if name is not None:
            values["name"] = checked_name(name, "user")
        if email is not None:
            values["email"] = checked_email(email)
        with self._invalidation.changing() as connection:
            _found_user(connection, user_id, organisation)
            if values.get("email") and email_holder(connection, values["email"], other_than=user_id) is not None:
                raise Conflict(f"there is a user with the email {email!r} already")
            if values:
                connection.execute(update(users).where(users.c.id == user_id).values(**values))
            return _found_user(connection, user_id, organisation)

    def rename_user(self, user_id: str, name: str, *, actor: Grant) -> User:
        """Rename a user. Raise BadRequest, NotFound, Forbidden unless `actor` has authority over them."""
        self.require_authority_over(user_id, actor=actor)
        return self.update_user(user_id, actor.organisation, name=name, email=None)

    def set_role(self, user_id: str, role: str, *, actor: Grant) -> User:
        """Change the base role of a user. Raise NotFound, Forbidden, and Conflict for the last owner."""
        with self._invalidation.changing() as connection:
            assign_role(connection, user_id, role, actor)
            return _found_user(connection, user_id, actor.organisation)

    def delete_user(self, user_id: str, *, actor: Grant) -> None:
        """Remove a user from the organisation; their personal tokens are no longer valid there.

        API tokens that they created stay. Their email is free once this was their last organisation. Raise NotFound,
        Forbidden, Conflict for the last owner.
        """
        with self._invalidation.changing() as connection:
            before = _found_user(connection, user_id, actor.organisation).role.id
            _require_all_roles(connection, actor, user_id, before)
            if before == "owner":
                _require_another_owner(connection, user_id, actor.organisation)
            in_groups = select(groups.c.id).where(groups.c.organisation == actor.organisation)
            theirs = (group_members.c.user_id == user_id) & group_members.c.group_id.in_(in_groups)
            connection.execute(delete(group_members).where(theirs))
            mine = memberships.c.user_id == user_id
            connection.execute(delete(memberships).where(mine & (memberships.c.organisation == actor.organisation)))
            if connection.scalar(select(memberships.c.user_id).where(mine)) is None:
                theirs = (tokens.c.user_id == user_id) & tokens.c.kind.in_(OF_USERS)
                connection.execute(delete(tokens).where(theirs))
                connection.execute(delete(identities).where(identities.c.user_id == user_id))

    def require_authority_over(self, user_id: str, *, actor: Grant) -> None:
        """Raise Forbidden unless `actor` is the user, or may all that the user may, who is in no other organisation."""
        if actor.kind == "personal" and actor.user_id == user_id:
            return
        with self._database.reading() as connection:
            _require_all_roles(connection, actor, user_id, _found_user(connection, user_id, actor.organisation).role.id)
            theirs = connection.scalar(
                select(func.count()).select_from(memberships).where(memberships.c.user_id == user_id)
            )
        if theirs != 1:
            raise Forbidden("the user belongs to other organisations too, so only they may do that themselves")


def checked_email(email: str) -> str:
    """Return an email, or "" for none; raise BadRequest for what cannot be one."""
    if email and (len(email) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(email) or not email.isprintable()):
        raise BadRequest(f"{email[:MAX_EMAIL_LENGTH]!r} is not an email: it is like ada@example.com")
    return email


def assign_role(connection: Connection, user_id: str, role: str, actor: Grant) -> None:
    """Change the base role of a user. Raise NotFound, BadRequest, Forbidden, and Conflict for the last owner."""
    require_role(connection, actor, role)
    before = _found_user(connection, user_id, actor.organisation).role.id
    require_role(connection, actor, before)
    if before == "owner" != role:
        _require_another_owner(connection, user_id, actor.organisation)
    mine = (memberships.c.user_id == user_id) & (memberships.c.organisation == actor.organisation)
    connection.execute(update(memberships).where(mine).values(role=role))


def _require_all_roles(connection: Connection, actor: Grant, user_id: str, role: str) -> None:
    """Raise Forbidden unless `actor` may all that a user may, by their base role and their groups."""
    for each in (role, *roles_by_groups(connection, user_id, actor.organisation)):
        require_role(connection, actor, each)


def _require_another_owner(connection: Connection, user_id: str, organisation: str) -> None:
    another = (
        (memberships.c.organisation == organisation)
        & (memberships.c.role == "owner")
        & (memberships.c.user_id != user_id)
    )
    if connection.scalar(select(memberships.c.user_id).where(another)) is None:
        raise Conflict("this is the last owner of the organisation: make another user an owner first")


def _role_of(connection: Connection, user_id: str, organisation: str) -> str | None:
    mine = (memberships.c.user_id == user_id) & (memberships.c.organisation == organisation)
    role: str | None = connection.scalar(select(memberships.c.role).where(mine))
    return role


def email_holder(connection: Connection, email: str, other_than: str = "") -> str | None:
    """Return the id of the user, `other_than` excepted, with an email and an organisation."""
    is_theirs = (func.lower(users.c.email) == email.lower()) & (users.c.id != other_than)
    found = select(users.c.id).join(memberships, memberships.c.user_id == users.c.id).where(is_theirs)
    user_id: str | None = connection.scalar(found)
    return user_id


def _share_an_organisation(connection: Connection, user_id: str, actor: Grant) -> bool:
    if actor.kind != "personal":
        return False
    ours = select(memberships.c.organisation).where(memberships.c.user_id == actor.user_id)
    both = (memberships.c.user_id == user_id) & memberships.c.organisation.in_(ours)
    return connection.scalar(select(memberships.c.user_id).where(both)) is not None


def _select_users(organisation: str) -> Select[tuple[str, str, str, str, str]]:
    return (
        select(users.c.id, users.c.name, users.c.email, memberships.c.role, roles.c.name.label("role_name"))
        .join(memberships, memberships.c.user_id == users.c.id)
        .join(roles, roles.c.id == memberships.c.role, isouter=True)
        .where(memberships.c.organisation == organisation)
    )


def _found_user(connection: Connection, user_id: str, organisation: str) -> User:
    row = connection.execute(_select_users(organisation).where(users.c.id == user_id)).first()
    if row is None:
        raise NotFound(f"user {user_id!r} not found")
    return _user(row)


def _user(row: Row[tuple[str, str, str, str, str]]) -> User:
    name = row.role_name or ROLE_NAMES.get(row.role, row.role)
    return User(row.id, row.name, row.email, Role(row.role, name))
