"""JSON bodies: each rule of parsing, limits, reserved names and times, and each kind of bad input."""

import contextlib
import gc
import time
import tracemalloc

import msgspec
import numpy as np
import pytest

from tailrace.events import BadRequest, ParsedBatch, Rejection, TooLarge
from tailrace.parsing import Limits, TimeRule, parse_json

RECEIVED_NS = 1_700_000_000_000_000_000
NS = 1_000_000_000


def parse(body: bytes, *, field: str = "_time", format: str = "", limits: Limits | None = None) -> ParsedBatch:
    rule = TimeRule(field=field, format=format)
    return parse_json(body, times=rule, limits=limits or Limits(), received_ns=RECEIVED_NS)


def only(found: ParsedBatch) -> Rejection:
    assert len(found.rejections) == 1
    return found.rejections[0]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", b""),
        (b" \r\n\t", b""),
        (b"[]", b""),
        (b" [ ] \n", b""),
        (b"{}", b"{}\n"),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'[{"a":1}]', b'{"a":1}\n'),
        (b'[{"a":1},\n {"b":2}\n]', b'{"a":1}\n{"b":2}\n'),
        (b'{"a":1}\n{"b":2}', b'{"a":1}\n{"b":2}\n'),
        (b'{"a":1}{"b":2}', b'{"a":1}\n{"b":2}\n'),
        (b'{"a":1} {"b":2}', b'{"a":1}\n{"b":2}\n'),
        (b'\n\n{"a":1}\r\n\r\n  {"b":2}\r\n', b'{"a":1}\n{"b":2}\n'),
        (b'\xef\xbb\xbf{"a":1}\n', b'{"a":1}\n'),
        (b'\xef\xbb\xbf[{"a":1}]', b'{"a":1}\n'),
        (b'{\n  "a": [\n    1\n  ]\n}\n{\n}\n', b'{"a":[1]}\n{}\n'),
        (b'[\n  {\n    "a": "x y"\n  }\n]', b'{"a":"x y"}\n'),
        (b'{"a":[{}\n]}{"b":1}', b'{"a":[{}]}\n{"b":1}\n'),  # as many lines as objects, but not one each
        (b'{"a":\n{"b":1}}{}\n', b'{"a":{"b":1}}\n{}\n'),
        (b'[{"a":1e400,"b":123456789012345678901234567890,"a":-0.0}]', None),
        (b'{"a":"\\ud83d\\ude00\\/","\xc3\xa9":"\xf0\x9f\x98\x80"}\n', None),
    ],
)
def test_a_good_body_becomes_a_line_an_event(body: bytes, events: bytes | None) -> None:
    found = parse(body)

    assert found.events == (events if events is not None else body.strip(b"[]\n") + b"\n")
    assert found.count == len(found.times) == found.events.count(b"\n")
    assert found.processed_bytes == len(body)
    assert found.rejections == ()


def test_clean_ndjson_is_not_copied() -> None:
    body = b'{"a":1}\n{"b":2}\n'

    assert parse(body).events is body


# Broken bodies.


def test_a_broken_line_costs_that_line() -> None:
    found = parse(b'{"a":1}\n{"b":01}\n{"c":3}\n')

    assert found.events == b'{"a":1}\n{"c":3}\n'
    assert only(found) == Rejection(1, "malformed JSON: invalid number (byte 14)", "invalid_json", event=b'{"b":01}')


@pytest.mark.parametrize(
    "line",
    [
        b'{"b":',
        b'{"b":1',
        b'{"b":[1,2}',
        b'{"b":"x',
        b'{"b" 1}',
        b'{"b":1}},"c":2}',
        b'{"b":{"c":1},',
        b'{"b":NaN}',
        b'{"b":1,}',
        b"{'b':1}",
        b'{"b":"\\x"}',
        b'{"b":"\x01"}',
        b'{"b":1} nonsense',
        b'{"b":1} {"c"',
        b'"b":1}',
        b"plain text",
        b"\xff",
        b"}",
        b"]",
        b"[1,2",
    ],
)
def test_a_spoiled_line_is_the_only_one_refused(line: bytes) -> None:
    found = parse(b'{"a":1}\n' + line + b'\n{"z":[{"y":1}]}\n')

    good = b'{"a":1}\n{"b":1}\n' if line.endswith(b'{"c"') else b'{"a":1}\n'
    assert found.events == good + b'{"z":[{"y":1}]}\n'
    rejection = only(found)
    assert rejection.code == "invalid_json"
    assert rejection.reason.startswith("malformed JSON: ")
    assert rejection.event is not None
    assert line.endswith(rejection.event)


