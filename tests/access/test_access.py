"""The look-up of credentials: what is cached, until when, and for which organisation a token is."""

import itertools
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from support.clock import Clock

from tailrace.access import Access, Grant
from tailrace.events import (
    AccessUnavailable,
    Forbidden,
    NotFound,
    Unauthorized,
)
from tailrace.storage.database import Database

INGEST = {"logs": {"ingest": ["create"]}}
START = datetime(2030, 1, 1, tzinfo=UTC)


def test_an_unknown_token_is_refused(access: Access, owner: Grant) -> None:
    for secret in ("", "xapt-123", "xaat-é\udcff"):
        with pytest.raises(Unauthorized, match="not valid"):
            access.authenticate(secret)


def test_a_credential_that_is_not_known_is_looked_up_once_until_something_changes(
    access: Access, owner: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    read = access._read_credential

    def counted(connection: Connection, digest: bytes) -> Any:
        looked_up.append(digest)
        return read(connection, digest)

    monkeypatch.setattr(access, "_read_credential", counted)
    secret = "a-key-that-the-clients-have-already"

    assert [access.protocol_of(secret) for _ in range(3)] == [None, None, None]
    assert len(looked_up) == 1
    access.keys.create_key("baselime", "late", datasets=["*"], key=secret, actor=owner)
    assert access.protocol_of(secret) == "baselime"


def test_a_token_ends_when_it_expires_also_when_cached(access: Access, owner: Grant, clock: Clock) -> None:
    _, secret = access.tokens.create_token("t", INGEST, expires_at=START + timedelta(seconds=10), actor=owner)
    clock.now += timedelta(seconds=9)
    access.authenticate(secret)
    clock.now += timedelta(seconds=1)
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate(secret)


def test_a_revoked_token_stops_at_its_next_use(access: Access, owner: Grant) -> None:
    record, secret = access.tokens.create_token("t", INGEST, actor=owner)
    access.authenticate(secret)
    access.tokens.delete_token(record.id)
    with pytest.raises(Unauthorized):
        access.authenticate(secret)
    with pytest.raises(NotFound, match="not found"):
        access.tokens.get_token(record.id)
    with pytest.raises(NotFound):
        access.tokens.delete_token(record.id)


def test_a_token_revoked_by_another_server_stops_within_a_second(tmp_path: Path, location: Path | str) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        times_s = itertools.count(step=0.25)
        one, other = Access(first), Access(second, monotonic=lambda: next(times_s))
        secret = one.bootstrap()
        assert secret is not None
        record, token = one.tokens.create_token("t", INGEST, actor=one.authenticate(secret))
        assert other.authenticate(token) == one.authenticate(token)

        one.tokens.delete_token(record.id)
        next(times_s)

        with pytest.raises(Unauthorized):
            other.authenticate(token)


def test_a_store_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path}/shared.db") as database:
        times_s = itertools.count()
        shared = Access(database, monotonic=lambda: next(times_s))
        secret = shared.bootstrap()
        assert secret is not None
        shared.authenticate(secret)
        with create_engine(f"sqlite:///{tmp_path}/shared.db").begin() as connection:
            connection.execute(text("DROP TABLE changes"))

        with pytest.raises(AccessUnavailable):
            shared.authenticate(secret)


def test_a_personal_token_is_for_the_organisation_that_is_named(access: Access) -> None:
    secret = access.bootstrap() or ""
    other = access.organisations.create_organisation("Acme & Co.", actor=access.authenticate(secret))

    assert other.id == "acme-co"
    assert access.authenticate(secret).organisation == "tailrace"
    assert access.authenticate(secret, "acme-co").organisation == "acme-co"
    with pytest.raises(Forbidden, match="no organisation"):
        access.authenticate(secret, "elsewhere")


def test_where_there_is_one_organisation_any_name_stands_for_it(access: Access) -> None:
    secret = access.bootstrap() or ""
    assert access.authenticate(secret, "an-organisation").organisation == "tailrace"


def test_a_user_of_one_organisation_does_not_get_into_another(access: Access, owner: Grant) -> None:
    access.organisations.create_organisation("Acme", actor=owner)
    user = access.users.create_user("Ada", "", "admin", actor=owner)
    _, secret = access.tokens.create_personal_token(user.id, "t", actor=owner)

    with pytest.raises(Forbidden):
        access.authenticate(secret, "acme")


@pytest.mark.costly
def test_look_ups_and_changes_from_several_threads_agree(access: Access, owner: Grant) -> None:
    wrong: list[str] = []
    stop = threading.Event()
    _, steady = access.tokens.create_token("steady", INGEST, actor=owner)

    def read() -> None:
        while not stop.is_set():
            if access.authenticate(steady).datasets != INGEST:
                wrong.append("a look-up gave another token's grant")

    def change() -> None:
        for _ in range(20):
            record, secret = access.tokens.create_token("brief", INGEST, actor=owner)
            access.authenticate(secret)
            access.tokens.delete_token(record.id)
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
