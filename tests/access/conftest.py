"""Access over a real database, its clock, and what its owner may do."""

import itertools
from collections.abc import Callable

import pytest
from support.clock import Clock

from tailrace.access import Access, Grant
from tailrace.protocols.registry import PROTOCOLS
from tailrace.storage.database import Database

_NUMBERS = itertools.count()


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
        user = access.users.create_user(role.title(), f"{role}-{next(_NUMBERS)}@example.com", role, actor=owner)
        return access.authenticate(access.tokens.create_personal_token(user.id, "t", actor=owner)[1])

    return make