@pytest.mark.parametrize("line", [b"5", b'"x"', b"[1]", b"null", b'[{"a":1}]'])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    found = parse(b'{"a":1}\n' + line + b"\n")

    assert found.events == b'{"a":1}\n'
    assert only(found).code == "not_an_object"
    assert only(found).index == 1


def test_a_broken_object_over_several_lines_is_one_rejection() -> None:
    found = parse(b'{\n  "a": 1\n}\n{\n  "b": [\n    {"inner": 01}\n  ]\n}\n{\n  "c": 3\n}\n')

    assert found.events == b'{"a":1}\n{"c":3}\n'
    assert only(found).index == 1
    assert only(found).event == b'{\n  "b": [\n    {"inner": 01}\n  ]\n}'


def test_an_object_over_several_lines_that_is_not_closed_is_one_rejection() -> None:
    found = parse(b'{\n  "b": [\n    {"inner": 1}\n}\n{\n  "c": 3\n}\n')

    assert found.events == b'{"c":3}\n'
    assert only(found).index == 0


def test_concatenated_objects_beside_a_broken_one_are_kept() -> None:
    found = parse(b'{"a":1}{"b":01}{"c":3}')

    assert found.events == b'{"a":1}\n{"c":3}\n'
    assert (only(found).index, only(found).event) == (1, b'{"b":01}')


@pytest.mark.parametrize("stray", [b"}", b" } }", b"'", b" '\r"])
def test_stray_closers_after_an_object_hold_no_data(stray: bytes) -> None:
    found = parse(b'{"a":1}' + stray + b'\n{"b":2}')

    assert found.events == b'{"a":1}\n{"b":2}\n'
    assert found.rejections == ()


