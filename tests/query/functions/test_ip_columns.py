"""Addresses read in whole columns are what they are row by row."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query.functions.columns_kit import assert_columns_are_rows
from support.rounds import rounds

from tailrace.query.functions.ip_columns import read_addresses, write_addresses
from tailrace.query.functions.udf import UDFS

PLAIN = st.tuples(*[st.integers(0, 260)] * 4).map(lambda octets: ".".join(map(str, octets)))
ADDRESS = PLAIN | st.tuples(PLAIN, st.integers(0, 34)).map(lambda each: f"{each[0]}/{each[1]}")
PIECES = ["10", "0", "00", "255", "256", "1.2.3.4", ".", ".", "/", "/", "8", "a", ":", " ", "+", "_", "é", "-", "\n"]
ODD = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
NUMBER = st.integers(0, 2**33).map(str)
TEXTS = st.lists(ADDRESS | ODD | NUMBER, min_size=1, max_size=12)
NETWORKS = st.lists(ADDRESS, max_size=5) | st.sampled_from([["10.0.0.0/8", ["0.0.0.0/0"]], [1], None, "10.0.0.0/8"])


@pytest.mark.parametrize(
    "name", ["parse_ipv4", "ipv4_is_private", "ipv4_netmask_suffix", "parse_ipv4_mask", "format_ipv4",
             "format_ipv4_mask"])  # fmt: skip
@settings(max_examples=rounds(40))
@given(texts=TEXTS, prefix=st.integers(-1, 34))
def test_addresses(name: str, texts: list[str], prefix: int) -> None:
    function = UDFS[f"apl_{name}"]
    assert_columns_are_rows(function, [pa.array(texts), prefix][: len(function.parameters)])


@pytest.mark.parametrize("name", ["ipv4_compare", "ipv4_is_match", "ipv4_is_in_range"])
@settings(max_examples=rounds(40))
@given(texts=TEXTS, other=ADDRESS | ODD, prefix=st.integers(-1, 34), side=st.sampled_from(["left", "right", "both"]))
def test_two_addresses(name: str, texts: list[str], other: str, prefix: int, side: str) -> None:
    function = UDFS[f"apl_{name}"]
    column = pa.array(texts)
    pair: list[Any] = {"left": [column, other], "right": [other, column], "both": [column, column[::-1]]}[side]
    assert_columns_are_rows(function, [*pair, prefix][: len(function.parameters)])


@settings(max_examples=rounds(40))
@given(texts=TEXTS, networks=NETWORKS)
def test_addresses_and_networks(texts: list[str], networks: Any) -> None:
    assert_columns_are_rows(UDFS["apl_ipv4_is_in_any_range"], [pa.array(texts), networks])


def test_what_is_plainly_written_or_plainly_none_is_read_in_bulk() -> None:
    texts = ["10.0.0.1", "255.255.255.255/32", "1.2.3.4/0", "host", "", "fe80::1", "1.2.3.4/a", " 1.2.3.4", "01.2.3.4"]
    found = read_addresses(pa.array(["cut off", *texts, "1"])[1:-1])
    assert found.are_there.tolist() == [True] * 3 + [False] * 6
    assert found.are_none.tolist() == [False] * 3 + [True] * 4 + [False] * 2
    assert write_addresses(found.numbers[:3], found.lengths[:3]).to_pylist() == ["10.0.0.1/32", *texts[1:3]]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("parse_ipv4", []),
        ("ipv4_is_private", []),
        ("ipv4_netmask_suffix", []),
        ("parse_ipv4_mask", [24]),
        ("format_ipv4", [24]),
        ("format_ipv4_mask", [24]),
        ("ipv4_compare", ["10.0.0.0/8", 32]),
        ("ipv4_is_match", ["10.0.0.0/8", 32]),
        ("ipv4_is_in_range", ["10.0.0.0/8"]),
        ("ipv4_is_in_any_range", [["10.0.0.0/8", "1.2.3.0/24"]]),
    ],
)
def test_every_function_reads_plain_addresses_in_bulk(name: str, more: list[Any]) -> None:
    function = UDFS[f"apl_{name}"]
    assert function.columns is not None
    found = function.columns(pa.array(["10.0.0.1", "1.2.3.4/24", "192.168.0.1"]), *more)
    assert found is not None
    assert found[1].all()
