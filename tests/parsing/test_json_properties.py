"""However objects are written, the parser gives them back; spoil one and only that one is lost."""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from support.json_values import json_objects

from tailrace.events import TailraceError
from tailrace.parsing import Limits, TimeRule, parse_json
from tailrace.parsing.sanitize import RESERVED

OBJECTS = json_objects(without={"_time", *RESERVED})
SPACE = st.sampled_from(["", " ", "\n", "\r\n", "\t ", "\n\n  "])


def plain(value: Any, draw: st.DrawFn) -> str:
    return json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 0, 2])))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    objects = draw(st.lists(OBJECTS, max_size=20))
    texts = [plain(one, draw) for one in objects]
    space = draw(SPACE)
    shape = draw(st.sampled_from(["array", "lines", "concatenated", "padded"]))
    if shape == "array":
        body = "[" + space + f"{space},{space}".join(texts) + space + "]"
    elif shape == "lines":
        body = "\n".join(texts) + draw(st.sampled_from(["", "\n"]))
    elif shape == "concatenated":
        body = space.join(texts)
    else:
        body = space + "".join(f"{text}{draw(SPACE)}\n" for text in texts)
    return objects, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + body.encode()


def parse_lines(body: bytes) -> tuple[list[Any], list[int]]:
    found = parse_json(body, times=TimeRule(), limits=Limits(), received_ns=7)
    assert found.processed_bytes == len(body)
    assert found.times.tolist() == [7] * found.count
    lines = found.events.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == found.count
    return [json.loads(line) for line in lines], [rejection.index for rejection in found.rejections]


@given(bodies())
def test_the_same_objects_come_back_in_order(made: tuple[list[dict[str, Any]], bytes]) -> None:
    objects, body = made

    events, refused = parse_lines(body)

    # As text, since -0.0 == 0 and true == 1.
    assert [json.dumps(event) for event in events] == [json.dumps(one) for one in objects]
    assert refused == []


@given(bodies())
def test_a_large_body_is_cut_as_a_small_one(made: tuple[list[dict[str, Any]], bytes]) -> None:
    objects, _ = made
    copies = 1 + 20_000 // (1 + len(json.dumps(objects)))
    body = "".join(json.dumps(one) + "\n" for one in objects * copies).encode()

    events, refused = parse_lines(body)

    assert events == objects * copies
    assert refused == []


def spoil(line: str, way: int, at: int) -> str:
    inside = 1 + at % max(1, len(line) - 1)
    return [
        line[:-1],  # not closed
        line[1:],  # not opened
        line[:-1] + ',"x":01}' if line != "{}" else '{"x":01}',
        line[:-1] + ",}",
        line + ",",
        "x" + line,
        line[:inside] if line[:inside].count("{") != line[:inside].count("}") else "nonsense",
        "null",
        "\x01",
    ][way]


@given(
    objects=st.lists(OBJECTS, min_size=1, max_size=12),
    which=st.integers(0, 10**6),
    way=st.integers(0, 8),
    at=st.integers(0, 10**6),
)
def test_a_spoiled_line_is_exactly_what_is_refused(
    objects: list[dict[str, Any]], which: int, way: int, at: int
) -> None:
    objects = [{"first": 1}, *objects, {"last": 2}]
    which = 1 + which % (len(objects) - 2)
    lines = [json.dumps(one) for one in objects]
    lines[which] = spoil(lines[which], way, at)

    events, refused = parse_lines("\n".join(lines).encode())

    assert events == objects[:which] + objects[which + 1 :]
    assert refused == [which]


@given(
    objects=st.lists(OBJECTS, max_size=12), which=st.integers(0, 12), junk=st.sampled_from(["1", '"x"', "[{}]", "null"])
)
def test_an_element_that_is_no_object_is_exactly_what_is_refused(
    objects: list[dict[str, Any]], which: int, junk: str
) -> None:
    which = min(which, len(objects))
    elements = [json.dumps(one) for one in objects]
    elements.insert(which, junk)

    events, refused = parse_lines(("[" + ",".join(elements) + "]").encode())

    assert events == objects
    assert refused == [which]


SCRAPS = st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b" ", b"0", b"1.5", b"null"]) | (
    st.sampled_from([b'{"a":1}', b'{"a":', b'"_time":', b'"_sysTime":1', b'"\\u005fsource":[', b'"x"', b"{" * 120])
    | st.sampled_from([b"\\ud800", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf"])
)


@given(body=st.lists(SCRAPS, max_size=30).map(b"".join), max_events=st.sampled_from([3, 100_000]))
def test_any_bytes_end_in_valid_events_or_an_error_of_ours(body: bytes, max_events: int) -> None:
    try:
        found = parse_json(body, times=TimeRule(), limits=Limits(max_events=max_events), received_ns=7)
    except TailraceError:
        return

    lines = found.events.splitlines(keepends=True)
    assert found.count == len(lines) == len(found.times)
    assert all(isinstance(json.loads(line), dict) and line.endswith(b"}\n") for line in lines)
    indexes = [rejection.index for rejection in found.rejections]
    assert indexes == sorted(set(indexes))
    assert all(index < found.count + len(indexes) for index in indexes)


def spoil_pretty(text: str, way: int, at: int) -> str:
    """Break one pretty-printed object (of at least one member), keeping its opening brace."""
    lines = text.split("\n")
    inner = 1 + at % (len(lines) - 2)
    marks = [position for position, mark in enumerate(text) if position and mark in '{}[]",:']
    mark = marks[at % len(marks)]
    return [
        "\n".join([*lines[:inner], lines[inner] + " x", *lines[inner + 1 :]]),
        "\n".join([*lines[:inner], "  ?", *lines[inner:]]),
        "\n".join(lines[:-1]),  # never closed
        text[:mark] + text[mark + 1 :],
        text[:mark] + "\x01" + text[mark + 1 :],
        "\n".join([*lines[:inner], "  [", *lines[inner:]]),
        "\n".join([*lines[:inner], '  "half', *lines[inner:]]),
    ][way]


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@given(
    objects=st.lists(OBJECTS.filter(bool), min_size=1, max_size=6),
    indent=st.sampled_from([1, 2, 4]),
    which=st.integers(0, 10**6),
    way=st.integers(0, 6),
    at=st.integers(0, 10**6),
)
def test_a_spoiled_object_over_many_lines_costs_no_object_beside_it(
    objects: list[dict[str, Any]], indent: int, which: int, way: int, at: int
) -> None:
    objects = [{"first": [1]}, *objects, {"last": {"x": 2}}]
    which = 1 + which % (len(objects) - 2)
    texts = [json.dumps(one, indent=indent) for one in objects]
    texts[which] = spoil_pretty(texts[which], way, at)
    assume(not is_object(texts[which]))

    events, refused = parse_lines("\n".join(texts).encode())

    assert events == objects[:which] + objects[which + 1 :]
    assert refused[:1] == [which]
