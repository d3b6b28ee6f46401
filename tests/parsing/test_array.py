"""An array is split as the strict decoder would split it; what is not JSON in it costs only itself."""

import contextlib
import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.json_values import json_objects
from support.rounds import rounds

from tailrace.events import BadRequest, ParsedBatch, Rejection, TailraceError, TooLarge
from tailrace.parsing import ArrayFields, Copy, Limits, TimeRule, parse_array, parse_json
from tailrace.parsing.sanitize import RESERVED

FIELDS = ArrayFields(
    times=("timestamp", "@timestamp", "_time", "time", "date"),
    copies=(Copy("service", "$b.service"), Copy("namespace", "$b.namespace")),
)
RECEIVED_NS = 7
MAX_EVENT_BYTES = 1024 * 1024


def parse(body: bytes | str, *, limits: Limits | None = None, max_event_bytes: int = MAX_EVENT_BYTES) -> ParsedBatch:
    return parse_array(
        body if isinstance(body, bytes) else body.encode(),
        fields=FIELDS,
        limits=limits or Limits(),
        max_event_bytes=max_event_bytes,
        received_ns=RECEIVED_NS,
    )


def events(found: ParsedBatch) -> list[Any]:
    lines = found.events.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == found.count == len(found.times)
    return [json.loads(line) for line in lines]


def refused(found: ParsedBatch) -> list[tuple[int, bytes | None, str]]:
    return [(one.index, one.event, one.code) for one in found.rejections]


# Against the strict decoder.

OBJECTS = json_objects(without={*FIELDS.times, *RESERVED, "service", "namespace"})
SPACE = st.sampled_from(["", " ", "\n", "\r\n", "\t ", "\n\n  "])


@st.composite
def elements(draw: st.DrawFn) -> list[str]:
    return [
        json.dumps(one, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 0, 2])))
        for one in draw(st.lists(OBJECTS, max_size=12))
    ]


def array(texts: list[str], space: str) -> str:
    return space + "[" + space + f"{space},{space}".join(texts) + space + "]" + space


@given(texts=elements(), space=SPACE, bom=st.booleans())
def test_a_valid_array_is_cut_as_the_strict_decoder_cuts_it(texts: list[str], space: str, bom: bool) -> None:
    body = b"\xef\xbb\xbf" * bom + array(texts, space).encode()

    found = parse(body)

    strict = parse_json(body, times=TimeRule(), limits=Limits(), received_ns=RECEIVED_NS)
    assert found.events == strict.events
    # As text, since -0.0 == 0 and true == 1.
    assert json.dumps(events(found)) == json.dumps([json.loads(text) for text in texts])
    assert found.times.tolist() == [RECEIVED_NS] * len(texts)
    assert (found.rejections, found.processed_bytes) == ((), len(body))


SPOILS = st.sampled_from(
    [
        lambda text: text[:-1] + ',"x":01}' if text != "{}" else '{"x":01}',
        lambda text: text[:-1] + ',"x":"two\nlines"}',
        lambda text: text[:-1] + ",}",
        lambda text: "x" + text,
        lambda text: text + " " + text,
        lambda text: text[:-1] + ',"x":"a "quoted" word"}',
        lambda text: json.dumps(text)[1:-1],  # with its quote marks escaped
        lambda text: text.replace('"', "'") if "'" not in text and "\\" not in text else "nonsense",
        lambda text: text + ":1",
        lambda text: f"[{text}]",
        lambda text: json.dumps(text),
        lambda text: "",
        lambda text: "null",
        lambda text: "-",
        lambda text: "\x01",
        lambda text: "\\",
        lambda text: "tru",
    ]
)


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@settings(max_examples=rounds(40))
@given(before=elements(), after=elements(), one=OBJECTS, spoil=SPOILS, space=SPACE)
def test_of_an_array_with_one_spoiled_element_exactly_that_is_refused(
    before: list[str], after: list[str], one: dict[str, Any], spoil: Any, space: str
) -> None:
    sent = spoil(json.dumps(one))
    # Marks of text that is no longer in a string are those of the array.
    if sent.startswith(("{'", "{\\")):
        assume(not any(mark in text for text in json.dumps(one).split('"')[1::2] for mark in "{}[],\\"))
    assume(not is_object(sent))  # some ways change nothing of an empty one
    texts = [*before, sent, *after]

    found = parse(array(texts, space))

    if len(texts) == 1 and not sent:
        assert (found.count, found.rejections) == (0, ())  # nothing at all between the brackets
        return
    assert json.dumps(events(found)) == json.dumps([json.loads(text) for text in before + after])
    assert [(index, event) for index, event, _ in refused(found)] == [(len(before), sent.strip(" \t\r\n").encode())]


