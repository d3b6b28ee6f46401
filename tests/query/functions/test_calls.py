"""Calls that are refused, and functions whose meaning has corners."""

import struct
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot.expressions as exp
from query.functions.conftest import Ask
from query.functions.kit import evaluate

from tailrace.query.functions import CallInvalid, Context, Price, call, register
from tailrace.query.functions.geo import UnusableFile, location, open_database, with_database
from tailrace.query.functions.rounding import bin_auto_ns
from tailrace.query.values import DYNAMIC, LONG, STRING, Value, literal, null


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("strlne", ["a"], "there is no function strlne.*did you mean 'strlen'"),
        ("strlen", [], r"strlen\(\) takes 1 argument, not 0: strlen\(text\)"),
        ("substring", ["a", 1, 2, 3], r"takes 2 to 3 arguments, not 4: substring\(text, start\[, length\]\)"),
        ("strcat", [], "takes 1 to 64 arguments, not 0"),
        ("case", [True, 1], "takes at least 3"),
        ("case", [True, 1, False, 2], "a last result for all other rows"),
        ("extract", ["(", 0, "a"], "is not a regular expression"),
        ("replace_regex", ["a", r"\3", "a"], "cannot replace"),
        ("replace_regex", ["a", "costs $5", "a"], r"cannot replace.*a dollar sign itself is written \$\$"),
        ("indexof_regex", ["a", "b", 0, 1001], "at most 1000"),
        ("datetime_part", ["eon", None], "does not know 'eon'; it knows year"),
        ("bin", [1, 0], "must be above 0"),
        ("bag_pack", ["a", 1, "b"], "pairs"),
        ("ensure_field", ["a", "decimal"], "knows the types"),
    ],
)
def test_a_call_that_cannot_be_is_refused(name: str, arguments: list[Any], message: str) -> None:
    with pytest.raises(CallInvalid, match=message):
        call(name, [literal(each) for each in arguments], Context())


def test_a_refusal_names_the_argument() -> None:
    with pytest.raises(CallInvalid) as caught:
        call("countof_regex", [literal("["), literal("a")], Context())
    assert caught.value.argument == 0


