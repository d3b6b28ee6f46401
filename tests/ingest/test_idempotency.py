"""Idempotency keys over the service: a repeated request stores nothing again, in every sort of ingest."""

import asyncio
import gzip
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import RECEIVED_NS, batch
from support.ingest import ROOT_TOKEN
from support.serving import Serving, serving

from tailrace.events import Batch, DiskFull, ParsedBatch, TailraceError
from tailrace.events.idempotency import BatchKey, IdempotencyKey, IdempotencyKeyReused, IdempotencySettings
from tailrace.events.outcome import RequestOutcome
from tailrace.ingest.idempotency import Idempotency
from tailrace.ingest.idempotency_keys import IdempotencyKeys
from tailrace.log import LocalLog

KEY = {"Idempotency-Key": "k-1"}
INGEST = "/v1/datasets/d/ingest"


def served(tmp_path: Path, work: Callable[[Serving], Any]) -> None:
    """Do some work with a server that has a dataset "d"."""

    async def run() -> None:
        async with serving(tmp_path) as server:
            server.parts.lake.create("d")
            await work(server)

    asyncio.run(run())


async def rows(server: Serving, dataset: str = "d") -> list[dict[str, Any]]:
    """Return the events of a dataset, in order of their field "n"."""
    found = await asyncio.to_thread(server.parts.rows, dataset)
    return sorted(found, key=lambda row: row.get("n", 0))


def test_a_repeated_request_gets_the_first_answer_and_stores_nothing(tmp_path: Path) -> None:
    body = b'{"n":1}\n{"n":}\n{"n":2}\n'

    async def work(server: Serving) -> None:
        first = await server.client.post(INGEST, content=body, headers=KEY)
        again = await server.client.post(INGEST, content=body, headers=KEY)
        assert (first.status_code, first.json()["ingested"], first.json()["failed"]) == (200, 2, 1)
        assert {**again.json(), "failures": 0} == {**first.json(), "failures": 0}
        assert [each["error"] for each in again.json()["failures"]] == [e["error"] for e in first.json()["failures"]]
        assert await rows(server) == [{"n": 1}, {"n": 2}]

        other = await server.client.post(INGEST, content=body, headers={"Idempotency-Key": "k-2"})
        assert other.json()["ingested"] == 2
        await server.client.post(INGEST, content=body)
        assert len(await rows(server)) == 6

    served(tmp_path, work)


def test_the_same_key_with_another_body_is_refused(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        await server.client.post(INGEST, content=b'{"n":1}', headers=KEY)
        answer = await server.client.post(INGEST, content=b'{"n":2}', headers=KEY)
        assert answer.status_code == 422
        assert "Idempotency-Key was used for a request with another body" in answer.json()["message"]
        assert await rows(server) == [{"n": 1}]

    served(tmp_path, work)


@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [
        ({"Idempotency-Key": '"k"'}, {"Idempotency-Key": "k"}, 1),
        ({"Idempotency-Key": "k"}, {"Idempotency-Key": "K"}, 2),
    ],
)
def test_a_key_may_be_in_quotation_marks(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], stored: int
) -> None:
    async def work(server: Serving) -> None:
        for headers in (first, second):
            answer = await server.client.post(INGEST, content=b'{"n":1}', headers=headers)
            assert answer.json()["ingested"] == 1
        assert len(await rows(server)) == stored

    served(tmp_path, work)


