"""Effective roles: what a user may do in an organisation by their base role and by the roles of their groups."""

from collections.abc import Iterable

from msgspec import Struct
from sqlalchemy import Connection, select

from tailrace.access.capabilities import (
    ROLE_NAMES,
    UNLIMITED_ROLES,
    Capabilities,
    Grant,
    require_all,
    require_views,
    role_capabilities,
)
from tailrace.events import BadRequest, Forbidden
from tailrace.storage.tables import group_members, group_roles, groups, roles


class EffectiveRole(Struct, frozen=True):
    """The union of what a user's roles allow."""

    name: str  # "owner" or "admin" where one of them is that, else the base role
    datasets: dict[str, Capabilities]
    org: Capabilities
    views: dict[str, Capabilities] = {}


def effective_role(connection: Connection, user_id: str, organisation: str, role: str) -> EffectiveRole:
    """Return the effective role of a user with the base role `role`."""
    others = roles_by_groups(connection, user_id, organisation)
    if role not in UNLIMITED_ROLES and "admin" in others:
        return EffectiveRole("admin", {}, {})
    maps = [_capabilities(connection, each, organisation) for each in dict.fromkeys((role, *others))]
    return EffectiveRole(
        role,
        _merged_by_name(datasets for datasets, _, _ in maps),
        _merged(org for _, org, _ in maps),
        _merged_by_name(views for _, _, views in maps),
    )


def roles_by_groups(connection: Connection, user_id: str, organisation: str) -> list[str]:
    """Return the ids of the roles that a user has by groups, without their base role."""
    found = (
        select(group_roles.c.role)
        .distinct()
        .join(groups, groups.c.id == group_roles.c.group_id)
        .join(group_members, group_members.c.group_id == groups.c.id)
        .where((groups.c.organisation == organisation) & (group_members.c.user_id == user_id))
        .order_by(group_roles.c.role)
    )
    return list(connection.scalars(found))


def require_role(connection: Connection, actor: Grant, role: str) -> None:
    """Raise BadRequest for an unknown role, Forbidden when it allows more than `actor` may."""
    if role not in ROLE_NAMES and not _exists(connection, role, actor.organisation):
        raise BadRequest(
            f"unknown role {role[:100]!r}; known are {', '.join(ROLE_NAMES)} and the ids that /v2/rbac/roles lists"
        )
    if actor.kind == "personal" and actor.role == "owner":
        return
    if role in UNLIMITED_ROLES:
        if not actor.is_unlimited or role == "owner":
            raise Forbidden(f"only {'an owner' if role == 'owner' else 'an owner or an admin'} gives or takes {role!r}")
        return
    if not actor.is_unlimited:
        datasets, org, views = _capabilities(connection, role, actor.organisation)
        require_all(actor, datasets, org)
        require_views(actor, views)


def _exists(connection: Connection, role: str, organisation: str) -> bool:
    mine = (roles.c.id == role) & (roles.c.organisation == organisation)
    return connection.scalar(select(roles.c.id).where(mine)) is not None


def _capabilities(
    connection: Connection, role: str, organisation: str
) -> tuple[dict[str, Capabilities], Capabilities, dict[str, Capabilities]]:
    """Return the capability maps of a role: of datasets, of the organisation, of views; empty ones of a role that is
    gone.
    """
    if role in ROLE_NAMES:
        return *role_capabilities(role), {}
    mine = (roles.c.id == role) & (roles.c.organisation == organisation)
    row = connection.execute(select(roles).where(mine)).first()
    return ({}, {}, {}) if row is None else (row.dataset_capabilities, row.org_capabilities, row.view_capabilities)


def _merged_by_name(maps: Iterable[dict[str, Capabilities]]) -> dict[str, Capabilities]:
    merged: dict[str, Capabilities] = {}
    for given in maps:
        for name, capabilities in given.items():
            merged[name] = _merged((merged.get(name, {}), capabilities))
    return merged


def _merged(maps: Iterable[Capabilities]) -> Capabilities:
    merged: Capabilities = {}
    for each in maps:
        for capability, actions in each.items():
            merged[capability] = list(dict.fromkeys((*merged.get(capability, ()), *actions)))
    return merged
