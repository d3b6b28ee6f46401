"""A request for several datasets that fails for one of them: sent again, it stores only what is missing."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.serving import Serving, serving

from tailrace.events import Batch, DiskFull, TailraceError
from tailrace.ingest.partial_deliveries import KEPT_NS, MAX_PARTS, PartialDeliveries, StoredPart
from tailrace.log import LocalLog

Done = Callable[[int | None, TailraceError | None], None]

LOKI = {"streams": [{"stream": {"dataset": name}, "values": [["1767323045000000000", name]]} for name in ("a", "b")]}
HEC = b'{"event":{"n":1},"index":"a"}{"event":{"n":2},"index":"b"}{"event":"","index":"a"}'
DOORS = [
    pytest.param("/loki/api/v1/push", {"json": LOKI}, 204, id="loki"),
    pytest.param("/services/collector", {"content": HEC}, 400, id="splunk"),  # for the empty event
]


async def counts(server: Serving) -> list[int]:
    """Return how many events the datasets "a" and "b" have."""
    return [len(await asyncio.to_thread(server.parts.rows, name)) for name in ("a", "b")]


@pytest.mark.parametrize(("path", "body", "status"), DOORS)
def test_a_repetition_stores_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], status: int
) -> None:
    append = LocalLog.append

    def fail(log: LocalLog, batch: Batch, done: Done) -> None:
        if batch.dataset == "b":
            done(None, DiskFull("full"))
        else:
            append(log, batch, done)

    async def run() -> None:
        async with serving(tmp_path) as server:
            for name in ("a", "b"):
                server.parts.lake.create(name)

            async def send(token: str = "") -> int:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                return (await server.client.post(path, headers=headers, **body)).status_code

            with monkeypatch.context() as patch:
                patch.setattr(LocalLog, "append", fail)
                assert [await send(), await send()] == [503, 503]
            assert await counts(server) == [1, 0]
            rights = {name: {"ingest": ["create"]} for name in ("a", "b")}
            _, other = server.parts.access.tokens.create_token("t", rights, actor=server.parts.owner)
            assert await send(other) == status
            assert await counts(server) == [2, 1]
            assert await send() == status
            assert await counts(server) == [2, 2]
            assert await send() == status  # an answered one is over
            assert await counts(server) == [3, 3]

    asyncio.run(run())


def test_a_part_stands_in_for_one_other() -> None:
    parts = PartialDeliveries()
    parts.put(b"a", StoredPart(1, 7, 0))
    parts.put(b"a", StoredPart(1, 8, 1))
    parts.put(b"b", StoredPart(1, 9, 2))
    taken = [parts.take(b"a", 3) for _ in range(3)]
    assert [part and part.position for part in taken] == [7, 8, None]
    assert parts.take(b"b", 3) is not None
    assert not parts


def test_parts_are_kept_for_a_time_and_up_to_a_number() -> None:
    parts = PartialDeliveries()
    parts.put(b"old", StoredPart(1, 1, 0))
    parts.put(b"new", StoredPart(1, 2, 10))
    assert parts.take(b"old", KEPT_NS + 1) is None
    assert parts.take(b"new", KEPT_NS + 1) is not None
    for number in range(MAX_PARTS + 1):
        parts.put(b"%d" % number, StoredPart(1, number, 0))
    assert (parts.take(b"0", 0), parts.take(b"1", 0)) == (None, StoredPart(1, 1, 0))
