"""Users and their roles: who may change whom."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.access import Access, Grant, allows
from tailrace.events import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Unauthorized,
)

INGEST = {"logs": {"ingest": ["create"]}}


def test_a_user_is_the_same_object_when_created_read_and_listed(access: Access, owner: Grant) -> None:
    made = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)

    assert access.users.get_user(made.id, "tailrace") == made
    assert made in access.users.list_users("tailrace")
    assert (made.name, made.email, made.role.id, made.role.name) == ("Ada", "ada@example.com", "user", "User")


def test_an_email_is_taken_once_whatever_its_case(access: Access, owner: Grant) -> None:
    access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    with pytest.raises(Conflict):
        access.users.create_user("Another", "ADA@example.com", "user", actor=owner)
    with pytest.raises(Conflict):
        access.users.update_user(owner.user_id, "tailrace", name=None, email="Ada@example.com")


@pytest.mark.parametrize(
    ("name", "email", "role"), [("", "a@b", "user"), ("A", "no email", "user"), ("A", "a@b", "king")]
)
def test_what_is_no_user_is_refused(access: Access, owner: Grant, name: str, email: str, role: str) -> None:
    with pytest.raises(BadRequest):
        access.users.create_user(name, email, role, actor=owner)


def test_a_user_can_be_called_something_else(access: Access, owner: Grant) -> None:
    changed = access.users.update_user(owner.user_id, "tailrace", name="Grace", email="grace@example.com")

    assert (changed.name, changed.email) == ("Grace", "grace@example.com")
    assert access.users.update_user(owner.user_id, "tailrace", name=None, email="").name == "Grace"


def test_a_role_holds_from_the_next_use_of_a_token(access: Access, owner: Grant) -> None:
    user = access.users.create_user("Ada", "", "read-only", actor=owner)
    _, secret = access.tokens.create_personal_token(user.id, "t", actor=owner)
    assert not allows(access.authenticate(secret), capability="ingest", action="create", dataset="logs")

    access.users.set_role(user.id, "user", actor=owner)

    assert allows(access.authenticate(secret), capability="ingest", action="create", dataset="logs")


@pytest.mark.parametrize(
    ("role", "query", "ingest", "tokens", "drop"),
    [
        ("admin", True, True, True, True),
        ("user", True, True, False, False),
        ("read-only", True, False, False, False),
        ("none", False, False, False, False),
    ],
)
def test_what_each_role_may(
    as_role: Callable[[str], Grant], role: str, query: bool, ingest: bool, tokens: bool, drop: bool
) -> None:
    grant = as_role(role)

    assert allows(grant, capability="query", action="read", dataset="logs") is query
    assert allows(grant, capability="ingest", action="create", dataset="logs") is ingest
    assert allows(grant, capability="apiTokens", action="create") is tokens
    assert allows(grant, capability="datasets", action="delete") is drop


def test_nobody_makes_a_user_mightier_than_themselves(access: Access, as_role: Callable[[str], Grant]) -> None:
    admin, user = as_role("admin"), as_role("user")

    access.users.create_user("another admin", "", "admin", actor=admin)
    with pytest.raises(Forbidden):
        access.users.create_user("an owner", "", "owner", actor=admin)
    with pytest.raises(Forbidden):
        access.users.set_role(user.user_id, "admin", actor=user)


def test_an_admin_takes_nothing_from_an_owner(access: Access, owner: Grant, as_role: Callable[[str], Grant]) -> None:
    admin = as_role("admin")
    with pytest.raises(Forbidden):
        access.users.set_role(owner.user_id, "none", actor=admin)
    with pytest.raises(Forbidden):
        access.users.delete_user(owner.user_id, actor=admin)
    with pytest.raises(Forbidden):
        access.tokens.create_personal_token(owner.user_id, "theirs", actor=admin)


def test_the_last_owner_stays(access: Access, owner: Grant, as_role: Callable[[str], Grant]) -> None:
    with pytest.raises(Conflict, match="last owner"):
        access.users.delete_user(owner.user_id, actor=owner)
    with pytest.raises(Conflict, match="last owner"):
        access.users.set_role(owner.user_id, "user", actor=owner)
    as_role("owner")
    assert access.users.set_role(owner.user_id, "user", actor=owner).role.id == "user"


def test_of_owners_who_step_down_at_once_one_stays(access: Access, owner: Grant) -> None:
    owners = [owner.user_id] + [access.users.create_user(name, "", "owner", actor=owner).id for name in "abcdef"]

    def step_down(user: str) -> str:
        try:
            return access.users.set_role(user, "user", actor=owner).role.id
        except Conflict:
            return "stays"

    with ThreadPoolExecutor(len(owners)) as threads:
        roles = list(threads.map(step_down, owners))

    assert sorted(roles) == ["stays"] + ["user"] * (len(owners) - 1)
    assert [each.role.id for each in access.users.list_users("tailrace")].count("owner") == 1


def test_a_user_removed_loses_their_tokens_and_leaves_the_api_tokens(access: Access, owner: Grant) -> None:
    user = access.users.create_user("Ada", "", "admin", actor=owner)
    _, personal = access.tokens.create_personal_token(user.id, "t", actor=owner)
    _, api = access.tokens.create_token("sender", INGEST, actor=access.authenticate(personal))

    access.users.delete_user(user.id, actor=owner)

    with pytest.raises(Unauthorized):
        access.authenticate(personal)
    assert access.authenticate(api).user_id == user.id
    with pytest.raises(NotFound):
        access.users.get_user(user.id, "tailrace")


def test_a_token_for_a_user_of_several_organisations_is_theirs_to_make(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.organisations.create_organisation("Acme", actor=owner)
    acme = access.authenticate(secret, "acme")
    user = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    assert access.users.create_user("Ada", "ada@example.com", "user", actor=acme).id == user.id

    with pytest.raises(Forbidden, match="other organisations"):
        access.tokens.create_personal_token(user.id, "t", actor=acme)


def test_a_stranger_who_took_an_email_does_not_join_another_organisation_by_it(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.organisations.create_organisation("Acme", actor=owner)
    acme = access.authenticate(secret, "acme")
    taken = access.users.create_user("Mallory", "grace@example.com", "user", actor=acme)
    _, theirs = access.tokens.create_personal_token(taken.id, "t", actor=acme)
    admin = access.users.create_user("Ada", "ada@example.com", "admin", actor=owner)
    _, ours = access.tokens.create_personal_token(admin.id, "t", actor=owner)

    with pytest.raises(Conflict, match="another organisation"):
        access.users.create_user("Grace", "grace@example.com", "user", actor=access.authenticate(ours))

    assert access.authenticate(theirs).organisation == "acme"
    with pytest.raises(Forbidden):
        access.authenticate(theirs, "tailrace")


def test_who_has_left_every_organisation_holds_no_email(access: Access, owner: Grant) -> None:
    left = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    access.users.delete_user(left.id, actor=owner)

    again = access.users.create_user("Ada L.", "Ada@example.com", "admin", actor=owner)

    assert again.id != left.id
    assert access.users.creator(left.id) == ("Ada", "ada@example.com")
    with pytest.raises(Conflict, match="already"):
        access.users.create_user("Mallory", "ada@example.com", "user", actor=owner)
    access.users.delete_user(again.id, actor=owner)
    assert access.users.update_user(owner.user_id, "tailrace", name=None, email="ada@example.com").email


def test_an_email_is_held_while_its_user_is_in_another_organisation(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.organisations.create_organisation("Acme", actor=owner)
    acme = access.authenticate(secret, "acme")
    user = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    access.users.create_user("Ada", "ada@example.com", "user", actor=acme)
    access.users.delete_user(user.id, actor=owner)

    with pytest.raises(Conflict, match="already"):
        access.users.update_user(owner.user_id, "tailrace", name=None, email="ADA@example.com")
    assert access.users.create_user("Ada", "ada@example.com", "user", actor=owner).id == user.id
