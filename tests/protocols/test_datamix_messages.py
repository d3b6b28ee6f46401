"""Datamix's messages: what is read from JSON and from forms, and the verdict on each message."""

import json
import time
import tracemalloc
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing import Limits
from tailrace.protocols.datamix_messages import InvalidMessage, LogMessage, messages_to_batch, read_logs

LIMITS = Limits()
NOW_MS = 1_790_000_000_123
NOW_NS = NOW_MS * 1_000_000 + 999_999  # the last nanosecond of that millisecond
GOOD = {"level": "info", "timestamp": NOW_MS, "message": "text"}


def as_json(messages: Any) -> bytes:
    return json.dumps({"session": "T", "messages": messages}).encode()


def as_form(messages: list[Any]) -> bytes:
    """Return what `jQuery.param` makes of a session and its messages."""
    pairs = [("session", "T")]

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}[{key}]", inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                add(f"{name}[{index if isinstance(inner, dict | list) else ''}]", inner)
        elif value is None:
            pairs.append((name, ""))
        else:
            pairs.append((name, str(value).lower() if isinstance(value, bool) else str(value)))

    for index, message in enumerate(messages):
        add(f"messages[{index}]", message)
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def parse(body: bytes, limits: Limits = LIMITS) -> ParsedBatch:
    sent = read_logs(body, limits)
    assert sent.logs is not None
    return messages_to_batch(sent.logs, sent.indexes, size=sent.size, received_ns=NOW_NS, limits=limits)


def events(found: ParsedBatch) -> list[dict[str, Any]]:
    lines = msgspec.json.Decoder(dict[str, Any]).decode_lines(found.events)
    assert len(lines) == found.count == len(found.times)
    return [{**line, "timestamp": ns // 1_000_000} for line, ns in zip(lines, found.times.tolist(), strict=True)]


def reasons(found: ParsedBatch) -> list[tuple[int, str]]:
    return [(each.index, each.reason) for each in found.rejections]


def reason(message: Any, body: Any = as_json) -> str:
    """Why a message is refused, with good ones before and after it that are not."""
    found = parse(body([GOOD, message, GOOD]))
    assert events(found) == [GOOD, GOOD]
    ((index, why),) = reasons(found)
    assert index == 1
    return why


# Levels.


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "fatal"])
def test_a_documented_level_is_taken(level: str) -> None:
    assert events(parse(as_json([{**GOOD, "level": level}]))) == [{**GOOD, "level": level}]


@pytest.mark.parametrize("level", ["INFO", "warning", "trace", "", " info", "info "])
def test_any_other_level_is_rejected(level: str) -> None:
    assert reason({**GOOD, "level": level}) == f"Invalid log level: {level}"
    assert reason({**GOOD, "level": level}, as_form) == f"Invalid log level: {level}"


@pytest.mark.parametrize(
    ("level", "shown"),
    [(3, "3"), (True, "true"), (["info"], "an array"), ({"a": 1}, "an object"), ("x" * 100_000, "x" * 60 + "…")],
)
def test_a_level_of_another_type_or_size_is_shown_in_short(level: Any, shown: str) -> None:
    assert reason({**GOOD, "level": level}) == f"Invalid log level: {shown}"


# Times.


@pytest.mark.parametrize("past_ms", [0, 1, 599_999, 600_000])
def test_ten_minutes_back_are_taken_to_the_millisecond(past_ms: int) -> None:
    assert events(parse(as_json([{**GOOD, "timestamp": NOW_MS - past_ms}])))[0]["timestamp"] == NOW_MS - past_ms


@pytest.mark.parametrize("ahead_ms", [1, 9_999, 10_000])
def test_ten_seconds_ahead_are_taken_to_the_millisecond(ahead_ms: int) -> None:
    assert events(parse(as_json([{**GOOD, "timestamp": NOW_MS + ahead_ms}])))[0]["timestamp"] == NOW_MS + ahead_ms


