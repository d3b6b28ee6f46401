"""Event times: what is read without a format, by a format, in bulk, and where in the event."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest
from tailrace.parsing import TimeRule
from tailrace.parsing.times import read_times, time_values

RECEIVED_NS = 1_700_000_000_000_000_000
NS = 1_000_000_000


def ns(*parts: int) -> int:
    year, month, day, *rest = parts
    return int(datetime(year, month, day, *rest, tzinfo=UTC).timestamp()) * NS  # type: ignore[arg-type,misc]


MORNING = ns(2026, 3, 5, 10, 11, 12)


def read_one(value: bytes, format: str = "") -> int | str:
    found = read_times([value], TimeRule(format=format), RECEIVED_NS)
    return found.unreadable[0] if found.unreadable else int(found.ns[0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"2026-03-05T10:11:12Z"', MORNING),
        (b'"2026-03-05t10:11:12z"', MORNING),
        (b'"2026-03-05 10:11:12"', MORNING),
        (b'"2026-03-05T10:11:12.5"', MORNING + NS // 2),
        (b'"2026-03-05T10:11:12,5Z"', MORNING + NS // 2),
        (b'"2026-03-05T10:11:12.123456789Z"', MORNING + 123_456_789),
        (b'"2026-03-05T10:11:12.123456789999Z"', MORNING + 123_456_789),
        (b'"2026-03-05T11:11:12+01:00"', MORNING),
        (b'"2026-03-05T04:41:12-0530"', MORNING),
        (b'"2026-03-05T11:11:12+01"', MORNING),
        (b'"2026-03-05T10:11"', MORNING - 12 * NS),
        (b'"2026-03-05"', ns(2026, 3, 5)),
        (b'"2026-03-05T23:59:60Z"', ns(2026, 3, 6)),
        (b'"2026-03-05T24:00:00Z"', ns(2026, 3, 6)),
        (b'" 2026-03-05T10:11:12Z "', MORNING),
        (b'"2026-03-05T10:11:12\\u005a"', MORNING),
        (b"1700000000", 1_700_000_000 * NS),
        (b"1700000000123", 1_700_000_000_123 * 1_000_000),
        (b"1700000000123456", 1_700_000_000_123_456 * 1000),
        (b"1700000000123456789", 1_700_000_000_123_456_789),
        (b'"1700000000123"', 1_700_000_000_123 * 1_000_000),
        (b"1700000000.123", 1_700_000_000_123 * 1_000_000),
        (b"1.700000000123e9", 1_700_000_000_123 * 1_000_000),
        (b"-86400", -86_400 * NS),
        (b"-86400000.5", -86_400_000_500_000_000),
        (b"0", 0),
        (b"1e-300", 0),
        (b'"2026/03/05 10:11:12"', MORNING),
        (b'"03/05/2026 10:11:12"', MORNING),
        (b'"3/5/2026 10:11:12 AM"', MORNING),
        (b'"Mar  5 2026 10:11:12"', MORNING),
        (b'"Mar 5, 2026 10:11:12"', MORNING),
        (b'"Thu, 05 Mar 2026 10:11:12 GMT"', MORNING),
        (b'"Thu, 05 Mar 2026 05:11:12 EST"', MORNING),
        (b'"Thu, 05 Mar 2026 11:11:12 +0100"', MORNING),
        (b'"Thursday, 05-Mar-26 10:11:12 UTC"', MORNING),
        (b'"Thu Mar  5 10:11:12 2026"', MORNING),
        (b'"Thu Mar  5 10:11:12 UTC 2026"', MORNING),
        (b'"05/Mar/2026:11:11:12 +0100"', MORNING),
        (b'"2026-03-05 11:11:12.5 +0100 CET m=+0.1"', MORNING + NS // 2),
        (b'"Thu Mar 05 2026 11:11:12 GMT+0100 (Central European Standard Time)"', MORNING),
        (b'"20260305T101112Z"', MORNING),
        (b"null", RECEIVED_NS),
        (b"", RECEIVED_NS),
        (b'"2262-04-11T23:47:16.854775807Z"', 2**63 - 1),
    ],
)
def test_a_time_is_told_by_its_look(value: bytes, expected: int) -> None:
    assert read_one(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b'"yesterday"',
        b'""',
        b'"2021-23-04302:11:23.222Z"',
        b'"2026-02-30T00:00:00Z"',
        b'"2026-03-05T25:00:00Z"',
        b'"2026-03-05T10:11:12+24:00"',
        b"true",
        b"{}",
        b"[1]",
        b"1e400",
        b"99999999999",  # seconds, of the year 5138
        b'"1677-01-01T00:00:00Z"',
        b'"2262-04-11T23:47:16.854775808Z"',
        b"9223372036854775808",
        b"9" * 5000,
    ],
)
def test_what_is_no_time_is_unreadable(value: bytes) -> None:
    reason = read_one(value)

    assert isinstance(reason, str)
    assert reason.startswith("invalid time ")
    assert "'_time'" in reason
    assert len(reason) < 250


@pytest.mark.parametrize(
    ("format", "value", "expected"),
    [
        ("unix", b"1700000000", 1_700_000_000 * NS),
        ("unixmilli", b"1700000000", 1_700_000_000 * 1_000_000),
        ("unixmicro", b'"1700000000"', 1_700_000_000 * 1000),
        ("unixnano", b"1700000000", 1_700_000_000),
        ("ms", b"1700000000.5", 1_700_000_000_500_000),
        ("s", b'"1.5"', 1_500_000_000),
        ("20060102", b"20260305", ns(2026, 3, 5)),
        ("RFC3339", b'"2026-03-05T10:11:12Z"', MORNING),
        ("2/Jan/2006:15:04:05 +0000", b'"05/Mar/2026:10:11:12 +0000"', MORNING),
    ],
)
def test_a_format_replaces_the_guess(format: str, value: bytes, expected: int) -> None:
    assert read_one(value, format) == expected


def test_a_value_that_does_not_match_names_the_layout_and_the_value() -> None:
    reason = read_one(b'"2026-03-05T10:11:12Z"', "2006/01/02")

    assert isinstance(reason, str)
    assert "2006/01/02" in reason
    assert "2026-03-05T10:11:12Z" in reason


@pytest.mark.parametrize("value", [b"1700000000", b'"2026-03-05T10:11:12z"', b'"1700000000"'])
def test_many_values_of_a_layout_are_as_strict_as_one(value: bytes) -> None:
    found = read_times([value] * 50, TimeRule(format="RFC3339"), RECEIVED_NS)

    assert isinstance(read_one(value, "RFC3339"), str)
    assert len(found.unreadable) == 50


def test_a_format_without_a_time_element_is_refused() -> None:
    with pytest.raises(BadRequest, match="timestamp-format 'YYYY'"):
        read_times([], TimeRule(format="YYYY"), RECEIVED_NS)


def iso(moment: datetime, timespec: str, zone: str) -> str:
    return moment.isoformat(timespec=timespec) + zone


JSON_TIMES = st.one_of(
    st.builds(
        iso,
        st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2300, 1, 1)),
        st.sampled_from(["seconds", "milliseconds", "microseconds"]),
        st.sampled_from(["Z", "z", "", "+05:30", "-11:00", "+0200", "+99:00", "x"]),
    ).map(msgspec.json.encode),
    st.text("0123456789-:TZ. ", max_size=30).map(msgspec.json.encode),
    st.integers(-(2**70), 2**70).map(lambda number: str(number).encode()),
    st.integers(0, 10**14).map(msgspec.json.encode),
    st.floats(allow_nan=False, allow_infinity=False).map(msgspec.json.encode),
    st.sampled_from([b"", b"null", b"true", b"[]", b"{}", b'""', b'"' + b"9" * 17 + b'"', b"9" * 19]),
)


@given(values=st.lists(JSON_TIMES, min_size=13, max_size=60), format=st.sampled_from(["", "RFC3339"]))
def test_many_values_are_read_as_each_alone(values: list[bytes], format: str) -> None:
    rule = TimeRule(format=format)
    # Repeated, so that lengths come in groups that are worth reading in bulk.
    together = read_times(values * 13, rule, RECEIVED_NS)

    alone = [read_times([value], rule, RECEIVED_NS) for value in values]
    assert together.ns.tolist() == [int(one.ns[0]) for one in alone] * 13
    expected = {at: one.unreadable[0] for at, one in enumerate(alone * 13) if one.unreadable}
    assert together.unreadable == expected


@given(
    moment=st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2260, 1, 1)),
    offset_min=st.integers(-23 * 60, 23 * 60),
)
def test_iso_times_mean_what_python_says(moment: datetime, offset_min: int) -> None:
    hours, minutes = divmod(abs(offset_min), 60)
    value = f'"{moment.isoformat()}{"-" if offset_min < 0 else "+"}{hours:02}:{minutes:02}"'.encode()
    expected = (moment - timedelta(minutes=offset_min) - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000

    assert read_times([value] * 30, TimeRule(), 0).ns.tolist() == [expected] * 30
    assert read_one(value) == expected


def test_no_values_give_no_times() -> None:
    found = read_times([], TimeRule(), RECEIVED_NS)

    assert found.ns.dtype == np.int64
    assert len(found.ns) == 0


def test_a_dotted_field_is_a_key_or_else_a_path() -> None:
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    events = [b'{"m.t":1,"m":{"t":2}}', b'{"m":{"t":2}}', b'{"m":3}', b'{"m":{"x":1}}', b"{}"]

    assert time_values([decoder.decode(event) for event in events], "m.t") == [b"1", b"2", b"", b"", b""]
    assert time_values([decoder.decode(b'{"a.b":{"c":4}}')], "a.b.c") == [b"4"]


@given(
    st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)),
    st.sampled_from(["", ".1", ".12", ".123", ".123456", ".1234567", ".123456789"]),
)
def test_the_common_form_is_read_as_the_same_time_with_an_offset_is(moment: datetime, fraction: str) -> None:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction

    zulu, offset = (read_times([f'"{text}{zone}"'.encode()], TimeRule(), 0) for zone in ("Z", "+00:00"))

    assert not zulu.unreadable
    assert zulu.ns.tolist() == offset.ns.tolist()
