"""The calls of Flight SQL, as `Flight.proto` and `FlightSql.proto` of Arrow's format have them.

Nothing is stored between two calls: a ticket and the handle of a prepared statement are the statement itself, which is
asked for with the rights of whoever brings it. So every node of a fleet can answer each of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from tailrace.events import BadRequest, TailraceError
from tailrace.parsing.protobuf import text_of
from tailrace.protocols.doors.otlp_status import INTERNAL, UNAVAILABLE, UNIMPLEMENTED, status_of
from tailrace.server.asgi import Application
from tailrace.server.flight_sql import metadata
from tailrace.server.flight_sql.caller import Caller, CallRefused
from tailrace.server.flight_sql.ipc_stream import IpcMessages, messages_of, schema_bytes
from tailrace.server.flight_sql.messages import (
    CMD,
    MAX_NAME,
    FlightCommand,
    encoded,
    read,
    read_command,
    text_in,
    wrapped,
)
from tailrace.server.grpc_listener import MessageReads
from tailrace.server.grpc_port import MAX_CALLS, code_of

SERVICE = "arrow.flight.protocol.FlightService"
PREPARE, CLOSE = "CreatePreparedStatement", "ClosePreparedStatement"
ACTIONS = {PREPARE: "Return the columns of a statement, and its handle", CLOSE: "Do nothing: nothing was stored"}
MAX_MESSAGE_BYTES = 2000  # what a call fails with is in headers of HTTP/2, which are bounded
NO_PARAMETERS = "parameters cannot be bound here: write the values into the SQL"
READS_ONLY = "SQL only reads here: events are sent over HTTP, to the routes for that"

logger = logging.getLogger(__name__)


class _FlightCall:
    """A call of a client: its message, and what it is answered."""

    def __init__(self, application: Application, reads: MessageReads, scheme: str, context: Any) -> None:
        self._context = context
        self._reads = reads
        self.caller = Caller(application, scheme, context)

    async def read(self, kind: str) -> Any:
        """Return the message; raise CallRefused where there are no credentials, before it is read. Raise BadRequest."""
        if not self.caller.authorization:
            await self.caller.check_token()
        return read(kind, await self._reads.read(self._context))

    async def write(self, message: bytes) -> None:
        """Send a message, as fast as the client reads; nothing once it has gone."""
        import grpc  # type: ignore[import-untyped]

        if self.caller.is_gone:
            return
        try:
            await self._context.write(message)
        except (grpc.aio.InternalError, grpc.aio.UsageError):  # the call has ended
            self.caller.leave()

    async def write_data(self, header: bytes, body: bytes) -> None:
        """Send a message of an Arrow IPC stream."""
        await self.write(encoded("FlightData", data_header=header, data_body=body))

    async def greet(self) -> None:
        """Give the client the token to send with its calls."""
        await self._context.send_initial_metadata((("authorization", self.caller.authorization),))


class FlightSqlService:
    """Answers calls by requests to an application. To be used on the event loop."""

    def __init__(self, application: Application, reads: MessageReads, scheme: str) -> None:
        self._new_call = partial(_FlightCall, application, reads, scheme)
        self._calls: set[asyncio.Task[CallRefused | None]] = set()

    def methods(self) -> Mapping[str, Any]:
        """Return what the library calls, by method. Of all the message is read when it is asked for."""
        import grpc

        answers: dict[str, Callable[[_FlightCall], Awaitable[None]]] = {
            "Handshake": _handshake,
            "GetFlightInfo": _get_flight_info,
            "GetSchema": _get_schema,
            "DoGet": _do_get,
            "DoPut": _do_put,
            "DoAction": _do_action,
            "ListActions": _list_actions,
        }
        return {
            name: grpc.stream_stream_rpc_method_handler(partial(self._run, answer)) for name, answer in answers.items()
        }

    async def _run(self, answer: Callable[[_FlightCall], Awaitable[None]], messages: object, context: Any) -> None:
        """Answer a call; end it by another status where it is refused."""
        import grpc

        if len(self._calls) < MAX_CALLS:
            # A task of its own: the request to the application ends by itself once its client has gone.
            task = asyncio.create_task(_refusal_of(answer(self._new_call(context))))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            refused = await asyncio.shield(task)
        else:
            refused = CallRefused(UNAVAILABLE, f"there are {MAX_CALLS} calls under way already")
        if refused is None:
            return
        try:
            message = refused.message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
            await context.abort(code_of(refused.code), message)
        except (grpc.aio.InternalError, grpc.aio.UsageError):  # it has ended, or the library ends it itself
            raise asyncio.CancelledError from None


async def _refusal_of(answering: Awaitable[None]) -> CallRefused | None:
    """Return why a call is refused, None where it is answered."""
    try:
        await answering
    except CallRefused as refused:
        return refused
    except TailraceError as error:
        status = status_of(error)
        return CallRefused(status.code, status.message)
    except Exception:
        logger.exception("a call of Flight SQL failed")
        return CallRefused(INTERNAL, "internal error")
    return None


async def _handshake(call: _FlightCall) -> None:
    """Return the token to send with further calls, of a password that came in the metadata of this one."""
    await call.caller.check_token()
    await call.greet()


async def _get_flight_info(call: _FlightCall) -> None:
    descriptor = await call.read("FlightDescriptor")
    command = _command(descriptor)
    ticket, schema = command.raw, metadata.schema_of(command)
    if schema is not None or command.name == "CommandPreparedStatementQuery":
        await call.caller.check_token()
    if schema is None:
        sql = _statement(command)
        ticket = wrapped("TicketStatementQuery", statement_handle=sql.encode())
        # Fields may come after a statement was prepared, and a client refuses rows of other columns than it was told.
        if command.name == "CommandStatementQuery":
            schema = await call.caller.schema(sql)
    await call.write(
        encoded(
            "FlightInfo",
            schema=b"" if schema is None else schema_bytes(schema),
            flight_descriptor=descriptor,
            endpoint=[{"ticket": {"ticket": ticket}}],
            total_records=-1,
            total_bytes=-1,
        )
    )


async def _get_schema(call: _FlightCall) -> None:
    command = _command(await call.read("FlightDescriptor"))
    schema = metadata.schema_of(command)
    if schema is None:
        schema = await call.caller.schema(_statement(command))
    else:
        await call.caller.check_token()
    await call.write(encoded("SchemaResult", schema=schema_bytes(schema)))


async def _do_get(call: _FlightCall) -> None:
    command = read_command((await call.read("Ticket")).ticket)
    if metadata.schema_of(command) is not None:
        table = await metadata.answer(command, call.caller)
        for header, body in await asyncio.to_thread(lambda: list(messages_of(table))):
            await call.write_data(header, body)
        return
    stream = IpcMessages()

    async def take(part: bytes) -> None:
        for header, body in stream.feed(part):
            await call.write_data(header, body)

    await call.caller.stream(_statement(command), take)


async def _do_put(call: _FlightCall) -> None:
    command = _command((await call.read("FlightData")).flight_descriptor)
    await call.caller.check_token()
    is_bound = command.name == "CommandPreparedStatementQuery"
    raise CallRefused(UNIMPLEMENTED, NO_PARAMETERS if is_bound else READS_ONLY)


async def _do_action(call: _FlightCall) -> None:
    action = await call.read("Action")
    kind = text_of(action.type)
    if kind not in ACTIONS:
        await call.caller.check_token()
        raise CallRefused(UNIMPLEMENTED, f"there is no action {kind[:MAX_NAME]!r} here, only {' and '.join(ACTIONS)}")
    command = read_command(action.body)
    if kind == CLOSE:
        await call.caller.check_token()
        return
    sql = _statement(command)
    schema = schema_bytes(await call.caller.schema(sql))
    body = wrapped("ActionCreatePreparedStatementResult", prepared_statement_handle=sql.encode(), dataset_schema=schema)
    await call.write(encoded("Result", body=body))


async def _list_actions(call: _FlightCall) -> None:
    await call.caller.check_token()
    for kind, description in ACTIONS.items():
        await call.write(encoded("ActionType", type=kind.encode(), description=description.encode()))


def _command(descriptor: Any) -> FlightCommand:
    if descriptor.type != CMD:
        raise BadRequest("the descriptor of a flight is a command of Flight SQL here")
    return read_command(descriptor.cmd)


def _statement(command: FlightCommand) -> str:
    """Return the statement that a command brings. Raise BadRequest, CallRefused."""
    match command.name:
        case "CommandStatementQuery" | "ActionCreatePreparedStatementRequest":
            if command.message.transaction_id:
                raise CallRefused(UNIMPLEMENTED, "there are no transactions here: each statement reads by itself")
            return text_in(command.message.query, "the SQL")
        case "CommandPreparedStatementQuery":
            return text_in(command.message.prepared_statement_handle, "the SQL")
        case "TicketStatementQuery":
            return text_in(command.message.statement_handle, "the SQL")
        case _:
            raise CallRefused(UNIMPLEMENTED, f"Flight SQL's {command.name} is not answered here")
