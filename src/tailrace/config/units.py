"""Sizes and durations as people write them: "64MiB", "1 MB", "30s", "5m"."""

import ipaddress
import re

_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)


def parse_size(text: object) -> int:
    """Return a size in bytes: a whole number of bytes, or text such as "64MiB" (1024s) or "1 MB" (1000s).

    Raise ValueError.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    number, unit = _quantity(text)
    if unit and unit not in _BYTES:
        raise ValueError(f"unknown unit of size {unit!r}")
    size = number * _BYTES[unit or "b"]
    if size != int(size):
        raise ValueError("not a whole number of bytes")
    return int(size)


def parse_duration(text: object) -> float:
    """Return a duration in seconds: a number of seconds, or text such as "500ms", "30s", "5m", "1h", "90d".

    Raise ValueError.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    number, unit = _quantity(text)
    if unit and unit not in _SECONDS:
        raise ValueError(f"unknown unit of time {unit!r}")
    return number * _SECONDS[unit or "s"]


def format_size(size: int) -> str:
    """Return a size in bytes the way `parse_size` reads it, in the largest unit that is exact."""
    for unit, name in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return str(size)


def format_duration(seconds: float) -> str:
    """Return a duration in seconds without a useless fraction."""
    return f"{seconds:.15g}"


def _quantity(text: object) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("not a number with a unit")
    digits, unit = found.groups()
    # An int keeps a byte count beyond 2**53 exact.
    return (float(digits) if "." in digits else int(digits)), unit.lower()


def parse_names(value: object) -> object:
    """Return the names of a text in which commas separate them, or "none"; else what was given, for others to judge."""
    if value == "none":
        return ()
    if isinstance(value, str):
        return tuple(name for name in (part.strip() for part in value.split(",")) if name)
    return value


def parse_networks(value: object) -> object:
    """Return the addresses and networks, such as 10.0.0.0/8, of a text in which commas separate them, or "none".

    Raise ValueError for one that is neither.
    """
    names = parse_names(value)
    if isinstance(names, (tuple, list)):
        for each in names:
            ipaddress.ip_network(each, strict=False)
    return names


def parse_number(value: object) -> object:
    """Return the whole number of a text that is one; anything else is left for others to judge."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value