@pytest.mark.parametrize(
    "body", [b'{"a":1', b'{"a":', b"{", b'{\n  "a": 1', b"nonsense", b"5", b'"x"', b'{"a":1}x', b"\xff\xfe"]
)
def test_a_body_that_is_one_malformed_event_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'[{"a":1}', r"ends too early \(byte 8\)"),
        (b'[{"a":1},', r"ends too early \(byte 9\)"),
        (b'[{"a":1},]', r"trailing comma in array \(byte 9\)"),
        (b'[{"a":1} {"b":2}]', r"expected ',' or '\]' \(byte 9\)"),
        (b'[{"a":01}]', r"invalid number \(byte 7\)"),
        (b'[{"a":1}] x', r"trailing characters \(byte 10\)"),
        (b'[{"a":"\\ud800"},]', "malformed JSON"),
        (b'[{"a":"\\ud800"} {}]', "malformed JSON: unexpected '{' after an object"),
        (b'[{"a":"\\ud800"}, {"b":01}]', r"invalid number \(byte 23\)"),
        (b'[{"a":"\\ud800"}', "malformed JSON: the array is not closed"),
        (b'[{"a":"\\ud800"}] x', "malformed JSON: trailing characters"),
        (b'[{"a":"\\ud800}]', "malformed JSON: a string is not closed"),
        (b'\xef\xbb\xbf[{"a":01}]', r"invalid number \(byte 10\)"),
    ],
)
def test_a_malformed_array_refuses_the_request_and_says_where(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse(body)


def test_an_element_that_is_no_object_costs_itself() -> None:
    found = parse(b'[1, {"a":1}, "x", [], null, {"b": [\n2]}]')

    assert found.events == b'{"a":1}\n{"b":[2]}\n'
    assert [(one.index, one.code, one.event) for one in found.rejections] == [
        (0, "not_an_object", b"1"),
        (2, "not_an_object", b'"x"'),
        (3, "not_an_object", b"[]"),
        (4, "not_an_object", b"null"),
    ]


# Limits.


@pytest.mark.parametrize(
    "body", [b'{"a":1}\n' * 4, b"[" + b"{}," * 3 + b"{}]", b"{}" * 4, b'{}\n{}\n5\n{"a":', b"[1,2,3,4]"]
)
def test_one_event_past_the_count_refuses_the_request(body: bytes) -> None:
    with pytest.raises(TooLarge, match="max_events = 3 "):
        parse(body, limits=Limits(max_events=3))


def test_the_count_is_of_events_not_of_what_they_hold() -> None:
    body = b'{"a":[{},{},{"b":"},{"}],"c":{}}'

    assert parse(body * 3, limits=Limits(max_events=3)).count == 3
    assert parse(b"[" + body + b"," + body + b"]", limits=Limits(max_events=2)).count == 2


@pytest.mark.parametrize(
    "body", [b"{}" * 4_000_000, b"[" + b"0," * 4_000_000 + b"0]", b"[" + b"{}," * 2_700_000 + b"{}]"]
)
def test_a_flood_of_tiny_events_does_not_become_as_many_objects(body: bytes) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="max_events"):
            parse(body, limits=Limits(max_events=1000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10 * len(body)


def test_a_body_over_its_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match="max_body_bytes is 9"):
        parse(b'{"a":1}   ', limits=Limits(max_body_bytes=9))


def test_an_event_that_is_too_large_costs_itself() -> None:
    large = b'{"_time":5,"a":"' + b"x" * 100 + b'"}'
    found = parse(b'{"a":1}\n' + large + b'\n{"b":2}\n', limits=Limits(max_event_bytes=len(large) - 1))

    assert found.events == b'{"a":1}\n{"b":2}\n'
    assert only(found).code == "event_too_large"
    assert "max_event_bytes is 117" in only(found).reason
    assert (only(found).index, only(found).time_ns, only(found).event) == (1, 5 * NS, large)
    assert parse(large, limits=Limits(max_event_bytes=len(large))).count == 1


@pytest.mark.parametrize("many", [1, 3000])  # the way for small bodies, and the way for large ones
@pytest.mark.parametrize(
    ("name", "size"),
    [
        (b"n" * 300, 300),
        (b"n" * 201, 201),
        ("é".encode() * 101, 202),
        (b"\\u00e9" * 101, 202),
        (b'\\"' * 201, 201),
        (b"\\\\" * 201, 201),
    ],
)
def test_a_name_that_is_too_long_refuses_its_event(name: bytes, size: int, many: int) -> None:
    good = b'{"text":"a \\" quote"}\n' * many
    bad = b'{"a":{"' + name + b'" : 1}}'
    found = parse(good + bad + b"\n" + good)

    assert found.events == good + good
    assert (only(found).index, only(found).code, only(found).event) == (many, "name_too_long", bad)
    assert f"has {size} bytes; max_name_bytes is 200" in only(found).reason


@pytest.mark.parametrize("name", [b"n" * 200, b"\\u00e9" * 100, b'\\"' * 200, b"\\\\" * 200])
@pytest.mark.parametrize("many", [1, 3000])
def test_a_name_of_just_the_limit_is_taken(name: bytes, many: int) -> None:
    body = (b'{"' + name + b'":"' + b"v" * 300 + b'\\\\"}\n') * many

    assert parse(body).events == body


def test_a_string_that_is_too_long_is_replaced() -> None:
    fits, long = b"x" * 50, b"x" * 51
    body = b'{"a":"' + long + b'","b":"' + fits + b'","c":["' + long + b'"],"d":"' + b"\\n" * 50 + b'"}\n'

    assert parse(body, limits=Limits(max_string_bytes=50)).events == (
        b'{"a":"<invalid string: too long>","b":"'
        + fits
        + b'","c":["<invalid string: too long>"],"d":"'
        + b"\\n" * 50
        + b'"}\n'
    )


def test_a_string_value_that_is_not_utf8_is_replaced() -> None:
    found = parse(b'{"a":"ok"}\n{"a":"bad \xff","b":["\xc3\xa9","\xed\xa0\x80"]}\n{"c":1}\n')

    assert found.events == (b'{"a":"ok"}\n{"a":"<invalid data>","b":["\xc3\xa9","<invalid data>"]}\n{"c":1}\n')
    assert found.rejections == ()


@pytest.mark.parametrize("body", [b'[{"a":"%s","b":1},{"c":2}]', b'{"a":"%s","b":1}\n{"c":2}'])
@pytest.mark.parametrize(
    "escape", [b"\\ud800", b"\\udc00", b"\\uD83D x", b"\\ud83d\\u0041", b"\\ude00\\ud83d", b"\\\\\\ud800"]
)
def test_a_lone_surrogate_is_replaced(body: bytes, escape: bytes) -> None:
    assert parse(body % escape).events == b'{"a":"<invalid data>","b":1}\n{"c":2}\n'


@pytest.mark.parametrize(
    ("string", "replacement"),
    [
        (b"\xff", b"<invalid data>"),
        (b"\\n\xff", b"<invalid data>"),
        (b"\\ud83d\xff", b"<invalid data>"),
        (b"\xff\\ud83d", b"<invalid data>"),
        (b"\\ud83d\xff\\q", None),
        (b"\xff\\q", None),
    ],
)
def test_a_text_with_bytes_and_escapes_that_mean_nothing_costs_itself_or_its_event(
    string: bytes, replacement: bytes | None
) -> None:
    found = parse(b'{"a":1}\n{"a":"%s"}\n' % string)

    assert found.events == b'{"a":1}\n' + (b'{"a":"%s"}\n' % replacement if replacement else b"")
    assert [rejection.code for rejection in found.rejections] == ([] if replacement else ["invalid_json"])


@pytest.mark.parametrize("name", [b"\xff", b"\\ud800"])
def test_a_name_that_is_not_utf8_refuses_its_event(name: bytes) -> None:
    found = parse(b'{"a":1}\n{"' + name + b'":1}\n')

    assert found.events == b'{"a":1}\n'
    assert (only(found).index, only(found).code) == (1, "invalid_name")


def test_bad_utf8_outside_strings_refuses_its_event() -> None:
    assert only(parse(b'{"a":1}\n{"b":\xff1}\n')).code == "invalid_json"


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize("levels", [101, 200, 10_000, 100_000])
def test_what_is_too_deep_becomes_null(levels: int) -> None:
    expected = nested(100).replace(b"1", b"null") + b'\n{"b":2}\n'

    assert parse(nested(levels) + b'\n{"b":2}').events == expected
    assert parse(b"[" + nested(levels) + b',{"b":2}]').events == expected


def test_arrays_count_as_levels() -> None:
    body = b'{"a":' + b"[" * 150 + b'"]"' + b"]" * 150 + b',"b":2}'

    assert parse(body).events == b'{"a":' + b"[" * 99 + b"null" + b"]" * 99 + b',"b":2}\n'


def test_what_is_just_not_too_deep_is_kept() -> None:
    assert parse(nested(100)).events == nested(100) + b"\n"


def test_numbers_beyond_64_bits_are_kept_as_sent() -> None:
    body = b'{"a":123456789012345678901234567890,"b":1e400,"c":-1E-400,"d":1.10}\n'

    assert parse(body).events == body


# Reserved names.


@pytest.mark.parametrize("name", ["_blockInfo", "_cursor", "_rowID", "_source", "_sysTime"])
def test_a_reserved_name_is_stored_as_the_users_own(name: str) -> None:
    body = f'{{"{name}":1,"x":{{"{name}":2}}}}'.encode()
    expected = f'{{"_user{name}":1,"x":{{"{name}":2}}}}\n'.encode()

    assert parse(body).events == expected
    assert parse(b"[" + body + b"]").events == expected


def test_a_reserved_name_is_seen_through_its_escapes() -> None:
    assert parse(b'{"\\u005fsysTime":1}').events == b'{"_user_sysTime":1}\n'


def test_a_reserved_name_does_not_displace_another_field() -> None:
    found = parse(b'{"_user_sysTime":1,"_sysTime":2,"_user_sysTime_":3}')

    assert found.events == b'{"_user_sysTime":1,"_user_sysTime__":2,"_user_sysTime_":3}\n'


# Times.


def test_the_time_is_read_and_stays_in_the_event() -> None:
    body = b'{"_time":"2026-03-05T10:11:12Z"}\n{"_time":1700000001}\n{"_time":null}\n{}\n'
    found = parse(body)

    assert found.events == body
    assert found.times.dtype == np.int64
    assert found.times.tolist() == [1772705472 * NS, 1700000001 * NS, RECEIVED_NS, RECEIVED_NS]


@pytest.mark.parametrize("body", [b'{"a":1}\n{"_time":"soon"}\n{"b":2}\n', b'[{"a":1},{"_time":"soon"},{"b":2}]'])
def test_an_unreadable_time_refuses_its_event(body: bytes) -> None:
    found = parse(body)

    assert found.events == b'{"a":1}\n{"b":2}\n'
    assert len(found.times) == 2
    assert (only(found).index, only(found).code, only(found).event) == (1, "invalid_time", b'{"_time":"soon"}')
    assert '"soon"' in only(found).reason


def test_another_field_may_hold_the_time() -> None:
    found = parse(b'{"ts":5,"_time":7}\n{"_time":7}\n', field="ts")

    assert found.times.tolist() == [5 * NS, RECEIVED_NS]
    assert found.events == b'{"ts":5,"_time":7}\n{"_time":7}\n'


@pytest.mark.parametrize(
    ("field", "event"),
    [
        ("meta.ts", {"meta": {"ts": 5}}),
        ("meta.ts", {"meta.ts": 5, "meta": {"ts": 6}}),
        ("a.b.c", {"a": {"b.c": 5}}),
        ('say "when"', {'say "when"': 5}),
        ("back\\slash", {"back\\slash": 5}),
        ("größe", {"größe": 5}),
        ("_source", {"_source": 5}),
        ("", {"": 5}),
    ],
)
def test_the_time_field_may_have_any_name(field: str, event: dict[str, object]) -> None:
    body = msgspec.json.encode(event)

    assert parse(body, field=field).times.tolist() == [5 * NS]
    assert parse(b"[" + body + b',{"meta":1}]', field=field).times.tolist() == [5 * NS, RECEIVED_NS]


def test_a_format_is_applied_to_every_event() -> None:
    body = b'[{"time":"05/Mar/2026:10:11:12 +0000"},{"time":"2026-03-05T10:11:12Z"}]'
    found = parse(body, field="time", format="2/Jan/2006:15:04:05 +0000")

    assert found.times.tolist() == [1772705472 * NS]
    assert "2/Jan/2006:15:04:05 +0000" in only(found).reason


def test_a_format_that_is_none_is_refused_even_without_events() -> None:
    with pytest.raises(BadRequest, match="timestamp-format"):
        parse(b"", format="nothing")


def test_rejections_of_all_kinds_keep_their_place() -> None:
    body = b'{"_time":"soon"}\n{"a":\n{"' + b"n" * 300 + b'":1}\n{"ok":1}\n5\n'
    found = parse(body)

    assert found.events == b'{"ok":1}\n'
    assert [(one.index, one.code) for one in found.rejections] == [
        (0, "invalid_time"),
        (1, "invalid_json"),
        (2, "name_too_long"),
        (4, "not_an_object"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":[\n' * 20_000,
        b'{"x":{"y":1},\n' * 20_000,
        b'{"x":\n{\n' * 20_000,
        b'{"a":"' + b"\\" * 300_001 + b"\n" + b'{"a":1}',
        b'"' * 200_000,
        b'{"a":"\\ud800' * 20_000,
        b'[{"a":"\\ud800"},' * 20_000,
        (b" " * 50 + b"{,\n") * 20_000,
    ],
)
@pytest.mark.slow
def test_hostile_bodies_take_time_in_proportion(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(BadRequest):
        parse(body)

    assert time.process_time() - started < 5


def filled(scrap: bytes, size: int, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + scrap * (size // len(scrap)) + after


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "scrap", "after"),
    [
        (b"", b"[", b""),
        (b"", b"{", b""),
        (b"", b'{"a":', b""),
        (b"", b'{"a":1,\n', b""),
        (b"{", b'"a":1,', b""),
        (b"{", b'"a":"b",', b"}}"),
        (b'{"a":[', b'{"a":"b"},', b"}"),
        (b'{"b":', b"[", b""),
        (b"", b'{"a":"' + b"x" * 1000 + b'"\n', b""),
    ],
)
def test_a_broken_body_is_refused_in_a_time_that_grows_with_its_size(before: bytes, scrap: bytes, after: bytes) -> None:
    seconds = []
    for size in (1 << 20, 1 << 23):
        body = filled(scrap, size, before, after)
        started = time.process_time()
        with contextlib.suppress(BadRequest, TooLarge):
            parse(body)
        seconds.append(time.process_time() - started)

    assert seconds[1] < 6, seconds
    assert seconds[1] < 8 * 3 * max(seconds[0], 0.02), seconds


@pytest.mark.slow
@pytest.mark.parametrize(
    "scrap", [b'{"a":1}{"a":}', b'{"a":1}{"a":}}', b'{"a":1}{"\xff":1}', b'{"a":"\\ud800"}{"a":1}']
)
def test_a_line_of_very_many_objects_takes_a_time_that_grows_with_its_size(scrap: bytes) -> None:
    seconds = []
    for size in (1 << 17, 1 << 20):
        started = time.process_time()
        parse(filled(scrap, size), limits=Limits(max_events=1 << 20))
        seconds.append(time.process_time() - started)

    assert seconds[1] < 8 * 3 * max(seconds[0], 0.02), seconds


@pytest.mark.slow
@pytest.mark.parametrize("scrap", [b'{"a":}\n', b'{"a":1}{"a":}', b'{"a":1,\n', b'{"a":', b"[{", b'"\\ud800",'])
def test_a_broken_body_takes_memory_in_proportion(scrap: bytes) -> None:
    body = filled(scrap, 1 << 16, b"[" if scrap.startswith(b'"') else b"")
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest, TooLarge):
            parse(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 * len(body) + (4 << 20)


def test_a_body_of_very_many_events_is_counted_through_strings_and_escapes() -> None:
    tricky = b'{"a":"}{,\\\\","b\\"":["},{",{}]}'
    found = parse(tricky * 9, limits=Limits(max_events=10))
    assert found.count == 9

    long = tricky * 40_000  # so that it is counted in parts
    assert parse(long, limits=Limits(max_events=40_000)).count == 40_000
    for body in (long, b"[" + long.replace(b'}{"a', b'},{"a') + b"]"):
        with pytest.raises(TooLarge, match="max_events = 39999"):
            parse(body, limits=Limits(max_events=39_999))


def test_an_object_within_a_broken_one_over_many_lines_is_no_event() -> None:
    found = parse(b'{\n "a": },\n "b": [\n  {\n   "c": 1\n  }\n ]\n}\n{\n "good": 1\n}\n')

    assert found.events == b'{"good":1}\n'
    assert only(found).index == 0


@pytest.mark.parametrize(
    ("body", "number", "byte"),
    [
        (b'[{"a":1},{"b":NaN}]', "NaN", 14),
        (b'[{"a":1},{"b":[1, nan]}]', "nan", 18),
        (b'{"b":Infinity}', "Infinity", 5),
        (b'{"b":-Infinity}', "-Infinity", 5),
    ],
)
def test_a_number_that_is_none_is_named_with_its_place_and_the_cure(body: bytes, number: str, byte: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_json(body, times=TimeRule(), limits=Limits(), received_ns=1)

    assert f"{number} is no number of JSON, send null for it (byte {byte})" in str(caught.value)