@pytest.mark.parametrize(
    ("apl", "expected"),
    [
        ("substring('héllo', -3, 2)", "ll"),
        ("substring('abc', 5)", ""),
        ("substring('abc', 1, -1)", ""),
        ("substring('abc', -9, 2)", "ab"),
        ("substring('abc', int(null))", None),
        ("substring('abc', 0, 9223372036854775807)", "abc"),
        ("indexof('abcabc', 'c', -3)", 5),
        ("indexof('abcabc', 'b', 0, -1, 2)", 4),
        ("indexof('abc', 'x')", -1),
        ("indexof_regex('a1b22', '[0-9]+', 0, 2)", 3),
        ("indexof_regex('a1b22c3', '[0-9]+', 2, 2)", 6),
        ("indexof_regex('a1b22', '[0-9]+', 0, 1, 1)", -1),
        ("indexof_regex('a1b22', '[0-9]+', 0, 1, 2)", 1),
        ("indexof_regex('a1', '[0-9]', 0, 1, -1)", 1),
        ("indexof_regex('abc', 'b', -1)", None),
        ("indexof_regex('abc', 'b', 0, 0)", None),
        ("indexof_regex('abc', 'b', 0, 1, -2)", None),
        ("indexof_regex('abc', 'x*')", 0),
        ("indexof_regex('abc', '$')", 3),
        ("indexof_regex('héb', 'b')", 2),
        ("indexof_regex('ab', strcat('b', ''))", 1),
        ("indexof_regex('abc', 'x')", -1),
        ("countof('aa', 'aaa')", 1),
        ("countof('', 'aaa')", 0),
        ("extract('x([0-9]+)', 1, 'abc')", None),
        ("extract('x([0-9]*)', 1, 'x')", ""),
        ("extract('abc', 1, 'abc')", None),
        ("extract('x=(.*)', 1, 'x=12', typeof(long)) + 1", 13),
        ("extract('x=(.*)', 1, 'x=0.5', typeof(real))", 0.5),
        ("extract('x=(.*)', 1, 'x=y', typeof(long))", None),
        ("extract('x=(.*)', 1, 'x=2026-03-07 18:04:07,123', typeof(datetime))", "2026-03-07T18:04:07.123000Z"),
        ("extract('x=(.*)', 1, 'x=[1]', typeof(dynamic))", [1]),
        ("gettype(extract('abc', 1, 'abc', typeof(timespan)))", "null"),
        ("gettype(extract('x=(.*)', 1, 'x=12', typeof(string)))", "string"),
        ("extract_all('abc', dynamic([1]), 'abc')", None),
        ("replace_regex('([0-9]+)ms', '$1 milliseconds', '125ms')", "125 milliseconds"),
        ("replace('([0-9]{4})[0-9]{8}([0-9]{4})', '$1********$2', 'cc=1234567890123456')", "cc=1234********3456"),
        ("replace('b', '<$0>', 'abc')", "a<b>c"),
        ("replace('(b)', '${1}2', 'abc')", "ab2c"),
        (r"replace('(b)', @'\1\1', 'abc')", "abbc"),
        ("replace('b', '$$1', 'abc')", "a$1c"),
        ("replace('(b)', strcat('<', '$1', '>'), 'abc')", "a<b>c"),
        ("parse_csv('aa,\"l1\\nl2\",b')", ["aa", "l1\nl2", "b"]),
        ("parse_csv('a,b\\nc,d')", ["a", "b"]),
        ("has_ipv4('x 1.2.3.4', '1.2.3.400')", False),
        ("has_ipv4('x 1.2.3.4')", True),
        ("has_ipv4('x 1.2.3.400')", False),
        ("has_any_ipv4('x 1.2.3.4', 'y', '1.2.3.4')", True),
        ("has_any_ipv4('x 1.2.3.4', '1.2.3.400')", False),
        ("not(has_ipv4(dynamic(null), '1.2.3.4'))", True),
        ("not(has_any_ipv4_prefix(dynamic(null), '1.'))", True),
        ("ipv4_is_private('x')", False),
        ("ipv4_is_match('x', '1.2.3.4')", None),
        ("ipv6_is_match('x', '::1')", False),
        ("ipv6_is_in_range('x', '::1/64')", False),
        ("isnan(sqrt(-1))", True),
        ("parse_url('https://u:p@a.com:080/a?q=1&q=2&r=x%20y&s#top')['query']", {"q": ["1", "2"], "r": "x y", "s": ""}),
        ("parse_url('https://example.com:080/')['port']", "80"),
        ("parse_url('HTTPS://Example.COM/A')['host']", "example.com"),
        ("parse_url('http://example.com:99999/')", None),
        ("parse_urlquery('?a=1&&b&c=%zz+d')", {"a": "1", "b": "", "c": "%zz d"}),
        ("url_decode('%ff')", None),
        ("bag_has_key(dynamic({'a/b': null}), 'a/b')", True),
        ("bag_has_key(dynamic({'a': {'b': 1}}), 'a.b')", False),
        ("bag_has_key(dynamic({'a': {'b': 1}}), '$.a.b')", True),
        ("regex_quote('a\\\\b[c]^$')", r"a\\b\[c\]\^\$"),
        ("iscc('4111-1111-1111-1112')", False),
        ("isimei('49-015420-323751-8')", True),
        ("format_ipv4('4294967296')", ""),
        ("parse_ipv4('01.2.3.4')", None),
        ("has_any_ipv4_prefix('from 10.0.0.999', '10.')", False),
        ("isnan(log(-1))", True),
        ("isnan(1.0)", False),
        ("isnull(sqrt(-1))", True),
        ("coalesce(sqrt(-1), 1.0)", 1.0),
        ("tostring(sqrt(-1))", "NaN"),
        ("sqrt(-1) > 3", False),
        ("3 < sqrt(-1)", False),
        ("max_of(sqrt(-1), 2.0)", 2.0),
        ("tobool(datetime(2020-01-01))", True),
        ("tobool(datetime(null))", False),
        ("isint(1.0)", True),
        ("isint(1.5)", False),
        ("isint(real(inf))", False),
        ("isint(dynamic(2.0))", True),
        ("base64_encode_fromarray('x')", ""),
        ("base64_encode_fromarray(dynamic([1, 999]))", ""),
        ("base64_encode_fromarray(dynamic(null))", ""),
        ("bag_has_key('x', 'a')", False),
        ("bag_has_key(dynamic({'a': 1}), '$..[')", False),
        ("bag_pack()", {}),
        ("set_union(dynamic(['A4', 'A2', 'A7', 'A2']), dynamic(['A4', 'A2', 'A7', 'A2']))", ["A4", "A2", "A7"]),
        ("set_intersect(dynamic([3, 1, 2, 1]), dynamic([1, 3]))", [3, 1]),
        ("genai_extract_assistant_response(dynamic([]))", ""),
        ("genai_extract_assistant_response(dynamic(null))", ""),
        ("genai_extract_system_prompt('no messages')", ""),
        ("genai_extract_user_prompt(dynamic([]))", ""),
        ("genai_get_content_by_index(dynamic([]), 0)", ""),
        ("genai_get_content_by_role(dynamic([]), 'user')", ""),
        ("genai_get_role(dynamic([{'content': 'a'}]), 0)", ""),
        ("genai_extract_tool_calls(dynamic([{'role': 'user', 'content': 'a'}]))", None),
        ("genai_extract_function_results(dynamic([{'role': 'user', 'content': 'a'}]))", None),
        ("genai_has_tool_calls('no messages')", False),
        ("genai_has_tool_calls('[7, {\"tool\\u005fcalls\": [{\"id\": 1}]}]')", True),
        ("genai_extract_user_prompt(dynamic([7, {'role': 'User', 'content': 'a'}, {'role': ['user']}]))", "a"),
        ("genai_get_content_by_role(dynamic([{'role': null, 'content': 'a'}, {'content': 'b'}]), '')", "b"),
        ("genai_message_roles(dynamic([{'role': 1}, {}, 'x', {'role': null}]))", [1, None, None]),
        ("genai_message_roles(dynamic(null))", []),
        ("genai_concat_contents(dynamic([{'content': 'a'}, {'content': 'b'}]))", "a b"),
        ("genai_is_truncated(dynamic([]), dynamic(['stop', 'length']))", True),
        ("genai_is_truncated(dynamic([]), dynamic(['stop']))", False),
        ("genai_is_truncated(dynamic([]), 'wavelength')", False),
        ("extract_all('[0-9]', dynamic([0]), 'a1b2')", ["1", "2"]),
        ("extract_all('([a-z])([0-9])', 'a1 b2')", [["a", "1"], ["b", "2"]]),
        ("coalesce('', string(null), 'x')", "x"),
        ("coalesce(int(null), 2)", 2),
        ("iff(bool(null), 1, 2)", 2),
        ("iff(true, 1, 'a')", 1),
        ("iff(true, dynamic(null), 'a')", None),
        ("gettype(iff(true, 1, 2.5))", "real"),
        ("tostring(1.50)", "1.5"),
        ("tostring(2.0)", "2"),
        ("tostring(dynamic(2.0))", "2"),
        ("tostring(int(null))", ""),
        ("tostring(dynamic([1, \"a\"]))", '[1,"a"]'),
        ("tostring(datetime(2020-01-02 03:04:05.670))", "2020-01-02T03:04:05.67Z"),
        ("tostring(90s)", "1m30s"),
        ("tobool('no')", False),
        ("tobool(int(null))", False),
        ("tobool(2)", True),
        ("toint('12.7')", 12),
        ("toint('0x1F')", 31),
        ("toint('9223372036854775808')", None),
        ("toint('x')", None),
        ("toint(true)", 1),
        ("todouble('nan')", None),
        ("todouble('1e3')", 1000.0),
        ("todatetime('2020-01-02')", "2020-01-02T00:00:00Z"),
        ("todatetime('02/Jan/2020:03:04:05 +0100')", "2020-01-02T02:04:05Z"),
        ("todatetime('Jan 2, 2020')", "2020-01-02T00:00:00Z"),
        ("todatetime('1577934245000000000')", "2020-01-02T03:04:05Z"),
        ("todatetime(1577934245000000000)", "2020-01-02T03:04:05Z"),
        ("todatetime('infinity')", None),
        ("todatetime('never')", None),
        ("todynamic('nope')", None),
        ("todynamic('\"nope\"')", "nope"),
        ("todynamic('[NaN]')", None),
        ("parse_json('nope')", "nope"),
        ("parse_json('{\"a\":1,}')", '{"a":1,}'),
        ("parse_json('null')", None),
        ("parse_json('NaN')", "NaN"),
        ("tohex(-256)", "ffffffffffffff00"),
        ("toarray(5)", []),
        ("array_slice(dynamic([1,2,3]), -2, -1)", [2]),
        ("array_sort_asc('x')", []),
        ("array_sort_asc(dynamic(['b', 2, null, 1]))", [1, 2, "b", None]),
        ("array_sum(dynamic(['a']))", 0),
        ("array_sum(dynamic([]))", 0),
        ("array_sum(dynamic(5))", None),
        ("array_sum(dynamic([1, null, 1234567890123456789, 'a']))", 1234567890123456790),
        ("array_sum(dynamic([9223372036854775807, 1]))", 9223372036854775808.0),
        ("array_length('x')", None),
        ("array_concat(dynamic([1]), dynamic({}))", None),
        ("array_split(dynamic([1,2,3]), 1)", [[1], [2, 3]]),
        ("array_index_of(dynamic([1, true]), true)", 1),
        ("bag_keys(dynamic([1]))", None),
        ("len(string(null))", None),
        ("strcat('a', string(null), 'b')", "ab"),
        ("pack_array(1s, datetime(2020-01-01))", [1_000_000_000, "2020-01-01T00:00:00Z"]),
        ("log(0)", None),
        ("sqrt(-1)", None),
        ("acos(2)", None),
        ("gamma(-2)", None),
        ("exp(1000)", None),
        ("abs(-9223372036854775807 - 1)", None),
        ("round(12345, -2)", 12300),
        ("range(5, 1, -2)", [5, 3, 1]),
        ("range(1, 2, 0.5)", [1.0, 1.5, 2.0]),
        ("range(1, 2, 0)", None),
        ("array_length(range(1, 1000000))", 1_000_000),
        ("range(datetime(2020-01-01), datetime(2020-01-02), 12h)",
         ["2020-01-01T00:00:00Z", "2020-01-01T12:00:00Z", "2020-01-02T00:00:00Z"]),
        ("range(1h, 2h, 30m)", ["1h0m0s", "1h30m0s", "2h0m0s"]),
        ("bin(-7, 5)", -10),
        ("bin(7.5, 2)", 6.0),
        ("bin(95s, 1m)", "1m0s"),
        ("bin(datetime(1969-12-31 23:59:30), 1h)", "1969-12-31T23:00:00Z"),
        ("bin(todatetime('1969-12-31T23:59:30Z'), 1h)", "1969-12-31T23:00:00Z"),
        ("bin(3500000000, 1s)", "3s"),
        ("datetime_add('month', 1200000, datetime(2020-01-01))", None),
        ("datetime_diff('week', datetime(2019-06-26), datetime(2014-08-08))", 254),
        ("datetime_diff('year', datetime(2019-06-26), datetime(2014-08-08))", 4),
        ("startofweek(datetime(2020-03-01))", "2020-03-01T00:00:00Z"),
        ("startofmonth(datetime(2020-03-15), -1)", "2020-02-01T00:00:00Z"),
        ("dayofweek(datetime(2020-03-01))", 0),
        ("datetime_part('millisecond', datetime(2020-01-01 00:00:05.123))", 123),
        ("unixtime_seconds_todatetime(1.5)", "1970-01-01T00:00:01.500000Z"),
        ("unixtime_seconds_todatetime(99999999999999)", None),
        ("ipv4_is_private('172.32.0.1')", False),
        ("ipv4_is_in_range('10.0.0.1', 'x')", False),
        ("format_ipv4('x')", ""),
        ("has_ipv4('1.2.3.45', '1.2.3.4')", False),
        ("has_ipv4_prefix('at 10.22.3.4', '10.2')", False),
        ("ipv6_compare('::ffff:1.2.3.4', '1.2.3.4')", 0),
        ("parse_pair('novalue')", {"key": "", "value": "novalue", "separator": ":"}),
        ("find_pair(dynamic(['a:b']), 'x*', '*')", None),
        ("parse_sql('with x as (select 1) select * from x')", None),
        ("parse_sql('(((')", None),
        ("parse_bytes('nonsense')", 0),
        ("parse_bytes('1.5 KiB')", 1536),
        ("format_bytes(20010332, 2, '', 2)", "19.08 MB"),
        ("format_bytes(1048576, 0, 'KiB')", "1024 KiB"),
        ("parse_url('http://[::1')", None),
        ("trim('ab', 'abxba')", "x"),
        ("translate('abc', '', 'aabbcx')", "x"),
        ("isutf8(5)", False),
        ("iscc('4111 1111 1111 1112')", False),
        ("series_fill_linear(dynamic([null, 1, null, null, 4]))", [1, 1, 2.0, 3.0, 4]),
        ("series_greater(dynamic([1, 'a', 3]), 2)", [False, None, True]),
        ("series_sum(dynamic([]))", 0.0),
        ("series_stats(dynamic([]))", [None] * 7),
        ("series_fir(dynamic([1, 1, 1]), dynamic([1, 1]), false, true)", [1.0, 2.0, 2.0]),
        ("rand() < 1 and rand() + 1 >= 1", True),
        ("rand(5) + 1 <= 5", True),
        ("toint(rand()) == 0", True),
        ("genai_extract_user_prompt('[{\"role\": \"user\", \"content\": [{\"text\": \"hi\"}]}]')", "hi"),
    ],
)  # fmt: skip
def test_corners(ask: Ask, apl: str, expected: Any) -> None:
    assert ask(f"print {apl}") == expected


