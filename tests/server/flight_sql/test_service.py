"""Calls of Flight SQL over an application: statuses, what is passed on, answers that are not read, strangers' bytes."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa
import pytest
from support.ports import free_port
from support.streams import HOST, until

from tailrace.server.asgi import Application, Receive, Scope, Send
from tailrace.server.flight_sql.listener import MAX_MESSAGE_BYTES, FlightSqlListener
from tailrace.server.flight_sql.messages import FLIGHT, encoded, wrapped
from tailrace.server.flight_sql.metadata import SCHEMAS
from tailrace.server.flight_sql.sql_info import sql_info
from tailrace.server.grpc_port import GrpcLimits

LIMITS = GrpcLimits(
    max_message_bytes=MAX_MESSAGE_BYTES, backlog_bytes=2 * MAX_MESSAGE_BYTES, max_connections=10, idle_timeout_s=60
)
TOKEN = (("authorization", "Bearer xapt-a"),)
TABLE = pa.table({"n": list(range(3))})
Code = grpc.StatusCode
Method = Callable[..., Any]


def stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


async def answer(send: Send, status: int, body: bytes, *, more_body: bool = False) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})


async def rows(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, 200, stream_of(TABLE))


def refusing(status: int, message: str) -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, status, msgspec.json.encode({"code": status, "message": message}))

    return application


@asynccontextmanager
async def calling(application: Application) -> AsyncIterator[Method]:
    """Yield what makes a call of a method with one message."""
    listener = FlightSqlListener(HOST, free_port(), LIMITS)
    await listener.start(application)
    try:
        async with grpc.aio.insecure_channel(f"{HOST}:{listener.port.number}") as channel:

            def call(method: str, message: bytes, metadata: Any = TOKEN) -> Any:
                path = f"/arrow.flight.protocol.FlightService/{method}"
                return channel.unary_stream(path)(message, metadata=metadata)

            yield call
    finally:
        await listener.port.stop(0)


def run(application: Application, work: Callable[[Method], Awaitable[None]]) -> None:
    async def main() -> None:
        async with calling(application) as call:
            await work(call)

    asyncio.run(main())


async def refusal(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as refused:
        [_ async for _ in call]
    return refused.value.code(), refused.value.details()


def ticket(sql: bytes = b"SELECT 1") -> bytes:
    return encoded("Ticket", ticket=wrapped("TicketStatementQuery", statement_handle=sql))


def descriptor(name: str, **fields: Any) -> bytes:
    return encoded("FlightDescriptor", type=2, cmd=wrapped(name, **fields))


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "wrong", Code.INVALID_ARGUMENT),
        (401, "no token", Code.UNAUTHENTICATED),
        (403, "no right", Code.PERMISSION_DENIED),
        (404, "no dataset", Code.NOT_FOUND),
        (422, "more than query_max_rows = 10", Code.INVALID_ARGUMENT),
        (422, "the query ran longer than query_timeout_s = 30 s", Code.DEADLINE_EXCEEDED),
        (429, "budget", Code.RESOURCE_EXHAUSTED),
        (503, "not now", Code.UNAVAILABLE),
    ],
)
def test_a_refusal_has_the_status_and_the_words(status: int, message: str, code: Any) -> None:
    async def work(call: Method) -> None:
        assert await refusal(call("DoGet", ticket())) == (code, message)
        assert await refusal(call("GetFlightInfo", descriptor("CommandStatementQuery", query=b"SELECT 1"))) == (
            code,
            message,
        )

    run(refusing(status, message), work)


def test_long_words_are_cut() -> None:
    async def work(call: Method) -> None:
        code, message = await refusal(call("DoGet", ticket()))
        assert (code, 600 < len(message) < 700) == (Code.INVALID_ARGUMENT, True)

    run(refusing(400, "\u20ac" * 100_000), work)


def test_the_request_is_that_of_the_caller() -> None:
    scopes: list[Scope] = []
    bodies: list[bytes] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        bodies.append((await receive())["body"])
        await rows(scope, receive, send)

    async def work(call: Method) -> None:
        pair = base64.b64encode(b"anyone:xapt-b").rstrip(b"=").decode()
        passed = (("x-axiom-org-id", "o"), ("x-forwarded-for", "10.0.0.1"), ("cookie", "c"), ("content-length", "7"))
        [_ async for _ in call("DoGet", ticket(b"SELECT 7"), (("authorization", f"Basic {pair}"), *passed))]

    run(note, work)
    assert [msgspec.json.decode(body) for body in bodies] == [{"sql": "SELECT 7"}]
    headers = dict(scopes[0]["headers"])
    assert headers.pop(b"user-agent").startswith(b"grpc-python")
    assert headers == {
        b"authorization": b"Bearer xapt-b",
        b"x-axiom-org-id": b"o",
        b"x-forwarded-for": b"10.0.0.1",
        b"host": b"localhost",
        b"accept": b"application/vnd.apache.arrow.stream",
        b"content-type": b"application/json",
        b"content-length": str(len(bodies[0])).encode(),
    }
    assert (scopes[0]["path"], scopes[0]["client"][0]) == ("/tailrace/v1/sql", HOST)


def test_without_credentials_no_message_is_read() -> None:
    async def work(call: Method) -> None:
        large = ticket(b"x" * 2 * MAX_MESSAGE_BYTES)
        assert await refusal(call("DoGet", large, ())) == (Code.UNAUTHENTICATED, "no token")
        code, message = await refusal(call("DoGet", large))
        assert (code, "larger than max" in message) == (Code.RESOURCE_EXHAUSTED, True)

    run(refusing(401, "no token"), work)


@pytest.mark.parametrize(
    ("method", "message", "said"),
    [
        ("DoGet", b"\xff", "is no Ticket"),
        ("DoGet", encoded("Ticket", ticket=b"SELECT 1"), "no command of Flight SQL|is no Any"),
        ("DoGet", encoded("Ticket"), "no command of Flight SQL"),
        ("DoGet", ticket(b"\xff"), "not valid UTF-8"),
        ("DoGet", encoded("Ticket", ticket=wrapped("CommandGetCatalogs")[:-5]), "is no Any|no command"),
        ("GetFlightInfo", encoded("FlightDescriptor", type=1), "a command of Flight SQL"),
        ("GetSchema", descriptor("CommandGetTables")[:-3], "is no FlightDescriptor"),
        ("DoAction", encoded("Action", type=b"CreatePreparedStatement", body=b"\x0a\x7f"), "is no Any"),
        ("DoPut", encoded("FlightData"), "a command of Flight SQL"),
    ],
)
def test_what_is_no_message_is_told(method: str, message: bytes, said: str) -> None:
    async def work(call: Method) -> None:
        code, details = await refusal(call(method, message))
        assert code == Code.INVALID_ARGUMENT
        assert any(part in details for part in said.split("|")), details

    run(rows, work)


@pytest.mark.parametrize(
    ("method", "message", "said"),
    [
        ("GetFlightInfo", ("CommandStatementSubstraitPlan", b""), "CommandStatementSubstraitPlan is not answered"),
        ("GetSchema", ("CommandOfTomorrow", b"\xff"), "CommandOfTomorrow is not answered"),
        ("GetFlightInfo", ("CommandStatementQuery", b"\x0a\x01x\x12\x01t"), "no transactions"),
        ("DoPut", ("CommandStatementUpdate", b"\x0a\x01x"), "only reads"),
        ("DoPut", ("CommandStatementIngest", b""), "only reads"),
        ("DoPut", ("CommandPreparedStatementQuery", b""), "parameters"),
        ("DoAction", ("BeginTransaction", b""), "no action 'BeginTransaction'"),
    ],
)
def test_what_is_not_done_here_is_told(method: str, message: tuple[str, bytes], said: str) -> None:
    name, value = message
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    described = {"type": 2, "cmd": encoded("Any", type_url=url, value=value)}
    raw = {
        "DoAction": encoded("Action", type=name.encode(), body=b""),
        "DoPut": encoded("FlightData", flight_descriptor=described),
    }.get(method, encoded("FlightDescriptor", **described))

    async def work(call: Method) -> None:
        code, details = await refusal(call(method, raw))
        assert (code, said in details) == (Code.UNIMPLEMENTED, True), details

    run(rows, work)


def test_an_answer_that_breaks_off_is_no_end() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, stream_of(TABLE)[:-1], more_body=True)

    async def none(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    for application, code in ((broken, Code.UNAVAILABLE), (none, Code.UNAVAILABLE), (failing, Code.INTERNAL)):

        async def work(call: Method, code: Any = code) -> None:
            assert (await refusal(call("DoGet", ticket())))[0] == code

        run(application, work)


def test_an_answer_waits_for_its_reader_and_ends_with_it() -> None:
    batch = stream_of(pa.table({"text": ["x" * 1024 * 1024]}))
    schema = len(pa.table({"text": pa.array([], pa.string())}).schema.serialize())
    body = batch[schema:-8]
    sent: list[int] = []
    ended = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": batch[:schema], "more_body": True})
        while not gone.done():
            await send({"type": "http.response.body", "body": body, "more_body": True})
            sent.append(len(body))
            await asyncio.sleep(0)
        assert gone.result()["type"] == "http.disconnect"
        ended.set()

    async def work(call: Method) -> None:
        reading = call("DoGet", ticket())
        for count in range(30):
            assert await reading.read()
            assert len(sent) < count + 100
        reading.cancel()
        await until(ended.is_set)

    run(endless, work)


def tables_of(application: Application, name: str, **fields: Any) -> tuple[pa.Schema, pa.Table]:
    """Return the columns that a command's flight is said to have, and its rows."""
    found: list[Any] = []
    asked = descriptor(name, **fields)

    async def work(call: Method) -> None:
        [info] = [FLIGHT["FlightInfo"].FromString(each) async for each in call("GetFlightInfo", asked)]
        [result] = [FLIGHT["SchemaResult"].FromString(each) async for each in call("GetSchema", asked)]
        assert result.schema == info.schema
        data = [
            FLIGHT["FlightData"].FromString(each)
            async for each in call("DoGet", info.endpoint[0].ticket.SerializeToString())
        ]
        stream = b"".join(
            b"\xff\xff\xff\xff" + len(each.data_header).to_bytes(4, "little") + each.data_header + each.data_body
            for each in data
        )
        found.append(pa.ipc.read_schema(pa.py_buffer(info.schema)))
        with pa.ipc.open_stream(stream) as reader:
            found.append(reader.read_all())

    run(application, work)
    return found[0], found[1]


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"CommandGetTables"}))
def test_what_is_told_has_its_columns(name: str) -> None:
    schema, table = tables_of(refusing(200, ""), name)

    assert schema == table.schema == SCHEMAS[name]
    table.validate(full=True)


def test_statements_are_told_their_columns() -> None:
    schema, table = tables_of(rows, "CommandStatementQuery", query=b"SELECT n")

    assert (schema, table.to_pylist()) == (TABLE.schema, TABLE.to_pylist())


def test_what_the_server_can_do_is_told_by_number() -> None:
    whole: Mapping[int, Any] = {row["info_name"]: row["value"] for row in sql_info([]).to_pylist()}

    assert set(whole) >= set(range(500, 577))
    assert sql_info([8, 3, 99_999, 0]).to_pylist() == [
        {"info_name": number, "value": whole[number]} for number in (0, 3, 8)
    ]
