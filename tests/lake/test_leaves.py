"""The values of an event by path: which of several counts, and of what type each is."""

import json

import msgspec
import numpy as np
import pytest

from tailrace.lake.leaves import PathsTooLong, leaves, value_of


def values(line: bytes) -> dict[str, bytes]:
    return {path: leaf.raw for path, leaf in leaves(line).items()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a":1,"a":2}', {"a": b"2"}),
        (b'{"a":{"b":1},"a":{"c":2}}', {"a.c": b"2"}),
        (b'{"a":{"b":1},"a":3}', {"a": b"3"}),
        (b'{"a":3,"a":{"b":1}}', {"a.b": b"1"}),
        (b'{"a":{"b":{"x":1},"b":{"y":2}}}', {"a.b.y": b"2"}),
        (b'{"a.b":1,"a":{"b":2}}', {"a.b": b"2"}),
        (b'{"a":{"b":2},"a.b":1}', {"a.b": b"1"}),
        (b'{"a":{"b":1},"a.b":2,"a":{"b":3}}', {"a.b": b"3"}),
        (b'{"a":{"b":1},"a.b":2,"a":{"c":3}}', {"a.b": b"2", "a.c": b"3"}),
        (b'{"a":{"b.c":1,"b":{"c":2},"b.c":3}}', {"a.b.c": b"3"}),
        (b'{"a.b":1,"a":{"b":null}}', {"a.b": b"null"}),
        (b'{"_time":1,"x":{"_time":2}}', {"x._time": b"2"}),
        (b'{"":{"":1},"e":{}, "f": { } }', {".": b"1", "e": b"{}", "f": b"{}"}),
        (b"{}", {}),
    ],
)
def test_of_several_values_the_last_counts(line: bytes, expected: dict[str, bytes]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("true", "boolean"),
        ("null", "null"),
        ('"x"', "string"),
        ("[1, {}]", "array"),
        ("{}", "map"),
        ("1.0", "float"),
        ("-1e5", "float"),
        ("1e400", "number"),
        ("9223372036854775807", "integer"),
        ("9223372036854775808", "number"),
        ("-9223372036854775808", "integer"),
        ("-9223372036854775809", "number"),
        ("1" * 25, "number"),
    ],
)
def test_the_type_of_a_value_is_that_of_its_text(text: str, kind: str) -> None:
    leaf = leaves(f'{{"a":{text}}}'.encode())["a"]

    assert (leaf.type, leaf.raw.decode()) == (kind, text)
    if kind in ("boolean", "string", "integer", "float"):
        assert value_of(leaf) == json.loads(text)


def test_paths_that_are_much_longer_than_their_event_are_not_written_out() -> None:
    members = ",".join(f'"{number}":1' for number in range(100))
    line = f'{{"{"n" * 200}":{{"{"m" * 200}":{{{members}}}}}}}'.encode()

    with pytest.raises(PathsTooLong, match=f"{len(line)} bytes"):
        leaves(line, max_path_bytes=10_000)

    assert len(leaves(line, max_path_bytes=100 * 404)) == 100


@pytest.mark.quirk("msgspec", msgspec.__version__)
def test_a_raw_value_is_a_view_of_the_decoded_text() -> None:
    line = b'{"a":1,"b":2,"a":3}'
    members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])

    starts = {key: np.frombuffer(raw, np.uint8).ctypes.data for key, raw in members.items()}

    begin = np.frombuffer(line, np.uint8).ctypes.data
    assert {key: start - begin for key, start in starts.items()} == {"a": 17, "b": 11}