def test_a_field_that_exists_is_taken(database: duckdb.DuckDBPyConnection) -> None:
    context = Context(columns={"a": Value(DYNAMIC, exp.column("a"))})
    row = "FROM (SELECT CAST('7' AS JSON) AS a)"
    assert evaluate(database, call("column_ifexists", [literal("a"), literal(0)], context), row) == 7
    assert evaluate(database, call("ensure_field", [literal("a"), literal("long")], context), row) == 7


def test_model_prices_are_a_setting(database: duckdb.DuckDBPyConnection) -> None:
    context = Context(prices={"small": Price(0.5, 2.0)})
    cost = call("genai_cost", [literal("small"), literal(1_000_000), literal(500_000)], context)
    assert evaluate(database, cost) == 1.5
    pricing = call("genai_get_pricing", [literal("small")], context)
    assert evaluate(database, pricing) == {"input": 0.5, "output": 2.0, "currency": "USD"}
    assert evaluate(database, call("genai_input_cost", [literal("large"), literal(1)], context)) is None


def test_bins_fit_the_range_and_the_limit() -> None:
    hour = 3600 * 10**9
    assert bin_auto_ns(Context(start_ns=0, end_ns=hour, max_bin_auto_groups=60)) == 60 * 10**9
    assert bin_auto_ns(Context(start_ns=0, end_ns=24 * hour, max_bin_auto_groups=10)) == 3 * hour
    assert bin_auto_ns(Context(start_ns=0, end_ns=10**6 * 24 * hour, max_bin_auto_groups=1)) >= 10**6 * 24 * hour


