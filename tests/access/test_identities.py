"""Which user a person is whom a provider of single sign-on knows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from support.clock import Clock

from tailrace.access import Access, Grant, GroupBody, browser_sessions
from tailrace.access.identities import Identity
from tailrace.events import Forbidden, Unauthorized
from tailrace.storage.database import Database
from tailrace.storage.tables import tokens

ADA = Identity("https://id.example", "ada-1", "ada@example.com", True, "Ada Lovelace")
HOUR_S = 3600.0


def refusal(access: Access, identity: Identity, new_user_role: str = "") -> str:
    with pytest.raises(Forbidden) as refused:
        access.identities.identify(identity, new_user_role)
    return refused.value.message


def test_a_person_is_the_user_with_the_verified_email_and_stays_that(access: Access, owner: Grant) -> None:
    user = access.users.create_user("Ada", "Ada@Example.com", "read-only", actor=owner)

    first = access.identities.identify(ADA, "admin")
    access.users.update_user(user.id, owner.organisation, name=None, email="countess@example.com")
    again = access.identities.identify(replace(ADA, email="elsewhere@example.org", is_verified=False))

    assert (first.user_id, first.is_new) == (again.user_id, again.is_new) == (user.id, False)
    assert access.users.get_user(user.id, owner.organisation).role.id == "read-only"


def test_an_email_that_is_not_verified_is_nobodys(access: Access, owner: Grant) -> None:
    access.users.create_user("Ada", "ada@example.com", "user", actor=owner)

    assert "not verified" in refusal(access, replace(ADA, is_verified=False), "user")
    assert "does not tell" in refusal(access, replace(ADA, email=""), "user")


def test_a_person_without_a_user_is_refused_or_made_one(access: Access, owner: Grant) -> None:
    assert "no user with the email 'ada@example.com'" in refusal(access, ADA)

    made = access.identities.identify(ADA, "read-only")
    again = access.identities.identify(ADA)

    user = access.users.get_user(made.user_id, owner.organisation)
    assert (made.is_new, again.is_new, again.user_id) == (True, False, made.user_id)
    assert (user.name, user.email, user.role.id) == ("Ada Lovelace", "ada@example.com", "read-only")


@pytest.mark.parametrize("name", ["", " ", "a\x00b", "a" * 1000])
def test_a_name_that_cannot_be_a_users_is_replaced_by_the_email(access: Access, owner: Grant, name: str) -> None:
    made = access.identities.identify(replace(ADA, name=name), "user")

    assert access.users.get_user(made.user_id, owner.organisation).name == "ada@example.com"


def test_another_account_with_the_email_is_another_person(access: Access, owner: Grant) -> None:
    user = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    access.identities.identify(ADA)

    assert "another account" in refusal(access, replace(ADA, subject="ada-2"), "user")
    # At another provider, which is another setting, a person has another subject.
    assert access.identities.identify(replace(ADA, issuer="https://other.example")).user_id == user.id


def test_a_user_who_is_removed_and_added_again_is_known_by_the_email_again(access: Access, owner: Grant) -> None:
    before = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)
    access.identities.identify(ADA)
    access.users.delete_user(before.id, actor=owner)
    assert "no user" in refusal(access, ADA)

    after = access.users.create_user("Ada", "ada@example.com", "user", actor=owner)

    assert access.identities.identify(replace(ADA, subject="ada-2")).user_id == after.id != before.id
    assert "another account" in refusal(access, ADA)


def test_groups_become_those_of_the_identity(access: Access, owner: Grant) -> None:
    ops, dev = (
        access.rbac.create_group(GroupBody(name, roles=[role]), actor=owner)
        for name, role in (("ops", "admin"), ("dev", "user"))
    )
    other = access.users.create_user("Eve", "eve@example.com", "none", actor=owner)
    access.rbac.update_group(dev.id, GroupBody("dev", members=[other.id], roles=["user"]), actor=owner)

    def members() -> tuple[list[str], list[str]]:
        by_id = {group.id: group.members for group in access.rbac.list_groups(owner.organisation)}
        return by_id[ops.id], by_id[dev.id]

    ada = access.identities.identify(replace(ADA, groups=frozenset({"ops", "unknown"})), "none").user_id
    assert members() == ([ada], [other.id])
    session = access.browser_sessions.start_for_user(ada, HOUR_S).secret
    assert access.authenticate_session(session).role == "admin"

    access.identities.identify(replace(ADA, groups=frozenset({"dev"})))
    assert members() == ([], sorted([ada, other.id]))
    assert access.authenticate_session(session).role == "none"
    assert access.authenticate_session(session).datasets["*"]["ingest"] == ["create"]

    access.identities.identify(ADA)
    assert members() == ([], sorted([ada, other.id]))
    access.identities.identify(replace(ADA, groups=frozenset()))
    assert members() == ([], [other.id])


def test_a_session_of_a_user_may_what_they_may_and_ends_with_them(
    access: Access, owner: Grant, as_role: Callable[[str], Grant]
) -> None:
    user = as_role("user")
    session = access.browser_sessions.start_for_user(user.user_id, HOUR_S).secret
    granted = access.authenticate_session(session)
    assert (granted.kind, granted.role, granted.user_id) == ("personal", "user", user.user_id)

    access.users.set_role(user.user_id, "read-only", actor=owner)
    assert access.authenticate_session(session).role == "read-only"

    access.users.delete_user(user.user_id, actor=owner)
    with pytest.raises(Unauthorized):
        access.authenticate_session(session)


def test_the_token_of_a_session_is_not_shown_and_ends_with_it(
    access: Access, owner: Grant, as_role: Callable[[str], Grant]
) -> None:
    user = as_role("user")
    before = access.tokens.list_personal_tokens(user.user_id, actor=owner)
    first, second = (access.browser_sessions.start_for_user(user.user_id, HOUR_S).secret for _ in range(2))
    granted = access.authenticate_session(first)
    link = access.browser_sessions.create_code(granted.token_id).secret
    linked = access.browser_sessions.redeem(link, HOUR_S).secret

    assert access.tokens.list_personal_tokens(user.user_id, actor=owner) == before
    assert access.tokens.list_tokens() == []
    with pytest.raises(Unauthorized):
        access.authenticate(first)

    access.browser_sessions.end(first)
    for ended in (first, linked):
        with pytest.raises(Unauthorized):
            access.authenticate_session(ended)
    assert access.authenticate_session(second).user_id == user.user_id


def test_a_session_of_a_user_ends_by_itself_and_leaves_nothing(
    access: Access, owner: Grant, clock: Clock, database: Database
) -> None:
    secret = access.browser_sessions.start_for_user(owner.user_id, HOUR_S).secret
    clock.now += timedelta(hours=1)
    with pytest.raises(Unauthorized):
        access.authenticate_session(secret)

    access.browser_sessions.start_for_user(owner.user_id, HOUR_S)

    with database.reading() as connection:
        assert len(connection.execute(select(tokens).where(tokens.c.kind == "session")).all()) == 1


def test_a_user_has_so_many_sessions_the_oldest_end(
    access: Access, owner: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_sessions, "MAX_OF_TOKEN", 3)
    sessions = [access.browser_sessions.start_for_user(owner.user_id, HOUR_S).secret for _ in range(4)]

    with pytest.raises(Unauthorized):
        access.authenticate_session(sessions[0])
    for secret in sessions[1:]:
        assert access.authenticate_session(secret).user_id == owner.user_id
