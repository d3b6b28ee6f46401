"""The way of what streams brought into the log: parsed, tried again while that is worth it, noted where refused."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from msgspec import Struct

from tailrace.events import TailraceError
from tailrace.events.outcome import Refusal, RequestOutcome
from tailrace.events.times import rfc3339
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.protocols.http import IngestService
from tailrace.protocols.stream import StreamBatch, StreamOptions, StreamPart
from tailrace.protocols.stream_delivery import deliver_part
from tailrace.server.metrics import Metrics
from tailrace.storage.faults import disk_fault

PARSE_FACTOR = 32  # bytes of valid events that are as much work as one byte of messages, which Python reads
RETRY_AFTER_S = 0.25  # what did not go into the log, at first; later up to
MAX_RETRY_AFTER_S = 5.0

DECODED_BODIES = 4  # of `max_body_bytes`: what is decoded of one port's messages at a time

logger = logging.getLogger(__name__)

Read = Callable[[StreamBatch], None]


class Stored(Struct, frozen=True):
    """What became of a batch."""

    reply: bytes  # for the client, empty where not every event is durable that should be
    error: TailraceError | None = None  # why events are not
    events: int = 0  # durable


class DecodingCapacity:
    """How many bytes of messages may be decoded at a time. To be used on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._free_bytes = max_bytes
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until so many bytes, or all where they are more, are free, and hold them."""
        size = min(size, self._max_bytes)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free_bytes >= size)
            self._free_bytes -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free_bytes += size
                self._changed.notify_all()


class StreamStore:
    """Stores the batches of one port. To be used on the event loop."""

    def __init__(
        self,
        service: IngestService,
        metrics: Metrics,
        hold: AnswerHold,
        record: Callable[[Refusal], None],
        *,
        door: str,
        transport: str,
        options: StreamOptions,
    ) -> None:
        """`record` notes what was refused for the operator."""
        self._service = service
        self._metrics = metrics
        self._hold = hold
        self._record = record
        self._options = options
        self._door = door
        self._transport = transport
        self._giving_up = False
        self._capacity = DecodingCapacity(DECODED_BODIES * service.limits.max_body_bytes)

    def give_up(self) -> None:
        """Try nothing again that did not go into the log: the server stops."""
        self._giving_up = True

    async def store(self, read: Read, size: int, address: str, *, sent: int | None = None) -> Stored:
        """Store the batch that `read` fills from messages; return once every event is durable.

        The messages have at most `size` bytes once they are decoded, and `sent` as they came, if that is not the same:
        then they wait until no more than so much is in memory of what is decoded. While the service cannot take them
        for now, they are tried again, which is the back pressure on the client. What can never be stored is counted.
        """
        if sent is None or size <= sent:
            return await self._store(read, size, address)
        async with self._capacity.hold(size):
            return await self._store(read, size, address)

    async def _store(self, read: Read, size: int, address: str) -> Stored:
        received_ns = time.time_ns()
        outcome = RequestOutcome(self._door, self._transport)

        def parse() -> tuple[StreamBatch, list[StreamPart]]:
            batch = StreamBatch(self._service.limits, received_ns)
            read(batch)
            return batch, batch.parts()

        batch, parts = await self._service.offload(parse, size * PARSE_FACTOR)
        outcome.reject(batch.rejections())
        results = await asyncio.gather(*(self._store_part(part, outcome, received_ns) for part in parts))
        errors = [result for result in results if isinstance(result, TailraceError)]
        events = sum(result for result in results if isinstance(result, int))
        self._note(outcome, address)
        if self._hold.is_due(outcome.stored_bytes):
            await self._hold.wait(outcome.stored_bytes, _never())
        if errors:
            return Stored(b"", errors[0], events)
        return Stored(batch.reply, None, events)

    async def _store_part(self, part: StreamPart, outcome: RequestOutcome, received_ns: int) -> int | TailraceError:
        """Return how many events are durable, or why none is, which is noted in `outcome` too."""
        own = RequestOutcome(outcome.protocol, outcome.route)
        try:
            return await self._deliver(part, own, received_ns)
        finally:
            outcome.include(own)

    async def _deliver(self, part: StreamPart, outcome: RequestOutcome, received_ns: int) -> int | TailraceError:
        delay_s = RETRY_AFTER_S
        while True:
            try:
                deliver = partial(deliver_part, part, self._service, self._options, outcome)
                receipt = await deliver(received_ns=received_ns)
            except Exception as raised:
                error = raised if isinstance(raised, TailraceError) else disk_fault(raised)
                if error is None:
                    logger.exception("events of %s could not be stored", self._door)
                    error = TailraceError("internal error")
                if not error.retryable or self._giving_up:
                    outcome.reject_all(part.parsed.count, error)
                    return error
                self._metrics.count_refusal(self._door, error.code, route=self._transport)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_AFTER_S)
            else:
                return receipt.stored

    def refuse(self, error: TailraceError, address: str) -> None:
        """Note that a connection or a datagram is refused as a whole."""
        outcome = RequestOutcome(self._door, self._transport)
        outcome.refuse(error)
        self._note(outcome, address)

    def _note(self, outcome: RequestOutcome, address: str) -> None:
        if outcome.rejections:
            self._metrics.count_rejections(self._door, self._transport, outcome.rejections)
        if outcome.reason:
            self._metrics.count_refusal(self._door, outcome.reason, route=self._transport)
        if outcome.reason or outcome.rejections:
            self._record(_refusal(outcome, address))


def _refusal(outcome: RequestOutcome, address: str) -> Refusal:
    now = rfc3339(time.time_ns())
    return Refusal(
        time=now,
        first=now,
        count=1,
        method=outcome.route.upper(),
        path=outcome.protocol,
        route=outcome.route,
        status=0,
        reason=outcome.reason or _most(outcome.rejections),
        message=outcome.message,
        protocol=outcome.protocol,
        events=sum(outcome.rejections.values()),
        address=address,
        user_agent="",
        trace_id="",
    )


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def _most(rejections: dict[str, int]) -> str:
    return max(rejections, key=rejections.__getitem__)


def total(chunks: Sequence[bytes]) -> int:
    """Return the bytes of several chunks."""
    return sum(map(len, chunks))
