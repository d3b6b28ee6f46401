"""Session tokens, the secret that signs them, and what is remembered of the live sessions."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from itsdangerous.encoding import base64_encode
from msgspec.structs import replace

from tailrace.access import KeyGrant, Sessions
from tailrace.access.sessions import (
    SESSION_MS,
    InvalidSession,
    LiveSession,
    Pace,
    RateExceeded,
    SessionExpired,
    SessionToken,
)

START_MS = 1_790_000_000_000
NS = 1_000_000
START_NS = START_MS * NS
SECRET = b"s" * 32
KEY = KeyGrant("key-1", "datamix", "org", float("inf"), ("a.b.c",), "a.b.c")
DIGEST = b"d" * 32


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(SECRET)


def held(sessions: Sessions, token: SessionToken, act: Callable[[LiveSession], object] = lambda live: live) -> object:
    """Return what `act` returns for the held session."""

    async def hold() -> object:
        async with sessions.hold(token) as live:
            return act(live)

    return asyncio.run(hold())


def live_of(sessions: Sessions, token: SessionToken) -> LiveSession:
    live = held(sessions, token)
    assert isinstance(live, LiveSession)
    return live


# Tokens.


def test_a_token_says_what_was_signed(sessions: Sessions) -> None:
    token = sessions.start(KEY, START_NS)

    assert sessions.read(sessions.sign(token), START_NS) == token
    assert (token.key_id, token.destination, token.sequence) == ("key-1", "a.b.c", 0)
    assert (token.issued_ms, token.expires_ms) == (START_MS, START_MS + SESSION_MS)


def test_a_token_goes_through_a_form_and_a_query_unchanged(sessions: Sessions) -> None:
    text = sessions.sign(sessions.start(KEY, START_NS))

    assert text.isascii()
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert len(text) < 400


def test_tokens_of_sessions_differ(sessions: Sessions) -> None:
    assert len({sessions.sign(sessions.start(KEY, START_NS)) for _ in range(100)}) == 100


def test_a_token_with_any_of_its_bits_flipped_is_refused(sessions: Sessions) -> None:
    text = sessions.sign(sessions.start(KEY, START_NS)).encode()

    for at in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[at] ^= 1 << bit
            with pytest.raises(InvalidSession):
                sessions.read(changed.decode("latin-1"), START_NS)


def test_a_token_with_another_character_anywhere_is_refused(sessions: Sessions) -> None:
    text = sessions.sign(sessions.start(KEY, START_NS))

    for at in range(len(text)):
        for other in "ABab01-_.":
            if other != text[at]:
                with pytest.raises(InvalidSession):
                    sessions.read(text[:at] + other + text[at + 1 :], START_NS)


@pytest.mark.parametrize("change", [lambda t: t + "=", lambda t: t + "A", lambda t: t[:-1], lambda t: " " + t])
def test_a_longer_or_shorter_token_is_refused(sessions: Sessions, change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidSession):
        sessions.read(change(sessions.sign(sessions.start(KEY, START_NS))), START_NS)


@pytest.mark.parametrize("text", ["", ".", "a", "a.b", "é" * 10, "\ud800", "\0", "x" * 100_000, "." * 4096])
def test_what_is_no_token_is_refused(sessions: Sessions, text: str) -> None:
    with pytest.raises(InvalidSession):
        sessions.read(text, START_NS)


def test_a_token_signed_with_another_secret_is_refused(sessions: Sessions) -> None:
    other = Sessions(b"o" * 32)

    with pytest.raises(InvalidSession):
        sessions.read(other.sign(other.start(KEY, START_NS)), START_NS)


def test_a_signed_token_of_another_layout_is_refused(sessions: Sessions) -> None:
    payload = base64_encode(msgspec.msgpack.encode(["no", "token"]))
    text = sessions._signer.sign(payload).decode()

    with pytest.raises(InvalidSession):
        sessions.read(text, START_NS)


def test_a_signed_token_of_another_version_is_refused(sessions: Sessions) -> None:
    with pytest.raises(InvalidSession):
        sessions.read(sessions.sign(replace(sessions.start(KEY, START_NS), version=2)), START_NS)


def test_a_token_is_good_until_the_last_millisecond_of_its_hour(sessions: Sessions) -> None:
    text = sessions.sign(sessions.start(KEY, START_NS))

    sessions.read(text, START_NS + SESSION_MS * NS - 1)
    with pytest.raises(SessionExpired):
        sessions.read(text, START_NS + SESSION_MS * NS)


def test_the_end_of_a_session_does_not_move(sessions: Sessions) -> None:
    token = sessions.start(KEY, START_NS)
    for minute in range(1, 50):
        now_ns = START_NS + minute * 60_000 * NS
        token = live_of(sessions, token).use(sessions.read(sessions.sign(token), now_ns), DIGEST, now_ns)

    assert token.sequence == 49
    assert (token.issued_ms, token.expires_ms) == (START_MS, START_MS + SESSION_MS)


def test_a_session_ends_with_its_key(sessions: Sessions) -> None:
    key = replace(KEY, expires_s=START_MS / 1000 + 60)

    assert sessions.start(key, START_NS).expires_ms == START_MS + 60_000


# Which tokens were used.


def test_a_token_is_stale_once_it_was_used(sessions: Sessions) -> None:
    first = sessions.start(KEY, START_NS)
    live = live_of(sessions, first)
    assert not live.is_stale(first)

    second = live.use(first, DIGEST, START_NS)

    assert live.is_stale(first)
    assert not live.is_stale(second)
    assert second.sequence == 1
    assert second.nonce != first.nonce
    assert second.session_id == first.session_id


def test_only_the_last_token_with_the_same_body_is_a_repetition(sessions: Sessions) -> None:
    first = sessions.start(KEY, START_NS)
    live = live_of(sessions, first)
    assert live.last_use_if_retry(first, DIGEST) is None
    second = live.use(first, DIGEST, START_NS)

    found = live.last_use_if_retry(first, DIGEST)
    assert found is not None
    assert found.next_token == second
    assert live.last_use_if_retry(first, b"other") is None
    assert live.last_use_if_retry(second, DIGEST) is None
    live.use(second, DIGEST, START_NS)
    assert live.last_use_if_retry(first, DIGEST) is None


def test_a_session_goes_on_from_any_token_that_has_not_expired_after_a_restart(sessions: Sessions) -> None:
    token = sessions.start(KEY, START_NS)
    live = live_of(sessions, token)
    for _ in range(5):
        token = live.use(token, DIGEST, START_NS)

    restarted = Sessions(SECRET)
    live = live_of(restarted, restarted.read(sessions.sign(token), START_NS))
    assert not live.is_stale(token)
    assert live.use(token, DIGEST, START_NS).sequence == 6
    assert live.is_stale(token)


def test_after_a_restart_a_newer_token_is_good_even_after_an_older_one(sessions: Sessions) -> None:
    first = sessions.start(KEY, START_NS)
    live = live_of(sessions, first)
    second = live.use(first, DIGEST, START_NS)
    third = live.use(second, DIGEST, START_NS)

    live = live_of(Sessions(SECRET), first)
    live.use(first, DIGEST, START_NS)

    assert not live.is_stale(third)
    assert live.use(third, DIGEST, START_NS).sequence == 3


def test_a_session_is_held_by_one_at_a_time(sessions: Sessions) -> None:
    token = sessions.start(KEY, START_NS)
    inside = most = 0

    async def use() -> None:
        nonlocal inside, most
        async with sessions.hold(token):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def use_all() -> None:
        await asyncio.gather(*(use() for _ in range(20)))

    asyncio.run(use_all())
    assert most == 1


def test_different_sessions_do_not_wait_for_each_other(sessions: Sessions) -> None:
    one, other = sessions.start(KEY, START_NS), sessions.start(KEY, START_NS)

    async def nested() -> None:
        async with sessions.hold(one), asyncio.timeout(5), sessions.hold(other):
            pass

    asyncio.run(nested())


def test_a_hold_that_fails_lets_the_next_in(sessions: Sessions) -> None:
    token = sessions.start(KEY, START_NS)

    def fail(live: LiveSession) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        held(sessions, token, fail)
    assert live_of(sessions, token).users == 0


# How many are remembered.


def test_a_session_that_was_not_used_is_not_remembered(sessions: Sessions) -> None:
    for _ in range(100):
        sessions.start(KEY, START_NS)

    assert len(sessions) == 0


def test_the_number_of_live_sessions_is_bounded_and_the_longest_unused_goes_first() -> None:
    sessions = Sessions(SECRET, max_live=3)
    tokens = [sessions.start(KEY, START_NS) for _ in range(4)]
    lives = [live_of(sessions, token) for token in tokens[:3]]
    assert live_of(sessions, tokens[0]) is lives[0]

    live_of(sessions, tokens[3])

    assert len(sessions) == 3
    assert live_of(sessions, tokens[0]) is lives[0]
    assert live_of(sessions, tokens[2]) is lives[2]
    assert live_of(sessions, tokens[1]) is not lives[1]


def test_a_session_in_use_is_never_forgotten() -> None:
    sessions = Sessions(SECRET, max_live=1)
    used, other = sessions.start(KEY, START_NS), sessions.start(KEY, START_NS)

    async def both() -> None:
        async with sessions.hold(used) as live:
            async with sessions.hold(other):
                assert len(sessions) == 2
            sessions.forget_expired(START_NS + 2 * SESSION_MS * NS)
            assert sessions._live == {used.session_id: live}

    asyncio.run(both())


def test_expired_sessions_are_forgotten(sessions: Sessions) -> None:
    old = sessions.start(KEY, START_NS)
    new = sessions.start(KEY, START_NS + 120_000 * NS)
    live_of(sessions, old)
    live_of(sessions, new)

    sessions.forget_expired(START_NS + SESSION_MS * NS)

    assert list(sessions._live) == [new.session_id]


# Pace.


def paced(clock: Clock, **pace: float) -> LiveSession:
    sessions = Sessions(SECRET, pace=Pace(**pace), clock=clock)
    return live_of(sessions, sessions.start(KEY, START_NS))


def test_a_burst_is_not_held_back() -> None:
    live = paced(Clock(), rate_bytes_per_s=100, burst_s=4, max_delay_s=10)

    assert [live.charge(100) for _ in range(4)] == [0, 0, 0, 0]
    assert live.charge(50) == 0.5
    assert live.charge(100) == 1.5


def test_time_makes_room_again_up_to_a_burst() -> None:
    clock = Clock()
    live = paced(clock, rate_bytes_per_s=100, burst_s=4, max_delay_s=10)
    live.charge(500)
    clock.now_s += 3
    assert live.charge(200) == 0
    clock.now_s += 1000
    assert live.charge(500) == 1


def test_what_would_be_held_back_for_too_long_is_refused_with_a_time_to_come_back() -> None:
    clock = Clock()
    live = paced(clock, rate_bytes_per_s=100, burst_s=4, max_delay_s=10)
    live.charge(1300)
    live.check_pace(100)
    with pytest.raises(RateExceeded) as refused:
        live.check_pace(101)
    assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
    with pytest.raises(RateExceeded) as refused:
        live.check_pace(500)
    assert refused.value.retry_after_s == 4

    clock.now_s += 4
    live.check_pace(500)


def test_a_body_of_any_size_is_taken_from_a_session_that_has_rested() -> None:
    clock = Clock()
    live = paced(clock, rate_bytes_per_s=100, burst_s=4, max_delay_s=10)
    live.check_pace(10_000)
    assert live.charge(10_000) == 10
    with pytest.raises(RateExceeded) as refused:
        live.check_pace(1)
    assert refused.value.retry_after_s == 87

    with pytest.raises(RateExceeded) as refused:
        live.check_pace(10_000)
    assert refused.value.retry_after_s == 100
    clock.now_s += 100
    live.check_pace(10_000)


# The secret.


def test_the_secret_is_made_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "sessions.key"
    sessions = Sessions.open(path)
    text = sessions.sign(sessions.start(KEY, START_NS))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert Sessions.open(path).read(text, START_NS).key_id == "key-1"


def test_two_servers_have_different_secrets(tmp_path: Path) -> None:
    one, other = Sessions.open(tmp_path / "one"), Sessions.open(tmp_path / "other")

    with pytest.raises(InvalidSession):
        other.read(one.sign(one.start(KEY, START_NS)), START_NS)


def test_a_secret_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "sessions.key"
    Sessions.open(path)
    path.chmod(0o644)

    Sessions.open(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_half_made_when_the_power_went_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "sessions.key"
    path.with_name("sessions.key.new").write_bytes(b"0123")

    Sessions.open(path)

    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damaged", [b"", b"00", b"x" * 64, b"0" * 63, b"0" * 65])
def test_a_damaged_secret_is_told_and_not_used(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "sessions.key"
    path.write_bytes(damaged)

    with pytest.raises(ValueError, match="remove it"):
        Sessions.open(path)
    assert path.read_bytes() == damaged
