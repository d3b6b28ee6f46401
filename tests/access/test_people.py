"""Organisations, users and their roles, personal tokens, tokens regenerated: on a real database."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tailrace.access import Access, Grant, Replacement, allows, require
from tailrace.events import BadRequest, Conflict, DatasetNotFound, Forbidden, NotFound, Unauthorized
from tailrace.protocols.registry import PROTOCOLS
from tailrace.storage.database import Database

INGEST = {"logs": {"ingest": ["create"]}}
START = datetime(2030, 1, 1, tzinfo=UTC)
_NUMBERS = itertools.count()


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        # Each look a little later, so that what is made first is older.
        return (self.now + timedelta(microseconds=next(_NUMBERS))).timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(database: Database, clock: Clock) -> Access:
    return Access(database, clock, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])


@pytest.fixture
def owner(access: Access) -> Grant:
    return access.authenticate(access.bootstrap() or "")


@pytest.fixture
def as_role(access: Access, owner: Grant) -> Callable[[str], Grant]:
    """Make a user of a role and return what their personal token may do."""

    def make(role: str) -> Grant:
        user = access.people.create_user(role.title(), f"{role}-{next(_NUMBERS)}@example.com", role, who=owner)
        return access.authenticate(access.create_personal_token(user.id, "t", who=owner)[1])

    return make


def test_a_user_is_the_same_object_when_created_read_and_listed(access: Access, owner: Grant) -> None:
    made = access.people.create_user("Ada", "ada@example.com", "user", who=owner)

    assert access.get_user(made.id) == made
    assert made in access.people.list_users("tailrace")
    assert (made.name, made.email, made.role.id, made.role.name) == ("Ada", "ada@example.com", "user", "User")


def test_an_email_is_taken_once_whatever_its_case(access: Access, owner: Grant) -> None:
    access.people.create_user("Ada", "ada@example.com", "user", who=owner)
    with pytest.raises(Conflict):
        access.people.create_user("Another", "ADA@example.com", "user", who=owner)
    with pytest.raises(Conflict):
        access.people.update_user(owner.user_id, "tailrace", name=None, email="Ada@example.com")


@pytest.mark.parametrize(
    ("name", "email", "role"), [("", "a@b", "user"), ("A", "no email", "user"), ("A", "a@b", "king")]
)
def test_what_is_no_user_is_refused(access: Access, owner: Grant, name: str, email: str, role: str) -> None:
    with pytest.raises(BadRequest):
        access.people.create_user(name, email, role, who=owner)


def test_a_user_can_be_called_something_else(access: Access, owner: Grant) -> None:
    changed = access.people.update_user(owner.user_id, "tailrace", name="Grace", email="grace@example.com")

    assert (changed.name, changed.email) == ("Grace", "grace@example.com")
    assert access.people.update_user(owner.user_id, "tailrace", name=None, email="").name == "Grace"


def test_a_role_holds_from_the_next_use_of_a_token(access: Access, owner: Grant) -> None:
    user = access.people.create_user("Ada", "", "read-only", who=owner)
    _, secret = access.create_personal_token(user.id, "t", who=owner)
    assert not allows(access.authenticate(secret), capability="ingest", action="create", dataset="logs")

    access.people.set_role(user.id, "user", who=owner)

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

    access.people.create_user("another admin", "", "admin", who=admin)
    with pytest.raises(Forbidden):
        access.people.create_user("an owner", "", "owner", who=admin)
    with pytest.raises(Forbidden):
        access.people.set_role(user.user_id, "admin", who=user)


def test_an_admin_takes_nothing_from_an_owner(access: Access, owner: Grant, as_role: Callable[[str], Grant]) -> None:
    admin = as_role("admin")
    with pytest.raises(Forbidden):
        access.people.set_role(owner.user_id, "none", who=admin)
    with pytest.raises(Forbidden):
        access.people.delete_user(owner.user_id, who=admin)
    with pytest.raises(Forbidden):
        access.create_personal_token(owner.user_id, "theirs", who=admin)


def test_the_last_owner_stays(access: Access, owner: Grant, as_role: Callable[[str], Grant]) -> None:
    with pytest.raises(Conflict, match="last owner"):
        access.people.delete_user(owner.user_id, who=owner)
    with pytest.raises(Conflict, match="last owner"):
        access.people.set_role(owner.user_id, "user", who=owner)
    as_role("owner")
    assert access.people.set_role(owner.user_id, "user", who=owner).role.id == "user"


def test_of_owners_who_step_down_at_once_one_stays(access: Access, owner: Grant) -> None:
    owners = [owner.user_id] + [access.people.create_user(name, "", "owner", who=owner).id for name in "abcdef"]

    def step_down(user: str) -> str:
        try:
            return access.people.set_role(user, "user", who=owner).role.id
        except Conflict:
            return "stays"

    with ThreadPoolExecutor(len(owners)) as threads:
        roles = list(threads.map(step_down, owners))

    assert sorted(roles) == ["stays"] + ["user"] * (len(owners) - 1)
    assert [each.role.id for each in access.people.list_users("tailrace")].count("owner") == 1


def test_a_user_removed_loses_their_tokens_and_leaves_the_api_tokens(access: Access, owner: Grant) -> None:
    user = access.people.create_user("Ada", "", "admin", who=owner)
    _, personal = access.create_personal_token(user.id, "t", who=owner)
    _, api = access.create_token("sender", INGEST, who=access.authenticate(personal))

    access.people.delete_user(user.id, who=owner)

    with pytest.raises(Unauthorized):
        access.authenticate(personal)
    assert access.authenticate(api).user_id == user.id
    with pytest.raises(NotFound):
        access.get_user(user.id)


def test_a_personal_token_is_listed_and_revoked(access: Access, owner: Grant) -> None:
    made, secret = access.create_personal_token(owner.user_id, "laptop", "2031-01-01T00:00:00Z", who=owner)
    assert secret.startswith("xapt-")
    assert made in access.list_personal_tokens(owner.user_id, who=owner)

    access.delete_personal_token(owner.user_id, made.id, who=owner)

    with pytest.raises(Unauthorized):
        access.authenticate(secret)
    with pytest.raises(NotFound):
        access.delete_personal_token(owner.user_id, made.id, who=owner)


def test_an_api_token_makes_no_personal_one_of_its_maker(access: Access, owner: Grant) -> None:
    _, secret = access.create_token("t", None, {"users": ["create", "update"]}, who=owner)
    with pytest.raises(Forbidden):
        access.create_personal_token(owner.user_id, "mine", who=access.authenticate(secret))


def test_a_changed_root_token_leaves_other_personal_tokens(access: Access, owner: Grant) -> None:
    _, laptop = access.create_personal_token(owner.user_id, "laptop", who=owner)
    access.bootstrap("xapt-known")
    assert access.authenticate(laptop).user_id == owner.user_id


# Organisations


def test_a_personal_token_is_for_the_organisation_that_is_named(access: Access) -> None:
    secret = access.bootstrap() or ""
    other = access.people.create_organisation("Acme & Co.", who=access.authenticate(secret))

    assert other.id == "acme-co"
    assert access.authenticate(secret).organisation == "tailrace"
    assert access.authenticate(secret, "acme-co").organisation == "acme-co"
    with pytest.raises(Forbidden, match="no organisation"):
        access.authenticate(secret, "elsewhere")


def test_where_there_is_one_organisation_any_name_stands_for_it(access: Access) -> None:
    secret = access.bootstrap() or ""
    assert access.authenticate(secret, "an-organisation").organisation == "tailrace"


def test_a_user_of_one_organisation_does_not_get_into_another(access: Access, owner: Grant) -> None:
    access.people.create_organisation("Acme", who=owner)
    user = access.people.create_user("Ada", "", "admin", who=owner)
    _, secret = access.create_personal_token(user.id, "t", who=owner)

    with pytest.raises(Forbidden):
        access.authenticate(secret, "acme")


def test_an_organisation_sees_only_its_own(access: Access, owner: Grant) -> None:
    access.people.create_organisation("Acme", who=owner)
    made, _ = access.create_token("t", INGEST, who=owner)
    key, _ = access.create_key("baselime", "k", datasets=["logs"], who=owner)

    assert access.list_tokens("acme") == []
    assert access.list_keys("acme") == []
    with pytest.raises(NotFound):
        access.get_token(made.id, "acme")
    with pytest.raises(NotFound):
        access.delete_token(made.id, "acme")
    with pytest.raises(NotFound):
        access.delete_key(key.id, "acme")
    with pytest.raises(NotFound):
        access.get_user(next(user.id for user in access.people.list_users("tailrace")), "elsewhere")


def test_a_dataset_of_another_organisation_is_not_there(access: Access) -> None:
    secret = access.bootstrap() or ""
    access.datasets_belong({"ours": "", "theirs": "acme"}.get)
    access.people.create_organisation("Acme", who=access.authenticate(secret))
    ours, theirs = access.authenticate(secret), access.authenticate(secret, "acme")

    require(ours, capability="query", action="read", dataset="ours")
    require(theirs, capability="query", action="read", dataset="theirs")
    require(ours, capability="query", action="read", dataset="not there yet")
    for grant, dataset in ((ours, "theirs"), (theirs, "ours")):
        assert not allows(grant, capability="query", action="read", dataset=dataset)
        with pytest.raises(DatasetNotFound):
            require(grant, capability="query", action="read", dataset=dataset)


def test_a_key_does_not_send_to_another_organisation(access: Access, owner: Grant) -> None:
    owners: dict[str, str] = {}
    access.datasets_belong(owners.get)
    owner = access.authenticate(access.bootstrap("xapt-known") or "")
    _, everywhere = access.create_key("baselime", "k", datasets=["*"], who=owner)
    _, moesif = access.create_key("moesif", "m", dataset="app", who=owner)
    assert access.authenticate_key("moesif", moesif).datasets == ("app",)

    owners["app"] = "acme"

    assert not access.authenticate_key("baselime", everywhere).may_send_to("app")
    with pytest.raises(Unauthorized):
        access.authenticate_key("moesif", moesif)


def test_only_an_owner_makes_organisations(access: Access, as_role: Callable[[str], Grant]) -> None:
    with pytest.raises(Forbidden):
        access.people.create_organisation("Mine", who=as_role("admin"))


def test_a_token_for_a_user_of_several_organisations_is_theirs_to_make(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.people.create_organisation("Acme", who=owner)
    acme = access.authenticate(secret, "acme")
    user = access.people.create_user("Ada", "ada@example.com", "user", who=owner)
    assert access.people.create_user("Ada", "ada@example.com", "user", who=acme).id == user.id

    with pytest.raises(Forbidden, match="other organisations"):
        access.create_personal_token(user.id, "t", who=acme)


def test_a_stranger_who_took_an_email_does_not_join_another_organisation_by_it(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.people.create_organisation("Acme", who=owner)
    acme = access.authenticate(secret, "acme")
    taken = access.people.create_user("Mallory", "grace@example.com", "user", who=acme)
    _, theirs = access.create_personal_token(taken.id, "t", who=acme)
    admin = access.people.create_user("Ada", "ada@example.com", "admin", who=owner)
    _, ours = access.create_personal_token(admin.id, "t", who=owner)

    with pytest.raises(Conflict, match="another organisation"):
        access.people.create_user("Grace", "grace@example.com", "user", who=access.authenticate(ours))

    assert access.authenticate(theirs).organisation == "acme"
    with pytest.raises(Forbidden):
        access.authenticate(theirs, "tailrace")


def test_who_has_left_every_organisation_holds_no_email(access: Access, owner: Grant) -> None:
    left = access.people.create_user("Ada", "ada@example.com", "user", who=owner)
    access.people.delete_user(left.id, who=owner)

    again = access.people.create_user("Ada L.", "Ada@example.com", "admin", who=owner)

    assert again.id != left.id
    assert access.people.creator(left.id) == ("Ada", "ada@example.com")
    with pytest.raises(Conflict, match="already"):
        access.people.create_user("Mallory", "ada@example.com", "user", who=owner)
    access.people.delete_user(again.id, who=owner)
    assert access.people.update_user(owner.user_id, "tailrace", name=None, email="ada@example.com").email


def test_an_email_is_held_while_its_user_is_in_another_organisation(access: Access) -> None:
    secret = access.bootstrap() or ""
    owner = access.authenticate(secret)
    access.people.create_organisation("Acme", who=owner)
    acme = access.authenticate(secret, "acme")
    user = access.people.create_user("Ada", "ada@example.com", "user", who=owner)
    access.people.create_user("Ada", "ada@example.com", "user", who=acme)
    access.people.delete_user(user.id, who=owner)

    with pytest.raises(Conflict, match="already"):
        access.people.update_user(owner.user_id, "tailrace", name=None, email="ADA@example.com")
    assert access.people.create_user("Ada", "ada@example.com", "user", who=owner).id == user.id


# Tokens changed and regenerated


def test_a_token_regenerated_has_another_id_and_secret_and_the_same_rights(
    access: Access, owner: Grant, clock: Clock
) -> None:
    old, old_secret = access.create_token("t", INGEST, {"datasets": ["read"]}, who=owner)

    new, secret = access.regenerate_token(old.id, existing_expires_at="2030-01-01T01:00:00Z", who=owner)

    assert new.id != old.id
    assert secret != old_secret
    assert (new.name, new.dataset_capabilities, new.org_capabilities) == ("t", INGEST, {"datasets": ["read"]})
    assert access.authenticate(secret).datasets == INGEST
    assert access.get_token(old.id).expires_at == "2030-01-01T01:00:00Z"
    access.authenticate(old_secret)  # both work for a while
    clock.now += timedelta(hours=1)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(old_secret)
    access.authenticate(secret)
    access.delete_token(old.id)


def test_an_overlap_never_makes_a_token_live_longer(access: Access, owner: Grant) -> None:
    old, _ = access.create_token("t", INGEST, expires_at="2030-01-01T00:30:00Z", who=owner)
    access.regenerate_token(old.id, existing_expires_at="2031-01-01T00:00:00Z", who=owner)
    assert access.get_token(old.id).expires_at == "2030-01-01T00:30:00Z"


def test_an_overlap_that_has_passed_ends_a_token_now(access: Access, owner: Grant) -> None:
    old, secret = access.create_token("t", INGEST, who=owner)
    access.regenerate_token(old.id, existing_expires_at="2001-01-01T00:00:00Z", who=owner)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(secret)


def test_regenerating_gives_nobody_a_mightier_token(access: Access, owner: Grant) -> None:
    mighty, _ = access.create_token("mighty", {"*": {"query": ["read"]}}, who=owner)
    _, secret = access.create_token("manager", None, {"apiTokens": ["update"]}, who=owner)
    with pytest.raises(Forbidden):
        access.regenerate_token(mighty.id, existing_expires_at="2031-01-01T00:00:00Z", who=access.authenticate(secret))


def test_a_replacement_says_what_the_new_token_is(access: Access, owner: Grant) -> None:
    wide, old_secret = access.create_token("wide", {"*": {"query": ["read"]}}, {"datasets": ["delete"]}, who=owner)

    new, secret = access.regenerate_token(
        wide.id,
        existing_expires_at="2001-01-01T00:00:00Z",
        new_expires_at="2040-01-01T00:00:00Z",
        replacement=Replacement("narrow", INGEST, {"datasets": []}, "2031-01-01T00:00:00Z", "less"),
        who=owner,
    )

    assert (new.name, new.description, new.expires_at) == ("narrow", "less", "2031-01-01T00:00:00Z")
    assert (new.dataset_capabilities, new.org_capabilities) == (INGEST, {})
    assert access.authenticate(secret).datasets == INGEST
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(old_secret)


def test_a_replacement_without_an_end_ends_as_the_request_says(access: Access, owner: Grant) -> None:
    old, _ = access.create_token("t", INGEST, who=owner)
    new, _ = access.regenerate_token(
        old.id,
        existing_expires_at="2001-01-01T00:00:00Z",
        new_expires_at="2040-01-01T00:00:00Z",
        replacement=Replacement("t", INGEST, expires_at="0001-01-01T00:00:00Z"),
        who=owner,
    )
    assert new.expires_at == "2040-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("held", "wanted", "error", "match"),
    [
        (["create", "update"], Replacement("t", {"logs": {"query": ["read"]}}), Forbidden, "query:read"),
        (["create", "update"], Replacement("t", INGEST, {"users": ["read"]}), Forbidden, "users:read"),
        (["update"], Replacement("t", INGEST), Forbidden, "apiTokens:create"),
        (["create", "update"], Replacement("t"), BadRequest, "at least one capability must be set"),
        (["create", "update"], Replacement(" ", INGEST), BadRequest, "name"),
        (["create", "update"], Replacement("t", INGEST, expires_at="2001-01-01T00:00:00Z"), BadRequest, "passed"),
    ],
)
def test_a_replacement_is_checked_like_a_token_that_is_made(
    access: Access, owner: Grant, held: list[str], wanted: Replacement, error: type[Exception], match: str
) -> None:
    old, old_secret = access.create_token("t", INGEST, who=owner)
    _, secret = access.create_token("manager", INGEST, {"apiTokens": held}, who=owner)
    before = access.list_tokens()

    with pytest.raises(error, match=match):
        access.regenerate_token(
            old.id, existing_expires_at="2001-01-01T00:00:00Z", replacement=wanted, who=access.authenticate(secret)
        )

    assert access.list_tokens() == before
    access.authenticate(old_secret)


def test_a_token_may_do_something(access: Access, owner: Grant) -> None:
    with pytest.raises(BadRequest, match="at least one capability must be set"):
        access.create_token("t", {"logs": {"ingest": []}}, {"users": None}, who=owner)
    token, _ = access.create_token("t", {"logs": {"query": ["read"]}}, who=owner)
    with pytest.raises(BadRequest, match="at least one capability must be set"):
        access.update_token(token.id, dataset_capabilities={}, who=owner)
    assert access.update_token(token.id, name="u", who=owner).name == "u"


def test_a_changed_token_has_its_new_rights_at_its_next_use(access: Access, owner: Grant) -> None:
    token, secret = access.create_token("t", INGEST, {"datasets": ["read"]}, who=owner)
    access.authenticate(secret)

    changed = access.update_token(token.id, name="u", dataset_capabilities={"logs": {"query": ["read"]}}, who=owner)

    assert (changed.name, changed.org_capabilities) == ("u", {"datasets": ["read"]})
    assert access.authenticate(secret).datasets == {"logs": {"query": ["read"]}}


def test_a_basic_token_does_not_change(access: Access, owner: Grant) -> None:
    token, _ = access.create_token("t", INGEST, who=owner)
    with pytest.raises(BadRequest, match="basic"):
        access.update_token(token.id, name="u", who=owner)


def test_an_ingest_token_differs_in_its_prefix(access: Access, owner: Grant) -> None:
    token, secret = access.create_token("t", INGEST, kind="ingest", who=owner)
    assert secret.startswith("xait-")
    assert access.authenticate(secret).datasets == INGEST
    assert token in access.list_tokens()
    assert access.protocol_of(secret) == ""