def test_repeating_has_an_end(database: duckdb.DuckDBPyConnection) -> None:
    long_text = call("strrep", [literal("x" * 256), literal(1024)], Context())
    again = call("strrep", [long_text, Value(LONG, exp.column("n"))], Context())
    assert evaluate(database, again, "FROM (SELECT CAST(1000 AS BIGINT) AS n)") is None
    assert evaluate(database, call("strrep", [null(STRING), literal(3)], Context())) is None


RECORD = {
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
    "subdivisions": [{"names": {"en": "England"}}],
    "city": {"names": {"en": "London"}},
    "location": {"latitude": 51.5, "longitude": -0.1, "time_zone": "Europe/London"},
}
PLACE = {
    "country": "United Kingdom",
    "state": "England",
    "city": "London",
    "latitude": 51.5,
    "longitude": -0.1,
    "country_iso": "GB",
    "time_zone": "Europe/London",
}


def test_a_place_of_a_record() -> None:
    assert location(RECORD) == PLACE
    assert location({}) == {**dict.fromkeys(PLACE, ""), "latitude": None, "longitude": None}


def test_addresses_are_looked_up_in_a_database_file(tmp_path: Path) -> None:
    file = tmp_path / "city.mmdb"
    file.write_bytes(database_file(RECORD))
    instance = duckdb.connect(":memory:")
    register(instance, [with_database(open_database(file))])
    context = Context(geo=True)
    try:
        assert evaluate(instance, call("geo_info_from_ip_address", [literal("10.1.2.3")], context)) == PLACE
        assert evaluate(instance, call("geo_info_from_ip_address", [literal("200.1.2.3")], context)) is None
        assert evaluate(instance, call("geo_info_from_ip_address", [literal("x")], context)) is None
    finally:
        instance.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "city.mmdb"
    file.write_bytes(b"nothing")
    with pytest.raises(UnusableFile, match="is no database of IP addresses"):
        open_database(file)


