"""The first owner and their token."""

from pathlib import Path

import pytest

from tailrace.access import Access, Grant
from tailrace.events import (
    Unauthorized,
)
from tailrace.storage.database import Database


def test_the_first_start_gives_the_owner_a_personal_token_once(access: Access) -> None:
    secret = access.bootstrap()
    assert secret is not None
    assert secret.startswith("xapt-")
    assert access.authenticate(secret).kind == "personal"
    assert access.bootstrap() is None


def test_a_token_survives_a_restart(location: Path | str) -> None:
    with Database.open(location) as database:
        access = Access(database)
        secret = access.bootstrap()
        assert secret is not None
    with Database.open(location) as database:
        access = Access(database)
        assert access.bootstrap() is None
        assert access.authenticate(secret).kind == "personal"


def test_a_root_token_is_the_owners_token(access: Access) -> None:
    assert access.bootstrap("xapt-known") == "xapt-known"
    assert access.authenticate("xapt-known").kind == "personal"
    assert access.bootstrap("xapt-known") is None


def test_a_changed_root_token_replaces_the_one_before(access: Access) -> None:
    first = access.bootstrap()
    assert first is not None
    user = access.authenticate(first).user_id
    assert access.bootstrap("xapt-known") == "xapt-known"
    assert access.authenticate("xapt-known").user_id == user
    with pytest.raises(Unauthorized):
        access.authenticate(first)


def test_a_changed_root_token_leaves_other_personal_tokens(access: Access, owner: Grant) -> None:
    _, laptop = access.tokens.create_personal_token(owner.user_id, "laptop", actor=owner)
    access.bootstrap("xapt-known")
    assert access.authenticate(laptop).user_id == owner.user_id
