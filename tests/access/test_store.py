"""Users and tokens in a real database."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, create_engine, text

from tailrace.access import NO_EXPIRY, Access, Grant
from tailrace.events import AccessUnavailable, BadRequest, Forbidden, NotFound, Unauthorized
from tailrace.protocols.registry import PROTOCOLS
from tailrace.storage.database import Database

INGEST = {"logs": {"ingest": ["create"]}}
START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(database: Database, clock: Clock) -> Access:
    return Access(database, clock, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])


@pytest.fixture
def owner(access: Access) -> Grant:
    secret = access.bootstrap()
    assert secret is not None
    return access.authenticate(secret)


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


def test_only_hashes_are_stored(tmp_path: Path) -> None:
    with Database.open(tmp_path / "tailrace.db") as database:
        access = Access(database)
        _, secret = access.create_token("t", INGEST, who=access.authenticate(access.bootstrap() or ""))
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert secret.removeprefix("xaat-").encode() not in stored


def test_an_unknown_token_is_refused(access: Access, owner: Grant) -> None:
    for secret in ("", "xapt-123", "xaat-é\udcff"):
        with pytest.raises(Unauthorized, match="not valid"):
            access.authenticate(secret)


def test_a_credential_that_is_not_known_is_looked_up_once_until_something_changes(
    access: Access, owner: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    look_up = access._look_up

    def counted(connection: Connection, digest: bytes) -> Any:
        looked_up.append(digest)
        return look_up(connection, digest)

    monkeypatch.setattr(access, "_look_up", counted)
    secret = "a-key-that-the-clients-have-already"

    assert [access.protocol_of(secret) for _ in range(3)] == [None, None, None]
    assert len(looked_up) == 1
    access.create_key("baselime", "late", datasets=["*"], key=secret, who=owner)
    assert access.protocol_of(secret) == "baselime"


def test_an_api_token_has_the_capabilities_it_was_given(access: Access, owner: Grant) -> None:
    record, secret = access.create_token("t", INGEST, {"datasets": ["read"]}, who=owner)
    assert secret.startswith("xaat-")
    grant = access.authenticate(secret)
    assert (grant.token_id, grant.kind, grant.user_id) == (record.id, "api", owner.user_id)
    assert (grant.datasets, grant.org) == (INGEST, {"datasets": ["read"]})


def test_a_token_is_the_same_object_when_created_read_and_listed(access: Access, owner: Grant) -> None:
    record, _ = access.create_token("t", INGEST, None, "2031-05-06T07:08:09.120+02:00", None, who=owner)
    assert access.get_token(record.id) == record
    assert access.list_tokens() == [record]
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
    record, _ = access.create_token("t", INGEST, expires_at=given, who=owner)
    assert record.expires_at == NO_EXPIRY


def test_a_token_ends_when_it_expires_also_when_cached(access: Access, owner: Grant, clock: Clock) -> None:
    _, secret = access.create_token("t", INGEST, expires_at=START + timedelta(seconds=10), who=owner)
    clock.now += timedelta(seconds=9)
    access.authenticate(secret)
    clock.now += timedelta(seconds=1)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(secret)


def test_a_revoked_token_stops_at_its_next_use(access: Access, owner: Grant) -> None:
    record, secret = access.create_token("t", INGEST, who=owner)
    access.authenticate(secret)
    access.delete_token(record.id)
    with pytest.raises(Unauthorized):
        access.authenticate(secret)
    with pytest.raises(NotFound, match="not found"):
        access.get_token(record.id)
    with pytest.raises(NotFound):
        access.delete_token(record.id)


def test_a_token_revoked_by_another_process_stops_at_its_next_use(tmp_path: Path, location: Path | str) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        one, other = Access(first), Access(second)
        secret = one.bootstrap()
        assert secret is not None
        record, token = one.create_token("t", INGEST, who=one.authenticate(secret))
        assert other.authenticate(token) == one.authenticate(token)

        one.delete_token(record.id)

        with pytest.raises(Unauthorized):
            other.authenticate(token)


def test_a_store_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path}/shared.db") as database:
        shared = Access(database)
        secret = shared.bootstrap()
        assert secret is not None
        shared.authenticate(secret)
        with create_engine(f"sqlite:///{tmp_path}/shared.db").begin() as connection:
            connection.execute(text("DROP TABLE changes"))

        with pytest.raises(AccessUnavailable):
            shared.authenticate(secret)


def test_the_owners_personal_token_is_not_an_api_token(access: Access, owner: Grant) -> None:
    assert access.list_tokens() == []
    with pytest.raises(NotFound):
        access.delete_token(owner.token_id)


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
        access.create_token(name, INGEST, expires_at=expires_at, who=owner)


def test_a_token_cannot_give_more_than_it_has(access: Access, owner: Grant) -> None:
    _, secret = access.create_token("maker", INGEST, {"apiTokens": ["create"]}, who=owner)
    maker = access.authenticate(secret)
    access.create_token("same", INGEST, who=maker)
    with pytest.raises(Forbidden):
        access.create_token("more", {"*": {"ingest": ["create"]}}, who=maker)


@pytest.mark.costly
def test_look_ups_and_changes_from_several_threads_agree(access: Access, owner: Grant) -> None:
    wrong: list[str] = []
    stop = threading.Event()
    _, steady = access.create_token("steady", INGEST, who=owner)

    def read() -> None:
        while not stop.is_set():
            if access.authenticate(steady).datasets != INGEST:
                wrong.append("a look-up gave another token's grant")

    def change() -> None:
        for _ in range(20):
            record, secret = access.create_token("brief", INGEST, who=owner)
            access.authenticate(secret)
            access.delete_token(record.id)
            try:
                access.authenticate(secret)
            except Unauthorized:
                continue
            wrong.append("a revoked token was let in")

    readers = [threading.Thread(target=read) for _ in range(2)]
    changers = [threading.Thread(target=change) for _ in range(2)]
    for thread in readers + changers:
        thread.start()
    for thread in changers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert wrong == []
