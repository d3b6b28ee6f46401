"""What a header or a query means, which is known once it was seen."""

from tailrace.protocols.http import CACHED_VALUE_BYTES, CACHED_VALUES, cached, media_type_of, query_values_of


def test_what_a_value_means_is_found_out_once() -> None:
    asked: list[bytes] = []

    @cached
    def parse(value: bytes) -> int:
        asked.append(value)
        return len(value)

    assert [parse(b"a"), parse(b"a"), parse(b"bb")] == [1, 1, 2]
    assert asked == [b"a", b"bb"]


def test_neither_many_values_nor_long_ones_are_kept() -> None:
    asked: list[bytes] = []

    @cached
    def parse(value: bytes) -> bytes:
        asked.append(value)
        return value

    long = bytes(CACHED_VALUE_BYTES + 1)
    for value in (long, long, b"first", *(b"%d" % number for number in range(CACHED_VALUES)), b"first"):
        assert parse(value) == value
    assert (asked.count(long), asked.count(b"first")) == (2, 2)


def test_a_media_type_is_without_its_parameters_and_in_lower_case() -> None:
    assert media_type_of(b" Application/JSON ; charset=utf-8") == b"application/json"
    assert media_type_of(b"") == b""


def test_of_a_repeated_parameter_the_last_counts() -> None:
    assert query_values_of(b"a=1&b=%C3%A9&a=2&c=") == {"a": "2", "b": "é", "c": ""}