@given(texts=elements(), limit=st.integers(2, 200))
def test_what_is_larger_than_an_event_may_be_is_exactly_what_is_refused(texts: list[str], limit: int) -> None:
    found = parse(array(texts, " "), max_event_bytes=limit)

    small = [json.loads(text) for text in texts if len(text.encode()) <= limit]
    assert json.dumps(events(found)) == json.dumps(small)
    assert refused(found) == [
        (index, text.encode(), "event_too_large") for index, text in enumerate(texts) if len(text.encode()) > limit
    ]


SCRAPS = st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b" ", b"0", b"1.5", b"null"]) | (
    st.sampled_from([b'{"a":1}', b'{"a":', b'"time":', b'"_sysTime":1', b'"\\u005fsource":[', b'"x"', b"{" * 120])
    | st.sampled_from([b"\\ud800", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b'"namespace":"n",', b'"$b":1'])
)


@settings(max_examples=rounds(40))
@given(body=st.lists(SCRAPS, max_size=30).map(lambda scraps: b"[" + b"".join(scraps) + b"]"))
def test_any_bytes_end_in_valid_events_and_rejections_or_an_error_of_ours(body: bytes) -> None:
    try:
        found = parse(body, limits=Limits(max_events=20))
    except TailraceError:
        return

    assert all(isinstance(event, dict) for event in events(found))
    indexes = [rejection.index for rejection in found.rejections]
    assert indexes == sorted(set(indexes))
    assert all(index < found.count + len(indexes) for index in indexes)
    assert all(rejection.event is not None and rejection.event in body for rejection in found.rejections)


# One by one.


@pytest.mark.parametrize(
    "body",
    ["", " \n\t", "\ufeff", "{}", "1", '"["', "[", "[{", '["', "[[]", "[]]", "[] []", "[]x", "[}", '[{"a":1}}]', "[\\"],
)
def test_a_body_that_is_not_one_array_is_refused_as_a_whole(body: str) -> None:
    with pytest.raises(BadRequest):
        parse(body)


@pytest.mark.parametrize("body", ["[]", " [ \n] ", "\ufeff[]"])
def test_an_empty_array_has_no_events(body: str) -> None:
    found = parse(body)

    assert (found.events, found.count, found.rejections) == (b"", 0, ())


def test_commas_with_nothing_between_are_elements_that_are_refused() -> None:
    found = parse('[,{"a":1},,]')

    assert events(found) == [{"a": 1}]
    assert refused(found) == [(0, b"", "invalid_json"), (2, b"", "invalid_json"), (3, b"", "invalid_json")]


def test_doubled_keys_are_kept_as_they_are() -> None:
    assert parse('[{"a":1,"a":2}]').events == b'{"a":1,"a":2}\n'


def test_text_that_is_not_utf8_is_not_json() -> None:
    found = parse(b'[{"a":1},{"a":"\xff"},{"a":"\xc3\xa9"},{"\xc3":1}]')

    assert events(found) == [{"a": 1}, {"a": "é"}]
    assert refused(found) == [(1, b'{"a":"\xff"}', "invalid_json"), (3, b'{"\xc3":1}', "invalid_json")]


def test_half_a_surrogate_pair_costs_only_its_value() -> None:
    assert events(parse(r'[{"a":"\ud83d","b":1},{"c":2}]')) == [{"a": "<invalid data>", "b": 1}, {"c": 2}]


def test_nesting_past_the_limit_costs_only_what_is_too_deep() -> None:
    body = '[{"a":' + "[" * 100_000 + "]" * 100_000 + ',"b":1},{"c":2}]'

    found = events(parse(body))

    assert found[0]["b"] == 1
    assert found[1] == {"c": 2}


def test_reserved_names_are_stored_under_names_of_their_own() -> None:
    assert events(parse('[{"_source":1,"a":2},{"b":3}]')) == [{"_user_source": 1, "a": 2}, {"b": 3}]


def test_a_name_that_is_too_long_refuses_its_event() -> None:
    found = parse(f'[{{"a":1}},{{"{"n" * 201}":1}},{{"b":2}}]')

    assert events(found) == [{"a": 1}, {"b": 2}]
    assert [(index, code) for index, _, code in refused(found)] == [(1, "name_too_long")]


def test_the_servers_own_limit_of_an_event_applies_as_well() -> None:
    found = parse('[{"a":"xxxxxxxx"},{"b":1}]', limits=Limits(max_event_bytes=10))

    assert events(found) == [{"b": 1}]
    assert "larger than 10 bytes" in found.rejections[0].reason


