"""Where an IP address is, by a database file of MaxMind's format (mmdb), which the package `maxminddb` reads."""

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailrace.query.functions.udf import Udf
from tailrace.query.values import DYNAMIC, STRING


class UnusableFile(Exception):
    """A file of reference data is not what its setting says; the message tells why."""


AddressLookup = Callable[[str], dict[str, Any] | None]


def _no_database(address: str) -> None:
    return None


GEO = Udf("apl_geo", (STRING,), DYNAMIC, _no_database)
"""Is registered only with a database."""


def with_database(lookup: AddressLookup) -> Udf:
    """Return the function over a database."""
    return Udf(GEO.name, GEO.parameters, GEO.result, lookup)


def open_database(path: Path) -> AddressLookup:
    """Look up addresses in a file, which is held in memory; thread-safe.

    Raise UnusableFile where the package `maxminddb` is not installed or the file is no such database.
    """
    try:
        import maxminddb
    except ImportError as error:
        raise UnusableFile(
            "a database of IP addresses needs the package maxminddb: pip install tailrace[geo]"
        ) from error
    try:
        reader = maxminddb.open_database(str(path), maxminddb.MODE_MEMORY)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise UnusableFile(f"{path} is no database of IP addresses: {error}") from error

    def lookup(address: str) -> dict[str, Any] | None:
        record = reader.get(ipaddress.ip_address(address.strip()))
        return location(record) if isinstance(record, dict) else None

    return lookup


def location(record: dict[str, Any]) -> dict[str, Any]:
    """Return what APL shows of a record of the City or Country databases."""
    country = record.get("country") or record.get("registered_country") or {}
    states = record.get("subdivisions") or [{}]
    coordinates = record.get("location") or {}
    return {
        "country": _english(country),
        "state": _english(states[0]),
        "city": _english(record.get("city") or {}),
        "latitude": coordinates.get("latitude"),
        "longitude": coordinates.get("longitude"),
        "country_iso": country.get("iso_code", ""),
        "time_zone": coordinates.get("time_zone", ""),
    }


def _english(named: dict[str, Any]) -> str:
    names = named.get("names")
    english = names.get("en") if isinstance(names, dict) else None
    return english if isinstance(english, str) else ""
