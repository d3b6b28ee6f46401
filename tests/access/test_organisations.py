"""Organisations: each sees its own only."""

from collections.abc import Callable

import pytest

from tailrace.access import Access, Grant, allows, require
from tailrace.events import (
    DatasetNotFound,
    Forbidden,
    NotFound,
    Unauthorized,
)

INGEST = {"logs": {"ingest": ["create"]}}


def test_an_organisation_sees_only_its_own(access: Access, owner: Grant) -> None:
    access.organisations.create_organisation("Acme", actor=owner)
    made, _ = access.tokens.create_token("t", INGEST, actor=owner)
    key, _ = access.keys.create_key("baselime", "k", datasets=["logs"], actor=owner)

    assert access.tokens.list_tokens("acme") == []
    assert access.keys.list_keys("acme") == []
    with pytest.raises(NotFound):
        access.tokens.get_token(made.id, "acme")
    with pytest.raises(NotFound):
        access.tokens.delete_token(made.id, "acme")
    with pytest.raises(NotFound):
        access.keys.delete_key(key.id, "acme")
    with pytest.raises(NotFound):
        access.users.get_user(next(user.id for user in access.users.list_users("tailrace")), "elsewhere")


def test_a_dataset_of_another_organisation_is_not_there(access: Access) -> None:
    secret = access.bootstrap() or ""
    access.set_dataset_owners({"ours": "", "theirs": "acme"}.get)
    access.organisations.create_organisation("Acme", actor=access.authenticate(secret))
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
    access.set_dataset_owners(owners.get)
    owner = access.authenticate(access.bootstrap("xapt-known") or "")
    _, everywhere = access.keys.create_key("baselime", "k", datasets=["*"], actor=owner)
    _, moesif = access.keys.create_key("moesif", "m", dataset="app", actor=owner)
    assert access.authenticate_key("moesif", moesif).datasets == ("app",)

    owners["app"] = "acme"

    assert not access.authenticate_key("baselime", everywhere).may_send_to("app")
    with pytest.raises(Unauthorized):
        access.authenticate_key("moesif", moesif)


def test_only_an_owner_makes_organisations(access: Access, as_role: Callable[[str], Grant]) -> None:
    with pytest.raises(Forbidden):
        access.organisations.create_organisation("Mine", actor=as_role("admin"))