@pytest.mark.parametrize("element", ["{}", '{"a":{"b":{"c":{"d":{}}}}}', "1", "", '"x,y"', "x"])
def test_more_events_than_the_limit_are_refused_as_a_whole(element: str) -> None:
    limits = Limits(max_events=50)

    assert parse("[" + ",".join([element] * 50) + "]", limits=limits).processed_bytes
    with pytest.raises(TooLarge, match="max_events = 50"):
        parse("[" + ",".join([element] * 51) + "]", limits=limits)


def test_escapes_and_strings_across_the_parts_of_a_large_body() -> None:
    texts = ["\\" * n + '"' * (n % 3) + ",{}[]" * n for n in range(60)]
    sent = [{"n": n, "s": text, "pad": "\\" * 40_001} for n, text in enumerate(texts)]
    body = "[" + ",".join(json.dumps(one) for one in sent) + ",nonsense]"
    assert len(body) > 4 * 1024 * 1024

    found = parse(body)

    assert events(found) == sent
    assert refused(found) == [(60, b"nonsense", "invalid_json")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["[", "{", "}", "]", ",", '"', "\\", '\\"', "[]", '""', '{"a":', "{,", '["', '{"":', "},{", " ", '{"a":1},x,'],
)
def test_hostile_bodies_take_time_in_proportion_to_their_size(unit: str) -> None:
    def seconds(size: int) -> float:
        body = ("[" + unit * (size // len(unit)) + "]").encode()
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            with contextlib.suppress(TailraceError):
                parse(body)
            best = min(best, time.perf_counter() - began)
        return best

    # Of eight times the bytes, work that grows with the square would take 64 times as long.
    assert seconds(2_000_000) < 32 * seconds(250_000) + 0.5


# Times and copies.


def test_the_first_field_that_is_a_time_is_the_events() -> None:
    second = 1_700_000_000
    sent = [
        {"timestamp": second},
        {"timestamp": None, "@timestamp": second * 10**3},
        {"timestamp": "x", "_time": str(second * 10**6)},
        {"timestamp": {}, "@timestamp": [], "_time": True, "time": second * 10**9},
        {"date": "2023-11-14T22:13:20Z"},
        {"date": 1_700_000_000.5, "time": "never"},
        {"other": second},
        {"time": second + 1, "date": second, "timestamp": ""},
    ]
    expected = [second * 10**9] * 5 + [second * 10**9 + 500_000_000, RECEIVED_NS, (second + 1) * 10**9]
    for texts in (sent, sent * 40):  # few and many are read in different ways
        found = parse(json.dumps(texts))
        assert found.times.tolist() == expected * (len(texts) // len(sent))
        assert not found.rejections


def test_every_order_of_the_fields_gives_the_same_time() -> None:
    for names in itertools.permutations(FIELDS.times):
        event = {name: 1_700_000_000 + FIELDS.times.index(name) for name in names}
        assert parse(json.dumps([event])).times.tolist() == [1_700_000_000 * 10**9]


def with_copies(sent: list[dict[str, Any]]) -> list[Any]:
    found = events(parse(json.dumps(sent)))
    for event, one in zip(found, sent, strict=True):
        assert {name: value for name, value in event.items() if name not in ("$b.service", "$b.namespace")} == {
            name: value for name, value in one.items() if name not in ("$b.service", "$b.namespace")
        }
    return [(event.get("$b.service"), event.get("$b.namespace")) for event in found]


def test_copies_are_made_of_text_only() -> None:
    sent: list[dict[str, Any]] = [
        {"service": "s", "namespace": "n"},
        {"namespace": "ü\n"},
        {},
        {"service": "", "namespace": 1},
        {"service": None, "namespace": {}},
        {"service": "t"},
    ]
    expected = [("s", "n"), (None, "ü\n"), (None, None), (None, None), (None, None), ("t", None)]
    assert with_copies(sent) == expected


def test_one_value_for_all_events_is_copied_too() -> None:
    assert with_copies([{"a": n, "service": "s"} for n in range(3)]) == [("s", None)] * 3


def test_an_event_keeps_what_it_has_at_the_place_of_a_copy() -> None:
    sent: list[dict[str, Any]] = [
        {"service": "s", "namespace": "n", "$b": {"service": "x"}},
        {"service": "s", "namespace": "n", "$b.namespace": "x"},
        {"service": "s", "namespace": "n"},
    ]
    assert with_copies(sent) == [(None, None), ("s", "x"), ("s", "n")]


def test_a_refused_event_has_its_bytes_and_its_place() -> None:
    assert parse("[ {} , 1 ]").rejections == (
        Rejection(1, "an event is a JSON object, not '1'", "not_an_object", event=b"1"),
    )
