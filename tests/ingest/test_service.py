"""What the service makes of a request's events, over a log and a lake of its own."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from support.ingest import open_service

from tailrace.access import Actor
from tailrace.events import Conflict, DatasetNotFound, Forbidden, ParsedBatch, Rejection
from tailrace.events.outcome import RequestOutcome

KEY = Actor("key", "k")
NOW_NS = 1_790_000_000_000_000_000
REJECTED = Rejection(1, "too large", "event_too_large")


def one_event(*rejections: Rejection) -> ParsedBatch:
    return ParsedBatch(b'{"n":1}\n', np.array([NOW_NS], dtype=np.int64), 1, 8, rejections)


def test_what_is_stored_is_read_and_counted_and_what_is_refused_is_noted(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_service(tmp_path) as parts:
            parts.lake.create("d")
            outcome = RequestOutcome("toy")
            dataset = parts.service.check_dataset("d")
            receipt = await parts.service.ingest(
                one_event(REJECTED), dataset, outcome, received_ns=NOW_NS, labels={"a": "b"}
            )
            assert (receipt.stored, receipt.rejections) == (1, (REJECTED,))
            assert outcome.rejections == {"event_too_large": 1}
            assert parts.metrics.events == {"toy": 1}
            assert await asyncio.to_thread(parts.rows, "d") == [{"n": 1, "a": "b"}]

    asyncio.run(run())


def test_events_for_a_dataset_that_was_dropped_and_made_anew_meanwhile_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_service(tmp_path) as parts:
            parts.lake.create("d")
            dataset = parts.service.check_dataset("d")
            parts.lake.drop("d")
            with pytest.raises(DatasetNotFound):
                await parts.service.ingest(one_event(), dataset, RequestOutcome(), received_ns=NOW_NS, labels={})
            parts.lake.create("d")
            with pytest.raises(DatasetNotFound, match="was dropped while"):
                await parts.service.ingest(one_event(), dataset, RequestOutcome(), received_ns=NOW_NS, labels={})
            again = parts.service.check_dataset("d")
            await parts.service.ingest(one_event(), again, RequestOutcome(), received_ns=NOW_NS, labels={})
            assert await asyncio.to_thread(parts.rows, "d") == [{"n": 1}]

    asyncio.run(run())


def test_a_dataset_is_made_once_and_is_its_organisations(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_service(tmp_path) as parts:
            service = parts.service
            made = await service.ensure_dataset("d", organisation="acme", actor=KEY)
            assert await service.ensure_dataset("d", organisation="acme", actor=KEY) == made
            with pytest.raises(Conflict, match="another organisation's"):
                await service.ensure_dataset("d", organisation="other", actor=KEY)
            with pytest.raises(Conflict, match="none of current states"):
                await service.ensure_dataset("d", organisation="acme", actor=KEY, primary_key="_id")
            with pytest.raises(Forbidden):
                service.check_dataset("axiom-audit")

    asyncio.run(run())
