"""Custom roles of an organisation, and groups of users that have roles: `/v2/rbac` of Axiom's API."""

import uuid
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Table, delete, func, insert, select, update

from tailrace.access.capabilities import (
    ROLE_NAMES,
    Capabilities,
    Grant,
    checked_dataset_capabilities,
    checked_org_capabilities,
    checked_view_capabilities,
    require,
    require_all,
    require_views,
)
from tailrace.access.names import checked_description, checked_name
from tailrace.access.roles import require_role
from tailrace.access.users import assign_role
from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import group_members, group_roles, groups, memberships, roles, timestamp

MAX_ROLES = 1_000  # of an organisation
MAX_GROUPS = 1_000  # of an organisation
MAX_MEMBERS = 10_000  # of a group
RESERVED_PREFIX = "axiom-"  # of a role's name, as Axiom has it


class CustomRole(Struct, frozen=True, rename="camel"):
    """A role as Axiom's clients have it."""

    id: str
    name: str
    description: str
    members: list[str]  # ids of the users with this base role; not those who have it through a group
    dataset_capabilities: dict[str, Capabilities]
    view_capabilities: dict[str, Capabilities]
    org_capabilities: Capabilities


class UserGroup(Struct, frozen=True, rename="camel"):
    """A group as Axiom's clients have it."""

    id: str
    name: str
    description: str
    is_managed: bool  # by an identity provider; always false
    members: list[str]  # ids of users
    roles: list[str]  # ids of roles that its members have in addition to their base role


class RoleBody(Struct, frozen=True, rename="camel"):
    """A role as it is created or replaced; null is as not given."""

    name: str
    description: str | None = None
    members: list[str] | None = None  # users to give it to as their base role; those of others stay
    dataset_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    view_capabilities: dict[str, dict[str, list[str] | None] | None] | None = None
    org_capabilities: dict[str, list[str] | None] | None = None


class GroupBody(Struct, frozen=True):
    """A group as it is created or replaced; null is as not given."""

    name: str
    description: str | None = None
    members: list[str] | None = None
    roles: list[str] | None = None