def database_file(record: dict[str, Any]) -> bytes:
    """Return a database (MaxMind DB file format, version 2.0) of one network, 0.0.0.0/1."""
    nodes = 1
    # The left branch of the only node leads to the record at offset 0 of the data, the right one nowhere.
    tree = (nodes + 16).to_bytes(3, "big") + nodes.to_bytes(3, "big")
    metadata = {
        "node_count": nodes, "record_size": 24, "ip_version": 4, "database_type": "GeoIP2-City", "languages": ["en"],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1,
        "description": {"en": "t"},
    }  # fmt: skip
    return tree + bytes(16) + packed(record) + b"\xab\xcd\xefMaxMind.com" + packed(metadata)


def packed(value: Any) -> bytes:
    """Return a value of the format's data section; sizes below 285."""
    match value:
        case str():
            return control(2, len(value)) + value.encode()
        case float():
            return control(3, 8) + struct.pack(">d", value)
        case int():
            return control(6, 4) + value.to_bytes(4, "big")
        case dict():
            return control(7, len(value)) + b"".join(packed(key) + packed(item) for key, item in value.items())
        case list():
            return control(11, len(value)) + b"".join(packed(item) for item in value)
    raise TypeError(value)


def control(kind: int, size: int) -> bytes:
    low = size if size < 29 else 29
    more = b"" if size < 29 else bytes([size - 29])
    return (bytes([low, kind - 7]) if kind > 7 else bytes([kind << 5 | low])) + more
