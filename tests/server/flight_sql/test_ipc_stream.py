"""Arrow IPC streams, cut into their messages however they come."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.flight_sql.ipc_stream import IpcMessages, messages_of

TABLES = (
    pa.table({"n": [1, None, 3], "text": ["a", "", None]}),
    pa.table({"n": pa.chunked_array([[1], [2, 3]])}),
    pa.table({"n": pa.array([], pa.int64())}),
    pa.table({"word": pa.array(["x", "y", "x"]).dictionary_encode()}),
    pa.table({}),
)


def joined(messages: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"\xff\xff\xff\xff" + len(head).to_bytes(4, "little") + head + body for head, body in messages)


@given(table=st.sampled_from(TABLES), sizes=st.lists(st.integers(1, 400), max_size=30))
def test_messages_are_the_same_in_any_pieces(table: pa.Table, sizes: list[int]) -> None:
    whole = list(messages_of(table))
    stream = joined(whole) + b"\xff\xff\xff\xff\0\0\0\0"
    pieces = IpcMessages()
    found: list[tuple[bytes, bytes]] = []
    for size in sizes:
        found += pieces.feed(stream[:size])
        stream = stream[size:]
    found += pieces.feed(stream)

    assert found == whole
    with pa.ipc.open_stream(joined(found)) as reader:
        assert reader.read_all().equals(table)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="no Arrow IPC stream"):
        list(IpcMessages().feed(b'{"rows": []}'))
