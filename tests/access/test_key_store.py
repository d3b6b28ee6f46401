"""Keys of the other protocols in a real database."""

import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock

from tailrace.access import Access, Grant
from tailrace.events import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from tailrace.protocols import registry
from tailrace.storage.database import Database

START = datetime(2030, 1, 1, tzinfo=UTC)
KINDS = [protocol.key for protocol in registry.PROTOCOLS if protocol.key]
PROTOCOLS = [kind.protocol for kind in KINDS]
OF_SCOPE: dict[str, dict[str, Any]] = {
    "datasets": {"datasets": ["logs", "web"]},
    "dataset": {"dataset": "api"},
    "destination": {"destination": "batch.publisher.staging"},
}
SCOPES = {kind.protocol: OF_SCOPE[kind.scope] for kind in KINDS}


def create(access: Access, owner: Grant, protocol: str, **more: Any) -> tuple[str, str]:
    """Make a key and return its id and the key."""
    record, key = access.keys.create_key(protocol, "test", **{**SCOPES[protocol], **more}, actor=owner)
    return record.id, key


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_says_where_it_may_send(access: Access, owner: Grant, protocol: str) -> None:
    key_id, key = create(access, owner, protocol)

    grant = access.authenticate_key(protocol, key)

    [given] = SCOPES[protocol].values()
    names = tuple(given) if isinstance(given, list) else (given,)
    assert (grant.key_id, grant.protocol, grant.datasets) == (key_id, protocol, names)
    assert grant.destination == SCOPES[protocol].get("destination", "")
    assert all(grant.may_send_to(name) for name in names)
    assert not grant.may_send_to("another")
    assert access.key_grant(key_id) == grant


def test_a_key_for_every_dataset_may_send_to_any(access: Access, owner: Grant) -> None:
    _, key = create(access, owner, "baselime", datasets=["*"])

    assert access.authenticate_key("baselime", key).may_send_to("anything")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_of_a_key_is_in_the_file(tmp_path: Path, protocol: str) -> None:
    with Database.open(tmp_path / "tailrace.db") as database:
        access = Access(database, kinds=KINDS)
        secret = access.bootstrap()
        assert secret is not None
        made = [create(access, access.authenticate(secret), protocol)[1], secret]
        given = "brought-along-".ljust(60, "z") + protocol
        made.append(create(access, access.authenticate(secret), protocol, key=given)[1])

    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"test" in stored
    for each in made:
        assert each.encode() not in stored
        assert each[-10:].encode() not in stored


def test_a_moesif_key_suits_the_strictest_clients(access: Access, owner: Grant) -> None:
    keys = [create(access, owner, "moesif")[1] for _ in range(20)]

    assert all(len(key) >= 50 for key in keys)
    assert len({key[-10:] for key in keys}) == len(keys)
    assert set("".join(keys)) <= set(string.ascii_letters + string.digits + "-_")


def test_a_moesif_key_that_ends_like_another_is_refused(access: Access, owner: Grant) -> None:
    create(access, owner, "moesif", key="a" * 50 + "0123456789")

    with pytest.raises(Conflict, match="last 10 characters"):
        create(access, owner, "moesif", key="b" * 50 + "0123456789")
    create(access, owner, "moesif", key="b" * 50 + "1234567890")
    create(access, owner, "baselime", key="b" * 50 + "0123456789")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_brought_along_works_as_it_is(access: Access, owner: Grant, protocol: str) -> None:
    brought = "Key_of-another.service/with+signs=".ljust(50, "x")

    key_id, key = create(access, owner, protocol, key=brought)

    assert key == brought
    assert access.authenticate_key(protocol, brought).key_id == key_id
    assert access.protocol_of(brought) == protocol


@pytest.mark.parametrize(
    ("protocol", "key"),
    [
        ("moesif", "k" * 49),
        ("baselime", "k" * 15),
        ("datamix", "k" * 15),
        ("baselime", "k" * 513),
        ("baselime", "k" * 20 + " "),
        ("baselime", "k" * 20 + "\n"),
        ("baselime", "k" * 20 + "ü"),
        ("baselime", ""),
        ("baselime", "xaat-" + "k" * 20),
        ("moesif", "xapt-" + "k" * 60),
    ],
)
def test_what_cannot_be_sent_or_told_apart_is_no_key(access: Access, owner: Grant, protocol: str, key: str) -> None:
    with pytest.raises(BadRequest, match=f"a {protocol} key"):
        create(access, owner, protocol, key=key)
    assert access.keys.list_keys() == []


@pytest.mark.parametrize(("protocol", "shortest"), [("moesif", 50), ("baselime", 16), ("datamix", 16)])
def test_the_shortest_and_the_longest_key_are_taken(access: Access, owner: Grant, protocol: str, shortest: int) -> None:
    create(access, owner, protocol, key="s" * shortest)
    create(access, owner, protocol, key="l" * 512)


