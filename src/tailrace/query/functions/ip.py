"""Functions of IP addresses; what is no address gives null, unless said otherwise."""

import functools
import ipaddress
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tailrace.query.functions import ip_columns
from tailrace.query.functions.geo import GEO
from tailrace.query.functions.table import Context, table
from tailrace.query.functions.text_bytes import Found
from tailrace.query.functions.udf import Udf, udf
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    STRING,
    Value,
    array,
    as_text,
    coalesce,
    literal,
    null,
    string,
    text_node,
)

FUNCTIONS, _add = table("ip")

_ALL_4 = 2**32 - 1
_ADDRESS = re.compile(r"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")


@functools.lru_cache(maxsize=65_536)
def _v4(text: str) -> tuple[int, int]:
    """Return an address and its prefix, as `10.1.2.3` or `10.0.0.0/8`."""
    address, _, prefix = text.strip().partition("/")
    length = int(prefix) if prefix else 32
    if not 0 <= length <= 32:
        raise ValueError("a prefix has 0 to 32 bits")
    return _address4(address), length


def _address4(text: str) -> int:
    """Do as ipaddress does, without zeros before a number, in a fraction of the time."""
    parts = text.split(".")
    if len(parts) != 4 or not text.isascii():
        raise ValueError("an address of version 4 has four numbers")
    number = 0
    for part in parts:
        if not part.isdigit() or len(part) > 3 or (part[0] == "0" and part != "0"):
            raise ValueError("a number of an address of version 4 has up to three digits")
        byte = int(part)
        if byte > 255:
            raise ValueError("a number of an address of version 4 is at most 255")
        number = number << 8 | byte
    return number


@functools.lru_cache(maxsize=65_536)
def _v6(text: str) -> tuple[int, int]:
    """Return an address and its prefix, one of version 4 as the address of version 6 that stands for it."""
    address, _, prefix = text.strip().partition("/")
    if ":" not in address:
        number, _ = _v4(address)
        length = 96 + (int(prefix) if prefix else 32)
        number |= 0xFFFF << 32
    else:
        number, length = int(ipaddress.IPv6Address(address)), int(prefix) if prefix else 128
    if not 0 <= length <= 128:
        raise ValueError("a prefix has 0 to 128 bits")
    return number, length


def _compared(left: tuple[int, int], right: tuple[int, int], prefix: int, bits: int) -> int:
    if not 0 <= prefix <= bits:
        raise ValueError(f"a prefix has 0 to {bits} bits")
    shift = bits - min(left[1], right[1], prefix)
    a, b = left[0] >> shift, right[0] >> shift
    return (a > b) - (a < b)


def _within(address: tuple[int, int], network: tuple[int, int], bits: int) -> bool:
    shift = bits - network[1]
    return address[0] >> shift == network[0] >> shift


@udf("apl_ipv4_compare", [STRING, STRING, LONG], LONG, columns=ip_columns.compare)
def _ipv4_compare(left: str, right: str, prefix: int) -> int:
    return _compared(_v4(left), _v4(right), prefix, 32)


@udf("apl_ipv6_compare", [STRING, STRING, LONG], LONG)
def _ipv6_compare(left: str, right: str, prefix: int) -> int:
    return _compared(_v6(left), _v6(right), prefix, 128)


@udf("apl_ipv4_is_match", [STRING, STRING, LONG], BOOL, columns=ip_columns.is_match)
def _ipv4_is_match(left: str, right: str, prefix: int) -> bool:
    return _compared(_v4(left), _v4(right), prefix, 32) == 0


@udf("apl_ipv6_is_match", [STRING, STRING, LONG], BOOL, otherwise=False)
def _ipv6_is_match(left: str, right: str, prefix: int) -> bool:
    return _compared(_v6(left), _v6(right), prefix, 128) == 0


@udf("apl_ipv4_is_in_range", [STRING, STRING], BOOL, otherwise=False, columns=ip_columns.is_in_range)
def _ipv4_is_in_range(address: str, network: str) -> bool:
    return _within(_v4(address), _v4(network), 32)


