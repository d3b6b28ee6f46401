"""Habits of Flight that its use here builds on, or works around."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.flight as flight
import pytest

pytestmark = pytest.mark.quirk("pyarrow", pa.__version__)

ROWS = pa.schema({"x": pa.large_binary()})
T = TypeVar("T")


class Middleware(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> None:
        if info.method == flight.FlightMethod.DO_EXCHANGE:
            raise flight.FlightUnauthorizedError("there is no such call")


class Served(flight.FlightServerBase):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"calls": Middleware()})
        self.cancelled = threading.Event()

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        return {b"endless": self.endless, b"late": self.late, b"odd": self.odd}[ticket.ticket](context)

    def endless(self, context: flight.ServerCallContext) -> flight.FlightDataStream:
        batch = pa.record_batch([pa.array([b"x" * 4_000_000], pa.large_binary())], schema=ROWS)
        return flight.GeneratorStream(ROWS, iter(lambda: batch, None))

    def late(self, context: flight.ServerCallContext) -> flight.FlightDataStream:
        def batches() -> Iterator[pa.RecordBatch]:
            while not context.is_cancelled():
                time.sleep(0.005)
            self.cancelled.set()
            yield from ()

        return flight.GeneratorStream(ROWS, batches())

    def odd(self, context: flight.ServerCallContext) -> flight.FlightDataStream:
        schema = pa.schema({"n": pa.int64(), "s": pa.string()})
        batch = pa.record_batch({"n": [1, 2, 3], "s": ["a", "b", None]}, schema=schema)
        return flight.GeneratorStream(schema, iter([(batch, b"odd")]))

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> list[bytes]:
        if action.type == "error":
            raise flight.FlightServerError("refused", b"e" * int(action.body.to_pybytes()))
        return [action.body.to_pybytes()]


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.shutdown()


@pytest.fixture
def connect(served: Served) -> Iterator[Callable[..., flight.FlightClient]]:
    clients: list[flight.FlightClient] = []

    def connect(**options: int) -> flight.FlightClient:
        named = [(f"grpc.{name}", value) for name, value in options.items()]
        clients.append(flight.FlightClient(f"grpc://127.0.0.1:{served.port}", generic_options=named))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def in_time(call: Callable[[float], T], deadline_s: float) -> tuple[T, float]:
    """Return what a call gives that had begun before its deadline, and that deadline: a longer one where needed."""
    while True:
        try:
            return call(deadline_s), deadline_s
        except flight.FlightTimedOutError:
            assert deadline_s < 30
            deadline_s *= 2


def test_a_stream_that_nobody_reads_holds_up_the_end_of_a_server_until_its_deadline(
    connect: Callable[..., flight.FlightClient],
) -> None:
    other = Served()
    client = flight.FlightClient(f"grpc://127.0.0.1:{other.port}")

    def read_one(deadline_s: float) -> tuple[flight.FlightStreamReader, float]:
        began_s = time.monotonic()
        reader = client.do_get(flight.Ticket(b"endless"), flight.FlightCallOptions(timeout=deadline_s))
        reader.read_chunk()
        return reader, began_s

    (_reader, began_s), deadline_s = in_time(read_one, 0.4)  # a reader that is let go is one that has left
    other.shutdown()

    assert time.monotonic() - began_s >= deadline_s / 2


def test_a_reader_is_cancelled_by_another_thread(served: Served, connect: Callable[..., flight.FlightClient]) -> None:
    reader = connect().do_get(flight.Ticket(b"late"), flight.FlightCallOptions(timeout=30))
    threading.Timer(0.05, reader.cancel).start()

    with pytest.raises(flight.FlightCancelledError):
        reader.read_chunk()
    assert served.cancelled.wait(10)


def test_a_deadline_ends_a_call_at_both_ends(served: Served, connect: Callable[..., flight.FlightClient]) -> None:
    client = connect()
    reader, _ = in_time(
        lambda deadline_s: client.do_get(flight.Ticket(b"late"), flight.FlightCallOptions(timeout=deadline_s)), 0.05
    )

    with pytest.raises(flight.FlightTimedOutError):
        reader.read_chunk()
    assert served.cancelled.wait(10)


def test_a_call_is_refused_before_its_content_is_waited_for(connect: Callable[..., flight.FlightClient]) -> None:
    with pytest.raises(flight.FlightUnauthorizedError):
        connect().do_exchange(flight.FlightDescriptor.for_command(b"x"))[1].read_chunk()


def test_what_an_error_carries_is_lost_where_it_is_larger_than_headers_may_be(
    connect: Callable[..., flight.FlightClient],
) -> None:
    client = connect()
    with pytest.raises(flight.FlightServerError) as small:
        list(client.do_action(flight.Action("error", b"4000")))
    assert small.value.extra_info == b"e" * 4000

    with pytest.raises(pa.ArrowInvalid, match="metadata size exceeds hard limit"):
        list(client.do_action(flight.Action("error", b"20000")))


def test_a_client_takes_no_larger_message_than_it_says(connect: Callable[..., flight.FlightClient]) -> None:
    assert len(list(connect().do_action(flight.Action("echo", b"x" * 8_000_000)))) == 1  # by default any

    with pytest.raises((flight.FlightError, pa.ArrowException)):  # in several words
        list(connect(max_receive_message_length=1_000_000).do_action(flight.Action("echo", b"x" * 8_000_000)))


def test_what_is_read_is_aligned_where_that_is_asked_for(connect: Callable[..., flight.FlightClient]) -> None:
    options = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.DataTypeSpecific)
    reader = connect().do_get(flight.Ticket(b"odd"), flight.FlightCallOptions(timeout=10, read_options=options))
    chunk = reader.read_chunk()

    assert chunk.app_metadata.to_pybytes() == b"odd"
    assert [buffer.address % 8 for buffer in chunk.data["n"].buffers() if buffer is not None] == [0]