def test_one_millisecond_more_is_too_old() -> None:
    oldest = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime((NOW_MS - 600_001) // 1000))

    assert reason({**GOOD, "timestamp": NOW_MS - 600_001}) == f"Message timestamp is too old: {oldest}"


def test_one_millisecond_more_is_too_far_in_the_future() -> None:
    newest = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime((NOW_MS + 10_001) // 1000))

    assert reason({**GOOD, "timestamp": NOW_MS + 10_001}) == f"Message timestamp is too far in the future: {newest}"


@pytest.mark.parametrize(
    ("timestamp", "why"),
    [
        (1_483_229_552_000, "too old: 2017-01-01 00:12:32 UTC"),
        (1_483_229_552_999, "too old: 2017-01-01 00:12:32 UTC"),
        (NOW_MS // 1000, "too old: 1970-01-21 17:13:20 UTC"),  # seconds by mistake
        (0, "too old: 1970-01-01 00:00:00 UTC"),
        (-1, "too old: 1969-12-31 23:59:59 UTC"),
        (-62_135_596_800_000, "too old: 0001-01-01 00:00:00 UTC"),
        (-62_135_596_800_001, "too old: -62135596800001 ms since 1970-01-01 00:00:00 UTC"),
        (253_402_300_799_999, "too far in the future: 9999-12-31 23:59:59 UTC"),
        (NOW_MS * 1000, "too far in the future: 1790000000123000 ms since 1970-01-01 00:00:00 UTC"),
        (2**63, "too far in the future: 9223372036854775808 ms since 1970-01-01 00:00:00 UTC"),
        (10**300, "too far in the future: a number of more than 128 bits ms since 1970-01-01 00:00:00 UTC"),
    ],
)
def test_the_reason_names_the_time_to_the_second(timestamp: int, why: str) -> None:
    assert reason({**GOOD, "timestamp": timestamp}) == f"Message timestamp is {why}"


@pytest.mark.parametrize("timestamp", [str(NOW_MS), f"+{NOW_MS}", float(NOW_MS)])
def test_an_integer_in_digits_or_as_a_whole_number_is_taken(timestamp: Any) -> None:
    assert events(parse(as_json([{**GOOD, "timestamp": timestamp}]))) == [GOOD]


@pytest.mark.parametrize("message", [{"level": "info", "message": "a"}, {**GOOD, "timestamp": None}])
def test_a_missing_timestamp_is_told(message: Any) -> None:
    assert reason(message) == "Missing timestamp"
    assert reason(message, as_form) == "Missing timestamp"


@pytest.mark.parametrize(
    "timestamp",
    ["now", "2026-01-01T00:00:00Z", "1.5", f" {NOW_MS}", f"{NOW_MS}\n", "٣", "²", "1" * 20, "0x10", "1_000"],
)
def test_a_timestamp_of_other_text_is_rejected(timestamp: str) -> None:
    expected = f"Timestamp is not an integer of milliseconds: {timestamp}"
    assert reason({**GOOD, "timestamp": timestamp}) == expected
    assert reason({**GOOD, "timestamp": timestamp}, as_form) == expected


@pytest.mark.parametrize(("timestamp", "shown"), [(1.5, "1.5"), (True, "true"), ([1], "an array"), ({}, "an object")])
def test_a_timestamp_of_another_type_is_rejected(timestamp: Any, shown: str) -> None:
    assert reason({**GOOD, "timestamp": timestamp}) == f"Timestamp is not an integer of milliseconds: {shown}"


@pytest.mark.parametrize("number", ["1" * 5000, "1e999", "-1e999", "1" * 401])
def test_a_number_beyond_all_bounds_costs_only_its_message(number: str) -> None:
    body = as_json([GOOD, {**GOOD, "timestamp": 7}, GOOD]).replace(b": 7", b": " + number.encode())

    found = parse(body)
    assert events(found) == [GOOD, GOOD]
    assert [index for index, _ in reasons(found)] == [1]


# Messages.


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb\r\n\tc", "\0", '"\\', "{}", "é €", "\U0001f600", "\u2028", "x" * 2_000_000]
)
def test_any_text_is_kept_as_it_is(text: str) -> None:
    assert events(parse(as_json([{**GOOD, "message": text}]))) == [{**GOOD, "message": text}]
    assert events(parse(as_form([{**GOOD, "message": text}]))) == [{**GOOD, "message": text}]


@pytest.mark.parametrize("message", [5, None, True, ["a"], {"a": "b"}, 1.5])
def test_a_message_that_is_no_text_is_rejected(message: Any) -> None:
    assert reason({**GOOD, "message": message}) == "Message is not a string"


def test_a_message_that_is_missing_is_rejected() -> None:
    assert reason({"level": "info", "timestamp": NOW_MS}) == "Message is not a string"


@pytest.mark.parametrize("message", [{"a": "b"}, ["x", "y"]])
def test_a_message_that_a_form_spreads_over_fields_is_rejected(message: Any) -> None:
    assert reason({**GOOD, "message": message}, as_form) == "Message is not a string"


def test_a_missing_level_is_told() -> None:
    assert reason({"timestamp": NOW_MS, "message": "a"}) == "Missing log level"
    assert reason({"timestamp": NOW_MS, "message": "a"}, as_form) == "Missing log level"


@pytest.mark.parametrize("element", [5, "text", None, True, [], ["a"], [GOOD]])
def test_what_is_no_object_is_rejected(element: Any) -> None:
    assert reason(element).startswith("Message is not an object with level, timestamp and message")


def test_an_object_of_other_members_is_rejected_and_further_members_are_passed_over() -> None:
    assert reason({}) == "Missing log level"
    assert events(parse(as_json([{**GOOD, "tags": ["a"], "session": "mine"}]))) == [GOOD]


def test_halves_of_surrogate_pairs_become_replacement_characters() -> None:
    body = as_json([GOOD, {**GOOD, "message": "a\ud83d"}, {**GOOD, "message": "\udc00\ud83d\ude00b"}])

    assert [event["message"] for event in events(parse(body))] == ["text", "a�", "�\U0001f600b"]


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert events(parse(as_json([GOOD, GOOD]).replace(b"text", b"a\xffb", 1)))[0]["message"] == "a�b"
    assert events(parse(as_form([GOOD]).replace(b"text", b"a\xff%FFb")))[0]["message"] == "a��b"


def test_half_a_pair_in_a_reason_can_be_sent() -> None:
    assert reason({**GOOD, "level": "a\ud83d"}) == "Invalid log level: a�"


def test_a_message_larger_than_an_event_may_be_costs_only_itself() -> None:
    limits = Limits(max_event_bytes=100)
    text = "x" * (100 - len('{"level":"info","message":""}'))
    fits = {**GOOD, "message": text}
    too_large = {**GOOD, "message": text + "x"}

    found = parse(as_json([fits, too_large, GOOD]), limits)

    assert events(found) == [fits, GOOD]
    assert reasons(found) == [(1, "Message is too large: it takes 101 bytes; max_event_bytes is 100")]


def test_the_documented_message_has_no_limit_but_that_of_an_event() -> None:
    limits = Limits(max_string_bytes=16)

    assert events(parse(as_json([{**GOOD, "message": "x" * 1000}]), limits))[0]["message"] == "x" * 1000


# Bodies.


def test_the_codes_of_rejections_tell_them_apart() -> None:
    messages = [
        5,
        {},
        {**GOOD, "level": "x"},
        {**GOOD, "timestamp": None},
        {**GOOD, "timestamp": "x"},
        {**GOOD, "message": 1},
        {**GOOD, "timestamp": 1},
        {**GOOD, "timestamp": NOW_MS * 2},
    ]

    assert [each.code for each in parse(as_json(messages)).rejections] == [
        "not_an_object",
        "missing_level",
        "invalid_level",
        "missing_timestamp",
        "invalid_timestamp",
        "invalid_message",
        "timestamp_too_old",
        "timestamp_in_future",
    ]


def test_no_messages_are_no_events() -> None:
    found = parse(as_json([]))

    assert (found.count, found.events, found.rejections) == (0, b"", ())


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
def test_json_is_told_by_its_first_byte(prefix: bytes) -> None:
    assert events(parse(prefix + as_json([GOOD]) + b"\n")) == [GOOD]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"hello",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b'[{"session":"T"}]',
        b"{",
        b'{"session":"T","messages":[',
        b'{"session":"T","messages":[]} x',
        b'{"session":"T","messages":[NaN]}',
        b'{"session":"T","messages":[],}',
        b'{"session":"T" "messages":[]}',
        b"{'session':'T'}",
        b'{"session":"T","messages":[{"message":"\x01"}]}',
        b'{"session":"T","messages":' + b"[" * 100_000,
        b'{"session":"T","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_neither_a_json_object_nor_a_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_logs(body, LIMITS)


@pytest.mark.parametrize("messages", [None, "text", 5, {}, {"0": GOOD}])
def test_messages_that_are_no_list_are_none(messages: Any) -> None:
    assert read_logs(as_json(messages), LIMITS).logs is None
    assert read_logs(b'{"session":"T"}', LIMITS).logs is None


def test_of_doubled_members_the_last_counts() -> None:
    body = b'{"session":"A","messages":[],"session":"B","messages":[5]}'

    sent = read_logs(body, LIMITS)
    assert (sent.session, len(sent.logs or ())) == ("B", 1)


def test_the_digest_is_of_the_body_byte_by_byte() -> None:
    bodies = [as_json([GOOD]), as_json([GOOD]) + b" ", as_json([{**GOOD, "message": "texu"}]), as_form([GOOD])]

    assert len({read_logs(body, LIMITS).digest for body in bodies}) == 4
    assert read_logs(bodies[0], LIMITS).digest == read_logs(as_json([GOOD]), LIMITS).digest


def test_more_messages_than_allowed_are_refused_and_the_limit_named() -> None:
    limits = Limits(max_events=3)
    assert parse(as_json([GOOD] * 3), limits).count == 3
    assert parse(as_form([GOOD] * 3), limits).count == 3

    for body in (as_json([GOOD] * 4), as_json([5] * 4), as_form([GOOD] * 4)):
        with pytest.raises(TooLarge, match="max_events"):
            read_logs(body, limits)


# Forms.


def test_the_form_of_the_documents_code_is_read() -> None:
    body = (
        b"session=T&messages%5B0%5D%5Blevel%5D=info&messages%5B0%5D%5Btimestamp%5D=1790000000123"
        b"&messages%5B0%5D%5Bmessage%5D=a+b%26c"
    )

    assert events(parse(body)) == [{**GOOD, "message": "a b&c"}]
    assert events(parse(body.replace(b"%5B", b"[").replace(b"%5D", b"]"))) == [{**GOOD, "message": "a b&c"}]


def test_a_forms_messages_are_sorted_by_index_and_gaps_are_tolerated() -> None:
    body = b"&".join(
        b"messages[%s][level]=info&messages[%s][timestamp]=%d&messages[%s][message]=m%s" % (i, i, NOW_MS, i, i)
        for i in (b"10", b"2", b"007")
    )

    assert [event["message"] for event in events(parse(body))] == ["m2", "m007", "m10"]


def test_a_form_rejects_by_the_index_that_was_sent() -> None:
    body = b"messages[3][level]=bad&messages[999999999999999][level]=worse"

    assert reasons(parse(body)) == [
        (3, "Invalid log level: bad"),
        (999_999_999_999_999, "Invalid log level: worse"),
    ]


def test_of_doubled_fields_of_a_form_the_last_counts() -> None:
    body = as_form([{**GOOD, "level": "bad"}]) + b"&messages[0][level]=warn&session=U"

    assert events(parse(body)) == [{**GOOD, "level": "warn"}]
    assert read_logs(body, LIMITS).session == "U"


def test_a_form_with_a_session_alone_is_what_jquery_makes_of_an_empty_list() -> None:
    sent = read_logs(as_form([]), LIMITS)

    assert (sent.session, sent.logs) == ("T", [])


def test_a_form_with_neither_session_nor_messages_has_no_list() -> None:
    assert read_logs(b"a=b", LIMITS).logs is None


def test_other_fields_of_a_form_are_passed_over() -> None:
    body = b"a=b&messagesx=1&message=2&&=&x[y]=z&" + as_form([GOOD]) + b"&messages[0][extra]=1&messages[0][tags][]=1"

    assert events(parse(body)) == [GOOD]


@pytest.mark.parametrize(
    "field",
    [
        b"messages=",
        b"messages=%5B%5D",
        b"messages[]=a",
        b"messages[][level]=info",
        b"messages[a][level]=info",
        b"messages[-1][level]=info",
        b"messages[1.5][level]=info",
        b"messages[0=info",
        b"messages[0]level=info",
        b"messages[0][level=info",
        b"messages[0].level=info",
        b"messages[ 0][level]=info",
        b"messages[%D9%A3][level]=info",
        b"messages[%C2%B2][level]=info",
        b"messages[1000000000000000][level]=info",
        b"messages[" + b"9" * 100_000 + b"][level]=info",
        b"messages[[0]][level]=info",
    ],
)
def test_a_form_whose_messages_have_no_index_is_refused_and_told_how(field: bytes) -> None:
    with pytest.raises(BadRequest, match=r"messages\[0\]\[level\]") as refused:
        read_logs(as_form([GOOD]) + b"&" + field, LIMITS)
    assert len(refused.value.message) < 300


def test_a_scalar_in_a_forms_list_is_rejected() -> None:
    assert reason("text", as_form) == "Message is not an object with level, timestamp and message: text"


def test_a_scalar_and_an_object_at_one_index_cost_only_that_index() -> None:
    body = as_form([GOOD, GOOD]) + b"&messages[0]=x"
    assert reasons(parse(body)) == [(0, "Message is not an object with level, timestamp and message: x")]
    body = b"messages[0]=x&" + as_form([GOOD, GOOD])
    assert reasons(parse(body)) == []


def test_a_form_of_a_hundred_thousand_messages_is_read_in_reasonable_time() -> None:
    body = b"&".join(
        b"messages[%d][level]=info&messages[%d][timestamp]=%d&messages[%d][message]=m" % (i, i, NOW_MS, i)
        for i in range(100_000)
    )
    began = time.process_time()
    found = parse(body)

    assert found.count == 100_000
    assert time.process_time() - began < 15


def test_brackets_nested_without_end_cost_their_message_only_and_no_time() -> None:
    deep = b"messages[0]" + b"[a]" * 1_000_000 + b"=x&messages[1]" + b"[" * 1_000_000 + b"]=x&"
    began = time.process_time()
    found = parse(deep + as_form([{}, {}, GOOD]))

    assert events(found) == [GOOD]
    assert [index for index, _ in reasons(found)] == [0, 1]
    assert time.process_time() - began < 5


def test_a_form_of_too_many_fields_is_refused_before_it_is_taken_apart() -> None:
    began = time.process_time()
    with pytest.raises(TooLarge, match="max_events"):
        read_logs(b"a=&" * 10_000_000, LIMITS)

    assert time.process_time() - began < 2


# Both are one.

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = texts | st.sampled_from(["debug", "info", "warn", "error", "fatal", "", str(NOW_MS)])
times = st.integers(NOW_MS - 700_000, NOW_MS + 20_000).map(str) | texts
logs = st.fixed_dictionaries(
    {
        "level": st.sampled_from(["debug", "info", "warn", "error", "fatal"]) | texts,
        "timestamp": times,
        "message": texts,
    }
) | st.dictionaries(st.sampled_from(["level", "timestamp", "message", "other"]), scalars, min_size=1)


@given(st.lists(logs | texts, min_size=1, max_size=12))
def test_a_form_is_read_as_the_same_json(messages: list[Any]) -> None:
    of_form, of_json = read_logs(as_form(messages), LIMITS), read_logs(as_json(messages), LIMITS)

    assert list(of_form.logs or ()) == list(of_json.logs or ())
    assert list(of_form.indexes) == list(of_json.indexes)
    assert of_form.session == of_json.session == "T"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for given_body in (body, b"{" + body, b"messages[" + body, b"session=T&messages[0][" + body):
        try:
            sent = read_logs(given_body, LIMITS)
        except BadRequest:
            continue
        assert all(isinstance(log, LogMessage | InvalidMessage) for log in sent.logs or ())


@given(st.lists(st.fixed_dictionaries({"level": st.just("info"), "timestamp": times, "message": texts}), max_size=8))
def test_every_message_is_either_taken_or_rejected(messages: list[Any]) -> None:
    found = parse(as_json(messages))

    assert found.count + len(found.rejections) == len(messages)
    rejected = {index for index, _ in reasons(found)}
    kept = [message for index, message in enumerate(messages) if index not in rejected]
    assert events(found) == [{**message, "timestamp": int(message["timestamp"])} for message in kept]


@pytest.mark.parametrize("element", [b"[]", b"{}", b"1", b'{"a":[]}'])
def test_very_many_small_values_are_refused_before_they_become_objects(element: bytes) -> None:
    body = b'{"session":"T","messages":[' + b",".join([element] * (12_000_000 // len(element))) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="more than max_events = 100 messages"):
            read_logs(body, Limits(max_events=100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body)


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    text = '[{",\\"}],' * 100_000
    found = parse(as_json([{**GOOD, "message": text}]), Limits(max_events=10))
    assert events(found)[0]["message"] == text


def test_messages_may_have_further_members() -> None:
    message = {**GOOD, **{f"member{number}": [number] for number in range(5)}}
    assert parse(as_json([message] * 5000), Limits(max_events=5000)).count == 5000