@udf("apl_ipv6_is_in_range", [STRING, STRING], BOOL, otherwise=False)
def _ipv6_is_in_range(address: str, network: str) -> bool:
    return _within(_v6(address), _v6(network), 128)


@functools.lru_cache(maxsize=64)
def _networks(texts: tuple[str, ...]) -> ip_columns.Networks:
    return ip_columns.networks_by_length(map(_v4, texts))


def _are_in_any_range(addresses: Any, networks: Any) -> Found | None:
    if not isinstance(addresses, pa.Array) or not isinstance(networks, list):
        return None
    return ip_columns.is_in_any_range(addresses, _networks(_flat(networks)))


@udf("apl_ipv4_is_in_any_range", [STRING, DYNAMIC], BOOL, columns=_are_in_any_range)
def _ipv4_is_in_any_range(address: str, networks: Any) -> bool:
    number = _v4(address)
    return any(_within(number, _v4(each), 32) for each in _flat(networks))


@udf("apl_ipv6_is_in_any_range", [STRING, DYNAMIC], BOOL, otherwise=False)
def _ipv6_is_in_any_range(address: str, networks: Any) -> bool:
    number = _v6(address)
    return any(_within(number, _v6(each), 128) for each in _texts(networks))


def _texts(values: Any) -> list[str]:
    """Return the strings of an array of strings and arrays of strings."""
    flat: list[str] = []
    for value in values:
        if isinstance(value, list):
            flat += _texts(value)
        elif isinstance(value, str):
            flat.append(value)
    return flat