def test_a_key_or_token_that_is_there_cannot_be_brought_along(access: Access, owner: Grant) -> None:
    _, key = create(access, owner, "baselime")

    for protocol in PROTOCOLS:
        with pytest.raises((Conflict, BadRequest)):
            create(access, owner, protocol, key=key)
    # A root token is chosen by the operator and may look like anything.
    access.bootstrap("chosen-by-the-operator-".ljust(60, "r"))
    with pytest.raises(Conflict):
        create(access, owner, "baselime", key="chosen-by-the-operator-".ljust(60, "r"))


def test_a_key_revoked_is_refused_at_its_next_use(access: Access, owner: Grant) -> None:
    key_id, key = create(access, owner, "baselime")
    access.authenticate_key("baselime", key)
    access.key_grant(key_id)
    assert access.protocol_of(key) == "baselime"

    access.keys.delete_key(key_id)

    with pytest.raises(Unauthorized):
        access.authenticate_key("baselime", key)
    with pytest.raises(Unauthorized, match="revoked"):
        access.key_grant(key_id)
    assert access.protocol_of(key) is None
    with pytest.raises(NotFound):
        access.keys.get_key(key_id)
    with pytest.raises(NotFound):
        access.keys.delete_key(key_id)


def test_a_key_ends_when_it_says(access: Access, owner: Grant, clock: Clock) -> None:
    end = START + timedelta(hours=1)
    key_id, key = create(access, owner, "datamix", expires_at=end)
    assert access.keys.get_key(key_id).expires_at == "2030-01-01T01:00:00Z"

    clock.step = timedelta()
    clock.now = end - timedelta(microseconds=1)
    assert access.authenticate_key("datamix", key).expires_s == end.timestamp()
    access.key_grant(key_id)
    assert access.protocol_of(key) == "datamix"

    clock.now = end
    with pytest.raises(Unauthorized, match="expired"):
        access.authenticate_key("datamix", key)
    with pytest.raises(Unauthorized, match="expired"):
        access.key_grant(key_id)
    assert access.protocol_of(key) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_is_good_for_its_own_protocol_only(access: Access, owner: Grant, protocol: str) -> None:
    _, key = create(access, owner, protocol)

    for other in set(PROTOCOLS) - {protocol}:
        with pytest.raises(Unauthorized, match=f"no {other} key"):
            access.authenticate_key(other, key)
    with pytest.raises(Unauthorized, match=f"{protocol} key, not a token"):
        access.authenticate(key)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_token_is_good_as_no_key(access: Access, owner: Grant, protocol: str) -> None:
    _, token = access.tokens.create_token("t", {"*": {"ingest": ["create"]}}, actor=owner)

    with pytest.raises(Unauthorized, match=f"no {protocol} key"):
        access.authenticate_key(protocol, token)
    assert access.protocol_of(token) == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_unknown_key_is_unauthorised_and_nobodys(access: Access, owner: Grant, protocol: str) -> None:
    for unknown in ("", "k" * 60, "\udcff"):
        with pytest.raises(Unauthorized):
            access.authenticate_key(protocol, unknown)
        assert access.protocol_of(unknown) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keys_outlive_a_restart(location: Path | str, protocol: str) -> None:
    with Database.open(location) as database:
        access = Access(database, kinds=KINDS)
        secret = access.bootstrap()
        assert secret is not None
        key_id, key = create(access, access.authenticate(secret), protocol)
        record = access.keys.get_key(key_id)

    with Database.open(location) as database:
        access = Access(database, kinds=KINDS)
        assert access.authenticate_key(protocol, key).key_id == key_id
        assert access.keys.list_keys() == [record]


def test_keys_are_listed_oldest_first(access: Access, owner: Grant, clock: Clock) -> None:
    made = []
    for protocol in PROTOCOLS:
        made.append(create(access, owner, protocol)[0])
        clock.now += timedelta(seconds=1)

    assert [record.id for record in access.keys.list_keys()] == made


def test_a_key_cannot_do_what_its_maker_may_not(access: Access, owner: Grant) -> None:
    _, secret = access.tokens.create_token(
        "t", {"logs": {"ingest": ["create"]}}, {"apiTokens": ["create"]}, actor=owner
    )
    maker = access.authenticate(secret)

    create(access, maker, "moesif", dataset="logs")
    for wanted in ({"dataset": "other"}, {"datasets": ["*"]}, {"datasets": ["logs", "other"]}):
        with pytest.raises(Forbidden):
            access.keys.create_key("baselime", "t", **wanted, actor=maker)
    with pytest.raises(Forbidden):
        create(access, maker, "datamix")
