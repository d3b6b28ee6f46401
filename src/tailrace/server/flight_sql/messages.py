"""The messages of Flight and Flight SQL: `Flight.proto` and `FlightSql.proto` of Arrow's format, as far as used here.

A bool is an int32 to them, which is the same on the wire, and so is an enum.
"""

from typing import Any

from google.protobuf.message import DecodeError, Message
from msgspec import Struct

from tailrace.events import BadRequest
from tailrace.parsing.protobuf import ProtobufField, message_classes, read_message, text_of

COMMANDS = "type.googleapis.com/arrow.flight.protocol.sql."
CMD = 2  # the type of a descriptor with a command
MAX_NAME = 100  # characters of what a client names, in a message

_SQL = [ProtobufField(1, "query", "bytes"), ProtobufField(2, "transaction_id", "bytes")]
_HANDLE = [ProtobufField(1, "prepared_statement_handle", "bytes")]

FLIGHT = message_classes(
    "tailrace.flight",
    {
        "Action": [ProtobufField(1, "type", "bytes"), ProtobufField(2, "body", "bytes")],
        "ActionType": [ProtobufField(1, "type", "bytes"), ProtobufField(2, "description", "bytes")],
        "Result": [ProtobufField(1, "body", "bytes")],
        "SchemaResult": [ProtobufField(1, "schema", "bytes")],
        "Ticket": [ProtobufField(1, "ticket", "bytes")],
        "FlightDescriptor": [ProtobufField(1, "type", "int32"), ProtobufField(2, "cmd", "bytes")],
        "FlightEndpoint": [ProtobufField(1, "ticket", "Ticket")],
        "FlightInfo": [
            ProtobufField(1, "schema", "bytes"),
            ProtobufField(2, "flight_descriptor", "FlightDescriptor"),
            ProtobufField(3, "endpoint", "FlightEndpoint", is_repeated=True),
            ProtobufField(4, "total_records", "int64"),
            ProtobufField(5, "total_bytes", "int64"),
        ],
        "FlightData": [
            ProtobufField(1, "flight_descriptor", "FlightDescriptor"),
            ProtobufField(2, "data_header", "bytes"),
            ProtobufField(1000, "data_body", "bytes"),
        ],
        "Any": [ProtobufField(1, "type_url", "bytes"), ProtobufField(2, "value", "bytes")],
    },
)

SQL = message_classes(
    "tailrace.flight.sql",
    {
        "CommandStatementQuery": _SQL,
        "CommandPreparedStatementQuery": _HANDLE,
        "TicketStatementQuery": [ProtobufField(1, "statement_handle", "bytes")],
        "ActionCreatePreparedStatementRequest": _SQL,
        "ActionCreatePreparedStatementResult": [*_HANDLE, ProtobufField(2, "dataset_schema", "bytes")],
        "ActionClosePreparedStatementRequest": _HANDLE,
        "CommandGetCatalogs": [],
        "CommandGetDbSchemas": [
            ProtobufField(1, "catalog", "bytes", has_presence=True),
            ProtobufField(2, "db_schema_filter_pattern", "bytes", has_presence=True),
        ],
        "CommandGetTables": [
            ProtobufField(1, "catalog", "bytes", has_presence=True),
            ProtobufField(2, "db_schema_filter_pattern", "bytes", has_presence=True),
            ProtobufField(3, "table_name_filter_pattern", "bytes", has_presence=True),
            ProtobufField(4, "table_types", "bytes", is_repeated=True),
            ProtobufField(5, "include_schema", "int32"),
        ],
        "CommandGetTableTypes": [],
        "CommandGetSqlInfo": [ProtobufField(1, "info", "uint32", is_repeated=True)],
        "CommandGetXdbcTypeInfo": [],
        "CommandGetPrimaryKeys": [],
        "CommandGetExportedKeys": [],
        "CommandGetImportedKeys": [],
        "CommandGetCrossReference": [],
    },
)


class FlightCommand(Struct, frozen=True, eq=False):
    """What is asked for: a message of Flight SQL."""

    name: str  # of its type; may be one that is not among those here
    message: Any  # None then
    raw: bytes  # with its type around it


def read(kind: str, raw: bytes) -> Any:
    """Return a message of Flight; raise BadRequest."""
    return _read(FLIGHT[kind], kind, raw)


def read_command(raw: bytes) -> FlightCommand:
    """Return a message of Flight SQL, in the `Any` of protobuf that names its type; raise BadRequest."""
    around = read("Any", raw)
    url = text_of(around.type_url)
    if not url.startswith(COMMANDS):
        raise BadRequest(f"this is no command of Flight SQL: its type is {url[:MAX_NAME]!r}")
    name = url.removeprefix(COMMANDS)
    message = _read(SQL[name], name, around.value) if name in SQL else None
    return FlightCommand(name[:MAX_NAME], message, raw)


def wrapped(name: str, **fields: bytes) -> bytes:
    """Return a message of Flight SQL in an `Any`, as bytes."""
    value = SQL[name](**fields).SerializeToString()
    return encoded("Any", type_url=f"{COMMANDS}{name}".encode(), value=value)


def encoded(kind: str, **fields: Any) -> bytes:
    """Return a message of Flight as bytes."""
    raw: bytes = FLIGHT[kind](**fields).SerializeToString()
    return raw


def text_in(value: bytes, what: str) -> str:
    """Return a text that a client sent; raise BadRequest where it is none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{what} is not valid UTF-8") from None


def _read(message: type[Message], kind: str, raw: bytes) -> Any:
    try:
        return read_message(message, raw)
    except (DecodeError, ValueError) as error:
        raise BadRequest(f"the message is no {kind} of Arrow Flight: {error}") from None