class Rbac:
    """The roles and groups of a database."""

    def __init__(self, database: Database, invalidation: Invalidation, clock: Callable[[], float]) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock

    # Roles

    def list_roles(self, organisation: str) -> list[CustomRole]:
        """Return the custom roles of an organisation, oldest first."""
        mine = select(roles).where(roles.c.organisation == organisation)
        with self._database.reading() as connection:
            rows = connection.execute(mine.order_by(roles.c.created_at, roles.c.id)).all()
            return [_role(connection, row) for row in rows]

    def get_role(self, role_id: str, organisation: str) -> CustomRole:
        """Return a role; raise NotFound."""
        with self._database.reading() as connection:
            return _role(connection, _found(connection, roles, role_id, organisation))

    def create_role(self, body: RoleBody, *, actor: Grant) -> CustomRole:
        """Create a role. Raise BadRequest, Conflict for a taken name, Forbidden when it allows more than `actor` may.

        It becomes the base role of the users named as members, for which `actor` needs users:update.
        """
        values = _role_values(body, actor)
        role_id = str(uuid.uuid4())
        with self._invalidation.changing() as connection:
            _check_limit(connection, roles, actor.organisation, MAX_ROLES)
            _check_name_is_free(connection, roles, body.name, actor.organisation)
            values |= {"id": role_id, "organisation": actor.organisation, "created_at": timestamp(self._clock())}
            connection.execute(insert(roles).values(**values))
            _assign(connection, body.members or (), role_id, actor)
            return _role(connection, _found(connection, roles, role_id, actor.organisation))

    def update_role(self, role_id: str, body: RoleBody, *, actor: Grant) -> CustomRole:
        """Replace a role, from the next use of its users' tokens on; raise as `create_role`."""
        values = _role_values(body, actor)
        with self._invalidation.changing() as connection:
            row = _found(connection, roles, role_id, actor.organisation)
            require_role(connection, actor, role_id)
            _check_name_is_free(connection, roles, body.name, actor.organisation, role_id)
            connection.execute(update(roles).where(roles.c.id == row.id).values(**values))
            _assign(connection, body.members or (), role_id, actor)
            return _role(connection, _found(connection, roles, role_id, actor.organisation))

    def delete_role(self, role_id: str, *, actor: Grant) -> None:
        """Delete a role; users with this base role get the role none. Raise NotFound, Forbidden."""
        with self._invalidation.changing() as connection:
            row = _found(connection, roles, role_id, actor.organisation)
            require_role(connection, actor, role_id)
            theirs = (memberships.c.organisation == actor.organisation) & (memberships.c.role == role_id)
            connection.execute(update(memberships).where(theirs).values(role="none"))
            connection.execute(delete(group_roles).where(group_roles.c.role == role_id))
            connection.execute(delete(roles).where(roles.c.id == row.id))

    # Groups

    def list_groups(self, organisation: str) -> list[UserGroup]:
        """Return the groups of an organisation, oldest first."""
        mine = select(groups).where(groups.c.organisation == organisation)
        with self._database.reading() as connection:
            rows = connection.execute(mine.order_by(groups.c.created_at, groups.c.id)).all()
            return [_group(connection, row) for row in rows]

    def get_group(self, group_id: str, organisation: str) -> UserGroup:
        """Return a group; raise NotFound."""
        with self._database.reading() as connection:
            return _group(connection, _found(connection, groups, group_id, organisation))

    def create_group(self, body: GroupBody, *, actor: Grant) -> UserGroup:
        """Create a group, whose members have its roles in addition to their own.

        Raise BadRequest for an unknown user or role, Conflict for a name that is taken, Forbidden when a role allows
        more than `actor` may.
        """
        values = _group_values(body)
        group_id = str(uuid.uuid4())
        with self._invalidation.changing() as connection:
            _check_limit(connection, groups, actor.organisation, MAX_GROUPS)
            _check_name_is_free(connection, groups, body.name, actor.organisation)
            values |= {"id": group_id, "organisation": actor.organisation, "created_at": timestamp(self._clock())}
            connection.execute(insert(groups).values(**values))
            _insert_members(connection, group_id, body, actor)
            return _group(connection, _found(connection, groups, group_id, actor.organisation))

    def update_group(self, group_id: str, body: GroupBody, *, actor: Grant) -> UserGroup:
        """Replace a group; raise NotFound, and as `create_group`."""
        values = _group_values(body)
        with self._invalidation.changing() as connection:
            before = _group(connection, _found(connection, groups, group_id, actor.organisation))
            for role in before.roles:
                require_role(connection, actor, role)
            _check_name_is_free(connection, groups, body.name, actor.organisation, group_id)
            connection.execute(update(groups).where(groups.c.id == group_id).values(**values))
            _delete_members(connection, group_id)
            _insert_members(connection, group_id, body, actor)
            return _group(connection, _found(connection, groups, group_id, actor.organisation))

    def delete_group(self, group_id: str, *, actor: Grant) -> None:
        """Delete a group; its members keep their base role. Raise NotFound, Forbidden."""
        with self._invalidation.changing() as connection:
            before = _group(connection, _found(connection, groups, group_id, actor.organisation))
            for role in before.roles:
                require_role(connection, actor, role)
            _delete_members(connection, group_id)
            connection.execute(delete(groups).where(groups.c.id == group_id))


def _role_values(body: RoleBody, actor: Grant) -> dict[str, Any]:
    name = checked_name(body.name, "role")
    if name.startswith(RESERVED_PREFIX) or name.lower() in ROLE_NAMES:
        raise BadRequest(f"the name {name!r} is taken: a role is not called {RESERVED_PREFIX}… or like a built-in one")
    datasets = checked_dataset_capabilities(body.dataset_capabilities)
    org = checked_org_capabilities(body.org_capabilities)
    views = checked_view_capabilities(body.view_capabilities)
    if not actor.is_unlimited:
        require_all(actor, datasets, org)
        require_views(actor, views)
    return {
        "name": name,
        "description": checked_description(body.description or "", "role"),
        "dataset_capabilities": datasets,
        "view_capabilities": views,
        "org_capabilities": org,
    }


