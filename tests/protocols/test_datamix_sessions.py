"""Datamix's sessions over time: use, repetition, expiry, revocation, pace. The time of each request is given."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tailrace.access import Access, Actor, Sessions
from tailrace.access.sessions import MAX_DELAY_S, RATE_BYTES_PER_S, Pace
from tailrace.events import DiskFull, OpenDataset, Overloaded, ParsedBatch, Receipt, TailraceError
from tailrace.events.outcome import RequestOutcome
from tailrace.parsing import Limits, decode_body
from tailrace.protocols import datamix
from tailrace.protocols.datamix import DatamixOptions
from tailrace.protocols.http import Request, Response
from tailrace.storage.database import Database

T = TypeVar("T")

DESTINATION = "mixbook.datamix.staging"
START_MS = 1_790_000_000_000
HOUR_MS = 3_600_000


class Clock:
    """The time of day in milliseconds since the Unix epoch."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> float:
        return self.now_ms / 1000


class MemoryIngestService:
    """A service that stores events in memory, and fails when it is set to."""

    def __init__(self, access: Access, sessions: Sessions, options: DatamixOptions) -> None:
        self.access = access
        self.sessions = sessions
        self.options = options
        self.limits = Limits()
        self.closed: TailraceError | None = None
        self.failure: TailraceError | None = None
        self.stored: list[dict[str, Any]] = []
        self.took = asyncio.Event()

    async def ensure_dataset(self, name: str, *, organisation: str, actor: Actor, primary_key: str = "") -> OpenDataset:
        await asyncio.sleep(0)
        return OpenDataset(name, 1, primary_key)

    def check_dataset(self, name: str) -> OpenDataset:
        return OpenDataset(name, 1)

    async def decode(self, wire: bytes, encoding: str, max_bytes: int) -> bytes:
        return decode_body(wire, encoding, max_bytes)

    async def offload(self, work: Callable[[], T], size: int) -> T:
        return work()

    async def ingest(
        self,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: dict[str, Any],
    ) -> Receipt:
        await asyncio.sleep(0)  # as long as it takes to flush, another request may begin
        if self.failure is not None:
            raise self.failure
        for line, time_ns in zip(parsed.events.splitlines(), parsed.times.tolist(), strict=True):
            self.stored.append(
                {**json.loads(line), **labels, "timestamp": time_ns // 1_000_000, "dataset": dataset.name}
            )
        self.took.set()
        return Receipt(parsed.count, parsed.rejections, parsed.processed_bytes, 1)

    def uncommitted(self, dataset: str) -> int:
        return len(self.stored)


class Service:
    """The protocol over a store and an ingest service, at a time that the test sets."""

    def __init__(self, path: Path, database: Database) -> None:
        self.clock = Clock()
        self.path = path
        self.access = Access(database, self.clock, kinds=[datamix.KEY])
        self.access.bootstrap("xapt-root")
        self.ingest = self.restarted()

    def restarted(self, *, stale: Any = "reject", pace: Pace = Pace()) -> MemoryIngestService:
        """Make the service anew, with only what is on disk, and return it."""
        sessions = Sessions.open(self.path / "sessions.key", pace=pace)
        stored = self.ingest.stored if hasattr(self, "ingest") else []
        self.ingest = MemoryIngestService(self.access, sessions, DatamixOptions(stale_token=stale))
        self.ingest.stored = stored
        return self.ingest

    def key(self, destination: str = DESTINATION, **more: Any) -> tuple[str, str]:
        """Return a new key: its id and the key."""
        record, secret = self.access.keys.create_key(
            "datamix", "test", destination=destination, actor=self.access.authenticate("xapt-root"), **more
        )
        return record.id, secret

    async def ask(self, handler: Any, body: bytes, query: bytes = b"", **params: str) -> Response:
        """Return the answer to a request, an error rendered."""

        async def read() -> bytes:
            return body

        request = Request(
            "POST", "", params, query, {}, self.clock.now_ms * 1_000_000, read, options=self.ingest.options
        )
        try:
            response: Response = await handler(request, self.ingest)
        except TailraceError as error:
            return datamix.render_error(error)
        return response

    def start(self, key: str) -> dict[str, Any]:
        answer = asyncio.run(self.ask(datamix.create_session, json.dumps({"key": key}).encode()))
        assert answer.status == 200, answer.body
        started: dict[str, Any] = json.loads(answer.body)
        return started

    def token(self) -> str:
        """Return the first token of a new session with a new key."""
        token: str = self.start(self.key()[1])["token"]
        return token

    async def send_async(self, body: bytes, destination: str = DESTINATION) -> Response:
        return await self.ask(datamix.add_logs, body, destination=destination)

    def send(self, body: bytes, destination: str = DESTINATION) -> Response:
        return asyncio.run(self.send_async(body, destination))

    def body(self, token: str, *texts: str, **more: Any) -> bytes:
        messages = [{"level": "info", "timestamp": self.clock.now_ms, "message": text, **more} for text in texts]
        return json.dumps({"session": token, "messages": messages}).encode()

    def stored(self) -> list[str]:
        return [event["message"] for event in self.ingest.stored]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Database.open(tmp_path / "tailrace.db") as database:
        yield Service(tmp_path, database)


def error_of(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]


def next_token(answer: Response) -> str:
    assert answer.status == 200, answer.body
    token: str = json.loads(answer.body)["session"]
    return token


# Use.


def test_events_have_the_fields_of_their_destination_and_session(service: Service) -> None:
    token = service.token()
    token = next_token(service.send(service.body(token, "one")))
    next_token(service.send(service.body(token, "two")))

    one, two = service.ingest.stored
    session = one["session"]
    assert session not in token
    assert one == {
        "system": "mixbook",
        "application": "datamix",
        "environment": "staging",
        "level": "info",
        "message": "one",
        "session": session,
        "timestamp": START_MS,
        "dataset": DESTINATION,
    }
    assert two["session"] == session


def test_every_answer_has_another_token_and_only_the_newest_is_good(service: Service) -> None:
    tokens = [service.token()]
    for number in range(5):
        tokens.append(next_token(service.send(service.body(tokens[-1], f"{number}"))))
    assert len(set(tokens)) == 6

    for old in tokens[:-1]:
        assert error_of(service.send(service.body(old, "again"))) == (403, "stale_session")
    next_token(service.send(service.body(tokens[-1], "last")))
    assert service.stored() == ["0", "1", "2", "3", "4", "last"]


def test_a_token_is_replaced_too_when_every_message_was_rejected(service: Service) -> None:
    token = service.token()

    answer = service.send(service.body(token, "a", "b", level="bad"))

    assert json.loads(answer.body)["processed"] == 0
    assert [each["index"] for each in json.loads(answer.body)["rejected"]] == ["0", "1"]
    assert next_token(answer) != token
    assert error_of(service.send(service.body(token, "c"))) == (403, "stale_session")


def test_the_window_is_that_of_the_time_when_the_request_was_received(service: Service) -> None:
    token = service.token()
    at_limits = json.dumps(
        {
            "session": token,
            "messages": [
                {"level": "info", "timestamp": START_MS + ms, "message": str(ms)}
                for ms in (-600_001, -600_000, 10_000, 10_001)
            ],
        }
    ).encode()

    answer = json.loads(service.send(at_limits).body)

    assert answer["processed"] == 2
    assert [each["index"] for each in answer["rejected"]] == ["0", "3"]
    assert service.stored() == ["-600000", "10000"]


# Repetition.


def test_a_repeated_request_is_answered_as_before_and_stored_once(service: Service) -> None:
    body = service.body(service.token(), "once", "bad\u00e9").replace(b'"info"', b'"bad"', 1)
    first = service.send(body)
    service.clock.now_ms += 5 * 60_000

    for _ in range(3):
        assert service.send(body) == first
    assert service.stored() == ["bad\u00e9"]
    next_token(service.send(service.body(next_token(first), "next")))


def test_a_repetition_is_judged_by_the_time_of_the_first(service: Service) -> None:
    body = service.body(service.token(), "once")
    first = service.send(body)
    service.clock.now_ms += 30 * 60_000

    again = service.send(body)

    assert json.loads(again.body)["processed"] == 1
    assert again == first


def test_another_body_with_the_token_just_used_is_refused(service: Service) -> None:
    token = service.token()
    body = service.body(token, "one")
    service.send(body)

    assert error_of(service.send(body + b" ")) == (403, "stale_session")
    assert error_of(service.send(service.body(token, "two"))) == (403, "stale_session")
    assert service.stored() == ["one"]


def test_a_repetition_of_the_request_before_the_last_is_refused(service: Service) -> None:
    body = service.body(service.token(), "one")
    token = next_token(service.send(body))
    service.send(service.body(token, "two"))

    assert error_of(service.send(body)) == (403, "stale_session")
    assert service.stored() == ["one", "two"]


def test_stale_tokens_are_taken_where_the_operator_says_so(service: Service) -> None:
    service.restarted(stale="accept")
    token = service.token()
    first = service.body(token, "one")
    service.send(first)
    assert service.send(first).status == 200

    for text in ("two", "three"):
        next_token(service.send(service.body(token, text)))
    assert service.stored() == ["one", "two", "three"]


# Parallel requests.


def test_of_parallel_requests_with_one_token_one_is_processed(service: Service) -> None:
    token = service.token()

    async def send_all() -> list[Response]:
        return await asyncio.gather(*(service.send_async(service.body(token, f"{n}")) for n in range(20)))

    answers = asyncio.run(send_all())
    assert sorted(answer.status for answer in answers) == [200] + [403] * 19
    assert len(service.stored()) == 1


def test_of_equal_parallel_requests_all_are_answered_alike_and_one_is_stored(service: Service) -> None:
    body = service.body(service.token(), "once")

    async def send_all() -> list[Response]:
        return await asyncio.gather(*(service.send_async(body) for _ in range(20)))

    answers = asyncio.run(send_all())
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert service.stored() == ["once"]


# What does not consume a token.


@pytest.mark.parametrize(
    ("failure", "status"), [(DiskFull("full", retry_after_s=7), 503), (Overloaded("too much", retry_after_s=2), 503)]
)
def test_a_failure_to_store_leaves_the_token_good(service: Service, failure: TailraceError, status: int) -> None:
    body = service.body(service.token(), "one")
    service.ingest.failure = failure

    answer = service.send(body)
    assert answer.status == status
    assert (b"retry-after", b"%d" % (failure.retry_after_s or 0)) in answer.headers

    service.ingest.failure = None
    next_token(service.send(body))
    assert service.stored() == ["one"]


def test_a_refused_request_leaves_the_token_good(service: Service) -> None:
    token = service.token()
    text = json.dumps(token).encode()

    assert service.send(b'{"session":' + text + b',"messages":[').status == 400
    assert service.send(b'{"session":' + text + b"}").status == 400
    assert service.send(service.body(token, "a"), "mixbook.datamix.production").status == 403
    assert service.send(service.body(token, "a"), "mixbook.datamix").status == 404
    service.ingest.limits = Limits(max_events=1)
    assert service.send(service.body(token, "a", "b")).status == 413
    assert service.stored() == []

    next_token(service.send(service.body(token, "one")))


# The end of a session.


def test_a_session_ends_an_hour_after_its_start_whatever_was_sent(service: Service) -> None:
    started = service.start(service.key()[1])
    assert started["expires"] == START_MS + HOUR_MS
    token = started["token"]
    for _ in range(59):
        service.clock.now_ms += 60_000
        token = next_token(service.send(service.body(token, "a")))

    service.clock.now_ms = START_MS + HOUR_MS - 1
    token = next_token(service.send(service.body(token, "last")))
    service.clock.now_ms = START_MS + HOUR_MS
    assert error_of(service.send(service.body(token, "too late"))) == (403, "session_expired")
    assert service.stored() == ["a"] * 59 + ["last"]


def test_a_revoked_key_ends_its_sessions_and_no_others(service: Service) -> None:
    key_id, key = service.key()
    token, other = service.start(key)["token"], service.token()
    body = service.body(token, "before")
    token = next_token(service.send(body))

    service.access.keys.delete_key(key_id)

    assert error_of(service.send(service.body(token, "after"))) == (403, "invalid_key")
    assert error_of(service.send(body)) == (403, "invalid_key")
    next_token(service.send(service.body(other, "other")))
    assert service.stored() == ["before", "other"]


def test_a_key_that_expires_ends_its_sessions_and_starts_none(service: Service) -> None:
    _, key = service.key(expires_at="2026-09-21T14:40:00Z")
    end_ms = 1_790_001_600_000
    service.clock.now_ms = end_ms - 60_000
    started = service.start(key)
    assert started["expires"] == end_ms

    service.clock.now_ms = end_ms - 1
    token = next_token(service.send(service.body(started["token"], "in time")))
    service.clock.now_ms = end_ms
    assert error_of(service.send(service.body(token, "too late"))) == (403, "session_expired")
    refused = asyncio.run(service.ask(datamix.create_session, json.dumps({"key": key}).encode()))
    assert error_of(refused) == (403, "invalid_key")


def test_a_token_for_another_destination_is_refused(service: Service) -> None:
    other = service.start(service.key("mixbook.datamix.production")[1])["token"]

    assert error_of(service.send(service.body(other, "a"))) == (403, "wrong_destination")
    assert service.stored() == []


# A restart in between.


def test_a_token_from_before_a_restart_is_taken_once(service: Service) -> None:
    token = next_token(service.send(service.body(service.token(), "one")))
    service.restarted()

    following = next_token(service.send(service.body(token, "two")))
    assert error_of(service.send(service.body(token, "again"))) == (403, "stale_session")
    next_token(service.send(service.body(following, "three")))
    assert service.stored() == ["one", "two", "three"]


def test_an_expired_token_stays_so_after_a_restart(service: Service) -> None:
    token = service.token()
    service.restarted()
    service.clock.now_ms += HOUR_MS

    assert error_of(service.send(service.body(token, "a"))) == (403, "session_expired")


# Pace.


def test_the_documented_rate_is_five_megabytes_a_second() -> None:
    assert RATE_BYTES_PER_S == 5_000_000


def test_what_comes_faster_than_the_rate_is_answered_later(service: Service) -> None:
    service.restarted(pace=Pace(rate_bytes_per_s=10_000, burst_s=0.1, max_delay_s=10))
    token = service.token()

    async def send() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        next_token(await service.send_async(service.body(token, "x" * 10_000)))
        return loop.time() - began

    assert 0.8 < asyncio.run(send()) < 5


def test_a_session_that_is_held_back_does_not_hold_back_others(service: Service) -> None:
    service.restarted(pace=Pace(rate_bytes_per_s=1_000, burst_s=0.1, max_delay_s=1.5))
    slow, fast = service.token(), service.token()

    async def send_both() -> tuple[bool, int, int]:
        waiting = asyncio.create_task(service.send_async(service.body(slow, "x" * 3000)))
        await service.ingest.took.wait()
        answer = await service.send_async(json.dumps({"session": fast, "messages": []}).encode())
        return waiting.done(), answer.status, (await waiting).status

    assert asyncio.run(send_both()) == (False, 200, 200)


def test_what_would_be_answered_too_late_is_refused_and_may_come_again(service: Service) -> None:
    service.restarted(pace=Pace(rate_bytes_per_s=2_000, burst_s=0.01, max_delay_s=0.1))
    token = next_token(service.send(service.body(service.token(), "x" * 1_500)))
    body = service.body(token, "y" * 100)

    answer = service.send(body)

    assert error_of(answer) == (503, "rate_exceeded")
    assert dict(answer.headers)[b"retry-after"] == b"1"
    assert len(service.stored()) == 1

    async def come_back() -> Response:
        await asyncio.sleep(int(dict(answer.headers)[b"retry-after"]))
        return await service.send_async(body)

    next_token(asyncio.run(come_back()))
    assert len(service.stored()) == 2


def test_an_answer_is_never_held_back_longer_than_ten_seconds(service: Service) -> None:
    assert MAX_DELAY_S == 10
    service.restarted(pace=Pace(rate_bytes_per_s=1, burst_s=1, max_delay_s=0.2))
    token = service.token()

    async def send() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        next_token(await service.send_async(service.body(token, "x" * 10_000)))
        return loop.time() - began

    assert asyncio.run(send()) < 5