_PRIVATE = tuple(_v4(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


@udf("apl_ipv4_is_private", [STRING], BOOL, otherwise=False,
     columns=functools.partial(ip_columns.is_private, networks=ip_columns.networks_by_length(_PRIVATE)))  # fmt: skip
def _ipv4_is_private(address: str) -> bool:
    number, length = _v4(address)
    return any(length >= network[1] and _within((number, length), network, 32) for network in _PRIVATE)


@udf("apl_ipv4_netmask_suffix", [STRING], LONG, columns=ip_columns.netmask_suffix)
def _ipv4_netmask_suffix(address: str) -> int:
    return _v4(address)[1]


@udf("apl_parse_ipv4", [STRING], LONG, columns=ip_columns.parse)
def _parse_ipv4(address: str) -> int:
    number, length = _v4(address)
    return _masked(number, length)


@udf("apl_parse_ipv4_mask", [STRING, LONG], LONG, columns=ip_columns.parse)
def _parse_ipv4_mask(address: str, prefix: int) -> int:
    number, length = _v4(address)
    return _masked(number, min(length, _prefix(prefix)))


def _prefix(bits: int) -> int:
    if not 0 <= bits <= 32:
        raise ValueError("a prefix has 0 to 32 bits")
    return bits


def _masked(number: int, prefix: int) -> int:
    return number & (_ALL_4 << (32 - prefix)) & _ALL_4


@udf("apl_format_ipv4", [STRING, LONG], STRING,
     columns=functools.partial(ip_columns.write, suffix=False))  # fmt: skip
def _format_ipv4(address: str, prefix: int) -> str:
    return _formatted(address, prefix, suffix=False)


@udf("apl_format_ipv4_mask", [STRING, LONG], STRING,
     columns=functools.partial(ip_columns.write, suffix=True))  # fmt: skip
def _format_ipv4_mask(address: str, prefix: int) -> str:
    return _formatted(address, prefix, suffix=True)


def _formatted(address: str, prefix: int, *, suffix: bool) -> str:
    number, length = (int(address), 32) if address.strip().isdecimal() else _v4(address)
    length = min(length, _prefix(prefix))
    if number > _ALL_4:
        raise ValueError("an address of version 4 has 32 bits")
    masked = _masked(number, length)
    shown = f"{masked >> 24}.{masked >> 16 & 255}.{masked >> 8 & 255}.{masked & 255}"
    return f"{shown}/{length}" if suffix else shown


@udf("apl_has_some_ipv4", [STRING], BOOL, otherwise=False)
def _has_some_ipv4(text: str) -> bool:
    return any(_number(each) is not None for each in _ADDRESS.findall(text))


@udf("apl_has_any_ipv4", [STRING, DYNAMIC], BOOL, otherwise=False)
def _has_any_ipv4(text: str, addresses: Any) -> bool:
    sought = _addresses(_flat(addresses))
    if len(sought) <= _FEW and not any(map(text.__contains__, sought)):
        return False  # without a look at every address
    return not sought.isdisjoint(_ADDRESS.findall(text))


_FEW = 16  # addresses or prefixes that are looked for one after the other


def _flat(values: Any) -> tuple[str, ...]:
    return tuple(values if set(map(type, values)) == {str} else _texts(values))


@functools.lru_cache(maxsize=64)
def _addresses(texts: tuple[str, ...]) -> frozenset[str]:
    """Those that are addresses, which have one way to be written."""
    bare = (each.strip().partition("/")[0] for each in texts)
    return frozenset(each for each in bare if _number(each) is not None)


@functools.lru_cache(maxsize=64)
def _prefixes(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each if each.endswith(".") or each.count(".") == 3 else each + "." for each in texts if each)


@udf("apl_has_any_ipv4_prefix", [STRING, DYNAMIC], BOOL, otherwise=False)
def _has_any_ipv4_prefix(text: str, prefixes: Any) -> bool:
    begins = _prefixes(_flat(prefixes))
    if len(begins) <= _FEW and not any(map(text.__contains__, begins)):
        return False
    return any(each.startswith(begins) and _number(each) is not None for each in _ADDRESS.findall(text))


def _number(address: str) -> int | None:
    try:
        return _address4(address)
    except ValueError:
        return None


def _any_of(function: Udf) -> Callable[..., Value]:
    return lambda context, text, *values: function(text, array(values))


def _has_ipv4(context: Context, text: Value, address: Value | None) -> Value:
    return _has_some_ipv4(text) if address is None else _has_any_ipv4(text, array([address]))


def _with_prefix(function: Udf, bits: int) -> Callable[..., Value]:
    return lambda context, left, right, prefix: function(left, right, prefix or literal(bits))


def _or_empty(function: Udf) -> Callable[..., Value]:
    def build(context: Context, address: Value, prefix: Value | None) -> Value:
        result = function(as_text(address), prefix or literal(32))
        return string(coalesce(result.sql, text_node("")))

    return build


def _geo_info(context: Context, address: Value) -> Value:
    return GEO(address) if context.geo else null(DYNAMIC)


# fmt: off
_add("format_ipv4", "address:any, prefix:long?", STRING, _or_empty(_format_ipv4),
     "An address of version 4, a number or a string, written with dots, all bits behind the prefix 0; the empty string "
     "where it is none.", "print format_ipv4(3232235777)", "192.168.1.1")
_add("format_ipv4_mask", "address:any, prefix:long?", STRING, _or_empty(_format_ipv4_mask),
     "An address of version 4 with its prefix, in CIDR notation; the empty string where it is none.",
     'print format_ipv4_mask("192.168.1.10", 24)', "192.168.1.0/24")
_add("geo_info_from_ip_address", "address:text", DYNAMIC, _geo_info,
     "A dictionary of country, state, city, latitude, longitude, country_iso and time_zone; null where no database of "
     "addresses is configured.", 'print geo_info_from_ip_address("192.0.2.1")', None)
_add("has_ipv4", "text:text, address:text?", BOOL, _has_ipv4,
     "Whether a text has this address of version 4 in it, or any where none is given, between characters that are no "
     "letters, digits or dots; false where one is invalid.",
     'print has_ipv4("from 10.0.0.1:80", "10.0.0.1")', True)
_add("has_ipv4_prefix", "text:text, prefix:text", BOOL, _any_of(_has_any_ipv4_prefix),
     "Whether a text has an address of version 4 in it that begins with this.",
     'print has_ipv4_prefix("from 10.0.0.1:80", "10.0.")', True)
_add("has_any_ipv4", "text:text, addresses:value*", BOOL, _any_of(_has_any_ipv4),
     "Whether a text has any of these addresses of version 4 in it.",
     'print has_any_ipv4("from 10.0.0.1:80", dynamic(["1.2.3.4", "10.0.0.1"]))', True, least=1)
_add("has_any_ipv4_prefix", "text:text, prefixes:value*", BOOL, _any_of(_has_any_ipv4_prefix),
     "Whether a text has an address of version 4 in it that begins with any of these.",
     'print has_any_ipv4_prefix("from 10.0.0.1:80", dynamic(["1.2", "10.0"]))', True, least=1)
_add("ipv4_compare", "left:text, right:text, prefix:long?", LONG, _with_prefix(_ipv4_compare, 32),
     "-1, 0 or 1, as the first address is below, equal to or above the second, under the shortest prefix given.",
     'print ipv4_compare("192.168.1.1", "192.168.1.255/24")', 0)
_add("ipv4_is_in_range", "address:text, range:text", BOOL,
     lambda c, address, network: _ipv4_is_in_range(address, network),
     "Whether an address is in a network; false where one of the two is invalid.",
     'print ipv4_is_in_range("192.168.1.6", "192.168.1.0/24")', True)
_add("ipv4_is_in_any_range", "address:text, ranges:value*", BOOL, _any_of(_ipv4_is_in_any_range),
     "Whether an address is in any of these networks.",
     'print ipv4_is_in_any_range("10.1.2.3", dynamic(["192.168.0.0/16", "10.0.0.0/8"]))', True, least=1)
_add("ipv4_is_match", "left:text, right:text, prefix:long?", BOOL, _with_prefix(_ipv4_is_match, 32),
     "Whether two addresses are equal under the shortest prefix given.",
     'print ipv4_is_match("192.168.1.1", "192.168.1.255/24")', True)
_add("ipv4_is_private", "address:text", BOOL, lambda c, address: _ipv4_is_private(address),
     "Whether an address is of a private network; false where it is none.", 'print ipv4_is_private("10.1.2.3")', True)
_add("ipv4_netmask_suffix", "address:text", LONG, lambda c, address: _ipv4_netmask_suffix(address),
     "The length of an address's prefix, 32 if it has none.", 'print ipv4_netmask_suffix("192.168.1.0/24")', 24)
_add("ipv6_compare", "left:text, right:text, prefix:long?", LONG, _with_prefix(_ipv6_compare, 128),
     "As ipv4_compare(), for addresses of version 6 or 4.", 'print ipv6_compare("fe80::1", "fe80::2")', -1)
_add("ipv6_is_in_range", "address:text, range:text", BOOL,
     lambda c, address, network: _ipv6_is_in_range(address, network),
     "Whether an address of version 6 is in a network; false where one of the two is invalid.",
     'print ipv6_is_in_range("2001:db8::1", "2001:db8::/32")', True)
_add("ipv6_is_in_any_range", "address:text, ranges:value*", BOOL, _any_of(_ipv6_is_in_any_range),
     "Whether an address of version 6 is in any of these networks; false where one is invalid.",
     'print ipv6_is_in_any_range("2001:db8::1", dynamic(["fe80::/10", "2001:db8::/32"]))', True, least=1)
_add("ipv6_is_match", "left:text, right:text, prefix:long?", BOOL, _with_prefix(_ipv6_is_match, 128),
     "As ipv4_is_match(), for addresses of version 6 or 4; false where one is invalid.",
     'print ipv6_is_match("fe80::1", "fe80::2/64")', True)
_add("parse_ipv4", "address:text", LONG, lambda c, address: _parse_ipv4(address),
     "An address of version 4 as a number.", 'print parse_ipv4("10.0.0.1")', 167772161)
_add("parse_ipv4_mask", "address:text, prefix:long", LONG,
     lambda c, address, prefix: _parse_ipv4_mask(address, prefix),
     "An address of version 4 as a number, all bits behind the prefix 0.",
     'print parse_ipv4_mask("10.0.0.1", 24)', 167772160)
# fmt: on