@pytest.mark.parametrize(
    "headers",
    [[("Idempotency-Key", "")], [("Idempotency-Key", "k" * 257)], [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]],
    ids=["empty", "long", "two"],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    async def work(server: Serving) -> None:
        answer = await server.client.post(INGEST, content=b'{"n":1}', headers=headers)
        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["message"]
        assert await rows(server) == []

    served(tmp_path, work)


def test_a_repetition_may_be_compressed_otherwise(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        body = b'{"n":1}'
        for mtime in (1, 2):
            headers = {**KEY, "Content-Encoding": "gzip"}
            await server.client.post(INGEST, content=gzip.compress(body, mtime=mtime), headers=headers)
        answer = await server.client.post(INGEST, content=body, headers=KEY)
        assert answer.json()["ingested"] == 1
        assert await rows(server) == [{"n": 1}]

    served(tmp_path, work)


def test_a_key_is_of_one_dataset_and_one_credential(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        server.parts.lake.create("other")
        _, key = server.parts.access.keys.create_key("baselime", "k", datasets=["*"], actor=server.parts.owner)
        await server.client.post(INGEST, content=b'[{"n":1}]', headers=KEY)
        await server.client.post(INGEST.replace("/d/", "/other/"), content=b'[{"n":1}]', headers=KEY)
        baselime = {**KEY, "x-api-key": key, "Authorization": ""}
        await server.client.post("/baselime/v1/d/n", content=b'[{"n":1}]', headers=baselime)
        assert len(await rows(server)) == 2
        assert len(await rows(server, "other")) == 1
        again = await server.client.post("/baselime/v1/d/n", content=b'[{"n":1}]', headers=baselime)
        assert again.status_code == 202
        assert len(await rows(server)) == 2

        server.parts.lake.drop("d")
        server.parts.lake.create("d")
        answer = await server.client.post(INGEST, content=b'[{"n":1}]', headers=KEY)
        assert answer.json()["ingested"] == 1
        assert len(await rows(server)) == 1

    served(tmp_path, work)


def test_a_key_outlives_the_secret_that_it_was_sent_with(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        tokens, owner = server.parts.access.tokens, server.parts.owner
        first, secret = tokens.create_token("t", {"d": {"ingest": ["create"]}}, actor=owner)
        second, rotated = tokens.regenerate_token(first.id, existing_expires_at="2099-01-01T00:00:00Z", actor=owner)
        _, rotated_again = tokens.regenerate_token(second.id, existing_expires_at="2099-01-01T00:00:00Z", actor=owner)
        _, other = tokens.create_token("t", {"d": {"ingest": ["create"]}}, actor=owner)
        _, personal = tokens.create_personal_token(owner.user_id, "p", actor=owner)
        of_the_user = ROOT_TOKEN
        sent = [(rotated, 1), (secret, 1), (rotated_again, 1), (other, 2), (personal, 3), (of_the_user, 3)]
        for token, stored in sent:
            headers = {**KEY, "Authorization": f"Bearer {token}"}
            answer = await server.client.post(INGEST, content=b'{"n":1}', headers=headers)
            assert answer.json()["ingested"] == 1
            assert len(await rows(server)) == stored

    served(tmp_path, work)


@pytest.mark.parametrize(
    ("path", "header", "body"),
    [
        ("/services/collector/event", "Authorization: Splunk TOKEN", {"event": {"n": 1}, "index": "d"}),
        ("/api/v2/logs", "DD-API-KEY: TOKEN", [{"n": 1}]),
        ("/v1/input/TOKEN", "", [{"n": 1}]),
        ("/api/v2/logs?dd-api-key=TOKEN", "", [{"n": 1}]),
        ("/1/batch/d", "X-Honeycomb-Team: TOKEN", [{"data": {"n": 1}}]),
        ("/gelf/TOKEN", "", {"version": "1.1", "host": "h", "short_message": "m", "_n": 1}),
        ("/d/_doc", "Authorization: ApiKey TOKEN", {"n": 1}),
    ],
)
def test_a_key_is_of_the_token_wherever_that_stands(tmp_path: Path, path: str, header: str, body: Any) -> None:
    async def work(server: Serving) -> None:
        del server.client.headers["Authorization"]
        for number in (1, 2):
            _, secret = server.parts.access.tokens.create_token(
                f"t{number}", {"d": {"ingest": ["create"]}}, actor=server.parts.owner, default_dataset="d"
            )
            name, _, value = header.replace("TOKEN", secret).partition(": ")
            headers = {**KEY, name: value} if name else KEY
            for _ in range(2):
                answer = await server.client.post(path.replace("TOKEN", secret), json=body, headers=headers)
                assert answer.is_success, answer.text
                assert len(await rows(server)) == number

    served(tmp_path, work)


@pytest.mark.parametrize(("path", "member"), [("/logs/_doc", "_id"), ("/1/markers/logs", "id")])
def test_an_id_that_the_server_makes_is_the_same_for_a_repetition(tmp_path: Path, path: str, member: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")

            async def made(headers: dict[str, str]) -> str:
                answer = await served.client.post(path, json={"message": "a"}, headers=headers)
                identity: str = answer.json()[member]
                return identity

            keyed = [await made({"Idempotency-Key": key}) for key in ("one", "one", "two")]
            ids = {*keyed, *[await made({}) for _ in range(2)]}
            assert keyed[0] == keyed[1]
            assert len(ids) == 4
            name = "_id" if member == "_id" else "marker.id"
            stored = [row[name] for row in await asyncio.to_thread(served.parts.rows, "logs")]
            assert sorted(stored) == sorted(ids)

    asyncio.run(run())


def test_repetitions_that_come_together_are_stored_once(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        sends = [server.client.post(INGEST, content=b'{"n":1}', headers=KEY) for _ in range(20)]
        answers: list[httpx.Response] = await asyncio.gather(*sends)
        assert {answer.json()["ingested"] for answer in answers} == {1}
        assert await rows(server) == [{"n": 1}]

    served(tmp_path, work)


def test_what_was_not_stored_is_stored_by_the_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = LocalLog.append

    async def work(server: Serving) -> None:
        def fail(log: LocalLog, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
            done(None, DiskFull("full"))

        monkeypatch.setattr(LocalLog, "append", fail)
        sends = [server.client.post(INGEST, content=b'{"n":1}', headers=KEY) for _ in range(3)]
        assert {answer.status_code for answer in await asyncio.gather(*sends)} == {503}
        monkeypatch.setattr(LocalLog, "append", append)
        answer = await server.client.post(INGEST, content=b'{"n":1}', headers=KEY)
        assert answer.json()["ingested"] == 1
        assert await rows(server) == [{"n": 1}]

    served(tmp_path, work)


def test_a_repetition_waits_for_a_request_whose_client_hung_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = LocalLog.append
    held: list[Callable[[], None]] = []

    async def work(server: Serving) -> None:
        is_held = asyncio.Event()

        def hold(log: LocalLog, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
            held.append(lambda: append(log, batch, done))
            is_held.set()

        monkeypatch.setattr(LocalLog, "append", hold)
        first = asyncio.create_task(server.client.post(INGEST, content=b'{"n":1}', headers=KEY))
        await is_held.wait()
        first.cancel()
        again = asyncio.create_task(server.client.post(INGEST, content=b'{"n":1}', headers=KEY))
        await asyncio.sleep(0.02)
        monkeypatch.setattr(LocalLog, "append", append)
        assert not again.done()
        held[0]()
        assert (await again).json()["ingested"] == 1
        assert await rows(server) == [{"n": 1}]

    served(tmp_path, work)


def test_a_key_counts_within_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = time.time_ns

    async def work(server: Serving) -> None:
        window_ns = 86_400 * 10**9
        for later_ns, stored in ((0, 1), (window_ns // 2, 1), (window_ns + 10**11, 2)):
            with monkeypatch.context() as patch:
                patch.setattr(time, "time_ns", lambda later_ns=later_ns: now_ns() + later_ns)
                answer = await server.client.post(INGEST, content=b'{"n":1}', headers=KEY)
            assert answer.json()["ingested"] == 1
            assert len(await rows(server)) == stored

    served(tmp_path, work)


def test_moesifs_events_with_and_without_ids_are_stored_once(tmp_path: Path) -> None:
    call = {"request": {"time": "2026-01-02T03:04:05Z", "verb": "GET", "uri": "https://example.com/"}}

    async def work(server: Serving) -> None:
        _, key = server.parts.access.keys.create_key("moesif", "k", dataset="d", actor=server.parts.owner)
        headers = {**KEY, "X-Moesif-Application-Id": key}
        body = [{**call, "transaction_id": "t"}, call]
        for _ in range(2):
            answer = await server.client.post("/moesif/v1/events/batch", json=body, headers=headers)
            assert answer.status_code == 201, answer.text
        assert len(await rows(server)) == 2

    served(tmp_path, work)


def test_a_repeated_state_does_not_come_back(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        _, key = server.parts.access.keys.create_key("moesif", "k", dataset="d", actor=server.parts.owner)
        users = [{"user_id": "u", "metadata": {"name": name}} for name in ("first", "second")]
        for number in (0, 1, 0):
            headers = {"Idempotency-Key": str(number), "X-Moesif-Application-Id": key}
            answer = await server.client.post("/moesif/v1/users", json=users[number], headers=headers)
            assert answer.status_code == 201, answer.text
        assert [state["metadata.name"] for state in await rows(server, "d-users")] == ["second"]

    served(tmp_path, work)


def test_batches_of_one_request_for_one_dataset_have_keys_of_their_own(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        service = server.parts.service
        for _ in range(2):
            outcome = RequestOutcome("toy", idempotency=IdempotencyKey(b"s"))
            for number in (1, 2):
                sent = batch([{"n": number}])
                parsed = ParsedBatch(sent.events, sent.times, 1, len(sent.events))
                dataset = service.check_dataset("d")
                receipt = await service.ingest(parsed, dataset, outcome, received_ns=time.time_ns(), labels={})
                assert receipt.stored == 1
        assert await rows(server) == [{"n": 1}, {"n": 2}]

    served(tmp_path, work)


@given(
    requests=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.booleans(), st.booleans()), max_size=12),
    window_s=st.sampled_from([50, 1000]),
)
def test_a_key_is_stored_once_in_a_window_whatever_fails(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[int, int, bool, bool]], window_s: int
) -> None:
    """A request is of a key and a body, fails or not, and comes with the one before or 10 s after it."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    keys = IdempotencyKeys.open(path, IdempotencySettings(window_s=window_s), now_ns=RECEIVED_NS)
    idempotency = Idempotency(keys)
    stored: list[tuple[int, int, int]] = []  # the key, the body and the second of each

    async def send(number: int, body: int, second: int, *, fails: bool) -> None:
        key = BatchKey(number.to_bytes(16), body.to_bytes(16), 1)
        received_ns = RECEIVED_NS + second * 10**9

        async def store() -> None:
            await asyncio.sleep(0)
            if fails:
                raise DiskFull("full")
            stored.append((number, body, second))
            keys.observe([(len(stored), batch([{}], keys=(key,), received_ns=received_ns))])

        try:
            await idempotency.once(key, received_ns, store)
        except DiskFull:
            assert fails
        except IdempotencyKeyReused:
            assert any(each[0] == number and each[1] != body for each in stored)
        else:
            assert any(each[:2] == (number, body) and second - each[2] <= window_s for each in stored)

    async def run() -> None:
        second = 0
        sent: list[asyncio.Task[None]] = []
        for number, body, fails, together in requests:
            if not together:
                await asyncio.gather(*sent)
                second += 10
            sent.append(asyncio.create_task(send(number, body, second, fails=fails)))
        await asyncio.gather(*sent)

    asyncio.run(run())
    for number in range(4):
        seconds = [second for each, _, second in stored if each == number]
        assert all(later - earlier > window_s for earlier, later in itertools.pairwise(seconds))