def _group_values(body: GroupBody) -> dict[str, Any]:
    if len(body.members or ()) > MAX_MEMBERS:
        raise BadRequest(f"{len(body.members or ())} members are more than a group may have, {MAX_MEMBERS}")
    return {
        "name": checked_name(body.name, "group"),
        "description": checked_description(body.description or "", "group"),
    }


def _assign(connection: Connection, users: Collection[str], role: str, actor: Grant) -> None:
    if users:
        require(actor, capability="users", action="update")
    for user in dict.fromkeys(users):
        assign_role(connection, user, role, actor)


def _insert_members(connection: Connection, group_id: str, body: GroupBody, actor: Grant) -> None:
    members, given = list(dict.fromkeys(body.members or ())), list(dict.fromkeys(body.roles or ()))
    if members:
        mine = select(memberships.c.user_id).where(memberships.c.organisation == actor.organisation)
        missing = set(members) - set(connection.scalars(mine))
        if missing:
            raise BadRequest(f"the organisation has no user {min(missing)[:100]!r}")
        connection.execute(insert(group_members), [{"group_id": group_id, "user_id": user} for user in members])
    for role in given:
        if role == "owner":
            raise BadRequest("a group does not have the role owner: it is given to users, one by one")
        require_role(connection, actor, role)
    if given:
        connection.execute(insert(group_roles), [{"group_id": group_id, "role": role} for role in given])


def _delete_members(connection: Connection, group_id: str) -> None:
    for table in (group_members, group_roles):
        connection.execute(delete(table).where(table.c.group_id == group_id))


def _check_limit(connection: Connection, table: Table, organisation: str, most: int) -> None:
    mine = select(func.count()).select_from(table).where(table.c.organisation == organisation)
    if (connection.scalar(mine) or 0) >= most:
        raise BadRequest(f"there are {most} {table.name}, which is the limit")


def _check_name_is_free(connection: Connection, table: Table, name: str, organisation: str, but: str = "") -> None:
    same = (table.c.organisation == organisation) & (table.c.name == name) & (table.c.id != but)
    if connection.scalar(select(table.c.id).where(same)) is not None:
        raise Conflict(f"there is one of the name {name!r} already")


def _found(connection: Connection, table: Table, wanted: str, organisation: str) -> Row[Any]:
    mine = (table.c.id == wanted) & (table.c.organisation == organisation)
    row = connection.execute(select(table).where(mine)).first()
    if row is None:
        raise NotFound(f"{'role' if table is roles else 'group'} {wanted!r} not found")
    return row


def _role(connection: Connection, row: Row[Any]) -> CustomRole:
    theirs = (memberships.c.organisation == row.organisation) & (memberships.c.role == row.id)
    members = select(memberships.c.user_id).where(theirs).order_by(memberships.c.user_id)
    return CustomRole(
        id=row.id,
        name=row.name,
        description=row.description,
        members=list(connection.scalars(members)),
        dataset_capabilities=row.dataset_capabilities,
        view_capabilities=row.view_capabilities,
        org_capabilities=row.org_capabilities,
    )


def _group(connection: Connection, row: Row[Any]) -> UserGroup:
    members = select(group_members.c.user_id).where(group_members.c.group_id == row.id)
    given = select(group_roles.c.role).where(group_roles.c.group_id == row.id)
    return UserGroup(
        id=row.id,
        name=row.name,
        description=row.description,
        is_managed=False,
        members=list(connection.scalars(members.order_by(group_members.c.user_id))),
        roles=list(connection.scalars(given.order_by(group_roles.c.role))),
    )
