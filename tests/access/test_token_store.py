"""API tokens and personal tokens: made, listed, changed, regenerated, revoked."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.clock import Clock

from tailrace.access import NO_EXPIRY, Access, Grant, TokenSpec
from tailrace.events import (
    BadRequest,
    Forbidden,
    NotFound,
    Unauthorized,
)
from tailrace.storage.database import Database

INGEST = {"logs": {"ingest": ["create"]}}


def test_only_hashes_are_stored(tmp_path: Path) -> None:
    with Database.open(tmp_path / "tailrace.db") as database:
        access = Access(database)
        _, secret = access.tokens.create_token("t", INGEST, actor=access.authenticate(access.bootstrap() or ""))
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert secret.removeprefix("xaat-").encode() not in stored


def test_an_api_token_has_the_capabilities_it_was_given(access: Access, owner: Grant) -> None:
    record, secret = access.tokens.create_token("t", INGEST, {"datasets": ["read"]}, actor=owner)
    assert secret.startswith("xaat-")
    grant = access.authenticate(secret)
    assert (grant.token_id, grant.kind, grant.user_id) == (record.id, "api", owner.user_id)
    assert (grant.datasets, grant.org) == (INGEST, {"datasets": ["read"]})


def test_a_token_is_the_same_object_when_created_read_and_listed(access: Access, owner: Grant) -> None:
    record, _ = access.tokens.create_token("t", INGEST, None, "2031-05-06T07:08:09.120+02:00", None, actor=owner)
    assert access.tokens.get_token(record.id) == record
    assert access.tokens.list_tokens() == [record]
    assert msgspec.to_builtins(record) == {
        "id": record.id,
        "name": "t",
        "description": "",
        "expiresAt": "2031-05-06T05:08:09.12Z",
        "datasetCapabilities": INGEST,
        "orgCapabilities": {},
        "samlAuthenticated": False,
    }


@pytest.mark.parametrize("given", [None, "", NO_EXPIRY])
def test_a_token_without_expiry_has_the_zero_time(access: Access, owner: Grant, given: str | None) -> None:
    record, _ = access.tokens.create_token("t", INGEST, expires_at=given, actor=owner)
    assert record.expires_at == NO_EXPIRY


def test_the_owners_personal_token_is_not_an_api_token(access: Access, owner: Grant) -> None:
    assert access.tokens.list_tokens() == []
    with pytest.raises(NotFound):
        access.tokens.delete_token(owner.token_id)


@pytest.mark.parametrize(
    ("name", "expires_at", "words"),
    [
        ("", None, "name"),
        (" ", None, "name"),
        ("n" * 257, None, "name"),
        ("t", "tomorrow", "expiresAt is 'tomorrow', which is no time: it is in no known format; RFC 3339 writes"),
        ("t", "9" * 23, "outside the years 1 to 9999"),
        ("t", "0001-01-01T00:00:00+01:00", "outside the years"),
        ("t", "31 Dec 2029", "expiresAt 2029-12-31T00:00:00Z has passed"),
        ("t", "2029-12-31T23:59:59Z", "has passed"),
        ("t", "2030-01-01T00:00:00", "has passed"),
    ],
)
def test_a_bad_name_or_expiry_is_refused(
    access: Access, owner: Grant, name: str, expires_at: str | None, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        access.tokens.create_token(name, INGEST, expires_at=expires_at, actor=owner)


def test_a_token_cannot_give_more_than_it_has(access: Access, owner: Grant) -> None:
    _, secret = access.tokens.create_token("maker", INGEST, {"apiTokens": ["create"]}, actor=owner)
    maker = access.authenticate(secret)
    access.tokens.create_token("same", INGEST, actor=maker)
    with pytest.raises(Forbidden):
        access.tokens.create_token("more", {"*": {"ingest": ["create"]}}, actor=maker)


def test_a_personal_token_is_listed_and_revoked(access: Access, owner: Grant) -> None:
    made, secret = access.tokens.create_personal_token(owner.user_id, "laptop", "2031-01-01T00:00:00Z", actor=owner)
    assert secret.startswith("xapt-")
    assert made in access.tokens.list_personal_tokens(owner.user_id, actor=owner)

    access.tokens.delete_personal_token(owner.user_id, made.id, actor=owner)

    with pytest.raises(Unauthorized):
        access.authenticate(secret)
    with pytest.raises(NotFound):
        access.tokens.delete_personal_token(owner.user_id, made.id, actor=owner)


def test_an_api_token_makes_no_personal_one_of_its_maker(access: Access, owner: Grant) -> None:
    _, secret = access.tokens.create_token("t", None, {"users": ["create", "update"]}, actor=owner)
    with pytest.raises(Forbidden):
        access.tokens.create_personal_token(owner.user_id, "mine", actor=access.authenticate(secret))


def test_a_token_regenerated_has_another_id_and_secret_and_the_same_rights(
    access: Access, owner: Grant, clock: Clock
) -> None:
    old, old_secret = access.tokens.create_token("t", INGEST, {"datasets": ["read"]}, actor=owner)

    new, secret = access.tokens.regenerate_token(old.id, existing_expires_at="2030-01-01T01:00:00Z", actor=owner)

    assert new.id != old.id
    assert secret != old_secret
    assert (new.name, new.dataset_capabilities, new.org_capabilities) == ("t", INGEST, {"datasets": ["read"]})
    assert access.authenticate(secret).datasets == INGEST
    assert access.tokens.get_token(old.id).expires_at == "2030-01-01T01:00:00Z"
    access.authenticate(old_secret)  # both work for a while
    clock.now += timedelta(hours=1)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(old_secret)
    access.authenticate(secret)
    access.tokens.delete_token(old.id)


def test_an_overlap_never_makes_a_token_live_longer(access: Access, owner: Grant) -> None:
    old, _ = access.tokens.create_token("t", INGEST, expires_at="2030-01-01T00:30:00Z", actor=owner)
    access.tokens.regenerate_token(old.id, existing_expires_at="2031-01-01T00:00:00Z", actor=owner)
    assert access.tokens.get_token(old.id).expires_at == "2030-01-01T00:30:00Z"


def test_an_overlap_that_has_passed_ends_a_token_now(access: Access, owner: Grant) -> None:
    old, secret = access.tokens.create_token("t", INGEST, actor=owner)
    access.tokens.regenerate_token(old.id, existing_expires_at="2001-01-01T00:00:00Z", actor=owner)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(secret)


def test_regenerating_gives_nobody_a_mightier_token(access: Access, owner: Grant) -> None:
    mighty, _ = access.tokens.create_token("mighty", {"*": {"query": ["read"]}}, actor=owner)
    _, secret = access.tokens.create_token("manager", None, {"apiTokens": ["update"]}, actor=owner)
    with pytest.raises(Forbidden):
        access.tokens.regenerate_token(
            mighty.id, existing_expires_at="2031-01-01T00:00:00Z", actor=access.authenticate(secret)
        )


def test_a_replacement_says_what_the_new_token_is(access: Access, owner: Grant) -> None:
    wide, old_secret = access.tokens.create_token(
        "wide", {"*": {"query": ["read"]}}, {"datasets": ["delete"]}, actor=owner
    )

    new, secret = access.tokens.regenerate_token(
        wide.id,
        existing_expires_at="2001-01-01T00:00:00Z",
        new_expires_at="2040-01-01T00:00:00Z",
        replacement=TokenSpec("narrow", INGEST, {"datasets": []}, "2031-01-01T00:00:00Z", "less"),
        actor=owner,
    )

    assert (new.name, new.description, new.expires_at) == ("narrow", "less", "2031-01-01T00:00:00Z")
    assert (new.dataset_capabilities, new.org_capabilities) == (INGEST, {})
    assert access.authenticate(secret).datasets == INGEST
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(old_secret)


@pytest.mark.parametrize(
    ("held", "wanted", "error", "match"),
    [
        (["create", "update"], TokenSpec("t", {"logs": {"query": ["read"]}}), Forbidden, "query:read"),
        (["create", "update"], TokenSpec("t", INGEST, {"users": ["read"]}), Forbidden, "users:read"),
        (["update"], TokenSpec("t", INGEST), Forbidden, "apiTokens:create"),
        (["create", "update"], TokenSpec("t"), BadRequest, "at least one capability must be set"),
        (["create", "update"], TokenSpec(" ", INGEST), BadRequest, "name"),
        (["create", "update"], TokenSpec("t", INGEST, expires_at="2001-01-01T00:00:00Z"), BadRequest, "passed"),
    ],
)
def test_a_replacement_is_checked_like_a_token_that_is_made(
    access: Access, owner: Grant, held: list[str], wanted: TokenSpec, error: type[Exception], match: str
) -> None:
    old, old_secret = access.tokens.create_token("t", INGEST, actor=owner)
    _, secret = access.tokens.create_token("manager", INGEST, {"apiTokens": held}, actor=owner)
    before = access.tokens.list_tokens()

    with pytest.raises(error, match=match):
        access.tokens.regenerate_token(
            old.id, existing_expires_at="2001-01-01T00:00:00Z", replacement=wanted, actor=access.authenticate(secret)
        )

    assert access.tokens.list_tokens() == before
    access.authenticate(old_secret)


def test_a_token_may_do_something(access: Access, owner: Grant) -> None:
    with pytest.raises(BadRequest, match="at least one capability must be set"):
        access.tokens.create_token("t", {"logs": {"ingest": []}}, {"users": None}, actor=owner)
    token, _ = access.tokens.create_token("t", {"logs": {"query": ["read"]}}, actor=owner)
    with pytest.raises(BadRequest, match="at least one capability must be set"):
        access.tokens.update_token(token.id, dataset_capabilities={}, actor=owner)
    assert access.tokens.update_token(token.id, name="u", actor=owner).name == "u"


def test_a_changed_token_has_its_new_rights_at_its_next_use(access: Access, owner: Grant) -> None:
    token, secret = access.tokens.create_token("t", INGEST, {"datasets": ["read"]}, actor=owner)
    access.authenticate(secret)

    changed = access.tokens.update_token(
        token.id, name="u", dataset_capabilities={"logs": {"query": ["read"]}}, actor=owner
    )

    assert (changed.name, changed.org_capabilities) == ("u", {"datasets": ["read"]})
    assert access.authenticate(secret).datasets == {"logs": {"query": ["read"]}}


def test_a_basic_token_does_not_change(access: Access, owner: Grant) -> None:
    token, _ = access.tokens.create_token("t", INGEST, actor=owner)
    with pytest.raises(BadRequest, match="basic"):
        access.tokens.update_token(token.id, name="u", actor=owner)


def test_an_ingest_token_differs_in_its_prefix(access: Access, owner: Grant) -> None:
    token, secret = access.tokens.create_token("t", INGEST, kind="ingest", actor=owner)
    assert secret.startswith("xait-")
    assert access.authenticate(secret).datasets == INGEST
    assert token in access.tokens.list_tokens()
    assert access.protocol_of(secret) == ""


def test_a_replacement_without_an_end_ends_as_the_request_says(access: Access, owner: Grant) -> None:
    old, _ = access.tokens.create_token("t", INGEST, actor=owner)
    new, _ = access.tokens.regenerate_token(
        old.id,
        existing_expires_at="2001-01-01T00:00:00Z",
        new_expires_at="2040-01-01T00:00:00Z",
        replacement=TokenSpec("t", INGEST, expires_at="0001-01-01T00:00:00Z"),
        actor=owner,
    )
    assert new.expires_at == "2040-01-01T00:00:00Z"


def test_a_default_dataset_is_the_grants_and_shown_where_there_is_one(access: Access, owner: Grant) -> None:
    token, secret = access.tokens.create_token("t", INGEST, default_dataset="logs", actor=owner)
    assert access.authenticate(secret).default_dataset == "logs"
    assert msgspec.to_builtins(access.tokens.get_token(token.id))["defaultDataset"] == "logs"

    # Also of a basic token, from its next use on.
    without = access.tokens.update_token(token.id, default_dataset="", actor=owner)
    assert "defaultDataset" not in msgspec.to_builtins(without)
    assert access.authenticate(secret).default_dataset == ""
    assert access.tokens.update_token(token.id, default_dataset="logs", actor=owner) == token


@pytest.mark.parametrize(
    ("capabilities", "dataset"),
    [
        (INGEST, "other"),
        ({"logs": {"query": ["read"]}}, "logs"),
        ({"*": {"ingest": ["create"]}}, "*"),
        ({"*": {"ingest": ["create"]}}, "axiom-audit"),
        ({"*": {"ingest": ["create"]}}, "n" * 129),
    ],
)
def test_a_default_dataset_is_one_that_the_token_may_ingest_into(
    access: Access, owner: Grant, capabilities: dict[str, dict[str, list[str]]], dataset: str
) -> None:
    with pytest.raises(BadRequest, match=r"^defaultDataset "):
        access.tokens.create_token("t", capabilities, default_dataset=dataset, actor=owner)
    token, _ = access.tokens.create_token("t", capabilities, {"users": ["read"]}, actor=owner)
    with pytest.raises(BadRequest, match=r"^defaultDataset "):
        access.tokens.update_token(token.id, default_dataset=dataset, actor=owner)
    with pytest.raises(BadRequest, match=r"^defaultDataset "):
        access.tokens.regenerate_token(
            token.id,
            existing_expires_at="2001-01-01T00:00:00Z",
            replacement=TokenSpec("t", capabilities, default_dataset=dataset),
            actor=owner,
        )
    assert access.tokens.list_tokens() == [token]


def test_a_default_dataset_is_not_another_organisations(access: Access, owner: Grant) -> None:
    theirs = msgspec.structs.replace(owner, owner_of={"theirs": "other"}.get)
    with pytest.raises(BadRequest, match=r"^defaultDataset 'theirs'"):
        access.tokens.create_token("t", {"*": {"ingest": ["create"]}}, default_dataset="theirs", actor=theirs)


def test_a_token_keeps_the_right_to_its_default_dataset(access: Access, owner: Grant) -> None:
    token, _ = access.tokens.create_token("t", INGEST, {"users": ["read"]}, default_dataset="logs", actor=owner)
    more = {"more": {"ingest": ["create"]}}
    with pytest.raises(BadRequest, match=r"^defaultDataset 'logs'"):
        access.tokens.update_token(token.id, dataset_capabilities=more, actor=owner)
    changed = access.tokens.update_token(token.id, dataset_capabilities=more, default_dataset="more", actor=owner)
    assert (changed.dataset_capabilities, changed.default_dataset) == (more, "more")


def test_a_regenerated_token_has_the_default_dataset_unless_its_replacement_says_otherwise(
    access: Access, owner: Grant
) -> None:
    token, _ = access.tokens.create_token("t", INGEST, default_dataset="logs", actor=owner)
    end = "2001-01-01T00:00:00Z"
    like, _ = access.tokens.regenerate_token(token.id, existing_expires_at=end, actor=owner)
    plain, _ = access.tokens.regenerate_token(
        like.id, existing_expires_at=end, replacement=TokenSpec("t", INGEST), actor=owner
    )
    assert (like.default_dataset, plain.default_dataset) == ("logs", "")
