"""Sessions of browsers: started by a token or by a code, used once each, and ended with what they stand for."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.clock import Clock

from tailrace.access import Access, Grant, SignIn, browser_sessions
from tailrace.access.browser_sessions import CODE_S
from tailrace.events import Forbidden, Unauthorized
from tailrace.storage.database import Database

HOUR_S = 3600.0
INGEST = {"logs": {"ingest": ["create"]}}


def started(access: Access, grant: Grant, session_s: float = HOUR_S) -> str:
    return access.browser_sessions.start(grant.token_id, session_s).secret


def test_a_session_has_the_grant_of_its_token(access: Access, owner: Grant) -> None:
    _, secret = access.tokens.create_token("t", INGEST, actor=owner)
    few = access.authenticate(secret)

    assert access.authenticate_session(started(access, owner)) == owner
    assert access.authenticate_session(started(access, few)) == few


def test_a_sessions_secret_is_no_token_and_a_token_no_sessions_secret(access: Access, owner: Grant) -> None:
    _, token = access.tokens.create_token("t", INGEST, actor=owner)
    session = started(access, owner)
    code = access.browser_sessions.create_code(owner.token_id).secret

    for secret in (session, code):
        with pytest.raises(Unauthorized):
            access.authenticate(secret)
    for secret in (token, code, "", "é"):
        with pytest.raises(Unauthorized, match="sign in again"):
            access.authenticate_session(secret)
    with pytest.raises(Unauthorized):
        access.browser_sessions.redeem(session, HOUR_S)


def test_only_hashes_are_stored(tmp_path: Path) -> None:
    with Database.open(tmp_path / "tailrace.db") as database:
        access = Access(database)
        owner = access.authenticate(access.bootstrap() or "")
        secrets = [started(access, owner), access.browser_sessions.create_code(owner.token_id).secret]
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert not any(secret.encode() in stored for secret in secrets)


def test_a_session_ends_by_itself(access: Access, owner: Grant, clock: Clock) -> None:
    new = access.browser_sessions.start(owner.token_id, HOUR_S)
    clock.now = datetime.fromisoformat(new.expires_at) - timedelta(seconds=1)
    assert access.authenticate_session(new.secret) == owner

    clock.now += timedelta(seconds=1)
    for _ in range(2):
        with pytest.raises(Unauthorized, match="sign in again"):
            access.authenticate_session(new.secret)


def test_a_session_ends_by_sign_out_and_that_again_is_no_fault(access: Access, owner: Grant) -> None:
    ended, other = started(access, owner), started(access, owner)
    access.authenticate_session(ended)

    for _ in range(2):
        access.browser_sessions.end(ended)
        with pytest.raises(Unauthorized):
            access.authenticate_session(ended)
    assert access.authenticate_session(other) == owner


def revoked(access: Access, owner: Grant, token_id: str, clock: Clock) -> None:
    access.tokens.delete_token(token_id)


def expired(access: Access, owner: Grant, token_id: str, clock: Clock) -> None:
    clock.now += timedelta(minutes=31)


def replaced(access: Access, owner: Grant, token_id: str, clock: Clock) -> None:
    now = datetime.fromtimestamp(clock(), UTC)
    access.tokens.regenerate_token(token_id, existing_expires_at=now.isoformat(), actor=owner)
    clock.now += timedelta(seconds=1)


@pytest.mark.parametrize("end", [revoked, expired, replaced])
def test_a_session_and_a_code_end_with_their_token(
    access: Access, owner: Grant, clock: Clock, end: Callable[[Access, Grant, str, Clock], None]
) -> None:
    soon = (clock.now + timedelta(minutes=30)).isoformat()
    record, secret = access.tokens.create_token("t", INGEST, expires_at=soon, actor=owner)
    grant = access.authenticate(secret)
    session, code = started(access, grant), access.browser_sessions.create_code(record.id).secret
    assert access.authenticate_session(session) == grant

    end(access, owner, record.id, clock)

    with pytest.raises(Unauthorized):
        access.authenticate_session(session)
    with pytest.raises(Unauthorized):
        access.authenticate_session(access.browser_sessions.redeem(code, HOUR_S).secret)


def test_a_session_ends_with_its_user(access: Access, owner: Grant, as_role: Callable[[str], Grant]) -> None:
    session = started(access, as_role("admin"))
    user_id = access.authenticate_session(session).user_id

    access.users.delete_user(user_id, actor=owner)

    with pytest.raises(Unauthorized):
        access.authenticate_session(session)


def test_a_session_has_its_users_new_role_at_once(
    access: Access, owner: Grant, as_role: Callable[[str], Grant]
) -> None:
    session = started(access, as_role("admin"))
    user_id = access.authenticate_session(session).user_id

    access.users.set_role(user_id, "read-only", actor=owner)

    assert access.authenticate_session(session).role == "read-only"


def test_another_root_token_ends_the_sessions_of_the_one_before(database: Database, clock: Clock) -> None:
    first = Access(database, clock)
    owner = first.authenticate(first.bootstrap("xapt-first") or "")
    session = started(first, owner)

    again = Access(database, clock)
    again.bootstrap("xapt-first")
    assert again.authenticate_session(session).token_id == owner.token_id
    again.bootstrap("xapt-second")
    with pytest.raises(Unauthorized):
        again.authenticate_session(session)


def test_a_session_of_a_personal_token_is_for_the_organisation_named(access: Access, owner: Grant) -> None:
    other = access.organisations.create_organisation("Other", actor=owner)
    session = started(access, owner)
    _, secret = access.tokens.create_token("t", INGEST, actor=owner)
    of_api_token = started(access, access.authenticate(secret))

    assert access.authenticate_session(session).organisation == owner.organisation
    assert access.authenticate_session(session, other.id).organisation == other.id
    with pytest.raises(Forbidden):
        access.authenticate_session(session, "unknown")
    assert access.authenticate_session(of_api_token, other.id).organisation == owner.organisation


def test_a_code_starts_one_session(access: Access, owner: Grant) -> None:
    code = access.browser_sessions.create_code(owner.token_id).secret

    assert access.authenticate_session(access.browser_sessions.redeem(code, HOUR_S).secret) == owner
    with pytest.raises(Unauthorized, match="used before"):
        access.browser_sessions.redeem(code, HOUR_S)


def test_a_code_is_valid_for_a_quarter_of_an_hour(access: Access, owner: Grant, clock: Clock) -> None:
    early, late = (access.browser_sessions.create_code(owner.token_id).secret for _ in range(2))
    made = clock.now

    clock.now = made + timedelta(seconds=CODE_S - 1)
    assert access.browser_sessions.redeem(early, HOUR_S)
    clock.now = made + timedelta(seconds=CODE_S)
    with pytest.raises(Unauthorized, match="too old"):
        access.browser_sessions.redeem(late, HOUR_S)
    assert CODE_S == 15 * 60


def test_of_many_that_use_a_code_at_once_one_signs_in(access: Access, owner: Grant) -> None:
    code = access.browser_sessions.create_code(owner.token_id).secret

    def redeem() -> SignIn | None:
        try:
            return access.browser_sessions.redeem(code, HOUR_S)
        except Unauthorized:
            return None

    with ThreadPoolExecutor(4) as threads:
        answers = [started.result() for started in [threads.submit(redeem) for _ in range(8)]]
    assert [answer is not None for answer in answers].count(True) == 1


def test_who_guesses_empties_no_cache(access: Access, owner: Grant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the caches are emptied")

    monkeypatch.setattr(access._invalidation, "_clear", fail)

    access.browser_sessions.end("guessed")
    with pytest.raises(Unauthorized):
        access.browser_sessions.redeem("guessed", HOUR_S)


def test_the_owner_has_a_code_without_a_token_at_hand(access: Access, owner: Grant) -> None:
    new = access.browser_sessions.create_owners_code()
    assert new is not None
    assert access.authenticate_session(access.browser_sessions.redeem(new.secret, HOUR_S).secret) == owner

    access.tokens.delete_personal_token(owner.user_id, owner.token_id, actor=owner)
    assert access.browser_sessions.create_owners_code() is None


def test_the_oldest_sessions_and_codes_of_a_token_end_beyond_a_number(
    access: Access, owner: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_sessions, "MAX_OF_TOKEN", 3)
    _, secret = access.tokens.create_token("t", INGEST, actor=owner)
    other = started(access, access.authenticate(secret))
    sessions = [started(access, owner) for _ in range(3)]
    code = access.browser_sessions.create_code(owner.token_id).secret
    access.browser_sessions.create_code(owner.token_id)
    assert access.authenticate_session(sessions[0]) == owner

    newest = access.browser_sessions.redeem(code, HOUR_S).secret

    with pytest.raises(Unauthorized):
        access.authenticate_session(sessions[0])
    assert all(access.authenticate_session(secret) for secret in (*sessions[1:], newest, other))


def test_a_session_that_another_server_ends_is_ended_here(tmp_path: Path, location: Path | str) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        times_s = itertools.count()
        here, there = Access(first, monotonic=lambda: next(times_s)), Access(second)
        owner = here.authenticate(here.bootstrap() or "")
        session = there.browser_sessions.start(owner.token_id, HOUR_S).secret
        assert here.authenticate_session(session) == owner

        there.browser_sessions.end(session)

        with pytest.raises(Unauthorized):
            here.authenticate_session(session)
