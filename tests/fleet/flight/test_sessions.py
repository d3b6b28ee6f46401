"""Both ends of a session prove that they know the secret, and what is asked in it counts once."""

import pytest
from msgspec.structs import replace

from tailrace.fleet.flight.errors import PeerRefused
from tailrace.fleet.flight.sessions import (
    NUMBERS_REMEMBERED,
    UNPROVEN_SESSIONS,
    ClientSession,
    SealedAnswer,
    ServerSessions,
    check_secret,
    new_hello,
)

SECRET, OTHER = "sixteen characters or more", "sixteen other characters"


def begun(server: ServerSessions, secret: str = SECRET, node: str = "lake-1") -> ClientSession:
    hello = new_hello(node)
    return ClientSession(secret, hello, server.welcome(hello))


@pytest.fixture
def server() -> ServerSessions:
    return ServerSessions(SECRET, "lake-1")


def test_a_call_and_its_answer_are_proven(server: ServerSessions) -> None:
    session = begun(server)
    call = session.seal(b"call", b"asked")

    opened = server.open(b"call", call)

    assert opened.body == b"asked"
    assert session.check(b"call", call, SealedAnswer(opened.prove(b"told", False), b"told")) == b"told"


def test_a_server_without_the_secret_is_found_out(server: ServerSessions) -> None:
    with pytest.raises(PeerRefused, match="does not know the secret"):
        begun(ServerSessions(OTHER, "lake-1"))


def test_a_client_without_the_secret_is_found_out(server: ServerSessions) -> None:
    hello = new_hello("lake-1")
    welcome = server.welcome(hello)
    pretended = begun(ServerSessions(OTHER, "lake-1"), OTHER).seal(b"call", b"asked")

    with pytest.raises(PeerRefused):
        server.open(b"call", replace(pretended, session=welcome.session))


def test_a_node_does_not_answer_for_another_one(server: ServerSessions) -> None:
    with pytest.raises(PeerRefused, match="this is the node 'lake-1'"):
        begun(server, node="lake-2")


def test_a_welcome_of_another_node_proves_nothing(server: ServerSessions) -> None:
    meant, passed_on = new_hello("lake-2"), new_hello("lake-1")

    with pytest.raises(PeerRefused):
        ClientSession(SECRET, meant, server.welcome(replace(passed_on, nonce=meant.nonce)))


def test_a_call_counts_once_and_as_it_was_sent(server: ServerSessions) -> None:
    call = begun(server).seal(b"call", b"asked")

    for changed in (replace(call, body=b"other"), replace(call, number=call.number + 1)):
        with pytest.raises(PeerRefused):
            server.open(b"call", changed)
    with pytest.raises(PeerRefused):
        server.open(b"parts", call)
    server.open(b"call", call)
    with pytest.raises(PeerRefused):
        server.open(b"call", call)


def test_calls_may_come_in_another_order_but_not_long_after(server: ServerSessions) -> None:
    session = begun(server)
    first, second = session.seal(b"call", b"1"), session.seal(b"call", b"2")

    for call in (second, first):
        server.open(b"call", call)
    late = session.seal(b"call", b"late")
    for _ in range(2 * NUMBERS_REMEMBERED + 8):
        server.open(b"call", session.seal(b"call", b""))
    with pytest.raises(PeerRefused):
        server.open(b"call", late)
    with pytest.raises(PeerRefused):
        server.open(b"call", first)


def test_an_answer_is_not_an_error_nor_that_to_another_call(server: ServerSessions) -> None:
    session = begun(server)
    one, other = session.seal(b"call", b"1"), session.seal(b"call", b"2")
    opened = server.open(b"call", one)
    answer = SealedAnswer(opened.prove(b"told", False), b"told")

    for call, changed in ((one, replace(answer, is_error=True)), (one, replace(answer, body=b"x")), (other, answer)):
        with pytest.raises(PeerRefused):
            session.check(b"call", call, changed)


def test_whoever_only_knocks_ends_no_session(server: ServerSessions) -> None:
    session = begun(server)
    server.open(b"call", session.seal(b"call", b""))

    for _ in range(UNPROVEN_SESSIONS + 1):
        server.welcome(new_hello("lake-1"))

    server.open(b"call", session.seal(b"call", b""))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        check_secret("short")
