"""Roles and groups in the store: on a real database, in force from the next look-up."""

import pytest

from tailrace.access import Access, Grant, GroupBody, RoleBody, allows
from tailrace.events import BadRequest, Conflict, Forbidden, NotFound
from tailrace.storage.database import Database

READ_LOGS = RoleBody("Readers", dataset_capabilities={"logs": {"query": ["read"]}})
SEND_LOGS = RoleBody(
    "Senders", dataset_capabilities={"logs": {"ingest": ["create"]}}, org_capabilities={"users": ["read"]}
)


@pytest.fixture
def access(database: Database) -> Access:
    return Access(database)


@pytest.fixture
def owner(access: Access) -> Grant:
    return access.authenticate(access.bootstrap() or "")


def make_user(access: Access, owner: Grant, role: str = "none") -> tuple[str, str]:
    """Return the id of a user and a personal token of theirs."""
    user = access.users.create_user("Ada", "ada@example.com", role, actor=owner)
    return user.id, access.tokens.create_personal_token(user.id, "t", actor=owner)[1]


def may(access: Access, secret: str, capability: str, action: str, dataset: str | None = "logs") -> bool:
    return allows(access.authenticate(secret), capability=capability, action=action, dataset=dataset)


def test_base_role_and_groups_add_up(access: Access, owner: Grant) -> None:
    reader = access.rbac.create_role(READ_LOGS, actor=owner)
    sender = access.rbac.create_role(SEND_LOGS, actor=owner)
    user, secret = make_user(access, owner, reader.id)
    assert may(access, secret, "query", "read")
    assert not may(access, secret, "ingest", "create")

    access.rbac.create_group(GroupBody("All", members=[user], roles=[sender.id, "read-only"]), actor=owner)
    assert may(access, secret, "query", "read")
    assert may(access, secret, "ingest", "create")
    assert may(access, secret, "query", "read", "other")
    assert may(access, secret, "users", "read", None)
    assert not may(access, secret, "users", "update", None)


def test_a_deleted_role_leaves_its_users_with_none(access: Access, owner: Grant) -> None:
    role = access.rbac.create_role(READ_LOGS, actor=owner)
    user, secret = make_user(access, owner, role.id)
    group = access.rbac.create_group(GroupBody("All", members=[user], roles=[role.id]), actor=owner)
    access.rbac.delete_role(role.id, actor=owner)

    assert not may(access, secret, "query", "read")
    assert access.users.get_user(user, "tailrace").role.id == "none"
    assert access.rbac.get_group(group.id, "tailrace").roles == []
    with pytest.raises(NotFound):
        access.rbac.get_role(role.id, "tailrace")


def test_another_organisation_sees_none_of_it(access: Access, owner: Grant) -> None:
    access.organisations.create_organisation("Other", actor=owner)
    secret = access.bootstrap("xapt-root") or ""
    other = access.authenticate(secret, "other")
    role = access.rbac.create_role(READ_LOGS, actor=owner)
    group = access.rbac.create_group(GroupBody("All"), actor=owner)

    assert access.rbac.list_roles("other") == []
    assert access.rbac.list_groups("other") == []
    for act in (access.rbac.delete_role, access.rbac.delete_group):
        with pytest.raises(NotFound):
            act(role.id if act == access.rbac.delete_role else group.id, actor=other)
    with pytest.raises(BadRequest):
        access.rbac.create_group(GroupBody("Theirs", roles=[role.id]), actor=other)
    assert access.rbac.create_role(READ_LOGS, actor=other).name == "Readers"


def test_a_name_is_an_organisations_once(access: Access, owner: Grant) -> None:
    access.rbac.create_role(READ_LOGS, actor=owner)
    group = access.rbac.create_group(GroupBody("All"), actor=owner)

    with pytest.raises(Conflict):
        access.rbac.create_role(READ_LOGS, actor=owner)
    with pytest.raises(Conflict):
        access.rbac.create_group(GroupBody("All"), actor=owner)
    assert access.rbac.update_group(group.id, GroupBody("All", "described"), actor=owner).description == "described"


def test_an_admin_by_a_group_is_unlimited_but_takes_no_owner(access: Access, owner: Grant) -> None:
    user, secret = make_user(access, owner)
    access.rbac.create_group(GroupBody("Admins", members=[user], roles=["admin"]), actor=owner)
    admin = access.authenticate(secret)

    assert admin.is_unlimited
    with pytest.raises(Forbidden):
        access.users.delete_user(owner.user_id, actor=admin)
